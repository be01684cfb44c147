//! The migration as the engine sees it: a unit is a session, by its id.

use sha2::{Digest, Sha256};

use super::class::{CLASSES, Class, TimeUnit};
use super::convert::FIELDS;
use super::{LegacyUploadSession, Split, Unconvertible, convert, revert};
use crate::api::{Error, Result};
use crate::migrate::{Advance, Classified, Fate, Migration, Plan, Reversal, Reverted, Work, held};
use crate::session::{SessionId, Time};
use crate::stable::StableError;
use crate::stable::layout::Layout;
use crate::storage::Storage;
use crate::upload::path::{BUILD, FEATURES};
use crate::upload::{IdemKey, RawRecord, SessionRecord, forget_session};

/// Migration 1.
#[derive(Clone, Copy, Debug)]
pub struct SplitSessions;

static PLAN: Plan = Plan {
    number: 1,
    name: "split sessions",
    from: Layout::LEGACY,
    to: Layout::SPLIT,
    classes: CLASSES,
    fields: FIELDS,
};

/// What a record is, and what becomes of it.
struct Examined {
    class: Class,
    verdict: Verdict,
}

enum Verdict {
    Convert { legacy: Box<LegacyUploadSession>, split: Box<Split>, keeps_key: bool },
    Release { legacy: Box<LegacyUploadSession>, split: Box<Split> },
    Reject { legacy: Option<Box<LegacyUploadSession>>, reason: String },
}

impl Migration for SplitSessions {
    fn plan(&self) -> &'static Plan {
        &PLAN
    }

    fn is_held(&self, storage: &Storage) -> Result<bool> {
        Ok(held(storage)?)
    }

    fn sources(&self, storage: &Storage, after: Option<u64>, limit: usize) -> Vec<u64> {
        storage.sessions.legacy.keys_after(after.as_ref()).take(limit).collect()
    }

    fn is_source(&self, storage: &Storage, key: u64) -> bool {
        storage.sessions.legacy.contains(&key)
    }

    fn weigh(&self, storage: &Storage, key: u64) -> Result<[u8; 32]> {
        Ok(canonical_digest(&raw(storage, key)?))
    }

    fn classify(&self, storage: &Storage, key: u64, now: Time) -> Result<Classified> {
        let Examined { class, verdict } = examine(storage, SessionId(key), &raw(storage, key)?, now)?;
        let reason = match verdict {
            Verdict::Reject { reason, .. } => Some(reason),
            Verdict::Convert { .. } | Verdict::Release { .. } => None,
        };
        Ok(Classified { class: class.index(), reason })
    }

    fn digest_of_quarantined(&self, raw: &[u8]) -> [u8; 32] {
        canonical_digest(raw)
    }

    fn convert(&self, storage: &mut Storage, key: u64, work: &mut Work<'_>) -> Result<Advance> {
        let id = SessionId(key);
        let Some(raw) = storage.sessions.legacy.get_raw(&key) else {
            return Ok(Advance::Gone);
        };
        let Examined { class, verdict } = examine(storage, id, &raw, work.now)?;
        let fate = match verdict {
            Verdict::Convert { legacy, split, keeps_key } => {
                let digest = write(storage, id, &legacy, &split, keeps_key)?;
                storage.sessions.legacy_activity.remove(&key);
                Fate::Converted(digest)
            }
            Verdict::Release { legacy, split } => {
                let Split { session, meta } = &*split;
                forget_session(storage, id, legacy.caller, session, &meta.capsule_id)?;
                storage.blobs.release(legacy.chunk_prefix());
                storage.sessions.legacy_activity.remove(&key);
                Fate::Released(canonical_digest(&raw))
            }
            Verdict::Reject { legacy, reason } => {
                withdraw(storage, id, legacy.as_deref())?;
                Fate::Quarantined { reason, raw }
            }
        };
        storage.sessions.legacy.remove(&key);
        Ok(Advance::Done { class: class.index(), fate })
    }

    fn restore(&self, storage: &mut Storage, key: u64, raw: Vec<u8>) -> Result<()> {
        let id = SessionId(key);
        let noted = storage.sessions.legacy_activity.get(&key)?.map(Time::from_nanos);
        match LegacyUploadSession::decode(&raw) {
            Ok(legacy) => {
                let last_seen = noted.unwrap_or(Time::from_nanos(legacy.created_at));
                if storage.index.insert_without_key(id, legacy.caller, last_seen) {
                    let bytes = legacy.asset_metadata.bytes();
                    storage.usage.reserve_unlimited(legacy.caller, &legacy.capsule_id, bytes)?;
                }
            }
            Err(_) => {
                if let Some(last_seen) = noted {
                    storage.index.touch(id, Time::default(), last_seen);
                }
            }
        }
        storage.sessions.legacy.insert(key, &RawRecord(raw));
        Ok(())
    }

    fn take_out(&self, storage: &mut Storage, key: u64) -> Result<Vec<u8>> {
        Ok(storage.sessions.legacy.take_raw(&key).unwrap_or_default())
    }

    fn trapped_class(&self) -> usize {
        Class::CutOff.index()
    }

    fn targets(&self, storage: &Storage, after: Option<u64>, limit: usize) -> Vec<u64> {
        storage.sessions.sessions.keys_after(after.as_ref()).take(limit).collect()
    }

    fn check(&self, storage: &Storage, key: u64) -> Result<Option<String>> {
        if !storage.sessions.sessions.contains(&key) {
            return Ok(None);
        }
        let id = SessionId(key);
        let split = match stored(storage, id) {
            Ok(split) => split,
            Err(error) => return Ok(Some(error.to_string())),
        };
        let legacy = match leads_back(storage, id, &split) {
            Ok(legacy) => legacy,
            Err(problem) => return Ok(Some(problem)),
        };
        let indexed = storage.index.contains(id, legacy.caller);
        Ok((!indexed).then(|| format!("session {id} is in no index")))
    }

    fn written_since(&self, storage: &Storage, since: Time, limit: usize) -> Vec<u64> {
        storage.index.active_since(since, limit).into_iter().map(|id| id.0).collect()
    }

    fn reversal(&self) -> Option<&dyn Reversal> {
        Some(self)
    }
}

