//! Tracked downloads.

use candid::CandidType;
use serde::{Deserialize, Serialize};

use super::ChunkRange;

/// The state of a tracked download.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct DownloadStatus {
    /// Session id.
    pub session: u64,
    /// The blob, `blob_<number>`.
    pub locator: String,
    /// Size of the blob, bytes.
    pub bytes_expected: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Length of every chunk but the last, bytes.
    pub chunk_size: u32,
    /// Number of chunks.
    pub expected_chunks: u32,
    /// Chunks sent, as ranges with both ends included.
    pub sent: Vec<ChunkRange>,
    /// Chunks missing.
    pub missing: Vec<ChunkRange>,
    /// When the session expires if no further chunk is sent, nanoseconds.
    pub expires_at: u64,
}
