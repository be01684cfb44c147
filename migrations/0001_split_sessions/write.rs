//! Converting, releasing or quarantining one record in the storage, and reading back what was written.

use candid::Principal;

use super::class::Class;
use super::examine::{Decision, Examined, KeyClaim, examine};
use super::{LegacyUploadSession, Split, revert};
use crate::api::{Error, Result, SessionPath};
use crate::blob::{ChunkPrefix, Place};
use crate::migrate::{Fate, QuarantineRecord};
use crate::session::{Chunking, SessionId, Time};
use crate::stable::StableError;
use crate::storage::Storage;
use crate::upload::Upload;
use crate::upload::{
    Ended, Event, LegacySession, Outcome, SessionRecord, UploadMeta, forget_session, leave_receipt,
    release_payload,
};

/// What [`convert_record`] has done with a record.
pub enum Conversion {
    /// A session of layout 2 that is written and must still be read back.
    Written(Box<Split>),
    /// A final outcome. If the record was converted, it has been read back already.
    Settled(Fate),
}

/// Converts, releases or quarantines a record, according to its class. An error leaves everything unchanged.
pub fn convert_record(
    storage: &mut Storage,
    legacy: &LegacySession,
    now: Time,
) -> Result<(Class, Conversion)> {
    let id = SessionId(legacy.id);
    let Examined { class, decision } = examine(storage, legacy, now)?;
    let fate = match decision {
        Decision::Convert { split, key: None, .. } => {
            write_split(storage, id, &split);
            return Ok((class, Conversion::Written(split)));
        }
        Decision::Convert { caller, split, key: Some(key) } => {
            Fate::Converted(write_indexed(storage, legacy, caller, &split, key)?)
        }
        Decision::Release { caller, split } => {
            let Split { session, meta } = *split;
            let upload = Upload { session, meta, path: SessionPath::Compat };
            let limits = storage.config()?;
            // `expires_at`: when the session was idle for too long or, if that was earlier, reached its maximum age.
            let receipt_expires_at = upload.expires_at(&limits).plus_seconds(limits.session_ttl_seconds);
            let Upload { session, meta, .. } = &upload;
            let hash = storage.payload_of(id)?.hash.algorithm();
            let place = Place::Chunks(ChunkPrefix::of(&meta.provisional_memory_id, id));
            let key = forget_session(storage, id, caller, session, &meta.capsule_id, |storage| {
                release_payload(storage, session, meta, &place)
            })?;
            if receipt_expires_at > now {
                let ended = Ended { owner: caller, key, meta, hash, receipt_expires_at };
                leave_receipt(storage, id, &ended, Outcome::Expired);
            }
            storage.counters.count_event(SessionPath::Compat, Event::Expired);
            Fate::Released(LegacyUploadSession::digest_of_stored(&legacy.raw))
        }
        Decision::Reject { legacy: decoded, reason } => {
            let was_indexed = decoded.as_ref().map(|decoded| storage.index.contains(id, decoded.caller));
            withdraw(storage, id, decoded.as_deref(), legacy.activity)?;
            Fate::Quarantined(QuarantineRecord {
                was_indexed,
                ..new_quarantine_record(legacy.clone(), reason)
            })
        }
    };
    Ok((class, Conversion::Settled(fate)))
}

/// Does the same as [`convert_record`], and immediately reads back what was written.
pub fn convert_and_read_back(
    storage: &mut Storage,
    legacy: &LegacySession,
    now: Time,
) -> Result<(Class, Fate)> {
    let (class, conversion) = convert_record(storage, legacy, now)?;
    let fate = match conversion {
        Conversion::Settled(fate) => fate,
        Conversion::Written(split) => Fate::Converted(read_back_at_once(storage, legacy, &split)?),
    };
    Ok((class, fate))
}

/// Returns the quarantine record of a session. Its field `beside` (in the engine: a number that the canister stored
/// separately for this unit) is the time of the session's last activity, which layout 1 keeps in a table of its own.
pub fn new_quarantine_record(legacy: LegacySession, reason: String) -> QuarantineRecord {
    let LegacySession { id: _, raw, activity } = legacy;
    QuarantineRecord { beside: activity.map(Time::as_nanos), ..QuarantineRecord::new(reason, raw) }
}

/// Returns the digest of the legacy record, if the stored session is the one written and converts back to that record;
/// otherwise an error.
pub fn read_back(legacy: &LegacySession, written: &Split, stored: Split) -> Result<[u8; 32]> {
    let id = legacy.id;
    let is_written = stored.session == written.session;
    let digest = revert_to_legacy(SessionId(id), stored)?.digest_if_decoded_from(&legacy.raw);
    digest
        .filter(|_| is_written)
        .ok_or_else(|| Error::Internal(format!("session {id} is not stored as it was written")))
}

