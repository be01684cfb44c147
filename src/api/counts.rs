//! Upload outcomes, counted by path so that the paths can be compared.

use candid::CandidType;
use serde::{Deserialize, Serialize};

/// Counts since the canister was installed, across upgrades.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UploadCounts {
    /// Sessions on the compat path. A converted session counts here until its conversion, then on the direct path.
    pub compat: PathCounts,
    /// Sessions on the direct path.
    pub direct: PathCounts,
    /// Calls that neither path handles: whole files in one call, calls about sessions that do not exist for
    /// the caller, and repeated calls that are answered from a receipt.
    pub no_path: PathCounts,
}

/// Upload outcomes of one path.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathCounts {
    /// Sessions begun; a repeated begin does not count.
    pub sessions_begun: u64,
    /// Sessions that became a memory.
    pub sessions_finished: u64,
    /// Sessions aborted by their callers.
    pub sessions_aborted: u64,
    /// Sessions that were idle too long or too old.
    pub sessions_expired: u64,
    /// Sessions evicted because the room that they had reserved but not filled was needed.
    pub sessions_evicted: u64,
    /// Bytes of chunks, or of whole files, that were stored; a repeated chunk counts once.
    pub bytes_stored: u64,
    /// Calls of `uploads_begin`.
    pub begin: CallCounts,
    /// Calls of `uploads_put_chunk`.
    pub put_chunk: CallCounts,
    /// Calls of `uploads_finish`, and the timer messages that continue hashing for it.
    pub finish: CallCounts,
    /// Calls of `uploads_abort`.
    pub abort: CallCounts,
    /// Calls of `uploads_put_whole` and `uploads_put_many`.
    pub put_whole: CallCounts,
    /// Refused calls and files, by error. Arguments that do not decode are not included.
    pub errors: ErrorCounts,
}

impl PathCounts {
    /// Returns the calls by their names in `/metrics`.
    pub fn by_call(&self) -> [(&'static str, CallCounts); 5] {
        let Self { begin, put_chunk, finish, abort, put_whole, .. } = *self;
        [
            ("begin", begin),
            ("put_chunk", put_chunk),
            ("finish", finish),
            ("abort", abort),
            ("put_whole", put_whole),
        ]
    }
}

/// Messages of one kind. A message that traps is rolled back and not counted.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Number of messages, including refused ones.
    pub messages: u64,
    /// Instructions used until the reply was ready.
    pub instructions: u64,
}

/// Refusals by variant of `Error`.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorCounts {
    /// `Unauthorized`.
    pub unauthorized: u64,
    /// `NotFound`.
    pub not_found: u64,
    /// `InvalidArgument`.
    pub invalid_argument: u64,
    /// `Conflict`.
    pub conflict: u64,
    /// `Incomplete`.
    pub incomplete: u64,
    /// `ChecksumMismatch`.
    pub checksum_mismatch: u64,
    /// `ResourceExhausted`.
    pub resource_exhausted: u64,
    /// `Hashing`: not a failure, but a finish that needs another call.
    pub hashing: u64,
    /// `Internal`.
    pub internal: u64,
}

impl ErrorCounts {
    /// Returns the refusals by their names in `/metrics`.
    pub fn by_kind(&self) -> [(&'static str, u64); 9] {
        let Self {
            unauthorized,
            not_found,
            invalid_argument,
            conflict,
            incomplete,
            checksum_mismatch,
            resource_exhausted,
            hashing,
            internal,
        } = *self;
        [
            ("unauthorized", unauthorized),
            ("not_found", not_found),
            ("invalid_argument", invalid_argument),
            ("conflict", conflict),
            ("incomplete", incomplete),
            ("checksum_mismatch", checksum_mismatch),
            ("resource_exhausted", resource_exhausted),
            ("hashing", hashing),
            ("internal", internal),
        ]
    }
}
