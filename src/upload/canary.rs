//! Canary: outcomes of the sessions begun since a controller began the canary, by the path on which each began, and by
//! size.
//!
//! The path on which a session began is not stored: as long as the compat share does not change, the share and the
//! session's idempotency key determine it. The first session that begins on another path than they determine ends the
//! canary. The sessions begun before that one are still counted when they end.
//!
//! The counts are stored in the memory of the upload counters:
//!
//! ```text
//! place 192..195   start in nanoseconds (0: never begun), compat share in percent, end in nanoseconds (0: running)
//! place 256..      cells of 32 places: one for each size class on the compat path, the smallest size first, then the
//!                  same for the direct path. A cell has: begun, finished, aborted, expired, bytes finished, messages,
//!                  instructions, internal errors, refusals
//! ```

use candid::Principal;

use crate::api::{CanaryCounts, CanaryReport, Error, Result, SessionPath};
use crate::blob::CHUNK_SIZE;
use crate::session::{Chunking, Time};
use crate::stable::Counters;

use super::canary_verdict::{Arm, judge};
use super::event::Event;
use super::idempotency::IdemKey;
use super::in_flight::Upload;

const MARK_PLACE: u32 = 192;
const ENDED_AT_PLACE: u32 = MARK_PLACE + 2;
const FIRST_CELL_PLACE: u32 = 256;
const PLACES_PER_CELL: u32 = 32;

const BYTES_OFFSET: u32 = 4;
const MESSAGES_OFFSET: u32 = 5;

/// The maximum number of chunks of each size class; the last class has no maximum. There are classes because uploads
/// whose sizes differ by an order of magnitude fail for different reasons.
const SIZE_CLASSES: [Option<u32>; 4] = [Some(1), Some(10), Some(100), None];

/// When the canary began and ended (`None`: it is running), and the compat share at its begin.
#[derive(Clone, Copy, Debug)]
struct Mark {
    begun_at: u64,
    compat_share_percent: u8,
    ended_at: Option<u64>,
}

impl Mark {
    fn read(counters: &Counters) -> Option<Self> {
        let [begun_at, share, ended_at] = counters.get(MARK_PLACE);
        let compat_share_percent = u8::try_from(share).ok()?;
        let ended_at = (ended_at > 0).then_some(ended_at);
        (begun_at > 0).then_some(Self { begun_at, compat_share_percent, ended_at })
    }

    /// Returns whether a session begun at `created_at` belongs to the canary.
    fn covers(&self, created_at: u64) -> bool {
        created_at >= self.begun_at && self.ended_at.is_none_or(|ended_at| created_at < ended_at)
    }

    /// Returns the path on which a session with this key begins at the canary's compat share.
    fn path_for(&self, key: IdemKey) -> SessionPath {
        key.path(self.compat_share_percent)
    }
}

/// The counters of a path and a size class, represented by the place of the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CanaryCell(u32);

impl CanaryCell {
    fn of(path: SessionPath, bytes: u64) -> Self {
        let chunks = Chunking::new(bytes, u64::from(CHUNK_SIZE)).chunks();
        let fits = |max: &Option<u32>| max.is_none_or(|max| chunks <= u64::from(max));
        Self::at(path, SIZE_CLASSES.iter().position(fits).unwrap_or_default())
    }

    fn at(path: SessionPath, size_class: usize) -> Self {
        let first_of_path = match path {
            SessionPath::Compat => 0,
            SessionPath::Direct => SIZE_CLASSES.len(),
        };
        let index = u32::try_from(first_of_path.saturating_add(size_class)).unwrap_or_default();
        Self(index.saturating_mul(PLACES_PER_CELL).saturating_add(FIRST_CELL_PLACE))
    }
}

/// The canary, over the counters in which it is stored.
pub(super) struct Canary<'a>(pub(super) &'a Counters);