/// Removes what [`Conversion::Written`] has written.
pub fn remove_written(storage: &mut Storage, id: SessionId) {
    storage.sessions.sessions.remove(&id.0);
    storage.sessions.metas.remove(&id.0);
}

/// Returns a session of layout 2, from both of its records.
pub fn read_stored(storage: &Storage, id: SessionId) -> Result<Split> {
    join_halves(id, storage.sessions.sessions.get(&id.0), storage.sessions.metas.get(&id.0))
}

/// Returns a session of layout 2, given what its two tables returned. If one record is missing, that is an error.
pub fn join_halves(
    id: SessionId,
    session: std::result::Result<Option<SessionRecord>, StableError>,
    meta: std::result::Result<Option<UploadMeta>, StableError>,
) -> Result<Split> {
    let incomplete = || Error::Internal(format!("session {id} does not have both of its records"));
    let session = session?.ok_or_else(incomplete)?.into_session().map_err(Error::Internal)?;
    Ok(Split { session, meta: meta?.ok_or_else(incomplete)? })
}

/// Returns the legacy record that a stored session of layout 2 converts back to.
#[cfg(test)]
pub(super) fn read_as_legacy(storage: &Storage, id: SessionId) -> Result<LegacyUploadSession> {
    revert_to_legacy(id, read_stored(storage, id)?)
}

fn revert_to_legacy(id: SessionId, split: Split) -> Result<LegacyUploadSession> {
    revert(id, split).map_err(|error| Error::Internal(format!("session {id}: {error}")))
}

/// Writes both records of a session of layout 2, without reading them back.
fn write_split(storage: &mut Storage, id: SessionId, split: &Split) {
    storage.sessions.sessions.insert(id.0, &SessionRecord::from(&split.session));
    storage.sessions.metas.insert(id.0, &split.meta);
}

fn read_back_at_once(storage: &mut Storage, legacy: &LegacySession, split: &Split) -> Result<[u8; 32]> {
    let id = SessionId(legacy.id);
    let digest = read_stored(storage, id).and_then(|stored| read_back(legacy, split, stored));
    if digest.is_err() {
        remove_written(storage, id);
    }
    digest
}

/// Writes and reads back a session that is in no index and on no account, since the first public release had neither;
/// then adds it to both.
fn write_indexed(
    storage: &mut Storage,
    legacy: &LegacySession,
    caller: Principal,
    split: &Split,
    key: KeyClaim,
) -> Result<[u8; 32]> {
    let Split { session, meta } = split;
    let id = SessionId(legacy.id);
    write_split(storage, id, split);
    let digest = read_back_at_once(storage, legacy, split)?;
    if let Err(error) = storage.usage.reserve_unlimited(caller, &meta.capsule_id, session.bytes_expected) {
        remove_written(storage, id);
        return Err(error.into());
    }
    storage.promises.add(id, session.bytes_missing());
    let last_seen = session.session_meta.last_seen;
    match key {
        KeyClaim::Free(key) | KeyClaim::TakesOver(key) => {
            storage.index.insert(id, key, caller, last_seen);
        }
        KeyClaim::Lost => {
            storage.index.insert_without_key(id, caller, last_seen);
        }
    }
    Ok(digest)
}

/// Returns how many bytes of the file are in no stored chunk.
pub fn bytes_missing(storage: &Storage, legacy: &LegacyUploadSession) -> u64 {
    let bytes = legacy.asset_metadata.bytes();
    let stored = storage.blobs.stored_chunks(legacy.chunk_prefix());
    bytes.saturating_sub(Chunking::new(bytes, legacy.chunk_size).len_of(&stored))
}

/// Removes a quarantined record from the accounts and indexes, so that it neither expires nor makes a list fail.
/// `legacy` is `None` if the record was not read, or does not decode: then only its activity is removed. The
/// idempotency key stays, so that a repeated begin does not create a second session.
pub fn withdraw(
    storage: &mut Storage,
    id: SessionId,
    legacy: Option<&LegacyUploadSession>,
    activity: Option<Time>,
) -> Result<()> {
    match legacy {
        Some(legacy) => {
            let last_seen = activity.unwrap_or(Time::from_nanos(legacy.created_at));
            if storage.index.contains(id, legacy.caller) {
                storage.usage.release_reserved(
                    legacy.caller,
                    &legacy.capsule_id,
                    legacy.asset_metadata.bytes(),
                )?;
                storage.promises.subtract(id, bytes_missing(storage, legacy));
            }
            storage.index.remove_keeping_key(id, legacy.caller, last_seen);
        }
        None => {
            if let Some(last_seen) = activity {
                storage.index.remove_activity(id, last_seen);
            }
        }
    }
    Ok(())
}
