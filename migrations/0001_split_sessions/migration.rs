//! The migration as the engine sees it: a unit is a session, by its id.

use candid::Principal;

use super::class::{CLASSES, Class, TimeUnit};
use super::convert::FIELDS;
use super::{LegacyUploadSession, Split, Unconvertible, convert, revert};
use crate::api::{Error, Result, SessionPath};
use crate::blob::ChunkPrefix;
use crate::migrate::{Advance, Classified, Fate, Migration, Plan, Reversal, Reverted, Work, held};
use crate::session::{SessionId, Time};
use crate::stable::StableError;
use crate::stable::layout::Layout;
use crate::storage::Storage;
use crate::upload::path::{BUILD, FEATURES};
use crate::upload::{Event, IdemKey, RawRecord, SessionRecord, forget_session};

/// Migration 1.
#[derive(Clone, Copy, Debug)]
pub struct SplitSessions;

static PLAN: Plan = Plan {
    number: 1,
    name: "split sessions",
    from: Layout::LEGACY,
    to: Layout::SPLIT,
    classes: CLASSES,
    write_instructions: 400_000,
    fields: FIELDS,
};

/// What a record is, and what becomes of it.
struct Examined {
    class: Class,
    verdict: Verdict,
}

enum Verdict {
    Convert { caller: Principal, split: Box<Split>, key: Key },
    Release { caller: Principal, split: Box<Split> },
    Reject { legacy: Option<Box<LegacyUploadSession>>, reason: String },
}

