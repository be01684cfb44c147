//! Convert on touch: sessions that clients use while migration 1 is in progress.

use candid::Principal;
use ic_stable_migrate::Engine;

use crate::api::{Error, Result};
use crate::migrations::SplitSessions;
use crate::session::{SessionId, Time};
use crate::stable::StableError;
use crate::storage::Storage;

use super::Migration as _;

/// Returns the share of new sessions that take the compat path, in percent: all of them while migration 1 is deferred,
/// being rolled back or rolled back; otherwise what a controller has set.
pub fn compat_share(storage: &Storage) -> std::result::Result<u8, StableError> {
    let state = storage.migration.state()?;
    if state.is_going_back() || state.is_deferred() {
        return Ok(100);
    }
    Ok(storage.config()?.compat_share_percent)
}

/// Returns whether no legacy record may be converted because the compat path is in use: what holds migration 1.
pub fn waits_for_compat_path(storage: &Storage) -> std::result::Result<bool, StableError> {
    Ok(compat_share(storage)? > 0)
}

/// Converts a session that is still a legacy record, since its client is about to use it, unless the compat path is in
/// use. Returns `false` and changes nothing if an `asker` is given and the session is a legacy or quarantined record of
/// someone else. Otherwise returns `true`, even if there is no such session.
///
/// # Errors
/// [`Error::Conflict`] if the session is quarantined; a damaged record; or no room for the conversion.
pub fn touch(storage: &mut Storage, id: SessionId, asker: Option<Principal>, now: Time) -> Result<bool> {
    if storage.sessions.legacy.contains(&id.0) {
        if is_hidden(storage, id, asker)? {
            return Ok(false);
        }
        if !waits_for_compat_path(storage)? {
            Engine::touch(&SplitSessions, storage, id.0, now)?;
        }
    }
    match storage.migration.quarantine.get_or_damaged(SplitSessions.plan().number, id.0) {
        Some(_) if is_hidden(storage, id, asker)? => Ok(false),
        Some(record) => {
            let detail = format!("quarantined by the migration: {}", record.reason);
            Err(Error::conflict("session", id, detail))
        }
        None => Ok(true),
    }
}

/// Returns whether a legacy or quarantined record belongs to someone other than `asker`; `false` without an `asker`.
fn is_hidden(storage: &Storage, id: SessionId, asker: Option<Principal>) -> Result<bool> {
    let Some(asker) = asker else { return Ok(false) };
    Ok(!SplitSessions.is_owned_by(storage, id.0, asker)?)
}

/// Changes the layout to layout 2, if it is still layout 1. Must be called before a session begins in layout 2, since a
/// build that supports only layout 1 would not find the session.
pub fn leave_layout_1(storage: &mut Storage, now: Time) -> Result<()> {
    Engine::enter_layout(&SplitSessions, storage, now)
}
