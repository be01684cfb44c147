//! Decides the treatment of every record, before anything is written.

use std::collections::{BTreeMap, BTreeSet};

use candid::Principal;
use sha2::{Digest, Sha256};
use upload_canister::api::{PersonRef, StorageBackend};
use upload_canister::blob::{BlobId, BlobRecord, CHUNK_SIZE, ChunkPrefix, ContentDigest, Place};
use upload_canister::capsule::{CapsuleRecord, Content, MemoryRecord};
use upload_canister::migrations::public_release::{
    PublicAccess, PublicAssetMetadata, PublicBlob, PublicBlobRef, PublicCapsule, PublicExternalAsset,
    PublicMemory, PublicMemoryMetadata, PublicPerson, PublicStore, chunk_key,
};
use upload_canister::migrations::split_sessions::{LegacyStatus, LegacyUploadSession};
use upload_canister::session::{SessionId, Time};
use upload_canister::upload::Finished;
use upload_canister::upload::limits::{MAX_UPLOAD_BYTES, upload_config};

use super::asset;
use super::heap::{Heap, Session, Upload};
use super::left::{LeftFile, Line};
use super::report::{Kind, Outcome, Outcomes};
use super::source::{Place as SourcePlace, Source, place_of};
use super::write::idem_of_adopted;
use crate::snapshot::SnapshotError;

/// Longest id of a capsule that the index by member can hold.
const MAX_CAPSULE_ID: usize = 32;

/// Sessions up to this number are found by the keys of their chunks; more if the release has given out more.
const LAST_SESSION: u64 = 100_000;

/// Session ids are issued this far above every number that is known, since those that left no trace are not.
const JUMP: u64 = 1_000_000;

/// A blob to be written.
pub(super) struct PlannedBlob {
    /// Its record.
    pub record: BlobRecord,
    /// Its capsule.
    pub capsule: String,
    /// The memories that refer to it; at least one.
    pub memories: Vec<String>,
    /// Its bytes, if they were in a record; otherwise they are in the chunks of the snapshot.
    pub inline: Option<Vec<u8>>,
}

/// A session to be written.
pub(super) struct PlannedSession {
    /// Its record.
    pub record: LegacyUploadSession,
    /// Bytes that have not arrived.
    pub missing: u64,
}

/// The answer of a finished session, for a client that asks again.
pub(super) struct PlannedReceipt {
    /// The session.
    pub id: u64,
    /// Its owner.
    pub owner: Principal,
    /// Its capsule.
    pub capsule: String,
    /// Its metadata and number of chunks.
    pub metadata: upload_canister::api::AssetMetadata,
    /// Number of chunks.
    pub chunks: u32,
    /// The answer.
    pub finished: Finished,
}

/// The use of the chunks under a key.
pub(super) enum Use {
    /// The first bytes are those of a blob.
    Blob(u64),
    /// These chunks belong to a session.
    Session(BTreeSet<u32>),
    /// None is taken.
    Nothing,
}

/// The chunks under a key, and what to say of those that are not taken.
pub(super) struct PlannedPlace {
    /// Their use.
    pub used: Use,
    /// The session that they are of, if that is known.
    pub session: Option<u64>,
    /// Why those that are not taken are not.
    pub why: String,
}

/// Everything to be written.
#[derive(Default)]
pub(super) struct Plan {
    /// Capsules by id.
    pub capsules: BTreeMap<String, CapsuleRecord>,
    /// Memories by id.
    pub memories: BTreeMap<String, MemoryRecord>,
    /// Blobs by id.
    pub blobs: BTreeMap<u64, PlannedBlob>,
    /// Sessions in flight.
    pub sessions: Vec<PlannedSession>,
    /// Receipts of sessions whose upload is finished.
    pub receipts: Vec<PlannedReceipt>,
    /// Chunks by the first half of their keys.
    pub places: BTreeMap<[u8; 32], PlannedPlace>,
    /// The number above which session ids are issued.
    pub last_session: u64,
    /// The same for capsules.
    pub last_capsule: u64,
    /// The outcome of each record.
    pub outcomes: Outcomes,
}

/// A committed blob whose bytes are those of its record.
struct Sound {
    record: BlobRecord,
    notes: Vec<String>,
    /// The capsule whose memories may refer to it.
    capsule: Option<String>,
    /// Why there is no such capsule.
    why: &'static str,
}

/// The content of an asset, with its bytes if they become a blob; or why it is not taken.
type Found = Result<(Content, Option<Vec<u8>>), (Outcome, String)>;

/// An asset of a memory, in the order in which that release numbers them.
struct Asset {
    index: usize,
    metadata: PublicAssetMetadata,
    content: Found,
}

/// The decisions so far.
struct Planner<'a> {
    source: &'a Source,
    left: &'a mut LeftFile,
    plan: Plan,
    sound: BTreeMap<u64, Sound>,
    /// Why the chunks under a key are not taken.
    refused: BTreeMap<[u8; 32], String>,
    /// Bytes within records, by capsule.
    inline: BTreeMap<String, u64>,
    taken_at: Time,
}

