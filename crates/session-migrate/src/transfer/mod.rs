//! Moves snapshots between a live network and folders, slice by slice.
//!
//! The folders have the format of `icp canister snapshot download`, so that each program reads the other's folders. An
//! interrupted transfer is resumed by the same command; until a download is complete, its folder is marked as
//! unfinished, as `icp` marks it. Memory is bounded by the slices in flight.

mod download;
mod error;
mod part;
mod upload;

use std::time::Duration;

pub use download::{Downloaded, Which, download};
pub use error::TransferError;
pub use upload::{Uploaded, upload};

/// Bytes of a slice: whole pages, within the 2,000,000 bytes that the network allows.
pub(crate) const SLICE: u64 = 30 * crate::snapshot::PAGE_BYTES;

/// The longest time between two writes of the progress file.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Options of a transfer.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Number of slices in flight.
    pub parallel: usize,
    /// For how long a call without an answer is retried.
    pub retry_for: Duration,
}
