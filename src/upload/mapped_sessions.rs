//! Mapped sessions: those that may still have their bytes in the chunk map. They are recorded so that migration 2 need
//! not check all sessions.

use crate::migrate::Phase;
use crate::session::SessionId;
use crate::stable::StableError;
use crate::stable::layout::Layout;
use crate::storage::Storage;

use super::PayloadState;

mod range;

pub use range::MappedSessions;

/// Maximum number of sessions that one call of [`list`] or [`shrink_range`] skips; to skip one costs about 20,000
/// instructions.
const MAX_SKIPPED: usize = 1_000;

/// Number of the migration that moves payload from the chunk map to extents.
const MIGRATION: u16 = 2;

#[cfg(test)]
thread_local! {
    /// Counts the calls of [`contains`].
    pub static LOOKED_UP: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Records that all sessions begun from now on have their bytes in extents: the range ends at the last id issued.
pub fn close_range(storage: &mut Storage) -> Result<(), StableError> {
    let through = storage.sessions.ids.last()?;
    storage.mapped_sessions.set(&MappedSessions { through, ..MappedSessions::default() });
    Ok(())
}

/// Lists up to `limit` sessions with ids above `after` whose bytes are in the chunk map, in order of id. After skipping
/// `MAX_SKIPPED` other sessions, ends the list with the last one skipped, so that the next call can continue there: the
/// one session in the list for which the migration finds nothing to move.
pub fn list(storage: &Storage, after: Option<u64>, limit: usize) -> Result<Vec<u64>, StableError> {
    let range = recorded_range(storage)?;
    let mut found = Vec::new();
    let mut skipped: usize = 0;
    let first = range.after.max(after.unwrap_or(0)).saturating_add(1);
    // The table does not accept an empty range.
    let following = (first <= range.through).then(|| storage.sessions.sessions.keys(first..=range.through));
    // The retried sessions come first, which keeps the order: their ids are not above `range.after`.
    let retried = range.again.iter().copied().filter(|id| after.is_none_or(|after| *id > after));
    for id in retried.chain(following.into_iter().flatten()) {
        if found.len() >= limit {
            break;
        }
        if contains(storage, SessionId(id))? {
            found.push(id);
            continue;
        }
        skipped = skipped.saturating_add(1);
        if skipped == MAX_SKIPPED {
            found.push(id);
            break;
        }
    }
    Ok(found)
}

/// Returns the recorded range. If none is recorded: in layout 3, no session is in the chunk map, so the range is empty;
/// in an earlier layout, migration 2 has not begun, and every session may be in the chunk map, so the range has all.
fn recorded_range(storage: &Storage) -> Result<MappedSessions, StableError> {
    if let Some(range) = storage.mapped_sessions.get()? {
        return Ok(range);
    }
    let has_extents = storage.layout.get()? == Some(Layout::EXTENTS);
    let through = if has_extents { 0 } else { storage.sessions.ids.last()? };
    Ok(MappedSessions { through, ..MappedSessions::default() })
}

/// Adds a session to `again` because its quarantine is retried, if the range has already shrunk past it. (Otherwise it
/// is still in the range.)
pub fn add_retried(storage: &mut Storage, id: SessionId) -> Result<(), StableError> {
    let mut range = storage.mapped_sessions.get()?.unwrap_or_default();
    if id.0 <= range.after
        && let Err(place) = range.again.binary_search(&id.0)
    {
        range.again.insert(place, id.0);
        storage.mapped_sessions.set(&range);
    }
    Ok(())
}

/// Returns whether a session with split records has its bytes in the chunk map; `false` if there is no such session.
pub fn contains(storage: &Storage, id: SessionId) -> Result<bool, StableError> {
    #[cfg(test)]
    LOOKED_UP.set(LOOKED_UP.get() + 1);
    if !storage.sessions.sessions.contains(&id.0) {
        return Ok(false);
    }
    Ok(storage.payloads.get(&id.0)?.is_none_or(|PayloadState { extents, .. }| extents.is_none()))
}

/// Returns whether migration 2 is moving payload out of the chunk map: validating, converting or verifying.
pub fn is_payload_moving(storage: &Storage) -> Result<bool, StableError> {
    if storage.layout.get()? != Some(Layout::EXTENTS) {
        return Ok(false);
    }
    let phase = storage.migration.state_of(MIGRATION)?.phase;
    Ok(matches!(phase, Phase::Validating | Phase::Converting | Phase::Verifying))
}

/// Removes sessions that need not be moved (they have moved, have ended or are quarantined) from the start of the range
/// and from the start of `again`: in each, at most `MAX_SKIPPED`, and none from the first session on that is still to
/// be moved.
pub fn shrink_range(storage: &mut Storage) -> Result<(), StableError> {
    let mut range = storage.mapped_sessions.get()?.unwrap_or_default();
    let is_to_be_moved = |id: u64| {
        let is_quarantined = storage.migration.quarantine.contains(MIGRATION, id);
        Ok::<_, StableError>(!is_quarantined && contains(storage, SessionId(id))?)
    };
    let mut after = range.after;
    let first = after.saturating_add(1);
    let mut following = (first <= range.through)
        .then(|| storage.sessions.sessions.keys(first..=range.through))
        .into_iter()
        .flatten();
    for _ in 0..MAX_SKIPPED {
        match following.next() {
            Some(id) if is_to_be_moved(id)? => break,
            Some(id) => after = id,
            None => {
                after = range.through;
                break;
            }
        }
    }
    drop(following);
    let mut retried_gone: usize = 0;
    while retried_gone < MAX_SKIPPED
        && let Some(id) = range.again.get(retried_gone)
        && !is_to_be_moved(*id)?
    {
        retried_gone = retried_gone.saturating_add(1);
    }
    if after != range.after || retried_gone > 0 {
        range.after = after;
        range.again.drain(..retried_gone);
        storage.mapped_sessions.set(&range);
    }
    Ok(())
}

#[cfg(all(test, feature = "direct"))]
mod tests;