/// Decides about every record, and writes what is not taken to `left`, except chunks.
///
/// # Errors
/// If that file cannot be written.
pub(super) fn plan(
    source: &Source,
    heap: &Heap,
    taken_at: u64,
    left: &mut LeftFile,
) -> Result<Plan, SnapshotError> {
    let taken_at = Time::from_nanos(taken_at);
    let (sound, refused, inline) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut planner = Planner { source, left, plan: Plan::default(), sound, refused, inline, taken_at };
    planner.count(heap);
    planner.undecodable()?;
    planner.check_blobs()?;
    planner.capsules()?;
    planner.assign_blobs(heap);
    planner.memories()?;
    planner.sessions(heap)?;
    planner.finish_blobs()?;
    planner.rest()?;
    planner.numbers(heap);
    planner.places();
    Ok(planner.plan)
}

impl Planner<'_> {
    fn count(&mut self, heap: &Heap) {
        let Source { capsules, blobs, places, by_owner, admins, undecodable, .. } = self.source;
        let outcomes = &mut self.plan.outcomes;
        let memories = capsules.values().flat_map(|capsule| &capsule.memories);
        let assets = memories.clone().map(|(_, memory)| assets_of(memory)).sum::<usize>();
        let galleries = capsules.values().map(|capsule| capsule.galleries.len()).sum::<usize>();
        let chunks = places.values().map(|place| place.chunks.len()).sum::<usize>();
        for (kind, count) in [
            (Kind::Capsule, capsules.len()),
            (Kind::Memory, memories.count()),
            (Kind::Asset, assets),
            (Kind::Gallery, galleries),
            (Kind::Blob, blobs.len()),
            (Kind::Session, heap.sessions.len()),
            (Kind::Chunk, chunks),
            (Kind::Administrator, admins.len()),
            (Kind::IndexEntry, by_owner.len()),
        ] {
            outcomes.found(kind, count as u64);
        }
        for record in undecodable {
            outcomes.found(record.kind, 1);
        }
    }

    fn undecodable(&mut self) -> Result<(), SnapshotError> {
        for record in &self.source.undecodable {
            let why = format!("it does not decode: {}", record.why.lines().next().unwrap_or_default());
            self.left.write(&Line::new(record.kind, &record.key, &why).bytes(&record.bytes))?;
            self.plan.outcomes.not_taken(record.kind, &record.key, None, &why);
        }
        Ok(())
    }

    /// Compares the bytes of every blob with its record.
    fn check_blobs(&mut self) -> Result<(), SnapshotError> {
        let mut seen = BTreeSet::new();
        for (id, blob) in &self.source.blobs {
            let prefix = place_of(blob);
            let checked = match self.source.places.get(&prefix) {
                _ if !seen.insert(prefix) => Err("another blob has the same chunks".into()),
                Some(place) => check_blob(blob, place),
                None => Err("none of its chunks is stored".into()),
            };
            match checked {
                Ok(notes) => {
                    let record = BlobRecord {
                        size: blob.size,
                        digest: ContentDigest::sha256(
                            <[u8; 32]>::try_from(blob.checksum.as_slice()).unwrap_or_default(),
                        ),
                        created_at: Time::from_nanos(blob.created_at),
                        place: Place::Chunks(ChunkPrefix(prefix)),
                    };
                    let why = "no memory refers to it";
                    self.sound.insert(*id, Sound { record, notes, capsule: None, why });
                }
                Err(why) => self.refuse_blob(*id, blob, &why)?,
            }
        }
        Ok(())
    }

    fn refuse_blob(&mut self, id: u64, blob: &PublicBlob, why: &str) -> Result<(), SnapshotError> {
        let name = BlobId(id).to_string();
        self.left.write(&Line::new(Kind::Blob, &name, why).record(blob))?;
        self.plan.outcomes.not_taken(Kind::Blob, &name, None, why);
        self.refused.entry(place_of(blob)).or_insert_with(|| format!("of {name}: {why}"));
        Ok(())
    }

    fn capsules(&mut self) -> Result<(), SnapshotError> {
        for (id, capsule) in &self.source.capsules {
            let (owners, writers) = (principals(&capsule.owners), principals(&capsule.controllers));
            let writers: Vec<Principal> = writers.into_iter().filter(|who| !owners.contains(who)).collect();
            let why = match owners.first() {
                None => Some("no owner has a principal that may own something here".to_owned()),
                Some(_) if id.len() > MAX_CAPSULE_ID => {
                    Some(format!("its id has {} bytes, at most {MAX_CAPSULE_ID} are possible", id.len()))
                }
                Some(_) => None,
            };
            // Its people, connections and groups; memories and galleries have lines of their own.
            let shell = PublicCapsule { memories: Vec::new(), galleries: Vec::new(), ..capsule.clone() };
            let rest = capsule_rest(capsule);
            let said = why.clone().unwrap_or_else(|| match rest.is_empty() {
                true => "taken; the record as it was".into(),
                false => format!("taken, except for {}", rest.join(", ")),
            });
            self.left.write(&Line::new(Kind::Capsule, id, &said).record(&shell))?;
            for (gallery, record) in &capsule.galleries {
                let why = "there are no galleries here";
                self.left.write(&Line::new(Kind::Gallery, gallery, why).of(id).record(record))?;
                self.plan.outcomes.no_counterpart(Kind::Gallery, gallery, Some(id), why);
            }
            match (why, owners.first().copied()) {
                (None, Some(owner)) => {
                    let subject = match &capsule.subject {
                        PublicPerson::Principal(principal) => PersonRef::Principal(*principal),
                        PublicPerson::Opaque(text) => PersonRef::Opaque(text.clone()),
                    };
                    let record = CapsuleRecord {
                        owners,
                        writers,
                        ..CapsuleRecord::new(subject, owner, capsule.created_at)
                    };
                    self.plan.capsules.insert(id.clone(), record);
                    let mut notes = Vec::new();
                    if capsule.id != *id {
                        notes.push(format!("its record named {}, and it was stored as {id}", capsule.id));
                    }
                    self.plan.outcomes.taken(Kind::Capsule, id, None, notes).rest = rest;
                }
                (why, _) => self.plan.outcomes.not_taken(Kind::Capsule, id, None, &why.unwrap_or_default()),
            }
        }
        Ok(())
    }

    /// Decides to which capsule each blob belongs: here it belongs to one.
    fn assign_blobs(&mut self, heap: &Heap) {
        let mut refs: BTreeMap<u64, BTreeMap<&str, bool>> = BTreeMap::new();
        for id in self.plan.capsules.keys() {
            let Some(capsule) = self.source.capsules.get(id) else { continue };
            for (_, memory) in &capsule.memories {
                for asset in &memory.blob_internal_assets {
                    let Some(blob) = BlobId::from_locator(&asset.blob_ref.locator) else { continue };
                    let Some(sound) = self.sound.get(&blob.0) else { continue };
                    let is_maker = is_maker(&asset.blob_ref, memory, &sound.record);
                    *refs.entry(blob.0).or_default().entry(id).or_default() |= is_maker;
                }
            }
        }
        for session in heap.sessions.iter().filter(|session| session.is_committed) {
            let blob = ChunkPrefix(chunk_key(session.id)).blob_id().0;
            if self.plan.capsules.contains_key(&session.capsule) && !refs.contains_key(&blob) {
                refs.entry(blob).or_default().insert(&session.capsule, true);
            }
        }
        for (blob, sound) in &mut self.sound {
            let of = refs.remove(blob).unwrap_or_default();
            let mut makers = of.iter().filter(|(_, is_maker)| **is_maker).map(|(capsule, _)| *capsule);
            sound.capsule = match (of.len(), makers.next(), makers.next()) {
                (1, ..) => of.keys().next().map(|capsule| (*capsule).to_owned()),
                (_, Some(maker), None) => Some(maker.to_owned()),
                _ => None,
            };
            if of.len() > 1 {
                sound.why =
                    "memories of several capsules refer to it, and none of them is that of its upload";
            }
        }
    }

    fn memories(&mut self) -> Result<(), SnapshotError> {
        for (id, capsule) in &self.source.capsules {
            for (key, memory) in &capsule.memories {
                let whole = || PublicMemory { inline_assets: Vec::new(), ..memory.clone() };
                if !self.plan.capsules.contains_key(id) {
                    let why = "its capsule is not taken";
                    self.left.write(&Line::new(Kind::Memory, key, why).of(id).record(memory))?;
                    self.plan.outcomes.not_taken(Kind::Memory, key, Some(id), why);
                    for index in 0..assets_of(memory) {
                        let name = format!("{key} asset {index}");
                        self.plan.outcomes.not_taken(Kind::Asset, &name, Some(id), why);
                    }
                    continue;
                }
                let assets = self.assets(id, memory);
                // Bytes within a record that are taken need not be kept a second time.
                let are_taken = assets.iter().all(|asset| asset.content.is_ok());
                let record = if are_taken { whole() } else { memory.clone() };
                self.memory(id, key, memory, assets, &record)?;
            }
        }
        Ok(())
    }

    /// Finds the content of every asset of a memory.
    fn assets(&mut self, capsule: &str, memory: &PublicMemory) -> Vec<Asset> {
        let PublicMemory { inline_assets, blob_internal_assets, blob_external_assets, .. } = memory;
        let mut assets = Vec::new();
        for asset in inline_assets {
            let content = self.inline(capsule, asset.bytes.to_vec());
            assets.push((asset.metadata.clone(), Ok(content)));
        }
        for asset in blob_internal_assets {
            assets.push((asset.metadata.clone(), self.blob(capsule, &asset.blob_ref)));
        }
        for asset in blob_external_assets {
            assets.push((asset.metadata.clone(), external(asset)));
        }
        let numbered = assets.into_iter().enumerate();
        numbered.map(|(index, (metadata, content))| Asset { index, metadata, content }).collect()
    }

    /// Keeps bytes within the record if they fit there, and otherwise makes them a blob.
    fn inline(&mut self, capsule: &str, bytes: Vec<u8>) -> (Content, Option<Vec<u8>>) {
        let limits = upload_config();
        let [most, budget] = [limits.inline_max, limits.inline_budget_per_capsule].map(u64::from);
        let used = self.inline.entry(capsule.to_owned()).or_default();
        let len = bytes.len() as u64;
        if len <= most && *used + len <= budget {
            *used += len;
            return (Content::Inline(bytes), None);
        }
        let checksum = <[u8; 32]>::from(Sha256::digest(&bytes));
        // Its id follows from that of its memory.
        (Content::Blob { id: 0, checksum, size: len, algorithm: None }, Some(bytes))
    }

    /// Returns the content of a reference to a blob, if the capsule may refer to it.
    fn blob(&self, capsule: &str, reference: &PublicBlobRef) -> Found {
        let locator = &reference.locator;
        let refused = |why: String| Err((Outcome::NotTaken, why));
        let Some(id) = BlobId::from_locator(locator) else {
            return refused(format!("{locator:?} is not the locator of a blob"));
        };
        let Some(sound) = self.sound.get(&id.0) else {
            return refused(match self.source.blobs.contains_key(&id.0) {
                true => format!("{locator} is not taken"),
                false => format!("{locator} is not stored"),
            });
        };
        match &sound.capsule {
            Some(of) if of == capsule => Ok((Content::blob(id, &sound.record), None)),
            Some(of) => refused(format!("{locator} belongs to {of}")),
            None => refused(format!("{locator} is not taken: {}", sound.why)),
        }
    }

    fn memory(
        &mut self,
        capsule: &str,
        key: &str,
        memory: &PublicMemory,
        assets: Vec<Asset>,
        record: &PublicMemory,
    ) -> Result<(), SnapshotError> {
        let is_taken = |asset: &&Asset| asset.content.is_ok();
        let primary = assets
            .iter()
            .filter(is_taken)
            .find(|asset| asset::is_original(&asset.metadata))
            .or_else(|| assets.iter().find(is_taken))
            .map(|asset| asset.index);
        let mut notes = Vec::new();
        let id = self.free_id(key);
        if id != key {
            notes.push(format!("it is {id} here: a memory of another capsule has its id"));
        }
        if memory.id != key {
            notes.push(format!("its record named {}, and it was stored as {key}", memory.id));
        }
        let mut rest = memory_rest(memory);
        if primary.is_some() && assets.len() > 1 {
            rest.push(format!("the order of its {} assets", assets.len()));
        }
        let mut refusals = Vec::new();
        for Asset { index, metadata, content } in assets {
            let name = format!("{key} asset {index}");
            let mut changes = Vec::new();
            let (mut content, inline) = match content {
                Ok(content) => content,
                Err((outcome, why)) => {
                    self.plan.outcomes.add(Kind::Asset, &name, Some(capsule), outcome, vec![why.clone()]);
                    refusals.push((outcome, why));
                    continue;
                }
            };
            let asset_id = match primary == Some(index) {
                true => id.clone(),
                false => self.free_id(&format!("{id}.asset{index}")),
            };
            if let (Content::Blob { id: blob, checksum, size, .. }, Some(bytes)) = (&mut content, inline) {
                let prefix = ChunkPrefix::of(&asset_id, SessionId(0));
                *blob = prefix.blob_id().0;
                changes.push(format!(
                    "its {size} bytes were within the record, and are {} now",
                    prefix.blob_id()
                ));
                let record = BlobRecord {
                    size: *size,
                    digest: ContentDigest::sha256(*checksum),
                    created_at: Time::from_nanos(memory.metadata.created_at),
                    place: Place::Chunks(prefix),
                };
                let blob = PlannedBlob {
                    record,
                    capsule: capsule.to_owned(),
                    memories: Vec::new(),
                    inline: Some(bytes),
                };
                self.plan.blobs.insert(prefix.blob_id().0, blob);
            }
            if let Content::Blob { id: blob, .. } = content {
                self.refer(blob, capsule, &asset_id);
            }
            let sha256 = content.sha256();
            let asset_metadata = asset::convert(
                metadata,
                content.size(),
                sha256.as_ref().map(|is| is.as_slice()),
                &mut changes,
            );
            if primary != Some(index) {
                changes.push(format!("it is the memory {asset_id} here"));
            }
            self.plan.outcomes.taken(Kind::Asset, &name, Some(capsule), changes);
            let taken = MemoryRecord {
                capsule_id: capsule.to_owned(),
                asset_metadata,
                content,
                created_at: memory.metadata.created_at,
                created_by: self.maker_of(capsule, &memory.metadata),
                request: None,
            };
            self.plan.memories.insert(asset_id, taken);
        }
        let worst = refusals.iter().map(|(outcome, _)| *outcome).max().unwrap_or(Outcome::NoCounterpart);
        let said: Vec<&str> = refusals.iter().map(|(_, why)| why.as_str()).collect();
        let why = match (primary, said.is_empty(), rest.is_empty()) {
            (None, true, _) => "it has no asset".to_owned(),
            (None, ..) => said.join("; "),
            (Some(_), true, true) => "taken; the record as it was".to_owned(),
            (Some(_), true, false) => format!("taken, except for {}", rest.join(", ")),
            (Some(_), false, _) => format!("taken, except for: {}", said.join("; ")),
        };
        self.left.write(&Line::new(Kind::Memory, key, &why).of(capsule).record(record))?;
        if primary.is_some() {
            notes.extend(refusals.into_iter().map(|(_, why)| format!("an asset is not taken: {why}")));
            self.plan.outcomes.taken(Kind::Memory, key, Some(capsule), notes).rest = rest;
        } else {
            self.plan.outcomes.add(Kind::Memory, key, Some(capsule), worst, vec![why]);
        }
        Ok(())
    }

    /// Returns `id`, or if a memory has it, another one made of it.
    fn free_id(&self, id: &str) -> String {
        let mut candidates = std::iter::once(id.to_owned()).chain((2_u64..).map(|n| format!("{id}.{n}")));
        candidates.find(|id| !self.plan.memories.contains_key(id)).unwrap_or_default()
    }

    /// Adds the reference of a memory to a blob, which is planned by its first one.
    fn refer(&mut self, blob: u64, capsule: &str, memory: &str) {
        if !self.plan.blobs.contains_key(&blob)
            && let Some(sound) = self.sound.get(&blob)
        {
            let planned = PlannedBlob {
                record: sound.record.clone(),
                capsule: capsule.to_owned(),
                memories: Vec::new(),
                inline: None,
            };
            self.plan.blobs.insert(blob, planned);
        }
        if let Some(planned) = self.plan.blobs.get_mut(&blob) {
            planned.memories.push(memory.to_owned());
        }
    }

    /// Returns who made a memory: who it says, if that is a member of the capsule, otherwise its first owner.
    fn maker_of(&self, capsule: &str, metadata: &PublicMemoryMetadata) -> Principal {
        let Some(record) = self.plan.capsules.get(capsule) else { return Principal::anonymous() };
        let said = metadata.created_by.as_deref().and_then(|text| Principal::from_text(text).ok());
        let said = said.filter(|who| record.members().any(|member| member == who));
        said.or_else(|| record.owners.first().copied()).unwrap_or(Principal::anonymous())
    }

    fn sessions(&mut self, heap: &Heap) -> Result<(), SnapshotError> {
        for session in &heap.sessions {
            let id = session.id.to_string();
            let prefix = chunk_key(session.id);
            let decided = match session.is_committed {
                true => self.committed(session),
                false => self.pending(session),
            };
            let capsule = Some(session.capsule.as_str());
            match decided {
                Ok(notes) => drop(self.plan.outcomes.taken(Kind::Session, &id, capsule, notes)),
                Err(why) => {
                    self.plan.outcomes.not_taken(Kind::Session, &id, capsule, &why);
                    self.refused.entry(prefix).or_insert_with(|| format!("of session {id}: {why}"));
                }
            }
            let Session { caller, created_at, upload, .. } = session;
            let metadata = upload.as_ref().ok().map(|upload| &upload.metadata);
            let chunks = upload.as_ref().map_or(0, |upload| upload.chunks);
            let why = "what its release told of it; its idempotency key is not among that";
            let line = Line::new(Kind::Session, &id, why).of(&session.capsule);
            self.left.write(&line.record(&(caller, created_at, session.is_committed, chunks, metadata)))?;
        }
        Ok(())
    }

    /// Returns why a caller may not upload to a capsule, if so.
    fn may_upload(&self, session: &Session) -> Result<(), String> {
        use upload_canister::capsule::Access;
        let Session { capsule, caller, .. } = session;
        let Some(record) = self.plan.capsules.get(capsule) else {
            return Err(format!("{capsule} does not exist, or is not taken"));
        };
        match record.access_of(caller) {
            Some(access) if access >= Access::Write => Ok(()),
            _ => Err(format!("{caller} may not upload to {capsule}")),
        }
    }

    fn pending(&mut self, session: &Session) -> Result<Vec<String>, String> {
        self.may_upload(session)?;
        let prefix = chunk_key(session.id);
        if self.source.blobs.values().any(|blob| place_of(blob) == prefix) {
            return Err(
                "a committed blob has the same chunks: the release gave its number out again after an upgrade".into()
            );
        }
        let Upload { chunks, received, metadata } = session.upload.clone()?;
        let none = SourcePlace::default();
        let stored = &self.source.places.get(&prefix).unwrap_or(&none).chunks;
        let declared = asset::declared(&metadata);
        let full = u64::from(CHUNK_SIZE);
        let before_last = full * u64::from(chunks.saturating_sub(1));
        let mut notes = Vec::new();
        let last = chunks.checked_sub(1).filter(|last| received.contains(last));
        let last_len = last.and_then(|last| stored.get(&last)).map(|len| u64::from(*len));
        let bytes = match last_len.filter(|len| (1..=full).contains(len)) {
            Some(len) => before_last + len,
            None if declared > before_last && declared <= before_last + full => declared,
            None => {
                return Err(format!(
                    "{declared} bytes were declared for {chunks} chunks, and the last one has not arrived: its size is unknown"
                ));
            }
        };
        if bytes > MAX_UPLOAD_BYTES {
            return Err(format!("{bytes} bytes are more than the {MAX_UPLOAD_BYTES} of an upload"));
        }
        let len_of = |idx: u32| (bytes - full * u64::from(idx)).min(full);
        let keep: BTreeSet<u32> = received
            .iter()
            .copied()
            .filter(|idx| stored.get(idx).is_some_and(|len| u64::from(*len) == len_of(*idx)))
            .collect();
        if keep.len() < received.len() {
            notes.push(format!(
                "{} of its chunks do not have the length of a chunk; its client must send them again",
                received.len() - keep.len()
            ));
        }
        if stored.len() > received.len() {
            notes.push(format!(
                "{} chunks under its key are of an earlier session of the same number",
                stored.len() - received.len()
            ));
        }
        let asset_metadata = asset::convert(metadata, bytes, None, &mut notes);
        let record = LegacyUploadSession {
            session_id: session.id,
            capsule_id: session.capsule.clone(),
            caller: session.caller,
            // That release never let a session expire.
            created_at: self.taken_at.as_nanos(),
            expected_chunks: chunks,
            status: LegacyStatus::Pending,
            chunk_count: chunks,
            asset_metadata: asset_metadata.into(),
            provisional_memory_id: String::new(),
            chunk_size: full,
            idem: idem_of_adopted(session.id),
            blob_id: None,
        };
        let missing = bytes - keep.iter().map(|idx| len_of(*idx)).sum::<u64>();
        self.plan.sessions.push(PlannedSession { record, missing });
        let (used, why) = (Use::Session(keep), format!("not a chunk of session {}", session.id));
        self.plan.places.insert(prefix, PlannedPlace { used, session: Some(session.id), why });
        Ok(notes)
    }

    /// A session whose blob is committed: that release failed to make the memory, or to forget the session.
    fn committed(&mut self, session: &Session) -> Result<Vec<String>, String> {
        let prefix = ChunkPrefix(chunk_key(session.id));
        let blob = prefix.blob_id();
        let Some(sound) = self.sound.get(&blob.0) else {
            return Err(format!("{blob}, which it has committed, is not taken"));
        };
        let Upload { chunks, metadata, .. } = session.upload.clone()?;
        let record = sound.record.clone();
        let of = sound.capsule.clone();
        let mut notes = Vec::new();
        let content = Content::blob(blob, &record);
        let mut changes = Vec::new();
        let asset_metadata = asset::convert(metadata, record.size, Some(&record.digest.bytes), &mut changes);
        let known = self.plan.blobs.get(&blob.0).and_then(|planned| planned.memories.first().cloned());
        let memory_id = match known {
            Some(memory) => memory,
            None => {
                self.may_upload(session)?;
                if of.as_deref() != Some(&session.capsule) {
                    return Err(format!("{blob} does not belong to {}", session.capsule));
                }
                let id = self.free_id(&format!("mem_{}", record.created_at.as_nanos()));
                self.refer(blob.0, &session.capsule, &id);
                notes.push(format!("its upload was committed and never became a memory; it is {id} now"));
                let memory = MemoryRecord {
                    capsule_id: session.capsule.clone(),
                    asset_metadata: asset_metadata.clone(),
                    content,
                    created_at: record.created_at.as_nanos(),
                    created_by: session.caller,
                    request: None,
                };
                self.plan.memories.insert(id.clone(), memory);
                id
            }
        };
        let finished = Finished {
            memory_id,
            blob_id: blob.0,
            size: record.size,
            checksum: record.digest.bytes,
            finished_at: record.created_at.as_nanos(),
            algorithm: None,
        };
        self.plan.receipts.push(PlannedReceipt {
            id: session.id,
            owner: session.caller,
            capsule: session.capsule.clone(),
            metadata: asset_metadata,
            chunks,
            finished,
        });
        Ok(notes)
    }

    /// Reports every sound blob, now that the memories that refer to it are known.
    fn finish_blobs(&mut self) -> Result<(), SnapshotError> {
        for (id, Sound { notes, why, .. }) in std::mem::take(&mut self.sound) {
            let Some(blob) = self.source.blobs.get(&id) else { continue };
            match self.plan.blobs.get(&id) {
                Some(planned) => {
                    let capsule = planned.capsule.clone();
                    let name = BlobId(id).to_string();
                    let why = format!("after the end of {name}");
                    let place = PlannedPlace { used: Use::Blob(blob.size), session: None, why };
                    self.plan.places.insert(place_of(blob), place);
                    self.plan.outcomes.taken(Kind::Blob, &name, Some(&capsule), notes);
                }
                None => self.refuse_blob(id, blob, why)?,
            }
        }
        Ok(())
    }

    /// Administrators, and the index by owner, which is made from the capsules again.
    fn rest(&mut self) -> Result<(), SnapshotError> {
        for admin in &self.source.admins {
            let (id, why) = (admin.to_text(), "administrators are the controllers of the canister here");
            self.left.write(&Line::new(Kind::Administrator, &id, why))?;
            self.plan.outcomes.no_counterpart(Kind::Administrator, &id, None, why);
        }
        for (owner, capsule) in &self.source.by_owner {
            let id = owner.to_text();
            let person = PublicPerson::Principal(*owner);
            let why = match self.source.capsules.get(capsule) {
                Some(record) if record.owners.iter().any(|(who, _)| *who == person) => {
                    self.plan.outcomes.taken(Kind::IndexEntry, &id, Some(capsule), Vec::new());
                    continue;
                }
                Some(_) => {
                    "the capsule of this id has other owners: that release gave its id out twice, and the second capsule has replaced the first"
                }
                None => "there is no such capsule",
            };
            self.left.write(&Line::new(Kind::IndexEntry, &id, why).of(capsule))?;
            self.plan.outcomes.no_counterpart(Kind::IndexEntry, &id, Some(capsule), why);
        }
        Ok(())
    }

    /// Finds the numbers above which ids are issued, and the sessions of the chunks that nobody claims.
    fn numbers(&mut self, heap: &Heap) {
        let told = heap.sessions.iter().map(|session| session.id).max().max(heap.next).unwrap_or(0);
        let last = LAST_SESSION.max(told);
        let mut highest = told;
        for session in 1..=last {
            let prefix = chunk_key(session);
            if !self.source.places.contains_key(&prefix) {
                continue;
            }
            highest = highest.max(session);
            let why = match self.refused.remove(&prefix) {
                Some(why) => why,
                None => {
                    format!("of session {session}, which was aborted, or lost with the heap at an upgrade")
                }
            };
            let place = PlannedPlace { used: Use::Nothing, session: Some(session), why };
            self.plan.places.entry(prefix).or_insert(place).session = Some(session);
        }
        for prefix in self.source.places.keys() {
            let why = self.refused.remove(prefix).unwrap_or_else(|| "of no session that is known".into());
            let place = PlannedPlace { used: Use::Nothing, session: None, why };
            self.plan.places.entry(*prefix).or_insert(place);
        }
        self.plan.last_session = highest.saturating_add(JUMP);
        let numbers = self.source.capsules.keys().filter_map(|id| id.strip_prefix("capsule_")?.parse().ok());
        self.plan.last_capsule = numbers.max().unwrap_or(0);
    }

    /// Reports chunks that are not taken, those under one key together.
    fn places(&mut self) {
        let damaged: BTreeSet<[u8; 32]> = self.source.blobs.values().map(place_of).collect();
        let Plan { places, outcomes, .. } = &mut self.plan;
        for (prefix, PlannedPlace { used, session, why }) in places {
            let Some(place) = self.source.places.get(prefix) else { continue };
            let total = place.chunks.len() as u64;
            let taken = match used {
                Use::Blob(_) => place.blob.as_ref().map_or(0, |blob| u64::from(blob.chunks())),
                Use::Session(keep) => keep.len() as u64,
                Use::Nothing => 0,
            };
            (0..taken).for_each(|_| outcomes.chunk_taken());
            if total > taken {
                let id = session.map_or_else(|| hex::encode(prefix), |session| format!("session {session}"));
                let is_of_blob = matches!(used, Use::Nothing) && damaged.contains(prefix);
                let outcome = if is_of_blob { Outcome::NotTaken } else { Outcome::NoCounterpart };
                outcomes.add(Kind::Chunk, &id, None, outcome, vec![why.clone()]).count = total - taken;
            }
        }
    }
}

