//! One record from layout 1 to layout 2: read, convert, write, read back, compare, and only then remove.

use sha2::{Digest, Sha256};

use crate::api::{Error, Result};
use crate::migrations::split_sessions::{self, LegacyUploadSession, Split};
use crate::session::{SessionId, Time};
use crate::stable::StableError;
use crate::storage::Storage;
use crate::upload::{IdemKey, SessionRecord, forget_session};

use super::engine::{count, held};
use super::{MigrationState, QuarantineRecord};

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is now a session and an upload meta.
    Converted,
    /// Its time to live was over; its chunks are released.
    Expired,
    /// It could not be converted, and is kept aside as it was.
    Quarantined,
}

/// Converts a session that is still a legacy record, since its client is about to use it. Nothing happens
/// to any other.
///
/// # Errors
/// [`Error::Conflict`] for a session in quarantine, or a damaged record of the migration itself.
pub fn touch(storage: &mut Storage, id: SessionId, now: Time) -> Result<()> {
    if storage.sessions.legacy.contains(&id.0) && !held(storage)? {
        let mut state = storage.migration.state()?;
        super::engine::leave_layout_1(storage, &mut state, now)?;
        if state.validated_through.is_none_or(|through| id.0 > through) {
            // The engine has not come to this record yet, and will not find it any more.
            count_source(storage, &mut state, id)?;
        }
        match convert(storage, &mut state, id, now)? {
            Fate::Converted => count(&mut state.already),
            Fate::Expired => count(&mut state.expired),
            Fate::Quarantined => count(&mut state.quarantined),
        }
        storage.migration.set_state(&state);
    }
    match storage.migration.quarantine.get(&id.0)? {
        Some(record) => {
            let detail = format!("kept aside by the migration: {}", record.reason);
            Err(Error::conflict("session", id, detail))
        }
        None => Ok(()),
    }
}

/// Adds a legacy record to what the migration must account for.
///
/// # Errors
/// When the record is gone.
pub fn count_source(
    storage: &Storage,
    state: &mut MigrationState,
    id: SessionId,
) -> std::result::Result<(), StableError> {
    state.digest_before.add(canonical_digest(&raw(storage, id)?));
    count(&mut state.source);
    Ok(())
}

/// Takes one record out of layout 1 and adds what it became to the digest after.
///
/// # Errors
/// A damaged record of the indexes or of the migration itself; nothing was changed.
pub fn convert(storage: &mut Storage, state: &mut MigrationState, id: SessionId, now: Time) -> Result<Fate> {
    let raw = raw(storage, id)?;
    let last_seen = storage.sessions.legacy_activity.get(&id.0)?.map(Time::from_nanos);
    let ttl = storage.config()?.session_ttl_seconds;
    let fate = match split(storage, id, &raw, last_seen) {
        Err(reason) => {
            let record = QuarantineRecord { reason, raw: raw.clone() };
            storage.migration.quarantine.insert(id.0, &record);
            state.digest_after.add(canonical_digest(&quarantined(storage, id)?));
            Fate::Quarantined
        }
        Ok((_, split)) if split.session.session_meta.last_seen.plus_seconds(ttl) <= now => {
            release(storage, id, &split)?;
            state.digest_after.add(canonical_digest(&raw));
            Fate::Expired
        }
        Ok((legacy, split)) => {
            let key = IdemKey::of(&split.meta.capsule_id, &legacy.caller, &legacy.idem);
            let seen = split.session.session_meta.last_seen;
            storage.sessions.sessions.insert(id.0, &SessionRecord::from(&split.session));
            storage.sessions.metas.insert(id.0, &split.meta);
            if storage.index.insert(id, key, legacy.caller, seen) {
                // Layout 1 without indexes has no accounts either.
                storage.usage.reserve_unlimited(
                    legacy.caller,
                    &split.meta.capsule_id,
                    split.session.bytes_expected,
                )?;
            }
            state.digest_after.add(projected_digest(storage, id)?);
            Fate::Converted
        }
    };
    storage.sessions.legacy.remove(&id.0);
    storage.sessions.legacy_activity.remove(&id.0);
    state.cursor = Some(id.0);
    Ok(fate)
}

/// The record and what it becomes, from its own bytes and from the chunks that are really stored.
fn split(
    storage: &Storage,
    id: SessionId,
    raw: &[u8],
    last_seen: Option<Time>,
) -> std::result::Result<(LegacyUploadSession, Split), String> {
    let legacy = LegacyUploadSession::decode(raw)?;
    if legacy.session_id != id.0 {
        return Err(format!("the record under key {id} names session {}", legacy.session_id));
    }
    let stored = storage.blobs.stored_chunks(legacy.chunk_prefix());
    let split = split_sessions::convert(legacy.clone(), stored, last_seen).map_err(|e| e.to_string())?;
    Ok((legacy, split))
}

/// SHA-256 of the record that the stored session and upload meta project back to.
fn projected_digest(storage: &Storage, id: SessionId) -> Result<[u8; 32]> {
    let gone = || Error::Internal(format!("session {id} was written and cannot be read back"));
    let session = storage.sessions.sessions.get(&id.0)?.ok_or_else(gone)?;
    let session = session.into_session().map_err(Error::Internal)?;
    let meta = storage.sessions.metas.get(&id.0)?.ok_or_else(gone)?;
    let legacy =
        split_sessions::revert(id, Split { session, meta }).map_err(|e| Error::Internal(e.to_string()))?;
    Ok(Sha256::digest(legacy.encode()).into())
}

/// SHA-256 of a legacy record in the encoding of this build, so that two encodings of one record agree;
/// of its bytes when it does not decode.
fn canonical_digest(raw: &[u8]) -> [u8; 32] {
    match LegacyUploadSession::decode(raw) {
        Ok(legacy) => Sha256::digest(legacy.encode()).into(),
        Err(_) => Sha256::digest(raw).into(),
    }
}

fn release(storage: &mut Storage, id: SessionId, split: &Split) -> Result<()> {
    let Split { session, meta } = split;
    let owner =
        candid::Principal::try_from_slice(&session.owner).map_err(|e| Error::Internal(e.to_string()))?;
    forget_session(storage, id, owner, session, &meta.capsule_id)?;
    storage.blobs.release(crate::blob::ChunkPrefix::of(&meta.provisional_memory_id, id));
    Ok(())
}

fn raw(storage: &Storage, id: SessionId) -> std::result::Result<Vec<u8>, StableError> {
    storage.sessions.legacy.get_raw(&id.0).ok_or_else(|| StableError {
        name: "legacy session",
        key: id.to_string(),
        reason: "it is not there any more".into(),
    })
}

fn quarantined(storage: &Storage, id: SessionId) -> Result<Vec<u8>> {
    let record = storage.migration.quarantine.get(&id.0)?;
    Ok(record.map(|record| record.raw).unwrap_or_default())
}
