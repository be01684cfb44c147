//! Decides the treatment of every record, before anything is written.

mod blobs;
mod capsules;
mod memories;
mod sessions;

use std::collections::{BTreeMap, BTreeSet};

use candid::Principal;
use sha2::{Digest, Sha256};
use upload_canister::api::{PersonRef, StorageBackend};
use upload_canister::blob::{BlobId, BlobRecord, CHUNK_SIZE, ChunkPrefix, ContentDigest, Place};
use upload_canister::capsule::{CapsuleRecord, Content, MAX_LIST, MAX_SUBJECT_BYTES, MemoryRecord};
use upload_canister::migrations::public_release::{
    PublicAccess, PublicAssetMetadata, PublicBlob, PublicBlobRef, PublicCapsule, PublicExternalAsset,
    PublicMemory, PublicMemoryMetadata, PublicPerson, PublicStore, session_prefix,
};
use upload_canister::migrations::split_sessions::{LegacyStatus, LegacyUploadSession};
use upload_canister::session::{Chunking, SessionId, Time};
use upload_canister::upload::Finished;
use upload_canister::upload::limits::{MAX_EXTERNAL_TEXT_BYTES, MAX_UPLOAD_BYTES, upload_config};

use super::asset;
use super::heap::{Heap, Session, Upload};
use super::left::{LeftFile, Line};
use super::report::{Outcomes, RecordKind, RecordOutcome};
use super::source::{Source, StoredChunks, chunk_prefix};
use crate::inspect::sessions_of_chunks;
use crate::snapshot::SnapshotError;

/// Distance from the highest known session number to the number above which ids are issued: the release may have issued
/// higher numbers that left no trace. The margin is generous, since ids have 64 bits.
const NUMBER_MARGIN: u64 = 1_000_000;

pub(super) struct PlannedBlob {
    pub record: BlobRecord,
    pub capsule: String,
    /// Ids of the memories that refer to the blob; in a complete plan, at least one.
    pub memories: Vec<String>,
    /// Bytes of the blob, if they were in a memory's record; `None` if they are in chunks of the snapshot.
    pub inline: Option<Vec<u8>>,
}

pub(super) struct PlannedSession {
    pub record: LegacyUploadSession,
    /// Number of bytes that have not arrived.
    pub missing: u64,
}

/// The receipt of a finished session: if the client repeats its call, the receipt has the answer.
pub(super) struct PlannedReceipt {
    pub id: u64,
    pub owner: Principal,
    pub capsule: String,
    pub metadata: upload_canister::api::AssetMetadata,
    pub chunks: u32,
    pub finished: Finished,
}

/// What the chunks under one key prefix are used for.
pub(super) enum ChunkUse {
    /// For a blob of this size: the chunks up to its end are taken.
    Blob(u64),
    /// For a session: the chunks with these numbers are taken.
    Session(BTreeSet<u32>),
    Nothing,
}

/// The plan for the chunks under one key prefix.
pub(super) struct PlannedChunks {
    pub used: ChunkUse,
    /// The session of the chunks, if known.
    pub session: Option<u64>,
    /// Why the chunks under the prefix that `used` does not include are not taken.
    pub why: String,
}

#[derive(Default)]
pub(super) struct Plan {
    pub capsules: BTreeMap<String, CapsuleRecord>,
    pub memories: BTreeMap<String, MemoryRecord>,
    pub blobs: BTreeMap<u64, PlannedBlob>,
    pub sessions: Vec<PlannedSession>,
    pub receipts: Vec<PlannedReceipt>,
    pub chunks_by_prefix: BTreeMap<[u8; 32], PlannedChunks>,
    /// The number above which session ids are issued.
    pub last_session: u64,
    /// The number above which capsule ids are issued.
    pub last_capsule: u64,
    pub outcomes: Outcomes,
}

