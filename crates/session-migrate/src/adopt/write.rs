//! Writes a plan as a stable memory in layout 1, through the canister's own storage.

use std::collections::BTreeMap;

use ic_stable_structures::memory_manager::MemoryManager;
use upload_canister::api::HashAlgorithm;
use upload_canister::blob::{BlobId, CHUNK_SIZE, ChunkPrefix, Destination, Place};
use upload_canister::capsule::CapsuleError;
use upload_canister::session::{SessionId, Time};
use upload_canister::stable::layout::Layout;
use upload_canister::stable::{RawMemory, StableError};
use upload_canister::storage::{OpenError, Storage};
use upload_canister::upload::{Ended, IdemKey, Outcome, RawRecord, UploadMeta, leave_receipt};

use super::AdoptError;
use super::left::{LeftFile, Line};
use super::plan::{
    ChunkUse, Plan, PlannedBlob, PlannedChunks, PlannedReceipt, PlannedSession, idem_of_adopted,
};
use super::report::RecordKind;
use super::source::Source;

/// Writes all records of a plan, and the bytes of blobs that were inline, into a new stable memory whose buckets have
/// `bucket_pages` pages.
///
/// # Errors
/// [`AdoptError::Fault`] if the canister's storage refuses a record, or a planned record lacks its capsule or memory.
pub(super) fn write_records(
    plan: &Plan,
    taken_at: Time,
    bucket_pages: u16,
) -> Result<(RawMemory, Storage), AdoptError> {
    let raw = RawMemory::default();
    drop(MemoryManager::init_with_bucket_size(raw.clone(), bucket_pages));
    let mut storage = Storage::create_in(raw.clone(), Layout::LEGACY).map_err(storage_fault)?;
    for (id, capsule) in &plan.capsules {
        if !storage.capsules.restore(id, capsule).map_err(storage_fault)? {
            return Err(AdoptError::Fault(format!("{id} cannot be restored")));
        }
    }
    for (id, memory) in &plan.memories {
        let owner = plan.capsules.get(&memory.capsule_id).and_then(|capsule| capsule.owners.first());
        let owner = owner.ok_or_else(|| AdoptError::Fault(format!("memory {id} has no capsule")))?;
        storage.capsules.attach(*owner, id, memory).map_err(storage_fault)?;
    }
    for (id, blob) in &plan.blobs {
        write_blob(&mut storage, plan, BlobId(*id), blob)?;
    }
    for session in &plan.sessions {
        write_session(&mut storage, session, taken_at)?;
    }
    for receipt in &plan.receipts {
        write_receipt(&mut storage, receipt, taken_at)?;
    }
    storage.sessions.ids.continue_after(plan.last_session);
    storage.capsules.ids.continue_after(plan.last_capsule);
    Ok((raw, storage))
}

fn write_blob(storage: &mut Storage, plan: &Plan, id: BlobId, blob: &PlannedBlob) -> Result<(), AdoptError> {
    let PlannedBlob { record, capsule, memories, inline } = blob;
    let owner = plan.capsules.get(capsule).and_then(|capsule| capsule.owners.first());
    let (Some(owner), Some((first, others))) = (owner, memories.split_first()) else {
        return Err(AdoptError::Fault(format!("{id} has no capsule or no memory")));
    };
    let charged = storage.usage.after_adding(*owner, capsule, record.size).map_err(storage_fault)?;
    storage.usage.charge_file(&charged);
    storage.blobs.commit(Destination { id, is_new: true }, record, first, capsule).map_err(storage_fault)?;
    for memory in others {
        storage.blobs.add_ref(id, memory, capsule);
    }
    if let (Some(bytes), Place::Chunks(prefix)) = (inline, &record.place) {
        for (idx, chunk) in (0..).zip(bytes.chunks(CHUNK_SIZE as usize)) {
            storage.blobs.write_chunk(*prefix, idx, chunk);
        }
    }
    Ok(())
}

fn write_session(storage: &mut Storage, session: &PlannedSession, taken_at: Time) -> Result<(), AdoptError> {
    let PlannedSession { record, missing } = session;
    let id = SessionId(record.session_id);
    let key = IdemKey::of(&record.capsule_id, &record.caller, &record.idem);
    let bytes = record.asset_metadata.bytes();
    storage.usage.reserve_unlimited(record.caller, &record.capsule_id, bytes).map_err(storage_fault)?;
    storage.promises.add(id, *missing);
    storage.sessions.legacy.insert(id.0, &RawRecord(record.encode()));
    storage.sessions.legacy.record_activity(id.0, taken_at);
    storage.index.insert(id, key, record.caller, taken_at);
    Ok(())
}

