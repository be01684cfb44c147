//! The report of a canary, which compares the sessions on the two paths.

use candid::CandidType;
use serde::{Deserialize, Serialize};

/// Outcomes of the sessions begun since the canary began, by the path on which each began.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct CanaryReport {
    /// When the canary began, nanoseconds.
    pub begun_at: u64,
    /// When it ended, nanoseconds: later sessions are not included. Absent while it is running.
    pub ended_at: Option<u64>,
    /// Share of new sessions on the compat path, percent.
    pub compat_share_percent: u8,
    /// Sessions begun on the compat path, by size, smallest first.
    pub compat: Vec<CanaryCounts>,
    /// Sessions begun on the direct path, by size.
    pub direct: Vec<CanaryCounts>,
    /// Share of ended sessions that ended without a file (aborted or expired): on the direct path minus on
    /// the compat path, in percentage points.
    pub difference: f64,
    /// With 95 % confidence, the true difference is within this many percentage points.
    pub uncertainty: f64,
    /// The verdict.
    pub verdict: CanaryVerdict,
    /// The verdict as text.
    pub summary: String,
}

/// Outcomes of the sessions of one size class.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CanaryCounts {
    /// The sessions have at most this many chunks, and more than the previous class; absent for the largest class.
    pub max_chunks: Option<u32>,
    /// Sessions begun.
    pub begun: u64,
    /// Sessions that became a memory.
    pub finished: u64,
    /// Sessions aborted by their callers.
    pub aborted: u64,
    /// Sessions that were idle too long, or were evicted.
    pub expired: u64,
    /// Bytes of the finished files.
    pub bytes_finished: u64,
    /// Messages about these sessions, including refused ones.
    pub messages: u64,
    /// Instructions of these messages.
    pub instructions: u64,
    /// Refusals of kind `Internal`, for which there is no harmless reason.
    pub internal_errors: u64,
    /// All other refusals except `Hashing`.
    pub refusals: u64,
}

/// The verdict of a canary on the direct path compared with the compat path.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub enum CanaryVerdict {
    /// The direct path is not worse by more than the margin.
    NoDifferenceSeen,
    /// The share of sessions that end without a file is larger on the direct path, by this many percentage
    /// points, or calls failed with internal errors.
    Worse {
        /// Percentage points.
        by: f64,
        /// Internal errors.
        internal_errors: u64,
    },
    /// Too few sessions have ended.
    NeedsMore {
        /// Estimated number of further sessions needed, at the current share.
        sessions: u64,
    },
}
