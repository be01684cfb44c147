//! Whether a share of the sessions fares worse on one path than the others on the other.

use candid::CandidType;
use serde::{Deserialize, Serialize};

/// What came of the sessions that were begun since the canary was, by the path on which each was begun.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct CanaryReport {
    /// When it was begun, nanoseconds.
    pub begun_at: u64,
    /// When it ended, nanoseconds: sessions begun later are not in it. Open while it goes on.
    pub ended_at: Option<u64>,
    /// Share of the sessions that are begun on the compat path, per cent.
    pub compat_share_percent: u8,
    /// Sessions begun on the compat path, by size, the smallest first.
    pub compat: Vec<CanaryCounts>,
    /// Sessions begun on the direct path, by size.
    pub direct: Vec<CanaryCounts>,
    /// Sessions that ended without a file, aborted or expired, of those that ended: on the direct path less on the compat
    /// path, in percentage points.
    pub difference: f64,
    /// The difference lies within so many percentage points of that, with 95 % confidence.
    pub uncertainty: f64,
    /// What that means.
    pub verdict: CanaryVerdict,
    /// The same in words.
    pub summary: String,
}

/// What came of the sessions of one size.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CanaryCounts {
    /// They have at most so many chunks, and more than those before; open for the largest.
    pub max_chunks: Option<u32>,
    /// Sessions that were begun.
    pub begun: u64,
    /// Sessions that became a memory.
    pub finished: u64,
    /// Sessions that their callers gave up.
    pub aborted: u64,
    /// Sessions that were idle too long, or were evicted.
    pub expired: u64,
    /// Bytes of the files that were finished.
    pub bytes_finished: u64,
    /// Messages about them, refused ones included.
    pub messages: u64,
    /// Instructions of these messages.
    pub instructions: u64,
    /// Refusals of kind `Internal`, which have no harmless reason.
    pub internal_errors: u64,
    /// All other refusals but `Hashing`.
    pub refusals: u64,
}

/// What the sessions of a canary say about the direct path beside the compat path.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub enum CanaryVerdict {
    /// It is not worse by the margin.
    NoDifferenceSeen,
    /// More of its sessions end without a file, by so many percentage points, or calls failed for an internal reason.
    Worse {
        /// Percentage points.
        by: f64,
        /// Internal errors.
        internal_errors: u64,
    },
    /// Too few sessions have ended.
    NeedsMore {
        /// About how many more, at the present share.
        sessions: u64,
    },
}