/// The idempotency key of a record that is converted.
enum Key {
    /// The indexes have the session already.
    Indexed,
    /// It leads to no session in flight.
    Free(IdemKey),
    /// It led to a session that was begun before.
    TakenFrom(IdemKey),
    /// It leads to a session that was begun later.
    Lost,
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
        Ok(LegacyUploadSession::digest_of_stored(&raw(storage, key)?))
    }

    fn classify(&self, storage: &Storage, key: u64, now: Time) -> Result<Classified> {
        let noted = storage.sessions.legacy_activity.get(&key)?.map(Time::from_nanos);
        let raw = raw(storage, key)?;
        let Examined { class, verdict } = examine(storage, SessionId(key), &raw, noted, now)?;
        let reason = match verdict {
            Verdict::Reject { reason, .. } => Some(reason),
            Verdict::Convert { .. } | Verdict::Release { .. } => None,
        };
        Ok(Classified { class: class.index(), reason })
    }

    fn weigh_from(
        &self,
        storage: &Storage,
        after: Option<u64>,
        limit: usize,
        each: &mut dyn FnMut(u64, [u8; 32]) -> bool,
    ) -> Result<()> {
        // One walk through the table instead of one for each record.
        for (key, raw) in storage.sessions.legacy.raw_after(after.as_ref()).take(limit) {
            if !each(key, LegacyUploadSession::digest_of_stored(&raw)) {
                break;
            }
        }
        Ok(())
    }

    fn digest_of_quarantined(&self, raw: &[u8]) -> [u8; 32] {
        LegacyUploadSession::digest_of_stored(raw)
    }

    fn convert(&self, storage: &mut Storage, key: u64, work: &mut Work<'_>) -> Result<Advance> {
        // Taken out at once: looking first and removing later would cost another walk through each table.
        let noted = storage.sessions.legacy_activity.take(&key)?;
        let Some(raw) = storage.sessions.legacy.take_raw(&key) else {
            return Ok(Advance::Gone);
        };
        let settled = settle(storage, SessionId(key), &raw, noted.map(Time::from_nanos), work.now);
        let keeps_activity = !matches!(settled, Ok((_, Fate::Converted(_) | Fate::Released(_))));
        if let (Some(noted), true) = (noted, keeps_activity) {
            storage.sessions.legacy_activity.insert(key, &noted);
        }
        match settled {
            Ok((class, fate)) => Ok(Advance::Done { class: class.index(), fate }),
            Err(error) => {
                storage.sessions.legacy.insert(key, &RawRecord(raw));
                Err(error)
            }
        }
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
        let last_seen = split.session.session_meta.last_seen;
        let indexed = storage.index.contains(id, legacy.caller) && storage.index.is_active_at(id, last_seen);
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

/// Makes of a record what its class says. An error leaves everything as it was, but for the record itself, which is
/// the caller's.
fn settle(
    storage: &mut Storage,
    id: SessionId,
    raw: &[u8],
    noted: Option<Time>,
    now: Time,
) -> Result<(Class, Fate)> {
    let Examined { class, verdict } = examine(storage, id, raw, noted, now)?;
    let fate = match verdict {
        Verdict::Convert { caller, split, key } => Fate::Converted(write(storage, id, caller, &split, key)?),
        Verdict::Release { caller, split } => {
            let Split { session, meta } = &*split;
            forget_session(storage, id, caller, session, &meta.capsule_id)?;
            storage.counters.session(SessionPath::Compat, Event::Expired);
            storage.blobs.release(ChunkPrefix::of(&meta.provisional_memory_id, id));
            Fate::Released(LegacyUploadSession::digest_of_stored(raw))
        }
        Verdict::Reject { legacy, reason } => {
            withdraw(storage, id, legacy.as_deref(), noted)?;
            Fate::Quarantined { reason, raw: raw.to_vec() }
        }
    };
    Ok((class, fate))
}

/// The class of a record and what becomes of it, from its own bytes and from the chunks that are really stored.
fn examine(storage: &Storage, id: SessionId, raw: &[u8], noted: Option<Time>, now: Time) -> Result<Examined> {
    let legacy = match LegacyUploadSession::decode(raw) {
        Ok(legacy) => legacy,
        Err(error) => {
            let verdict = Verdict::Reject { legacy: None, reason: error.to_string() };
            return Ok(Examined { class: Class::of_undecodable(&error), verdict });
        }
    };
    let ttl = storage.config()?.session_ttl_seconds;
    let unit = TimeUnit::of(legacy.created_at, now);
    let last_seen = noted.unwrap_or_else(|| unit.read(legacy.created_at, now));
    let chunks = storage.blobs.stored_chunks(legacy.chunk_prefix());
    let caller = legacy.caller;
    let split = match convert(id, legacy, chunks, Some(last_seen)) {
        Ok(split) => Box::new(split),
        Err(error) => {
            let class = Class::of_unconvertible(&error);
            let legacy = LegacyUploadSession::decode(raw).ok().map(Box::new);
            return Ok(Examined { class, verdict: Verdict::Reject { legacy, reason: error.to_string() } });
        }
    };
    if last_seen.plus_seconds(ttl) <= now {
        return Ok(Examined { class: Class::Expired, verdict: Verdict::Release { caller, split } });
    }
    // What the legacy build has indexed has a key that leads to it, or has lost it to a later session.
    let key = match storage.index.contains(id, caller) {
        true => Key::Indexed,
        false => {
            let key = IdemKey::of(&split.meta.capsule_id, &caller, &split.session.session_meta.idem);
            let tables = &storage.sessions;
            let lives = |id: &SessionId| tables.sessions.contains(&id.0) || tables.legacy.contains(&id.0);
            match storage.index.find(key)?.filter(|other| *other != id && lives(other)) {
                None => Key::Free(key),
                Some(other) if other < id => Key::TakenFrom(key),
                Some(_) => Key::Lost,
            }
        }
    };
    let leads_elsewhere = matches!(key, Key::TakenFrom(_) | Key::Lost);
    let class = Class::of_convertible(&split, unit, leads_elsewhere);
    Ok(Examined { class, verdict: Verdict::Convert { caller, split, key } })
}

/// Writes what a record becomes, and gives the digest of the record that this projects back to, read from what is
/// stored.
fn write(
    storage: &mut Storage,
    id: SessionId,
    caller: Principal,
    split: &Split,
    key: Key,
) -> Result<[u8; 32]> {
    let Split { session, meta } = split;
    storage.sessions.sessions.insert(id.0, &SessionRecord::from(session));
    storage.sessions.metas.insert(id.0, meta);
    let read_back = stored(storage, id).and_then(|back| {
        let same = back == *split;
        same.then_some(back)
            .ok_or_else(|| Error::Internal(format!("session {id} is not stored as it was written")))
    });
    let accounted = read_back.and_then(|back| {
        let back = projection(id, back)?;
        if !matches!(key, Key::Indexed) {
            // Layout 1 without indexes has no accounts either.
            storage.usage.reserve_unlimited(caller, &meta.capsule_id, session.bytes_expected)?;
        }
        Ok(back.digest())
    });
    if accounted.is_err() {
        storage.sessions.sessions.remove(&id.0);
        storage.sessions.metas.remove(&id.0);
        return accounted;
    }
    let seen = session.session_meta.last_seen;
    match key {
        Key::Indexed => {}
        Key::Free(key) | Key::TakenFrom(key) => {
            storage.index.insert(id, key, caller, seen);
        }
        Key::Lost => {
            storage.index.insert_without_key(id, caller, seen);
        }
    }
    accounted
}

/// The legacy record that a session of layout 2 projects back to, as it is stored.
#[cfg(test)]
pub(super) fn projected(storage: &Storage, id: SessionId) -> Result<LegacyUploadSession> {
    projection(id, stored(storage, id)?)
}

fn projection(id: SessionId, split: Split) -> Result<LegacyUploadSession> {
    revert(id, split).map_err(|error| Error::Internal(format!("session {id}: {error}")))
}

/// Takes a record that is put aside out of the sessions in flight: it must neither expire nor stop a list. Its key
/// stays, so that a repeated begin does not make a second session of it.
fn withdraw(
    storage: &mut Storage,
    id: SessionId,
    legacy: Option<&LegacyUploadSession>,
    noted: Option<Time>,
) -> Result<()> {
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
