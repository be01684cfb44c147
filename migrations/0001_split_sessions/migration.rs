//! Implements migration 1 for the engine: a unit is a session, its key the session id.

use candid::Principal;

use super::class::{CLASSES, Class};
use super::convert::FIELDS;
use super::examine::{Decision, Examined, examine};
use super::left;
use super::write::{bytes_missing, convert_and_read_back, new_quarantine_record, read_stored, withdraw};
use super::{LegacyUploadSession, Split, Unconvertible, convert, revert};
use crate::api::{Error, Result};
use crate::build_profile::{BUILD, SERVES_LAYOUT_1};
use crate::migrate::{
    Advance, Bulk, Classified, EngineTime, Migration, Plan, QuarantineRecord, Reversal, Reverted, Work,
    waits_for_compat_path,
};
use crate::session::{SessionId, Time};
use crate::stable::StableError;
use crate::stable::layout::Layout;
use crate::storage::Storage;
use crate::upload::LegacySession;

/// The migration from layout 1 to layout 2.
#[derive(Clone, Copy, Debug)]
pub struct SplitSessions;

static PLAN: Plan = Plan {
    number: 1,
    name: "split sessions",
    from: Layout::LEGACY.number(),
    to: Layout::SPLIT.number(),
    classes: CLASSES,
    fields: FIELDS,
};

/// Instructions for writing a record and reading it back, from the figures in `docs/migration-costs.md`;
/// `tests/migration_dry_run.rs` compares the dry run's estimate with what the migration then uses.
const WRITE_INSTRUCTIONS: u64 = 100_000;

/// Highest key that counts as a session id when the counter is raised. A higher key is damaged: no counter has issued
/// such an id.
const MAX_ID: u64 = u64::MAX >> 1;

impl SplitSessions {
    /// Returns whether a session that is, or was, a legacy record belongs to this principal, according to the indexes,
    /// the record, or its quarantine record.
    pub fn is_owned_by(&self, storage: &Storage, key: u64, who: Principal) -> Result<bool> {
        if storage.index.contains(SessionId(key), who) {
            return Ok(true);
        }
        let (raw, owner) = match storage.sessions.legacy.get_raw(&key) {
            None => {
                let quarantined = storage.migration.quarantine.get_or_damaged(PLAN.number, key);
                quarantined.map(|quarantined| (quarantined.raw, quarantined.owner)).unzip()
            }
            raw => (raw, None),
        };
        if owner.flatten().is_some_and(|owner| owner == who.as_slice()) {
            return Ok(true);
        }
        let legacy = raw.and_then(|raw| LegacyUploadSession::decode(&raw).ok());
        Ok(legacy.is_some_and(|legacy| legacy.caller == who))
    }
}

