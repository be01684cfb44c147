//! Moves snapshots between a live network and folders, slice by slice.
//!
//! The folders have the format of `icp canister snapshot download`, so that each program reads the other's folders;
//! unfinished downloads are marked as `icp` marks them. The same command resumes an interrupted transfer. Only the
//! slices in flight are in memory.

mod download;
mod error;
mod lock;
mod part;
mod upload;

use std::time::Duration;

pub use download::{Downloaded, SnapshotChoice, download};
pub use error::TransferError;
pub use upload::{Uploaded, upload};

/// Bytes of a slice: as many whole pages as fit into the 2,000,000 bytes that the network allows.
pub(crate) const SLICE_BYTES: u64 = 30 * crate::snapshot::PAGE_BYTES;

/// Minimum time between two writes of the progress file during the transfer of a large file.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Options of a transfer.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Maximum number of slices in flight.
    pub parallel: usize,
    /// How long a call without an answer is retried.
    pub retry_for: Duration,
}