/// A committed blob whose stored bytes match the size and SHA-256 in its record.
struct SoundBlob {
    record: BlobRecord,
    notes: Vec<String>,
    /// The capsule to which the blob belongs: only memories in this capsule may refer to it. `None` if no memory may.
    capsule: Option<String>,
    /// The reason that is reported if no planned memory refers to the blob, which is then not taken.
    why: &'static str,
}

struct Planner<'a> {
    source: &'a Source,
    left: &'a mut LeftFile,
    plan: Plan,
    sound_blobs: BTreeMap<u64, SoundBlob>,
    /// By key prefix, why its chunks are not taken: their blob or session is refused.
    refused_chunks: BTreeMap<[u8; 32], String>,
    /// Bytes of the assets that stay inline in memory records, by capsule.
    inline_bytes: BTreeMap<String, u64>,
    taken_at: Time,
}

/// Decides the treatment of every record, and writes the lines of `left`, except those of chunks.
pub(super) fn plan(
    source: &Source,
    heap: &Heap,
    taken_at: u64,
    left: &mut LeftFile,
) -> Result<Plan, SnapshotError> {
    let taken_at = Time::from_nanos(taken_at);
    let (sound_blobs, refused_chunks, inline_bytes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut planner =
        Planner { source, left, plan: Plan::default(), sound_blobs, refused_chunks, inline_bytes, taken_at };
    planner.count_records(heap);
    planner.report_undecodable()?;
    planner.check_blobs()?;
    planner.plan_capsules()?;
    planner.assign_blobs(heap);
    planner.plan_memories()?;
    planner.plan_sessions(heap)?;
    planner.finish_blobs()?;
    planner.report_admins_and_index()?;
    planner.plan_unclaimed_chunks(heap);
    planner.report_chunks();
    Ok(planner.plan)
}

impl Planner<'_> {
    fn count_records(&mut self, heap: &Heap) {
        let Source { capsules, blobs, chunks_by_prefix, by_owner, admins, undecodable, .. } = self.source;
        let outcomes = &mut self.plan.outcomes;
        let memories = capsules.values().flat_map(|capsule| &capsule.memories);
        let assets = memories.clone().map(|(_, memory)| asset_count(memory)).sum::<usize>();
        let galleries = capsules.values().map(|capsule| capsule.galleries.len()).sum::<usize>();
        let chunks = chunks_by_prefix.values().map(|stored| stored.chunks.len()).sum::<usize>();
        for (kind, count) in [
            (RecordKind::Capsule, capsules.len()),
            (RecordKind::Memory, memories.count()),
            (RecordKind::Asset, assets),
            (RecordKind::Gallery, galleries),
            (RecordKind::Blob, blobs.len()),
            (RecordKind::Session, heap.sessions.len()),
            (RecordKind::Chunk, chunks),
            (RecordKind::Administrator, admins.len()),
            (RecordKind::IndexEntry, by_owner.len()),
        ] {
            outcomes.add_found(kind, count as u64);
        }
        for record in undecodable {
            outcomes.add_found(record.kind, 1);
        }
    }

    fn report_undecodable(&mut self) -> Result<(), SnapshotError> {
        for record in &self.source.undecodable {
            let why = format!("it does not decode: {}", record.why.lines().next().unwrap_or_default());
            self.left.write(&Line::new(record.kind, &record.key, &why).with_bytes(&record.bytes))?;
            self.plan.outcomes.add_not_taken(record.kind, &record.key, None, &why);
        }
        Ok(())
    }

    /// Reports administrators, and the entries of the index by owner, which is rebuilt from the capsules.
    fn report_admins_and_index(&mut self) -> Result<(), SnapshotError> {
        for admin in &self.source.admins {
            let (id, why) = (admin.to_text(), "administrators are the controllers of the canister here");
            self.left.write(&Line::new(RecordKind::Administrator, &id, why))?;
            self.plan.outcomes.add_no_counterpart(RecordKind::Administrator, &id, None, why);
        }
        for (owner, capsule) in &self.source.by_owner {
            let id = owner.to_text();
            let person = PublicPerson::Principal(*owner);
            let why = match self.source.capsules.get(capsule) {
                Some(record) if record.owners.iter().any(|(who, _)| *who == person) => {
                    self.plan.outcomes.add_taken(RecordKind::IndexEntry, &id, Some(capsule), Vec::new());
                    continue;
                }
                Some(_) => {
                    "the capsule of this id has other owners: that release issued its id twice, and the \
                    second capsule has replaced the first"
                }
                None => "there is no such capsule",
            };
            self.left.write(&Line::new(RecordKind::IndexEntry, &id, why).in_capsule(capsule))?;
            self.plan.outcomes.add_no_counterpart(RecordKind::IndexEntry, &id, Some(capsule), why);
        }
        Ok(())
    }

    /// Plans the chunks that no blob and no session has claimed: none of them is taken. Also records the session of
    /// every key prefix, if known. Then sets the numbers above which ids are issued; the sessions that have left chunks
    /// count, too.
    fn plan_unclaimed_chunks(&mut self, heap: &Heap) {
        let prefixes = self.source.chunks_by_prefix.keys().copied();
        let prefix_of_session = sessions_of_chunks(prefixes, heap.numbers());
        let highest = heap.numbers().chain(prefix_of_session.keys().copied()).max().unwrap_or(0);
        for (session, prefix) in prefix_of_session {
            let why = match self.refused_chunks.remove(&prefix) {
                Some(why) => why,
                None => {
                    format!("of session {session}, which was aborted, or lost with the heap at an upgrade")
                }
            };
            let planned = PlannedChunks { used: ChunkUse::Nothing, session: Some(session), why };
            self.plan.chunks_by_prefix.entry(prefix).or_insert(planned).session = Some(session);
        }
        for prefix in self.source.chunks_by_prefix.keys() {
            let why = self.refused_chunks.remove(prefix).unwrap_or_else(|| "of no known session".into());
            let planned = PlannedChunks { used: ChunkUse::Nothing, session: None, why };
            self.plan.chunks_by_prefix.entry(*prefix).or_insert(planned);
        }
        self.plan.last_session = highest.saturating_add(NUMBER_MARGIN);
        let numbers = self.source.capsules.keys().filter_map(|id| id.strip_prefix("capsule_")?.parse().ok());
        self.plan.last_capsule = numbers.max().unwrap_or(0);
    }

    /// Counts the chunks that are taken, and reports the others, as one item for each key prefix.
    fn report_chunks(&mut self) {
        let blob_prefixes: BTreeSet<[u8; 32]> = self.source.blobs.values().map(chunk_prefix).collect();
        let Plan { chunks_by_prefix, outcomes, .. } = &mut self.plan;
        for (prefix, PlannedChunks { used, session, why }) in chunks_by_prefix {
            let Some(stored) = self.source.chunks_by_prefix.get(prefix) else { continue };
            let total = stored.chunks.len() as u64;
            let taken = match used {
                ChunkUse::Blob(_) => {
                    stored.hashed.as_ref().map_or(0, |hashed| u64::from(hashed.chunk_count()))
                }
                ChunkUse::Session(keep) => keep.len() as u64,
                ChunkUse::Nothing => 0,
            };
            outcomes.add_taken_chunks(taken);
            if total > taken {
                let id = session.map_or_else(|| hex::encode(prefix), |session| format!("session {session}"));
                let is_of_refused_blob = matches!(used, ChunkUse::Nothing) && blob_prefixes.contains(prefix);
                let outcome =
                    if is_of_refused_blob { RecordOutcome::NotTaken } else { RecordOutcome::NoCounterpart };
                outcomes.add(RecordKind::Chunk, &id, None, outcome, vec![why.clone()]).count = total - taken;
            }
        }
    }
}

/// Returns the idempotency key of an adopted session, made from its number, since the original key is not known.
pub(super) fn idem_of_adopted(session: u64) -> String {
    format!("adopted session {session}")
}

fn asset_count(memory: &PublicMemory) -> usize {
    memory.inline_assets.len() + memory.blob_internal_assets.len() + memory.blob_external_assets.len()
}
