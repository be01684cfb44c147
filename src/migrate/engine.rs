//! The phases, within a budget of instructions.
//!
//! ```text
//! Idle ── legacy records or layout 1 ──> Validating ──> Converting ──> Verifying ──> Converted
//!                                            ^                            │  └─────> Stuck
//!                                            └── more legacy records ─────┘
//! any of them ── rollback ──> RollingBack ──> RolledBack ── resume ──> Idle
//! Converted ── finalize ──> Finalized         working phases ── pause ──> Paused ── resume ──> as before
//! ```
//! Every record is its own step: the state is stored with it, and the next message goes on behind it.
//! An upgrade in the middle changes nothing about that.

use crate::meter::Meter;
use crate::session::{SessionId, Time};
use crate::stable::StableError;
use crate::stable::layout::Layout;
use crate::storage::Storage;

use super::convert::{Fate, convert, count_source};
use super::revert::{Reverted, revert_next};
use super::{MigrationState, Phase};

/// What a run left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is left.
    Done,
    /// The budget is used up; run again.
    More,
}

/// Runs the migration until it is done or `budget` instructions of this message are used.
///
/// # Errors
/// A damaged record of the migration's own tables.
pub fn run(storage: &mut Storage, now: Time, meter: &dyn Meter, budget: u64) -> crate::api::Result<Progress> {
    let mut state = storage.migration.state()?;
    if state.phase != Phase::RollingBack && held(storage)? {
        return Ok(Progress::Done);
    }
    let (begun_with, used_before) = (meter.used(), state.instructions);
    loop {
        if !step(storage, &mut state, now)? {
            return Ok(Progress::Done);
        }
        state.instructions = used_before.saturating_add(meter.used().saturating_sub(begun_with));
        storage.migration.set_state(&state);
        if meter.used() > budget {
            return Ok(Progress::More);
        }
    }
}

/// The share of new sessions that take the compat path, percent: all of them while layout 1 is where
/// things go, else what a controller has set.
///
/// # Errors
/// Damaged settings or state.
pub fn compat_share(storage: &Storage) -> Result<u8, StableError> {
    if storage.migration.state()?.is_going_back() {
        return Ok(100);
    }
    Ok(storage.config()?.compat_share_percent)
}

/// Whether legacy records stay what they are, since the compat path is in use.
///
/// # Errors
/// Damaged settings or state.
pub fn held(storage: &Storage) -> Result<bool, StableError> {
    Ok(compat_share(storage)? > 0)
}

/// Counts one more.
pub fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

/// One step of the present phase. False when there was nothing to do, and nothing was changed.
fn step(storage: &mut Storage, state: &mut MigrationState, now: Time) -> crate::api::Result<bool> {
    match state.phase {
        Phase::Stuck | Phase::Paused | Phase::Finalized | Phase::RolledBack => return Ok(false),
        Phase::Idle | Phase::Converted => {
            if storage.sessions.legacy.is_empty() && layout(storage)? != Layout::LEGACY {
                return Ok(false);
            }
            enter(storage, state, Phase::Validating, now)?;
        }
        Phase::Validating => match storage.sessions.legacy.next_key(state.validated_through.as_ref()) {
            Some(id) => {
                count_source(storage, state, SessionId(id))?;
                state.validated_through = Some(id);
                state.cursor = Some(id);
            }
            None => {
                leave_layout_1(storage, state, now)?;
                enter(storage, state, Phase::Converting, now)?;
            }
        },
        Phase::Converting => match storage.sessions.legacy.next_key(None) {
            Some(id) => match convert(storage, state, SessionId(id), now)? {
                Fate::Converted => count(&mut state.converted),
                Fate::Expired => count(&mut state.expired),
                Fate::Quarantined => count(&mut state.quarantined),
            },
            None => enter(storage, state, Phase::Verifying, now)?,
        },
        Phase::Verifying => {
            let verdict = match state.imbalance() {
                None => Phase::Converted,
                Some(note) => {
                    state.note = note;
                    Phase::Stuck
                }
            };
            enter(storage, state, verdict, now)?;
        }
        Phase::RollingBack => match revert_next(storage, state)? {
            Reverted::One => {}
            Reverted::Refused(note) => {
                state.note = note;
                enter(storage, state, Phase::Stuck, now)?;
            }
            Reverted::NoneLeft => {
                storage.layout.set(&Layout::LEGACY);
                *state = MigrationState { instructions: state.instructions, ..MigrationState::default() };
                enter(storage, state, Phase::RolledBack, now)?;
            }
        },
    }
    Ok(true)
}

/// From the first converted record on, the legacy build must refuse this memory.
///
/// # Errors
/// A damaged layout header or journal.
pub fn leave_layout_1(
    storage: &mut Storage,
    state: &mut MigrationState,
    now: Time,
) -> Result<(), StableError> {
    if layout(storage)? != Layout::LEGACY {
        return Ok(());
    }
    storage.layout.set(&Layout::SPLIT);
    storage.migration.record(now, "layout 2", Layout::SPLIT, state)
}

fn layout(storage: &Storage) -> Result<Layout, StableError> {
    Ok(storage.layout.get()?.unwrap_or(Layout::LEGACY))
}

/// Changes the phase and writes it into the journal.
///
/// # Errors
/// A damaged layout header or journal.
pub fn enter(
    storage: &mut Storage,
    state: &mut MigrationState,
    phase: Phase,
    now: Time,
) -> Result<(), StableError> {
    state.phase = phase;
    let event = match phase {
        Phase::Idle => "idle",
        Phase::Validating => "validating",
        Phase::Converting => "converting",
        Phase::Verifying => "verifying",
        Phase::Converted => "converted",
        Phase::Finalized => "finalized",
        Phase::Paused => "paused",
        Phase::Stuck => "stuck",
        Phase::RollingBack => "rolling back",
        Phase::RolledBack => "rolled back",
    };
    let layout = layout(storage)?;
    storage.migration.record(now, event, layout, state)
}
