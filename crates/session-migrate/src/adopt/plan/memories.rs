//! The treatment of memories and their assets.

use super::*;

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
    fn content_of_inline_asset(&mut self, capsule: &str, bytes: Vec<u8>) -> (Content, Option<Vec<u8>>) {
        let limits = upload_config();
        let [max_inline, budget] = [limits.inline_max, limits.inline_budget_per_capsule].map(u64::from);
        let used = self.inline_bytes.entry(capsule.to_owned()).or_default();
        let len = bytes.len() as u64;
        if len <= max_inline && *used + len <= budget {
            *used += len;
            return (Content::Inline(bytes), None);
        }
        let checksum = <[u8; 32]>::from(Sha256::digest(&bytes));
        // The blob's id is derived from the id of its memory; 0 stands for it until `plan_memory` has chosen that id.
        (Content::Blob { id: 0, checksum, size: len, algorithm: None }, Some(bytes))
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
            (Some(_), None) => Ok((Content::blob(id, &sound.record), None)),
            (None, None) => refused(format!("{locator} is not taken: {}", sound.why)),
        }
    }

    fn plan_memory(
        &mut self,
        capsule: &str,
        key: &str,
        memory: &PublicMemory,
        assets: Vec<Asset>,
        left_record: &PublicMemory,
    ) -> Result<(), SnapshotError> {
        let is_taken = |asset: &&Asset| asset.content.is_ok();
        // A memory has one asset here: the primary asset keeps the memory's id, every other one becomes a memory
        // itself.
        let primary = assets
            .iter()
            .filter(is_taken)
            .find(|asset| asset::is_original(&asset.metadata))
            .or_else(|| assets.iter().find(is_taken))
            .map(|asset| asset.index);
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
            let mut changes = Vec::new();
            let (mut content, inline) = match content {
                Ok(content) => content,
                Err((outcome, why)) => {
                    self.plan.outcomes.add(
                        RecordKind::Asset,
                        &name,
                        Some(capsule),
                        outcome,
                        vec![why.clone()],
                    );
                    refusals.push((outcome, why));
                    continue;
                }
            };
            let asset_id = match primary == Some(index) {
                true => id.clone(),
                false => self.unused_id(&format!("{id}.asset{index}")),
            };
            if let (Content::Blob { id: blob, checksum, size, .. }, Some(bytes)) = (&mut content, inline) {
                // No session has the number 0, so no upload has this prefix.
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
                self.add_reference(blob, capsule, &asset_id);
            }
            let sha256 = content.sha256();
            let asset_metadata = asset::convert(
                metadata,
                content.size(),
                sha256.as_ref().map(|digest| digest.as_slice()),
                &mut changes,
            );
            if primary != Some(index) {
                changes.push(format!("it is the memory {asset_id} here"));
            }
            self.plan.outcomes.add_taken(RecordKind::Asset, &name, Some(capsule), changes);
            let taken = MemoryRecord {
                capsule_id: capsule.to_owned(),
                asset_metadata,
                content,
                created_at: memory.metadata.created_at,
                created_by: self.creator_of(capsule, &memory.metadata),
                request: None,
            };
            self.plan.memories.insert(asset_id, taken);
        }
        // The worst one is the outcome of the memory if none of its assets is taken.
        let worst_outcome =
            refusals.iter().map(|(outcome, _)| *outcome).max().unwrap_or(RecordOutcome::NoCounterpart);
        let refusal_texts: Vec<&str> = refusals.iter().map(|(_, why)| why.as_str()).collect();
        let why = match (primary, refusal_texts.is_empty(), rest.is_empty()) {
            (None, true, _) => "it has no asset".to_owned(),
            (None, ..) => refusal_texts.join("; "),
            (Some(_), true, true) => "taken; the record as it was".to_owned(),
            (Some(_), true, false) => format!("taken, except for {}", rest.join(", ")),
            (Some(_), false, _) => format!("taken, except for: {}", refusal_texts.join("; ")),
        };
        self.left
            .write(&Line::new(RecordKind::Memory, key, &why).in_capsule(capsule).with_record(left_record))?;
        if primary.is_some() {
            notes.extend(refusals.into_iter().map(|(_, why)| format!("an asset is not taken: {why}")));
            self.plan.outcomes.add_taken(RecordKind::Memory, key, Some(capsule), notes).rest = rest;
        } else {
            self.plan.outcomes.add(RecordKind::Memory, key, Some(capsule), worst_outcome, vec![why]);
        }
        Ok(())
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
    Ok((content, None))
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