/// Compares the bytes of a blob with its record; returns what is irregular about them.
fn check_blob(blob: &PublicBlob, place: &SourcePlace) -> Result<Vec<String>, String> {
    let Some(hashed) = &place.blob else { return Err("none of its chunks is stored".into()) };
    if hashed.bytes < blob.size {
        let next = hashed.chunks();
        return Err(match place.chunks.range(next..).next() {
            Some((idx, _)) => format!("chunk {next} is missing, and chunk {idx} is stored"),
            None => format!("{} bytes are stored, its record says {}", hashed.bytes, blob.size),
        });
    }
    let sha256 = hashed.sha256();
    if sha256.as_slice() != blob.checksum.as_slice() {
        let (is, was) = (hex::encode(sha256), hex::encode(&blob.checksum));
        return Err(format!("its bytes have the SHA-256 {is}, committed was {was}"));
    }
    let mut notes = Vec::new();
    let taken = place.chunks.range(..hashed.chunks());
    if taken.clone().rev().skip(1).any(|(_, len)| *len != CHUNK_SIZE)
        || taken.clone().next_back().is_some_and(|(_, len)| *len > CHUNK_SIZE)
    {
        notes.push("its chunks were of uneven length".into());
    }
    let stored: u64 = place.chunks.values().map(|len| u64::from(*len)).sum();
    if stored > blob.size {
        notes.push(format!("{} bytes of an earlier upload were after its end", stored - blob.size));
    }
    Ok(notes)
}