impl Canary<'_> {
    /// Begins a canary, discarding the counts of an earlier one.
    pub(super) fn begin(&self, now: Time, compat_share_percent: u8) {
        for path in [SessionPath::Compat, SessionPath::Direct] {
            for size_class in 0..SIZE_CLASSES.len() {
                self.0.set(CanaryCell::at(path, size_class).0, [0; PLACES_PER_CELL as usize]);
            }
        }
        self.0.set(MARK_PLACE, [now.as_nanos(), u64::from(compat_share_percent), 0]);
    }

    /// If a canary is running, counts a session that begins now, and returns its cell. If the session begins on another
    /// path than its key and the canary's compat share determine, counts nothing, ends the canary, and returns `None`.
    pub(super) fn count_begun(
        &self,
        path: SessionPath,
        key: IdemKey,
        bytes: u64,
        now: Time,
    ) -> Option<CanaryCell> {
        let mark = Mark::read(self.0).filter(|mark| mark.ended_at.is_none())?;
        if mark.path_for(key) != path {
            self.0.set(ENDED_AT_PLACE, [now.as_nanos()]);
            return None;
        }
        let cell = CanaryCell::of(path, bytes);
        self.count_event(cell, Event::Begun);
        Some(cell)
    }

    /// Returns the cell of a session that began during the canary, even if the canary has ended; `None` for any other
    /// session.
    pub(super) fn cell_of(&self, upload: &Upload) -> Option<CanaryCell> {
        let Upload { session, meta, .. } = upload;
        let mark = Mark::read(self.0).filter(|mark| mark.covers(meta.created_at))?;
        let owner = Principal::try_from_slice(&session.owner).ok()?;
        let key = IdemKey::of(&meta.capsule_id, &owner, &session.session_meta.idem);
        Some(CanaryCell::of(mark.path_for(key), session.bytes_expected))
    }

    pub(super) fn count_event(&self, cell: CanaryCell, event: Event) {
        let place = match event {
            Event::Begun => 0,
            Event::Finished => 1,
            Event::Aborted => 2,
            // One counter for both: in neither case did the owner end the session.
            Event::Expired | Event::Evicted => 3,
        };
        self.0.add(cell.0.saturating_add(place), [1]);
    }

    /// Counts the event and the bytes. (Of the counts by path, `count_event` and `count_bytes` are separate.)
    pub(super) fn count_finished(&self, cell: CanaryCell, bytes: u64) {
        self.count_event(cell, Event::Finished);
        self.0.add(cell.0.saturating_add(BYTES_OFFSET), [bytes]);
    }

    pub(super) fn count_message(&self, cell: CanaryCell, instructions: u64, error: Option<&Error>) {
        let [internal, refused] = match error {
            // `Hashing` is neither an internal error nor a refusal: the client has to call again.
            None | Some(Error::Hashing { .. }) => [0, 0],
            Some(Error::Internal(_)) => [1, 0],
            Some(_) => [0, 1],
        };
        self.0.add(cell.0.saturating_add(MESSAGES_OFFSET), [1, instructions, internal, refused]);
    }

    pub(super) fn report(&self, margin_percent: u8) -> Result<CanaryReport> {
        let Some(mark) = Mark::read(self.0) else {
            return Err(Error::conflict("canary", "report", "no canary was begun; call admin_canary_begin"));
        };
        let (compat, direct) = (self.counts(SessionPath::Compat), self.counts(SessionPath::Direct));
        let judged = judge(Arm::of(&compat), Arm::of(&direct), margin_percent);
        Ok(CanaryReport {
            begun_at: mark.begun_at,
            ended_at: mark.ended_at,
            compat_share_percent: mark.compat_share_percent,
            compat,
            direct,
            difference: judged.difference,
            uncertainty: judged.uncertainty,
            verdict: judged.verdict,
            summary: judged.summary,
        })
    }

    fn counts(&self, path: SessionPath) -> Vec<CanaryCounts> {
        let counts_of_class = |(size_class, max_chunks): (usize, &Option<u32>)| {
            let [
                begun,
                finished,
                aborted,
                expired,
                bytes_finished,
                messages,
                instructions,
                internal_errors,
                refusals,
            ] = self.0.get(CanaryCell::at(path, size_class).0);
            CanaryCounts {
                max_chunks: *max_chunks,
                begun,
                finished,
                aborted,
                expired,
                bytes_finished,
                messages,
                instructions,
                internal_errors,
                refusals,
            }
        };
        SIZE_CLASSES.iter().enumerate().map(counts_of_class).collect()
    }
}

#[cfg(all(test, feature = "compat", feature = "direct"))]
mod tests;
