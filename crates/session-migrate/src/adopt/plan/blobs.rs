//! The treatment of blobs, whose bytes are compared with their records.

use super::memories::{contradiction, is_of_upload};
use super::*;

impl Planner<'_> {
    /// Compares every blob with its stored bytes: adds it to `sound_blobs`, or refuses it.
    pub(super) fn check_blobs(&mut self) -> Result<(), SnapshotError> {
        let mut seen = BTreeSet::new();
        for (id, blob) in &self.source.blobs {
            let prefix = chunk_prefix(blob);
            // The chunks under a prefix belong to the first blob that names it.
            let checked = match self.source.chunks_by_prefix.get(&prefix) {
                _ if !seen.insert(prefix) => Err("another blob has the same chunks".into()),
                _ if blob.size > 0 && self.source.lacks_chunk_map() => {
                    Err("no chunks are found: the chunk map is empty, or could not be reconstructed".into())
                }
                Some(stored) => check_blob(blob, stored),
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
                    self.sound_blobs.insert(*id, SoundBlob { record, notes, capsule: None, why });
                }
                Err(why) => self.refuse_blob(*id, blob, &why)?,
            }
        }
        Ok(())
    }

    fn refuse_blob(&mut self, id: u64, blob: &PublicBlob, why: &str) -> Result<(), SnapshotError> {
        let name = BlobId(id).to_string();
        self.left.write(&Line::new(RecordKind::Blob, &name, why).with_record(blob))?;
        self.plan.outcomes.add_not_taken(RecordKind::Blob, &name, None, why);
        self.refused_chunks.entry(chunk_prefix(blob)).or_insert_with(|| format!("of {name}: {why}"));
        Ok(())
    }

    /// Decides to which capsule each sound blob belongs, since a blob of this canister belongs to one capsule at most:
    /// the only one whose memories refer to it; of several, the only one with the memory that the blob's upload
    /// created. Otherwise the blob belongs to none, and is not taken.
    pub(super) fn assign_blobs(&mut self, heap: &Heap) {
        // For each blob, the capsules with a reference to it, and whether one of these references is in the memory that
        // the blob's upload created.
        let mut refs: BTreeMap<u64, BTreeMap<&str, bool>> = BTreeMap::new();
        for id in self.plan.capsules.keys() {
            let Some(capsule) = self.source.capsules.get(id) else { continue };
            for (_, memory) in &capsule.memories {
                for asset in &memory.blob_internal_assets {
                    let Some(blob) = BlobId::from_locator(&asset.blob_ref.locator) else { continue };
                    let Some(sound) = self.sound_blobs.get(&blob.0) else { continue };
                    if contradiction(&asset.blob_ref, &sound.record).is_some() {
                        continue;
                    }
                    let is_of_upload = is_of_upload(&asset.blob_ref, memory, &sound.record);
                    *refs.entry(blob.0).or_default().entry(id).or_default() |= is_of_upload;
                }
            }
        }
        // A committed session to whose blob no memory refers counts as a reference: the adoption creates the memory.
        for session in heap.sessions.iter().filter(|session| session.is_committed) {
            let blob = ChunkPrefix(session_prefix(session.id)).blob_id().0;
            if self.plan.capsules.contains_key(&session.capsule) && !refs.contains_key(&blob) {
                refs.entry(blob).or_default().insert(&session.capsule, true);
            }
        }
        for (blob, sound) in &mut self.sound_blobs {
            let capsules = refs.remove(blob).unwrap_or_default();
            let mut uploaders =
                capsules.iter().filter(|(_, is_of_upload)| **is_of_upload).map(|(capsule, _)| *capsule);
            sound.capsule = match (capsules.len(), uploaders.next(), uploaders.next()) {
                (1, ..) => capsules.keys().next().map(|capsule| (*capsule).to_owned()),
                (_, Some(uploader), None) => Some(uploader.to_owned()),
                _ => None,
            };
            if capsules.len() > 1 {
                sound.why =
                    "memories of several capsules refer to it, and the memory of its upload is unknown";
            }
        }
    }

    /// Reports the outcome of each sound blob, once all memories are planned: a blob is taken if a planned memory
    /// refers to it.
    pub(super) fn finish_blobs(&mut self) -> Result<(), SnapshotError> {
        for (id, SoundBlob { notes, why, .. }) in std::mem::take(&mut self.sound_blobs) {
            let Some(blob) = self.source.blobs.get(&id) else { continue };
            match self.plan.blobs.get(&id) {
                Some(planned) => {
                    let capsule = planned.capsule.clone();
                    let name = BlobId(id).to_string();
                    let why = format!("after the end of {name}");
                    let planned = PlannedChunks { used: ChunkUse::Blob(blob.size), session: None, why };
                    self.plan.chunks_by_prefix.insert(chunk_prefix(blob), planned);
                    self.plan.outcomes.add_taken(RecordKind::Blob, &name, Some(&capsule), notes);
                }
                None => self.refuse_blob(id, blob, why)?,
            }
        }
        Ok(())
    }
}

/// Compares the bytes of a blob with its record. Returns notes about irregularities, or the reason why the blob cannot
/// be taken.
fn check_blob(blob: &PublicBlob, stored: &StoredChunks) -> Result<Vec<String>, String> {
    let Some(hashed) = &stored.hashed else { return Err("none of its chunks is stored".into()) };
    if hashed.bytes < blob.size {
        let next = hashed.chunk_count();
        return Err(match stored.chunks.range(next..).next() {
            Some((idx, _)) => format!("chunk {next} is missing, and chunk {idx} is stored"),
            None => format!("{} bytes are stored, its record says {}", hashed.bytes, blob.size),
        });
    }
    let sha256 = hashed.sha256();
    if sha256.as_slice() != blob.checksum.as_slice() {
        let (stored_sha256, committed_sha256) = (hex::encode(sha256), hex::encode(&blob.checksum));
        return Err(format!(
            "its bytes have the SHA-256 {stored_sha256}, but {committed_sha256} was committed"
        ));
    }
    let mut notes = Vec::new();
    let taken = stored.chunks.range(..hashed.chunk_count());
    if taken.clone().rev().skip(1).any(|(_, len)| *len != CHUNK_SIZE)
        || taken.clone().next_back().is_some_and(|(_, len)| *len > CHUNK_SIZE)
    {
        notes.push("its chunks were of uneven length".into());
    }
    let stored_bytes: u64 = stored.chunks.values().map(|len| u64::from(*len)).sum();
    if stored_bytes > blob.size {
        notes.push(format!("{} bytes of an earlier upload were after its end", stored_bytes - blob.size));
    }
    Ok(notes)
}