/// Returns whether a memory is the one that the upload of a blob became.
fn is_maker(reference: &PublicBlobRef, memory: &PublicMemory, blob: &BlobRecord) -> bool {
    let created_at = blob.created_at.as_nanos();
    let is_its_time = memory.id == format!("mem_{created_at}") || memory.metadata.uploaded_at == created_at;
    is_its_time
        && reference.len == blob.size
        && reference.hash.as_ref().is_some_and(|hash| hash.as_slice() == blob.digest.bytes)
}

fn external(asset: &PublicExternalAsset) -> Found {
    let backend = match asset.location {
        PublicStore::S3 => StorageBackend::S3,
        PublicStore::VercelBlob => StorageBackend::VercelBlob,
        PublicStore::Arweave => StorageBackend::Arweave,
        PublicStore::Ipfs => StorageBackend::Ipfs,
        PublicStore::Icp | PublicStore::Neon => {
            let why = format!("assets elsewhere cannot be in {:?} here", asset.location);
            return Err((Outcome::NoCounterpart, why));
        }
    };
    let content = Content::External {
        backend,
        storage_key: Some(asset.storage_key.clone()),
        url: asset.url.clone(),
        size: asset::declared(&asset.metadata),
        checksum: None,
    };
    Ok((content, None))
}

