//! The treatment of memories and their assets.

use super::*;

/// The content of an asset that is taken.
enum TakenContent {
    /// The content that the record of the memory will have.
    Final(Content),
    /// Inline bytes that become a blob: its id is derived from that of the memory, which is not chosen yet.
    NewBlob(Vec<u8>),
}

/// The content of an asset; or, if the asset is not taken, the outcome and the reason.
type AssetContent = Result<TakenContent, (RecordOutcome, String)>;

/// An asset of a memory. Its `index` is its position among all assets of the memory: inline, internal blobs, external.
struct Asset {
    index: usize,
    metadata: PublicAssetMetadata,
    content: AssetContent,
}

impl Planner<'_> {
    /// Plans every memory of every capsule, and writes its line of `left`, whether it is taken or not.
    pub(super) fn plan_memories(&mut self) -> Result<(), SnapshotError> {
        for (id, capsule) in &self.source.capsules {
            for (key, memory) in &capsule.memories {
                let without_inline_assets = || PublicMemory { inline_assets: Vec::new(), ..memory.clone() };
                if !self.plan.capsules.contains_key(id) {
                    let why = "its capsule is not taken";
                    self.left
                        .write(&Line::new(RecordKind::Memory, key, why).in_capsule(id).with_record(memory))?;
                    self.plan.outcomes.add_not_taken(RecordKind::Memory, key, Some(id), why);
                    for index in 0..asset_count(memory) {
                        let name = format!("{key} asset {index}");
                        self.plan.outcomes.add_not_taken(RecordKind::Asset, &name, Some(id), why);
                    }
                    continue;
                }
                let assets = self.plan_assets(id, memory);
                // If all assets are taken, the bytes of inline assets are not written to `left` as well.
                let all_are_taken = assets.iter().all(|asset| asset.content.is_ok());
                let record = if all_are_taken { without_inline_assets() } else { memory.clone() };
                self.plan_memory(id, key, memory, assets, &record)?;
            }
        }
        Ok(())
    }

    fn plan_assets(&mut self, capsule: &str, memory: &PublicMemory) -> Vec<Asset> {
        let PublicMemory { inline_assets, blob_internal_assets, blob_external_assets, .. } = memory;
        let mut assets = Vec::new();
        for asset in inline_assets {
            let content = self.content_of_inline_asset(capsule, asset.bytes.to_vec());
            assets.push((asset.metadata.clone(), Ok(content)));
        }
        for asset in blob_internal_assets {
            assets.push((asset.metadata.clone(), self.content_of_reference(capsule, &asset.blob_ref)));
        }
        for asset in blob_external_assets {
            assets.push((asset.metadata.clone(), content_of_external_asset(asset)));
        }
        let numbered = assets.into_iter().enumerate();
        numbered.map(|(index, (metadata, content))| Asset { index, metadata, content }).collect()
    }

    /// Returns the content of an inline asset: the bytes stay in the memory's record if they fit there, and otherwise
    /// become a blob.
    fn content_of_inline_asset(&mut self, capsule: &str, bytes: Vec<u8>) -> TakenContent {
        let limits = upload_config();
        let [max_inline, budget] = [limits.inline_max, limits.inline_budget_per_capsule].map(u64::from);
        let used = self.inline_bytes.entry(capsule.to_owned()).or_default();
        let len = bytes.len() as u64;
        if len <= max_inline && *used + len <= budget {
            *used += len;
            return TakenContent::Final(Content::Inline(bytes));
        }
        TakenContent::NewBlob(bytes)
    }

    /// Returns the content for a reference to a blob, if the capsule may refer to the blob.
    fn content_of_reference(&self, capsule: &str, reference: &PublicBlobRef) -> AssetContent {
        let locator = &reference.locator;
        let refused = |why: String| Err((RecordOutcome::NotTaken, why));
        let Some(id) = BlobId::from_locator(locator) else {
            return refused(format!("{locator:?} is not the locator of a blob"));
        };
        let Some(sound) = self.sound_blobs.get(&id.0) else {
            return refused(match self.source.blobs.contains_key(&id.0) {
                true => format!("{locator} is not taken"),
                false => format!("{locator} is not stored"),
            });
        };
        match (&sound.capsule, contradiction(reference, &sound.record)) {
            (Some(of), _) if of != capsule => refused(format!("{locator} belongs to {of}")),
            (_, Some(why)) => refused(format!("{locator} {why}")),
            (Some(_), None) => Ok(TakenContent::Final(Content::blob(id, &sound.record))),
            (None, None) => refused(format!("{locator} is not taken: {}", sound.why)),
        }
    }

    /// Plans a memory. It has one asset here: the primary asset keeps the memory's id, every other one becomes a memory
    /// itself.
    fn plan_memory(
        &mut self,
        capsule: &str,
        key: &str,
        memory: &PublicMemory,
        assets: Vec<Asset>,
        left_record: &PublicMemory,
    ) -> Result<(), SnapshotError> {
        let primary = primary_asset(&assets);
        let mut notes = Vec::new();
        let id = self.unused_id(key);
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
            let content = match content {
                Ok(content) => content,
                Err((outcome, why)) => {
                    let reasons = vec![why.clone()];
                    self.plan.outcomes.add(RecordKind::Asset, &name, Some(capsule), outcome, reasons);
                    refusals.push((outcome, why));
                    continue;
                }
            };
            let is_primary = primary == Some(index);
            let asset_id = match is_primary {
                true => id.clone(),
                false => self.unused_id(&format!("{id}.asset{index}")),
            };
            let mut changes = self.take_asset(capsule, &asset_id, &memory.metadata, metadata, content);
            if !is_primary {
                changes.push(format!("it is the memory {asset_id} here"));
            }
            self.plan.outcomes.add_taken(RecordKind::Asset, &name, Some(capsule), changes);
        }
        let why = reason_of_memory(primary.is_some(), &refusals, &rest);
        self.left
            .write(&Line::new(RecordKind::Memory, key, &why).in_capsule(capsule).with_record(left_record))?;
        if primary.is_some() {
            notes.extend(refusals.into_iter().map(|(_, why)| format!("an asset is not taken: {why}")));
            self.plan.outcomes.add_taken(RecordKind::Memory, key, Some(capsule), notes).rest = rest;
        } else {
            // Without a taken asset, the outcome of the memory is the worst one of its assets.
            let outcomes = refusals.iter().map(|(outcome, _)| *outcome);
            let worst_outcome = outcomes.max().unwrap_or(RecordOutcome::NoCounterpart);
            self.plan.outcomes.add(RecordKind::Memory, key, Some(capsule), worst_outcome, vec![why]);
        }
        Ok(())
    }

    /// Adds an asset to the plan, as the memory `id`. Returns what was changed.
    fn take_asset(
        &mut self,
        capsule: &str,
        id: &str,
        memory: &PublicMemoryMetadata,
        metadata: PublicAssetMetadata,
        content: TakenContent,
    ) -> Vec<String> {
        let mut changes = Vec::new();
        let content = match content {
            TakenContent::Final(content) => content,
            TakenContent::NewBlob(bytes) => {
                let size = bytes.len();
                let (blob, content) = self.plan_new_blob(capsule, id, memory.created_at, bytes);
                changes.push(format!("its {size} bytes were within the record, and are {blob} now"));
                content
            }
        };
        if let Content::Blob { id: blob, .. } = content {
            self.add_reference(blob, capsule, id);
        }
        let sha256 = content.sha256();
        let sha256 = sha256.as_ref().map(|digest| digest.as_slice());
        let asset_metadata = asset::convert(metadata, content.size(), sha256, &mut changes);
        let taken = MemoryRecord {
            capsule_id: capsule.to_owned(),
            asset_metadata,
            content,
            created_at: memory.created_at,
            created_by: self.creator_of(capsule, memory),
            request: None,
        };
        self.plan.memories.insert(id.to_owned(), taken);
        changes
    }

    /// Plans the blob of inline bytes, for the memory `id`. Returns the blob's id, and the content of the memory.
    fn plan_new_blob(
        &mut self,
        capsule: &str,
        id: &str,
        created_at: u64,
        bytes: Vec<u8>,
    ) -> (BlobId, Content) {
        // No session has the number 0, so no upload has this prefix.
        let prefix = ChunkPrefix::of(id, SessionId(0));
        let record = BlobRecord {
            size: bytes.len() as u64,
            digest: ContentDigest::sha256(<[u8; 32]>::from(Sha256::digest(&bytes))),
            created_at: Time::from_nanos(created_at),
            place: Place::Chunks(prefix),
        };
        let (blob, content) = (prefix.blob_id(), Content::blob(prefix.blob_id(), &record));
        let planned =
            PlannedBlob { record, capsule: capsule.to_owned(), memories: Vec::new(), inline: Some(bytes) };
        self.plan.blobs.insert(blob.0, planned);
        (blob, content)
    }

    /// Returns `id` or, if a planned memory already has this id, a free one derived from `id`.
    pub(super) fn unused_id(&self, id: &str) -> String {
        let mut candidates = std::iter::once(id.to_owned()).chain((2_u64..).map(|n| format!("{id}.{n}")));
        candidates.find(|id| !self.plan.memories.contains_key(id)).unwrap_or_default()
    }

    /// Adds a memory's reference to a blob. With its first reference, a stored blob is added to the plan; a blob of
    /// inline bytes is in it already.
    pub(super) fn add_reference(&mut self, blob: u64, capsule: &str, memory: &str) {
        if !self.plan.blobs.contains_key(&blob)
            && let Some(sound) = self.sound_blobs.get(&blob)
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

    /// Returns the creator of a memory: the person named in its metadata, if this person is a member of the capsule
    /// here, otherwise the capsule's first owner.
    fn creator_of(&self, capsule: &str, metadata: &PublicMemoryMetadata) -> Principal {
        let Some(record) = self.plan.capsules.get(capsule) else { return Principal::anonymous() };
        let named_creator = metadata.created_by.as_deref().and_then(|text| Principal::from_text(text).ok());
        let named_creator = named_creator.filter(|who| record.members().any(|member| member == who));
        named_creator.or_else(|| record.owners.first().copied()).unwrap_or(Principal::anonymous())
    }
}