impl Reversal for SplitSessions {
    fn allowed(&self) -> std::result::Result<(), String> {
        if FEATURES.contains(&"compat") {
            return Ok(());
        }
        Err(format!(
            "the {BUILD} build cannot serve layout 1: upgrade to the staged build, and roll back there"
        ))
    }

    fn revert(&self, storage: &mut Storage, key: u64, _: &mut Work<'_>) -> Result<Reverted> {
        let id = SessionId(key);
        let split = stored(storage, id)?;
        let last_seen = split.session.session_meta.last_seen;
        let legacy = match leads_back(storage, id, &split) {
            Ok(legacy) => legacy,
            Err(problem) => return Ok(Reverted::Refused(problem)),
        };
        storage.sessions.legacy.insert(key, &RawRecord(legacy.encode()));
        storage.sessions.legacy_activity.insert(key, &last_seen.as_nanos());
        storage.sessions.sessions.remove(&key);
        storage.sessions.metas.remove(&key);
        Ok(Reverted::Done)
    }
}

/// The class of a record and what becomes of it, from its own bytes and from the chunks that are really stored.
fn examine(storage: &Storage, id: SessionId, raw: &[u8], now: Time) -> Result<Examined> {
    let legacy = match LegacyUploadSession::decode(raw) {
        Ok(legacy) => Box::new(legacy),
        Err(error) => {
            let verdict = Verdict::Reject { legacy: None, reason: error.to_string() };
            return Ok(Examined { class: Class::of_undecodable(&error), verdict });
        }
    };
    let noted = storage.sessions.legacy_activity.get(&id.0)?.map(Time::from_nanos);
    let ttl = storage.config()?.session_ttl_seconds;
    let unit = TimeUnit::of(legacy.created_at, now);
    let last_seen = noted.unwrap_or_else(|| unit.read(legacy.created_at, now));
    let chunks = storage.blobs.stored_chunks(legacy.chunk_prefix());
    let split = match convert(id, (*legacy).clone(), chunks, Some(last_seen)) {
        Ok(split) => Box::new(split),
        Err(error) => {
            let class = Class::of_unconvertible(&error);
            let verdict = Verdict::Reject { legacy: Some(legacy), reason: error.to_string() };
            return Ok(Examined { class, verdict });
        }
    };
    if last_seen.plus_seconds(ttl) <= now {
        return Ok(Examined { class: Class::Expired, verdict: Verdict::Release { legacy, split } });
    }
    let key = IdemKey::of(&legacy.capsule_id, &legacy.caller, &legacy.idem);
    let other = storage.index.find(key)?.filter(|other| *other != id);
    let other = other.filter(|other| {
        storage.sessions.sessions.contains(&other.0) || storage.sessions.legacy.contains(&other.0)
    });
    let class = Class::of_convertible(&legacy, &split.session, unit, other.is_some());
    let keeps_key = other.is_none_or(|other| other < id);
    Ok(Examined { class, verdict: Verdict::Convert { legacy, split, keeps_key } })
}