impl Migration<Storage> for SplitSessions {
    fn plan(&self) -> &'static Plan {
        &PLAN
    }

    fn held_by(&self, storage: &Storage) -> Result<Option<String>> {
        Ok(waits_for_compat_path(storage)?.then(|| "the compat path is still in use".into()))
    }

    /// Raises the session counter, if the legacy build has stored sessions under ids above it: sessions begun from now
    /// on must have higher ids than all of these.
    fn prepare(&self, storage: &mut Storage) -> Result<()> {
        let ids = &mut storage.sessions.ids;
        let last = storage.sessions.legacy.last_id(MAX_ID);
        if let Some(last) = last
            && ids.last()? < last
        {
            ids.continue_after(last);
        }
        Ok(())
    }

    fn sources(&self, storage: &Storage, after: Option<u64>, limit: usize) -> Result<Vec<u64>> {
        Ok(storage.sessions.legacy.keys_after(after).take(limit).collect())
    }

    fn digest(&self, storage: &Storage, key: u64) -> Result<Option<[u8; 32]>> {
        Ok(storage.sessions.legacy.get_raw(&key).map(|raw| LegacyUploadSession::digest_of_stored(&raw)))
    }

    fn classify(&self, storage: &Storage, key: u64, now: EngineTime) -> Result<Classified> {
        let activity = storage.sessions.legacy.activity(&key)?;
        let legacy = LegacySession { id: key, raw: read_raw(storage, key)?, activity };
        let Examined { class, decision } = examine(storage, &legacy, now.into())?;
        let reason = match decision {
            Decision::Reject { reason, .. } => Some(reason),
            Decision::Convert { .. } | Decision::Release { .. } => None,
        };
        Ok(Classified { class: class.index(), reason })
    }

    fn digest_from(
        &self,
        storage: &Storage,
        after: Option<u64>,
        limit: usize,
        each: &mut dyn FnMut(u64, [u8; 32]) -> bool,
    ) -> Result<()> {
        // One scan of the table instead of a look-up for each record.
        for (key, raw) in storage.sessions.legacy.raw_after(after).take(limit) {
            if !each(key, LegacyUploadSession::digest_of_stored(&raw)) {
                break;
            }
        }
        Ok(())
    }

    fn cost_beyond_digest(&self, _: &Storage, _: u64) -> Result<u64> {
        Ok(WRITE_INSTRUCTIONS)
    }

    fn digest_of_quarantined(&self, raw: &[u8]) -> [u8; 32] {
        LegacyUploadSession::digest_of_stored(raw)
    }

    fn convert(&self, storage: &mut Storage, key: u64, work: &mut Work<'_>) -> Result<Advance> {
        let Some(legacy) = storage.sessions.legacy.take(key)? else {
            return Ok(Advance::Gone);
        };
        match convert_and_read_back(storage, &legacy, work.now.into()) {
            Ok((class, fate)) => Ok(Advance::Done { class: class.index(), fate }),
            Err(error) => {
                storage.sessions.legacy.insert_session(legacy);
                Err(error)
            }
        }
    }

    fn restore(&self, storage: &mut Storage, key: u64, quarantined: QuarantineRecord) -> Result<()> {
        let id = SessionId(key);
        if storage.sessions.legacy.is_up_to_mark(key) {
            let why = "the records around it are still being converted: retry it afterwards";
            return Err(Error::conflict("session", id, why));
        }
        let QuarantineRecord { reason: _, raw, beside, was_indexed, owner: _ } = quarantined;
        let activity = beside.map(Time::from_nanos);
        // A record that was in no index is added to the indexes and the accounts not here, but when it is converted.
        let was_indexed = was_indexed.unwrap_or(true);
        if was_indexed && let Ok(legacy) = LegacyUploadSession::decode(&raw) {
            let last_seen = activity.unwrap_or(Time::from_nanos(legacy.created_at));
            if !storage.index.contains(id, legacy.caller) {
                let bytes = legacy.asset_metadata.bytes();
                storage.usage.reserve_unlimited(legacy.caller, &legacy.capsule_id, bytes)?;
                storage.promises.add(id, bytes_missing(storage, &legacy));
                storage.index.insert_without_key(id, legacy.caller, last_seen);
            }
        }
        // A record quarantined without being read is still indexed, but not by activity. `move_activity` only adds that
        // entry, since there is none at the default time.
        if was_indexed && let Some(last_seen) = activity {
            storage.index.move_activity(id, Time::default(), last_seen);
        }
        storage.sessions.legacy.insert_session(LegacySession { id: key, raw, activity });
        Ok(())
    }

    fn take_out(&self, storage: &mut Storage, key: u64, reason: String) -> Result<QuarantineRecord> {
        let gone = || Error::not_found("legacy session", key);
        let legacy = storage.sessions.legacy.take(key)?.ok_or_else(gone)?;
        let id = SessionId(key);
        // The record is not read, since reading may be what trapped; only its index entry is.
        let was_indexed =
            Some(legacy.activity.is_some_and(|last_seen| storage.index.is_active_at(id, last_seen)));
        withdraw(storage, id, None, legacy.activity)?;
        Ok(QuarantineRecord { was_indexed, ..new_quarantine_record(legacy, reason) })
    }

    fn bulk(&self) -> Option<&dyn Bulk<Storage>> {
        Some(self)
    }

    fn leave_in_quarantine(&self, storage: &mut Storage) -> Result<()> {
        left::release_owners_usage(storage, PLAN.number)
    }

    fn trapped_class(&self) -> usize {
        Class::TrappedAlone.index()
    }

    fn targets(&self, storage: &Storage, after: Option<u64>, limit: usize) -> Vec<u64> {
        storage.sessions.sessions.keys_after(after.as_ref()).take(limit).collect()
    }

    fn check(&self, storage: &Storage, key: u64) -> Result<Option<String>> {
        if !storage.sessions.sessions.contains(&key) {
            return Ok(None);
        }
        let id = SessionId(key);
        let split = match read_stored(storage, id) {
            Ok(split) => split,
            Err(error) => return Ok(Some(error.to_string())),
        };
        let legacy = match legacy_record_of(storage, id, &split) {
            Ok(legacy) => legacy,
            Err(problem) => return Ok(Some(problem)),
        };
        let last_seen = split.session.session_meta.last_seen;
        let is_indexed =
            storage.index.contains(id, legacy.caller) && storage.index.is_active_at(id, last_seen);
        Ok((!is_indexed).then(|| format!("session {id} is missing from an index")))
    }

    fn written_since(&self, storage: &Storage, since: EngineTime, limit: usize) -> Vec<u64> {
        storage.index.active_since(since.into(), limit).into_iter().map(|id| id.0).collect()
    }

    fn reversal(&self) -> Option<&dyn Reversal<Storage>> {
        Some(self)
    }
}

