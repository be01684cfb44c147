//! One record from layout 2 back to layout 1: revert, convert again, compare, and only then remove.

use crate::api::{Error, Result};
use crate::migrations::split_sessions::{self, Split};
use crate::session::SessionId;
use crate::storage::Storage;
use crate::upload::RawRecord;

use super::MigrationState;

/// What became of the next record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reverted {
    /// It is a legacy record again.
    One,
    /// It has no form in layout 1 that leads back to it; nothing was changed. The reason, in words.
    Refused(String),
    /// There is no record left in layout 2.
    NoneLeft,
}

/// Takes the next session of layout 2, or else the next record in quarantine, back to layout 1.
///
/// # Errors
/// A damaged record; nothing was changed.
pub fn revert_next(storage: &mut Storage, state: &mut MigrationState) -> Result<Reverted> {
    if let Some(id) = storage.sessions.sessions.next_key(None) {
        state.cursor = Some(id);
        return revert(storage, SessionId(id));
    }
    let Some(id) = storage.migration.quarantine.next_key(None) else {
        return Ok(Reverted::NoneLeft);
    };
    if let Some(record) = storage.migration.quarantine.get(&id)? {
        storage.sessions.legacy.insert(id, &RawRecord(record.raw));
    }
    storage.migration.quarantine.remove(&id);
    state.cursor = Some(id);
    Ok(Reverted::One)
}

fn revert(storage: &mut Storage, id: SessionId) -> Result<Reverted> {
    let gone = || Error::Internal(format!("session {id} has only one of its two records"));
    let session = storage.sessions.sessions.get(&id.0)?.ok_or_else(gone)?;
    let session = session.into_session().map_err(Error::Internal)?;
    let meta = storage.sessions.metas.get(&id.0)?.ok_or_else(gone)?;
    let last_seen = session.session_meta.last_seen;
    let split = Split { session, meta };

    let legacy = match split_sessions::revert(id, split.clone()) {
        Ok(legacy) => legacy,
        Err(error) => return Ok(Reverted::Refused(format!("session {id}: {error}"))),
    };
    let stored = storage.blobs.stored_chunks(legacy.chunk_prefix());
    match split_sessions::convert(legacy.clone(), stored, Some(last_seen)) {
        Ok(again) if again == split => {}
        Ok(_) => return Ok(Reverted::Refused(format!("session {id}: layout 1 would not lead back to it"))),
        Err(error) => return Ok(Reverted::Refused(format!("session {id}: {error}"))),
    }
    storage.sessions.legacy.insert(id.0, &RawRecord(legacy.encode()));
    storage.sessions.legacy_activity.insert(id.0, &last_seen.as_nanos());
    storage.sessions.sessions.remove(&id.0);
    storage.sessions.metas.remove(&id.0);
    Ok(Reverted::One)
}