fn assets_of(memory: &PublicMemory) -> usize {
    memory.inline_assets.len() + memory.blob_internal_assets.len() + memory.blob_external_assets.len()
}

/// Returns the principals of these people that may have rights here, once each.
fn principals<T>(people: &[(PublicPerson, T)]) -> Vec<Principal> {
    let mut found = Vec::new();
    for who in people.iter().filter_map(|(person, _)| person.principal()) {
        if who != Principal::anonymous() && !found.contains(&who) {
            found.push(who);
        }
    }
    found
}

/// Names what of a capsule has no counterpart.
fn capsule_rest(capsule: &PublicCapsule) -> Vec<String> {
    let PublicCapsule { subject, owners, controllers, connections, connection_groups, .. } = capsule;
    let without = |people: Vec<&PublicPerson>| {
        people
            .iter()
            .filter(|person| person.principal().is_none_or(|who| who == Principal::anonymous()))
            .count()
    };
    let owners_without = without(owners.iter().map(|(person, _)| person).collect());
    let controllers_without = without(controllers.iter().map(|(person, _)| person).collect());
    let has_rights =
        owners.iter().map(|(person, _)| person).chain(controllers.iter().map(|(person, _)| person));
    let is_other = subject.principal().is_some() && !has_rights.clone().any(|person| person == subject);
    let counted = [
        (owners_without, "owners without a principal"),
        (controllers_without, "controllers without a principal"),
        (connections.len(), "connections"),
        (connection_groups.len(), "groups"),
        (usize::from(is_other), "subject who is no owner, and has no right here"),
        (usize::from(capsule.bound_to_neon), "binding to an external database"),
    ];
    counted
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect()
}