impl Reversal<Storage> for SplitSessions {
    fn allowed(&self) -> std::result::Result<(), String> {
        if SERVES_LAYOUT_1 {
            return Ok(());
        }
        Err(format!(
            "the {BUILD} build cannot serve layout 1: upgrade to the staged build, and roll back there"
        ))
    }

    fn left(&self, storage: &Storage) -> u64 {
        storage.sessions.sessions.len().saturating_add(storage.sessions.legacy.leftover_count())
    }

    fn revert(&self, storage: &mut Storage, key: u64, _: &mut Work<'_>) -> Result<Reverted> {
        let id = SessionId(key);
        let split = read_stored(storage, id)?;
        let last_seen = split.session.session_meta.last_seen;
        let legacy = match legacy_record_of(storage, id, &split) {
            Ok(legacy) => legacy,
            Err(problem) => return Ok(Reverted::Refused(problem)),
        };
        let raw = legacy.encode();
        storage.sessions.legacy.insert_session(LegacySession { id: key, raw, activity: Some(last_seen) });
        storage.sessions.sessions.remove(&key);
        storage.sessions.metas.remove(&key);
        Ok(Reverted::Done)
    }
}

/// Returns the legacy record of a session of layout 2, after checking that converting this record yields the same
/// session.
fn legacy_record_of(
    storage: &Storage,
    id: SessionId,
    split: &Split,
) -> std::result::Result<LegacyUploadSession, String> {
    let to_text = |error: Unconvertible| format!("session {id}: {error}");
    let legacy = revert(id, split.clone()).map_err(to_text)?;
    let chunks = storage.blobs.stored_chunks(legacy.chunk_prefix());
    let last_seen = split.session.session_meta.last_seen;
    let converted_again = convert(id, legacy.clone(), chunks, Some(last_seen)).map_err(to_text)?;
    if converted_again.is_same(split) {
        return Ok(legacy);
    }
    Err(format!("session {id}: converting it to layout 1 and back does not give the same session"))
}

fn read_raw(storage: &Storage, key: u64) -> Result<Vec<u8>> {
    let gone =
        || StableError { name: "legacy session", key: key.to_string(), reason: "it no longer exists".into() };
    Ok(storage.sessions.legacy.get_raw(&key).ok_or_else(gone)?)
}
