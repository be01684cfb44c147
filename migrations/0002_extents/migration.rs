//! Implements migration 2 for the engine: a unit is a session in flight or a committed blob.

use super::class::{CLASSES, Class};
use super::{blob, session};
use crate::api::{Error, Result};
use crate::blob::{BlobId, Extents, Place};
use crate::build_profile::BUILD;
use crate::migrate::{Advance, Classified, EngineTime, Migration, Phase, Plan, QuarantineRecord, Work};
use crate::session::SessionId;
use crate::stable::layout::Layout;
use crate::stable::{Record, StableError};
use crate::storage::Storage;
use crate::upload::{PayloadState, mapped_sessions};

/// The migration from layout 2 to layout 3.
#[derive(Clone, Copy, Debug)]
pub struct MoveToExtents {
    /// Layouts that the running build accepts.
    pub layouts: &'static [Layout],
}

static PLAN: Plan = Plan {
    number: 2,
    name: "move to extents",
    from: Layout::SPLIT.number(),
    to: Layout::EXTENTS.number(),
    classes: CLASSES,
    fields: &[
        ("chunk", "at its offset in the extents of its session or blob"),
        ("BlobRecord.size", "BlobRecord.size"),
        ("BlobRecord.digest", "BlobRecord.digest"),
        ("BlobRecord.created_at", "BlobRecord.created_at"),
        ("BlobRecord.place", "BlobRecord.place, derived: the extents"),
        ("PayloadState.extents", "PayloadState.extents, derived: the extents; absent before"),
        ("PayloadState.subtrees", "PayloadState.subtrees; absent, since the chunk map has no room for them"),
        ("PayloadState.hash", "PayloadState.hash"),
        ("PayloadState.next_chunk", "PayloadState.next_chunk"),
    ],
};

/// Instructions for moving a unit without bytes: its records and the two tables of free extents.
const INSTRUCTIONS_PER_UNIT: u64 = 500_000;

/// Instructions for moving a byte: reading, writing, reading back and comparing it; see `docs/costs.md`.
const INSTRUCTIONS_PER_BYTE: u64 = 12;

/// Number of steps that one unit may take: it has at most this many chunks (`MAX_CHUNKS` of an upload), and each step
/// copies at least one of them.
const STEPS_PER_UNIT: u64 = 16_384;