/// Returns the index of the asset that keeps the memory's id: of those that are taken, the original, or else the first.
fn primary_asset(assets: &[Asset]) -> Option<usize> {
    let taken = || assets.iter().filter(|asset| asset.content.is_ok());
    let original = taken().find(|asset| asset::is_original(&asset.metadata));
    original.or_else(|| taken().next()).map(|asset| asset.index)
}

/// Returns the reason in the line of a memory in `left`. The memory is taken if at least one of its assets is;
/// `refusals` are of the others, and `rest` are the parts that have no counterpart here.
fn reason_of_memory(is_taken: bool, refusals: &[(RecordOutcome, String)], rest: &[String]) -> String {
    let refused: Vec<&str> = refusals.iter().map(|(_, why)| why.as_str()).collect();
    match (is_taken, refused.is_empty(), rest.is_empty()) {
        (false, true, _) => "it has no asset".to_owned(),
        (false, false, _) => refused.join("; "),
        (true, true, true) => "taken; the record as it was".to_owned(),
        (true, true, false) => format!("taken, except for {}", rest.join(", ")),
        (true, false, _) => format!("taken, except for: {}", refused.join("; ")),
    }
}

/// Returns whether a memory was created by the upload of its blob, judging by time, size and SHA-256.
pub(super) fn is_of_upload(reference: &PublicBlobRef, memory: &PublicMemory, blob: &BlobRecord) -> bool {
    let created_at = blob.created_at.as_nanos();
    let is_its_time = memory.id == format!("mem_{created_at}") || memory.metadata.uploaded_at == created_at;
    is_its_time
        && reference.len == blob.size
        && reference.hash.as_ref().is_some_and(|hash| hash.as_slice() == blob.digest.bytes)
}