/// Names what of a memory has no counterpart.
fn memory_rest(memory: &PublicMemory) -> Vec<String> {
    let rule = match &memory.access {
        PublicAccess::Private { .. } => None,
        PublicAccess::Public { .. } => Some("its access rule, public"),
        PublicAccess::Custom { .. } => Some("its access rule, of people and groups"),
        PublicAccess::Scheduled { .. } => Some("its access rule, by time"),
        PublicAccess::EventTriggered { .. } => Some("its access rule, by an event"),
    };
    let PublicMemoryMetadata {
        title,
        description,
        date_of_memory,
        file_created_at,
        parent_folder_id,
        deleted_at,
        people_in_memory,
        location,
        memory_notes,
        ..
    } = &memory.metadata;
    let fields = [
        ("its title", title.is_some()),
        ("its description", description.is_some()),
        ("its date", date_of_memory.is_some() || file_created_at.is_some()),
        ("its folder", parent_folder_id.is_some()),
        ("the time of its deletion", deleted_at.is_some()),
        ("its people", people_in_memory.is_some()),
        ("its location", location.is_some()),
        ("its notes", memory_notes.is_some()),
    ];
    let present = fields.into_iter().filter(|(_, is_present)| *is_present).map(|(what, _)| what);
    rule.into_iter().chain(present).map(str::to_owned).collect()
}
