//! Counts of sessions, bytes, calls and errors of uploads, by path.
//!
//! Each count is written to stable memory by the same message that it counts, so an upgrade loses none.
//!
//! A place is the number of a counter. Each path has a row of 64 places, some of which are free for new counters; a
//! third row is for calls that no path served. The canary's counts follow the three rows. The places within a row:
//!
//! ```text
//! place 0..4     sessions begun, finished, aborted, expired
//! place 4        bytes stored
//! place 5        sessions evicted
//! place 16..26   messages and instructions of begin, put, finish, abort, whole files
//! place 32..41   errors, in the order of `Error`
//! ```

use crate::api::{
    CallCounts, CanaryReport, Error, ErrorCounts, PathCounts, Result, SessionPath, UploadCounts,
};
use crate::session::Time;
use crate::stable::{Counters, Memories, memory_ids};

use super::canary::Canary;
use super::event::Event;
use super::in_flight::Upload;

const PLACES_PER_ROW: u32 = 64;
const BYTES_OFFSET: u32 = 4;
const CALLS_OFFSET: u32 = 16;
const ERRORS_OFFSET: u32 = 32;

/// The call that a message serves. Each number is the first of two consecutive places in a row: messages, then
/// instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum CountedCall {
    Begin = CALLS_OFFSET,
    Put = CALLS_OFFSET + 2,
    Finish = CALLS_OFFSET + 4,
    Abort = CALLS_OFFSET + 6,
    Whole = CALLS_OFFSET + 8,
}

/// The counters of each path, and those of calls that no path served.
pub struct PathCounters {
    counters: Counters,
}

impl PathCounters {
    /// Opens the counters, or creates new ones.
    pub fn open(memories: &Memories) -> Self {
        Self { counters: Counters::open(memories, memory_ids::UPLOAD_COUNTS) }
    }

    /// Counts an event of a session.
    pub fn count_event(&self, path: SessionPath, event: Event) {
        self.counters.add(row_place(Some(path)).saturating_add(event as u32), [1]);
    }

    /// Counts a session that ended without a file, for its path and, if it began during a canary, in its cell.
    pub(super) fn count_dropped(&self, upload: &Upload, event: Event) {
        self.count_event(upload.path, event);
        if let Some(cell) = self.canary().cell_of(upload) {
            self.canary().count_event(cell, event);
        }
    }

    pub(super) fn canary(&self) -> Canary<'_> {
        Canary(&self.counters)
    }

    /// Begins a canary at `now`, with this share of the new sessions on the compat path.
    pub fn begin_canary(&self, now: Time, compat_share_percent: u8) {
        self.canary().begin(now, compat_share_percent);
    }

    /// Reports the canary. The verdict is "no difference" if the upper end of the interval does not exceed
    /// `margin_percent` percentage points.
    ///
    /// # Errors
    /// [`Error::Conflict`] if no canary was begun.
    pub fn canary_report(&self, margin_percent: u8) -> Result<CanaryReport> {
        self.canary().report(margin_percent)
    }

    pub(super) fn count_bytes(&self, path: Option<SessionPath>, bytes: u64) {
        self.counters.add(row_place(path).saturating_add(BYTES_OFFSET), [bytes]);
    }

    pub(super) fn count_message(&self, path: Option<SessionPath>, call: CountedCall, instructions: u64) {
        self.counters.add(row_place(path).saturating_add(call as u32), [1, instructions]);
    }

    pub(super) fn count_error(&self, path: Option<SessionPath>, error: &Error) {
        let offset = match error {
            Error::Unauthorized { .. } => 0,
            Error::NotFound { .. } => 1,
            Error::InvalidArgument { .. } => 2,
            Error::Conflict { .. } => 3,
            Error::Incomplete { .. } => 4,
            Error::ChecksumMismatch { .. } => 5,
            Error::ResourceExhausted { .. } => 6,
            Error::Hashing { .. } => 7,
            Error::Internal(_) => 8,
        };
        self.counters.add(row_place(path).saturating_add(ERRORS_OFFSET).saturating_add(offset), [1]);
    }

    /// Returns all counts.
    pub fn all(&self) -> UploadCounts {
        UploadCounts {
            compat: self.counts_of(Some(SessionPath::Compat)),
            direct: self.counts_of(Some(SessionPath::Direct)),
            no_path: self.counts_of(None),
        }
    }

    fn counts_of(&self, path: Option<SessionPath>) -> PathCounts {
        let row = row_place(path);
        let [
            sessions_begun,
            sessions_finished,
            sessions_aborted,
            sessions_expired,
            bytes_stored,
            sessions_evicted,
        ] = self.counters.get(row);
        let calls = |call: CountedCall| {
            let [messages, instructions] = self.counters.get(row.saturating_add(call as u32));
            CallCounts { messages, instructions }
        };
        let [
            unauthorized,
            not_found,
            invalid_argument,
            conflict,
            incomplete,
            checksum_mismatch,
            resource_exhausted,
            hashing,
            internal,
        ] = self.counters.get(row.saturating_add(ERRORS_OFFSET));
        PathCounts {
            sessions_begun,
            sessions_finished,
            sessions_aborted,
            sessions_expired,
            sessions_evicted,
            bytes_stored,
            begin: calls(CountedCall::Begin),
            put_chunk: calls(CountedCall::Put),
            finish: calls(CountedCall::Finish),
            abort: calls(CountedCall::Abort),
            put_whole: calls(CountedCall::Whole),
            errors: ErrorCounts {
                unauthorized,
                not_found,
                invalid_argument,
                conflict,
                incomplete,
                checksum_mismatch,
                resource_exhausted,
                hashing,
                internal,
            },
        }
    }
}

/// Returns the place of the first counter of a path, or of calls that no path served.
fn row_place(path: Option<SessionPath>) -> u32 {
    match path {
        Some(SessionPath::Compat) => 0,
        Some(SessionPath::Direct) => PLACES_PER_ROW,
        None => 2 * PLACES_PER_ROW,
    }
}

#[cfg(all(test, feature = "compat", feature = "direct"))]
mod tests;