impl Migration<Storage> for MoveToExtents {
    fn plan(&self) -> &'static Plan {
        &PLAN
    }

    fn waits_for(&self, storage: &Storage) -> Result<Option<String>> {
        if !self.layouts.contains(&Layout::EXTENTS) {
            return Ok(Some(format!("the {BUILD} build does not support layout 3; the direct build does")));
        }
        if storage.migration.state()?.phase != Phase::Finalized {
            return Ok(Some("migration 1 is not finalized".into()));
        }
        missing_room(storage)
    }

    /// Units are counted one by one, since clients finish sessions and delete blobs during the migration.
    fn counts_ahead(&self) -> bool {
        false
    }

    fn layout_entered(&self, storage: &mut Storage) -> std::result::Result<(), StableError> {
        mapped_sessions::close_range(storage)
    }

    fn sources(&self, storage: &Storage, after: Option<u64>, limit: usize) -> Result<Vec<u64>> {
        let mut keys = mapped_sessions::list(storage, after, limit)?;
        keys.extend(storage.blobs.list_in_chunk_map(after, limit));
        keys.sort_unstable();
        keys.dedup();
        keys.truncate(limit);
        Ok(keys)
    }

    fn digest(&self, storage: &Storage, key: u64) -> Result<Option<[u8; 32]>> {
        if is_session(storage, key)? {
            return session::digest(storage, SessionId(key)).map(Some);
        }
        let id = BlobId(key);
        Ok(storage.blobs.in_chunk_map(id)?.map(|blob| blob::digest(id, &blob)))
    }

    fn classify(&self, storage: &Storage, key: u64, _: EngineTime) -> Result<Classified> {
        // Whether a unit is damaged is only known once all of its chunks have been read.
        let class = if is_session(storage, key)? { Class::Session } else { Class::Blob };
        Ok(Classified { class: class.index(), reason: None })
    }

    fn cost_beyond_digest(&self, storage: &Storage, key: u64) -> Result<u64> {
        let bytes = if is_session(storage, key)? {
            session::bytes_received(storage, SessionId(key))?
        } else {
            storage.blobs.blob(BlobId(key))?.size
        };
        Ok(bytes.saturating_mul(INSTRUCTIONS_PER_BYTE).saturating_add(INSTRUCTIONS_PER_UNIT))
    }

    /// A quarantined unit stays in place, so its quarantine record has its digest instead of its bytes.
    fn digest_of_quarantined(&self, raw: &[u8]) -> [u8; 32] {
        raw.try_into().unwrap_or_default()
    }

    fn convert(&self, storage: &mut Storage, key: u64, work: &mut Work<'_>) -> Result<Advance> {
        if is_session(storage, key)? {
            return session::convert(storage, SessionId(key), work);
        }
        let id = BlobId(key);
        match storage.blobs.in_chunk_map(id)? {
            Some(blob) => blob::convert(storage, id, &blob, work),
            // The client has removed the unit.
            None => {
                self.abandon(storage, key, std::mem::take(&mut work.progress));
                mapped_sessions::shrink_range(storage)?;
                Ok(Advance::Gone)
            }
        }
    }

    /// Quarantined units stay in place. A session is listed again: it may have been skipped while it was quarantined.
    fn restore(&self, storage: &mut Storage, key: u64, _: QuarantineRecord) -> Result<()> {
        if is_session(storage, key)? {
            mapped_sessions::add_retried(storage, SessionId(key))?;
        }
        Ok(())
    }

    fn take_out(&self, storage: &mut Storage, key: u64, reason: String) -> Result<QuarantineRecord> {
        let gone = || Error::not_found("blob", BlobId(key));
        let digest = self.digest(storage, key)?.ok_or_else(gone)?;
        Ok(QuarantineRecord::new(reason, digest.to_vec()))
    }

    fn trapped_class(&self) -> usize {
        Class::TrappedAlone.index()
    }

    fn abandon(&self, storage: &mut Storage, _: u64, progress: Vec<u8>) {
        if let Some(extents) = extents_of(&progress) {
            // These extents were allocated only for this unit; if a table is damaged, the next call reports it.
            let _ = storage.blobs.extents_mut().free(&extents);
        }
    }

    fn targets(&self, storage: &Storage, after: Option<u64>, limit: usize) -> Vec<u64> {
        storage.blobs.list_in_extents(after, limit)
    }

    fn check(&self, storage: &Storage, key: u64) -> Result<Option<String>> {
        let id = BlobId(key);
        let Ok(blob) = storage.blobs.blob(id) else { return Ok(None) };
        let Place::Extents(extents) = &blob.place else { return Ok(None) };
        let capacity = extents.size();
        Ok((capacity < blob.size).then(|| format!("{id} has {} bytes in extents of {capacity}", blob.size)))
    }

    fn max_steps(&self, units: u64) -> u64 {
        units.saturating_add(1).saturating_mul(STEPS_PER_UNIT)
    }
}

/// Returns why the migration must wait, if there is no room for a second copy of the payload; otherwise `None`. A
/// second copy needs new memory, since the chunk map keeps its memory when its chunks are removed. Files and sessions
/// count with their full length, including chunks that have not arrived.
fn missing_room(storage: &Storage) -> Result<Option<String>> {
    let extents = storage.blobs.extents();
    let needed = storage.usage.total()?.saturating_sub(extents.taken_bytes()?);
    let left = storage.room.bytes_left().saturating_add(extents.bytes_left()?);
    let reason =
        || format!("{needed} bytes of payload do not fit into the remaining {left} bytes of stable memory");
    Ok((needed > left).then(reason))
}

/// Returns the extents in the stored progress of a unit; `None` if it has none, or does not decode.
pub fn extents_of(progress: &[u8]) -> Option<Extents> {
    let of_blob = PayloadState::decode(progress).ok().and_then(|state| state.extents);
    let of_session = || session::SessionProgress::decode(progress).ok().map(|progress| progress.extents);
    of_blob.or_else(of_session)
}

/// Returns whether a key is that of a session to move; otherwise it is that of a blob.
fn is_session(storage: &Storage, key: u64) -> std::result::Result<bool, StableError> {
    mapped_sessions::contains(storage, SessionId(key))
}