fn write_receipt(storage: &mut Storage, receipt: &PlannedReceipt, taken_at: Time) -> Result<(), AdoptError> {
    let PlannedReceipt { id, owner, capsule, metadata, chunks, finished } = receipt;
    let meta = UploadMeta {
        capsule_id: capsule.clone(),
        provisional_memory_id: String::new(),
        asset_metadata: metadata.clone(),
        blob_id: None,
        created_at: taken_at.as_nanos(),
        expected_chunks: *chunks,
    };
    let ended = Ended {
        owner: *owner,
        key: IdemKey::of(capsule, owner, &idem_of_adopted(*id)),
        meta: &meta,
        hash: HashAlgorithm::Sha256,
        receipt_expires_at: taken_at.plus_seconds(
            storage.config().map_err(|error| AdoptError::Fault(error.to_string()))?.session_ttl_seconds,
        ),
    };
    leave_receipt(storage, SessionId(*id), &ended, Outcome::Finished(finished.clone()));
    Ok(())
}

/// Copies the chunks that are taken, and writes the others to `left`. The bytes of a blob are divided again, so that
/// all its chunks but the last have the full length. Returns how many chunks of the snapshot were taken, which may
/// differ from the number of chunks written. `on_bytes` gets the size of every chunk.
pub(super) fn copy_chunks(
    source: &Source,
    plan: &Plan,
    storage: &mut Storage,
    left: &mut LeftFile,
    on_bytes: &mut dyn FnMut(u64),
) -> Result<u64, AdoptError> {
    let (mut taken, mut first_error) = (0, None);
    let mut rechunkers: BTreeMap<[u8; 32], Rechunker> = BTreeMap::new();
    source.for_each_chunk(&mut |prefix, idx, bytes| {
        on_bytes(bytes.len() as u64);
        let Some(PlannedChunks { used, session, why }) = plan.chunks_by_prefix.get(&prefix) else { return };
        let is_taken = match used {
            ChunkUse::Blob(size) => {
                // Chunks come in the order of their keys, so the blobs with other prefixes before this one are
                // complete.
                rechunkers.retain(|other, _| *other == prefix);
                let rechunker = rechunkers.entry(prefix).or_insert_with(|| Rechunker::new(prefix, *size));
                rechunker.add(&bytes, storage)
            }
            ChunkUse::Session(keep) => {
                let is_taken = keep.contains(&idx);
                if is_taken {
                    storage.blobs.write_chunk(ChunkPrefix(prefix), idx, &bytes);
                }
                is_taken
            }
            ChunkUse::Nothing => false,
        };
        if is_taken {
            taken += 1;
        } else if first_error.is_none() {
            let id = hex::encode(prefix);
            let line = Line::new(RecordKind::Chunk, &id, why).of_chunk(*session, idx).with_bytes(&bytes);
            first_error = left.write(&line).err();
        }
    });
    match first_error {
        None => Ok(taken),
        Some(error) => Err(error.into()),
    }
}

/// Writes the bytes of a blob in chunks of the full length, whatever the lengths of the stored chunks are.
struct Rechunker {
    prefix: ChunkPrefix,
    missing_bytes: u64,
    next_idx: u32,
    buffer: Vec<u8>,
}

impl Rechunker {
    fn new(prefix: [u8; 32], size: u64) -> Rechunker {
        Rechunker { prefix: ChunkPrefix(prefix), missing_bytes: size, next_idx: 0, buffer: Vec::new() }
    }

    /// Adds the bytes of the next stored chunk. Returns whether the chunk was used; `false` if the blob was already
    /// complete.
    fn add(&mut self, bytes: &[u8], storage: &mut Storage) -> bool {
        if self.missing_bytes == 0 {
            return false;
        }
        let wanted = usize::try_from(self.missing_bytes).unwrap_or(usize::MAX).min(bytes.len());
        self.buffer.extend_from_slice(&bytes[..wanted]);
        self.missing_bytes -= wanted as u64;
        let full = CHUNK_SIZE as usize;
        while self.buffer.len() >= full || (self.missing_bytes == 0 && !self.buffer.is_empty()) {
            let rest = self.buffer.split_off(self.buffer.len().min(full));
            storage.blobs.write_chunk(self.prefix, self.next_idx, &self.buffer);
            self.next_idx += 1;
            self.buffer = rest;
        }
        true
    }
}

/// The errors of the canister's storage, for [`storage_fault`]: in an adoption always a fault of this program, which
/// should write only valid records.
trait Refusal: std::fmt::Display {}
impl Refusal for OpenError {}
impl Refusal for StableError {}
impl Refusal for CapsuleError {}

fn storage_fault(error: impl Refusal) -> AdoptError {
    AdoptError::Fault(error.to_string())
}