/// Writes what a record becomes, and gives the digest of the record that this projects back to, read from what is
/// stored.
fn write(
    storage: &mut Storage,
    id: SessionId,
    legacy: &LegacyUploadSession,
    split: &Split,
    keeps_key: bool,
) -> Result<[u8; 32]> {
    let Split { session, meta } = split;
    storage.sessions.sessions.insert(id.0, &SessionRecord::from(session));
    storage.sessions.metas.insert(id.0, meta);
    let read_back = stored(storage, id).and_then(|split| {
        revert(id, split).map_err(|error| Error::Internal(format!("session {id}: {error}")))
    });
    let accounted = read_back.and_then(|back| {
        if !storage.index.contains(id, legacy.caller) {
            // Layout 1 without indexes has no accounts either.
            storage.usage.reserve_unlimited(legacy.caller, &meta.capsule_id, session.bytes_expected)?;
        }
        Ok(canonical_digest(&back.encode()))
    });
    if accounted.is_err() {
        storage.sessions.sessions.remove(&id.0);
        storage.sessions.metas.remove(&id.0);
        return accounted;
    }
    let seen = session.session_meta.last_seen;
    if keeps_key {
        let key = IdemKey::of(&meta.capsule_id, &legacy.caller, &legacy.idem);
        storage.index.insert(id, key, legacy.caller, seen);
    } else {
        storage.index.insert_without_key(id, legacy.caller, seen);
    }
    accounted
}

/// Takes a record that is put aside out of the sessions in flight: it must neither expire nor stop a list. Its key
/// stays, so that a repeated begin does not make a second session of it.
fn withdraw(storage: &mut Storage, id: SessionId, legacy: Option<&LegacyUploadSession>) -> Result<()> {
    let noted = storage.sessions.legacy_activity.get(&id.0)?.map(Time::from_nanos);
    match legacy {
        Some(legacy) => {
            let last_seen = noted.unwrap_or(Time::from_nanos(legacy.created_at));
            if storage.index.contains(id, legacy.caller) {
                let bytes = legacy.asset_metadata.bytes();
                storage.usage.end(legacy.caller, bytes)?;
                storage.usage.free(&legacy.capsule_id, bytes)?;
            }
            storage.index.end(id, legacy.caller, last_seen);
        }
        None => {
            if let Some(last_seen) = noted {
                storage.index.set_aside(id, last_seen);
            }
        }
    }
    Ok(())
}

/// A session of layout 2, both halves.
fn stored(storage: &Storage, id: SessionId) -> Result<Split> {
    let gone = || Error::Internal(format!("session {id} has only one of its two records"));
    let session = storage.sessions.sessions.get(&id.0)?.ok_or_else(gone)?;
    let session = session.into_session().map_err(Error::Internal)?;
    let meta = storage.sessions.metas.get(&id.0)?.ok_or_else(gone)?;
    Ok(Split { session, meta })
}

/// The legacy record of a session of layout 2, if converting that gives the same session again.
fn leads_back(
    storage: &Storage,
    id: SessionId,
    split: &Split,
) -> std::result::Result<LegacyUploadSession, String> {
    let in_words = |error: Unconvertible| format!("session {id}: {error}");
    let legacy = revert(id, split.clone()).map_err(in_words)?;
    let chunks = storage.blobs.stored_chunks(legacy.chunk_prefix());
    let last_seen = split.session.session_meta.last_seen;
    let again = convert(id, legacy.clone(), chunks, Some(last_seen)).map_err(in_words)?;
    if again == *split {
        return Ok(legacy);
    }
    Err(format!("session {id}: layout 1 would not lead back to it"))
}

fn raw(storage: &Storage, key: u64) -> Result<Vec<u8>> {
    let gone = || StableError {
        name: "legacy session",
        key: key.to_string(),
        reason: "it is not there any more".into(),
    };
    Ok(storage.sessions.legacy.get_raw(&key).ok_or_else(gone)?)
}

/// SHA-256 of a legacy record in the encoding of this build, so that two encodings of one record agree;
/// of its bytes when it does not decode.
fn canonical_digest(raw: &[u8]) -> [u8; 32] {
    match LegacyUploadSession::decode(raw) {
        Ok(legacy) => Sha256::digest(legacy.encode()).into(),
        Err(_) => Sha256::digest(raw).into(),
    }
}