/// Returns why a reference to a blob is invalid, if it states another SHA-256 than the blob has; `None` if it states
/// the same or none. That release could issue a session number twice, and a later upload then replaced the blob.
pub(super) fn contradiction(reference: &PublicBlobRef, blob: &BlobRecord) -> Option<String> {
    let expected = reference.hash.as_ref().filter(|hash| hash.as_slice() != blob.digest.bytes)?;
    let (found, expected) = (hex::encode(blob.digest.bytes), hex::encode(expected));
    Some(format!(
        "has the SHA-256 {found}, and the memory refers to one with {expected}: a later upload has replaced it"
    ))
}

fn content_of_external_asset(asset: &PublicExternalAsset) -> AssetContent {
    let url = asset.url.as_deref().unwrap_or_default();
    for (what, text) in [("URL", url), ("storage key", &asset.storage_key)] {
        if text.len() > MAX_EXTERNAL_TEXT_BYTES {
            let bytes = text.len();
            let why = format!("its {what} has {bytes} bytes, at most {MAX_EXTERNAL_TEXT_BYTES} are possible");
            return Err((RecordOutcome::NotTaken, why));
        }
    }
    let backend = match asset.location {
        PublicStore::S3 => StorageBackend::S3,
        PublicStore::VercelBlob => StorageBackend::VercelBlob,
        PublicStore::Arweave => StorageBackend::Arweave,
        PublicStore::Ipfs => StorageBackend::Ipfs,
        PublicStore::Icp | PublicStore::Neon => {
            let why = format!("external assets cannot be in {:?} here", asset.location);
            return Err((RecordOutcome::NoCounterpart, why));
        }
    };
    let content = Content::External {
        backend,
        storage_key: Some(asset.storage_key.clone()),
        url: asset.url.clone(),
        size: asset::declared_bytes(&asset.metadata),
        checksum: None,
    };
    Ok(TakenContent::Final(content))
}

/// Lists the parts of a memory that have no counterpart here.
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
