//! Payload, blob records and references in stable memory.
//!
//! ```text
//! id 7    u64 -> Sha256Blob             committed blobs in the chunk map whose digest is a SHA-256
//! id 40   u64 -> BlobRecord             committed blobs in extents
//! id 41   u64 -> BlobRecord             committed blobs in the chunk map with another digest
//! id 20   (u64, text) -> text           (blob, memory) -> capsule: who refers to a blob
//! id 31   (text, text) -> u64           (capsule, digest: see `content_key`) -> blob: one copy per capsule
//! ```

use crate::api::HashAlgorithm;
use crate::session::ChunkSet;
use crate::stable::keys::{NumberAndText, TwoTexts};
use crate::stable::{Memories, NoRoom, StableError, StableRoom, Table, memory_ids};

use super::CHUNK_SIZE;
use super::chunk_key::ChunkPrefix;
use super::chunk_map::ChunkMap;
use super::error::BlobError;
use super::extents::{AllocateError, ExtentStore, Extents};
use super::id::BlobId;
use super::record::{BlobRecord, ContentDigest, Place, Sha256Blob};

/// Destination of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The blob that has the content, or will have it after the commit.
    pub id: BlobId,
    /// Whether the new bytes are kept; `false` if the capsule already has the content, so that the commit releases
    /// them.
    pub is_new: bool,
}

/// Blobs in stable memory.
pub struct BlobStore {
    chunk_map: ChunkMap,
    extents: ExtentStore,
    // Committed blobs by id: each is in one of these three tables.
    in_map_with_sha256: Table<u64, Sha256Blob>,
    in_map_with_other_digest: Table<u64, BlobRecord>,
    in_extents: Table<u64, BlobRecord>,
    refs: Table<NumberAndText, String>,
    by_content: Table<TwoTexts, u64>,
}

impl BlobStore {
    /// Opens the store. Structures that do not exist yet are created when something is stored.
    pub fn open(memories: &Memories, room: &StableRoom) -> Self {
        Self {
            chunk_map: ChunkMap::open(memories, room),
            extents: ExtentStore::open(memories, room),
            in_map_with_sha256: Table::open(memories, memory_ids::BLOB_META),
            in_map_with_other_digest: Table::open(memories, memory_ids::MAPPED_BLOBS),
            in_extents: Table::open(memories, memory_ids::BLOBS),
            refs: Table::open(memories, memory_ids::BLOB_REFS),
            by_content: Table::open(memories, memory_ids::BLOB_BY_CONTENT),
        }
    }

    /// Returns whether a chunk is in the chunk map.
    pub fn has_chunk(&self, prefix: ChunkPrefix, idx: u32) -> bool {
        self.chunk_map.contains(prefix, idx)
    }

    /// Returns a chunk of the chunk map; `None` if it is not stored.
    pub fn chunk(&self, prefix: ChunkPrefix, idx: u32) -> Option<Vec<u8>> {
        self.chunk_map.get(prefix, idx)
    }

    /// Returns `Ok(())` if a chunk of this many bytes may be stored in the chunk map.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn check_room_for_chunk(&self, bytes: u64) -> Result<(), NoRoom> {
        self.chunk_map.check_room_for(bytes)
    }

    /// Stores a chunk in the chunk map, replacing one with the same number. Traps without room, so the caller must
    /// check.
    pub fn write_chunk(&mut self, prefix: ChunkPrefix, idx: u32, bytes: &[u8]) {
        self.chunk_map.insert(prefix, idx, bytes);
    }

    /// Returns which chunks are actually in the chunk map under a prefix. Their bytes are not read.
    pub fn stored_chunks(&self, prefix: ChunkPrefix) -> ChunkSet {
        self.chunk_map.stored_chunks(prefix)
    }

    /// Returns the payload region.
    pub const fn extents(&self) -> &ExtentStore {
        &self.extents
    }

    /// Returns the payload region.
    pub const fn extents_mut(&mut self) -> &mut ExtentStore {
        &mut self.extents
    }

    /// Allocates `len` bytes in the payload region.
    ///
    /// # Errors
    /// [`AllocateError`]; nothing is allocated then.
    pub fn allocate(&mut self, len: u64) -> Result<Extents, AllocateError> {
        self.extents.allocate(len)
    }

    /// Returns the number of prefixes whose chunks are still to be removed.
    pub fn release_total(&self) -> u64 {
        self.chunk_map.release_total()
    }

    /// Returns the number of chunks that are still to be removed.
    pub fn released_chunks(&self) -> u64 {
        self.chunk_map.released_chunks()
    }

    /// Returns the number of chunks in the chunk map.
    pub fn chunk_total(&self) -> u64 {
        self.chunk_map.total()
    }

    /// Releases the bytes of an object: chunks as [`Self::release`] does, extents immediately.
    ///
    /// # Errors
    /// A damaged table.
    pub fn free(&mut self, place: &Place) -> Result<(), StableError> {
        match place {
            Place::Chunks(prefix) => {
                self.chunk_map.release(*prefix);
                Ok(())
            }
            Place::Extents(extents) => self.extents.free(extents),
        }
    }

    /// Releases the bytes that this message has stored for an object, because the object is refused after all. The
    /// object's extents must be the ones that were allocated last. Unlike [`Self::free`], this also works if the
    /// entries of free extents next to them are damaged.
    ///
    /// # Errors
    /// A damaged table.
    pub fn discard(&mut self, place: &Place) -> Result<(), StableError> {
        match place {
            Place::Chunks(prefix) => {
                self.chunk_map.release(*prefix);
                Ok(())
            }
            Place::Extents(extents) => self.extents.discard(extents),
        }
    }

    /// Releases the chunks under a prefix: a few immediately, the rest in [`Self::sweep`].
    pub fn release(&mut self, prefix: ChunkPrefix) {
        self.chunk_map.release(prefix);
    }

    /// Releases chunks that have been copied into extents: like [`Self::release`] if room is short, otherwise all of
    /// them in [`Self::sweep`].
    pub fn release_copied(&mut self, prefix: ChunkPrefix) {
        self.chunk_map.release_copied(prefix);
    }

    /// Returns whether released chunks are stored, and may stay for now, since stable memory has ample room.
    pub fn may_defer_removal(&self) -> bool {
        self.release_total() > 0 && self.chunk_map.has_ample_room()
    }

    /// Cancels a compaction that the message before has marked. Must be called if a message could sweep, but does not:
    /// otherwise [`Self::watch_removals`] finds the same mark twice, and takes it for a compaction that trapped.
    pub const fn defer_removal(&mut self) {
        self.chunk_map.cancel_compaction();
    }

    /// Removes released chunks from the chunk map: all of them, a few, or none yet. Returns `true` if none is left.
    pub fn sweep(&mut self) -> bool {
        self.chunk_map.sweep()
    }

    /// Returns the removal that the sweep is about to attempt.
    #[cfg(test)]
    pub const fn attempt_mut(&mut self) -> &mut super::chunk_map::Attempt {
        self.chunk_map.attempt_mut()
    }

    /// Returns the state of the chunk map's compaction.
    #[cfg(test)]
    pub const fn compaction_mut(&mut self) -> &mut super::chunk_map::Compaction {
        self.chunk_map.compaction_mut()
    }

    /// Removes a chunk without checking for room and without reporting it to the survey of the map.
    #[cfg(test)]
    pub fn remove_unreported(&mut self, prefix: ChunkPrefix, idx: u32) {
        self.chunk_map.remove_unreported(prefix, idx);
    }

    /// Detects a removal whose message trapped, so that the sweep does not repeat it. Must be called regularly, in
    /// messages that do not sweep.
    pub fn watch_removals(&mut self) {
        self.chunk_map.watch();
    }

    /// Returns the blob to which bytes with this digest would be committed: the blob of the capsule that already has
    /// the same content, otherwise a new one with the given id. Changes nothing.
    ///
    /// Capsules do not share content: that would reveal to the members of one capsule what another one contains.
    ///
    /// # Errors
    /// [`BlobError::AlreadyExists`], since a committed blob is never overwritten, or a damaged entry of the index.
    pub fn destination(
        &self,
        id: BlobId,
        digest: ContentDigest,
        capsule_id: &str,
    ) -> Result<Destination, BlobError> {
        match self.by_content.get(&content_key(capsule_id, digest))?.map(BlobId) {
            Some(other) if other != id => Ok(Destination { id: other, is_new: false }),
            None if !self.has_blob(id) => Ok(Destination { id, is_new: true }),
            _ => Err(BlobError::AlreadyExists(id)),
        }
    }

    /// Commits stored bytes to their [`Self::destination`], as a blob that `memory_id` refers to. Releases
    /// the bytes if the content already exists.
    ///
    /// # Errors
    /// A damaged table. Nothing is changed.
    pub fn commit(
        &mut self,
        to: Destination,
        record: &BlobRecord,
        memory_id: &str,
        capsule_id: &str,
    ) -> Result<(), StableError> {
        if to.is_new {
            self.insert(to.id, record);
            self.by_content.insert(content_key(capsule_id, record.digest), &to.id.0);
        } else {
            self.free(&record.place)?;
        }
        self.add_ref(to.id, memory_id, capsule_id);
        Ok(())
    }

    /// Adds a memory's reference to a committed blob.
    pub fn add_ref(&mut self, id: BlobId, memory_id: &str, capsule_id: &str) {
        self.refs.insert(NumberAndText(id.0, memory_id.to_owned()), &capsule_id.to_owned());
    }

    /// Removes a memory's reference, and the blob if no other memory refers to it. Returns the number of bytes freed:
    /// the size of the blob, or 0 if the blob stays.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], or a damaged record or table. Nothing is changed.
    pub fn unref(&mut self, id: BlobId, memory_id: &str, capsule_id: &str) -> Result<u64, BlobError> {
        let record = self.blob(id)?;
        self.refs.remove(&NumberAndText(id.0, memory_id.to_owned()));
        if self.refs(id).next().is_some() {
            return Ok(0);
        }
        if let Err(damage) = self.free(&record.place) {
            // Without a reference, no later call could free the blob.
            self.add_ref(id, memory_id, capsule_id);
            return Err(damage.into());
        }
        self.remove(id);
        // The entry stays if it refers to another blob: an adopted capsule can have the same content twice. A damaged
        // entry refers to no blob, and is removed.
        let key = content_key(capsule_id, record.digest);
        if self.by_content.get(&key).map_or(true, |found| found == Some(id.0)) {
            self.by_content.remove(&key);
        }
        Ok(record.size)
    }

    /// Returns a committed blob.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], or a damaged record.
    pub fn blob(&self, id: BlobId) -> Result<BlobRecord, BlobError> {
        if let Some(blob) = self.in_extents.get(&id.0)? {
            return Ok(blob);
        }
        self.in_chunk_map(id)?.ok_or(BlobError::NotFound(id))
    }

    /// Returns a committed blob whose bytes are in the chunk map; `None` if there is none with this id.
    ///
    /// # Errors
    /// A damaged record.
    pub fn in_chunk_map(&self, id: BlobId) -> Result<Option<BlobRecord>, StableError> {
        if let Some(mapped) = self.in_map_with_sha256.get(&id.0)? {
            return Ok(Some(mapped.into()));
        }
        self.in_map_with_other_digest.get(&id.0)
    }

    /// Returns whether the bytes at this place belong to a committed blob in the chunk map; always `false` for extents.
    /// If the record of that blob is damaged, returns `true`, so that nobody releases the bytes.
    pub fn is_committed(&self, place: &Place) -> bool {
        let Place::Chunks(prefix) = place else { return false };
        match self.in_chunk_map(prefix.blob_id()) {
            Ok(blob) => blob.is_some_and(|blob| blob.place == *place),
            Err(_) => true,
        }
    }

    /// Lists the ids of up to `limit` committed blobs whose bytes are in the chunk map, with ids above `after`, in
    /// order of id.
    pub fn list_in_chunk_map(&self, after: Option<u64>, limit: usize) -> Vec<u64> {
        let mapped = self.in_map_with_sha256.keys_after(after.as_ref()).take(limit);
        let mut ids: Vec<u64> =
            mapped.chain(self.in_map_with_other_digest.keys_after(after.as_ref()).take(limit)).collect();
        ids.sort_unstable();
        ids.truncate(limit);
        ids
    }

    /// Lists the ids of up to `limit` committed blobs whose bytes are in extents, with ids above `after`, in order of
    /// id.
    pub fn list_in_extents(&self, after: Option<u64>, limit: usize) -> Vec<u64> {
        self.in_extents.keys_after(after.as_ref()).take(limit).collect()
    }

    /// Points a committed blob to `extents`, which hold a copy of its bytes, and releases the old copy.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], or a damaged record or table.
    pub fn relocate(&mut self, id: BlobId, extents: Extents) -> Result<(), BlobError> {
        let old = self.blob(id)?;
        let new = BlobRecord { place: Place::Extents(extents), ..old.clone() };
        self.remove(id);
        self.insert(id, &new);
        match &old.place {
            Place::Chunks(prefix) => self.release_copied(*prefix),
            Place::Extents(extents) => self.extents.free(extents)?,
        }
        Ok(())
    }

    fn insert(&mut self, id: BlobId, blob: &BlobRecord) {
        match (Sha256Blob::of(blob), &blob.place) {
            (Some(mapped), _) => self.in_map_with_sha256.insert(id.0, &mapped),
            (None, Place::Chunks(_)) => self.in_map_with_other_digest.insert(id.0, blob),
            (None, Place::Extents(_)) => self.in_extents.insert(id.0, blob),
        }
    }

    fn remove(&mut self, id: BlobId) {
        let _ = self.in_extents.remove(&id.0)
            || self.in_map_with_sha256.remove(&id.0)
            || self.in_map_with_other_digest.remove(&id.0);
    }

    fn has_blob(&self, id: BlobId) -> bool {
        let Self { in_extents, in_map_with_sha256, in_map_with_other_digest, .. } = self;
        in_extents.contains(&id.0)
            || in_map_with_sha256.contains(&id.0)
            || in_map_with_other_digest.contains(&id.0)
    }

    /// Returns the number of committed blobs.
    pub fn blob_total(&self) -> u64 {
        self.in_extents
            .len()
            .saturating_add(self.in_map_with_sha256.len())
            .saturating_add(self.in_map_with_other_digest.len())
    }

    /// Iterates over the memories that refer to a blob, each with its capsule.
    ///
    /// # Errors
    /// An item is an error if its entry is damaged.
    pub fn refs(&self, id: BlobId) -> impl Iterator<Item = Result<(String, String), BlobError>> + '_ {
        self.refs
            .range(NumberAndText(id.0, String::new())..)
            .take_while(move |entry| !matches!(entry, Ok((NumberAndText(blob, _), _)) if *blob != id.0))
            .map(|entry| {
                let (NumberAndText(_, memory), capsule) = entry?;
                Ok((memory, capsule))
            })
    }

    /// Returns the capsule of a blob. All references to a blob come from one capsule.
    ///
    /// # Errors
    /// [`BlobError::NotFound`] if nothing refers to the blob, or a damaged entry.
    pub fn capsule_of(&self, id: BlobId) -> Result<String, BlobError> {
        let first = self.refs(id).next().ok_or(BlobError::NotFound(id))?;
        Ok(first?.1)
    }

    /// Returns the offset and the length of chunk `idx` in a committed blob.
    ///
    /// # Errors
    /// [`BlobError::NoSuchChunk`].
    pub fn chunk_range(&self, id: BlobId, blob: &BlobRecord, idx: u32) -> Result<(u64, u64), BlobError> {
        let chunking = blob.chunking();
        let missing = || BlobError::NoSuchChunk { blob: id, idx, chunks: chunking.count() };
        chunking.range(idx).ok_or_else(missing)
    }

    /// Returns `Ok(())` if a committed blob has the bytes `offset..offset + len`.
    ///
    /// # Errors
    /// [`BlobError::NoSuchRange`].
    pub fn check_range(&self, id: BlobId, blob: &BlobRecord, offset: u64, len: u64) -> Result<(), BlobError> {
        let size = blob.size;
        let fits = offset.checked_add(len).is_some_and(|end| end <= size);
        if fits { Ok(()) } else { Err(BlobError::NoSuchRange { blob: id, offset, len, size }) }
    }

    /// Returns one chunk of a committed blob.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], [`BlobError::NoSuchChunk`], a damaged record, and those of [`Self::read`].
    pub fn read_chunk(&self, id: BlobId, idx: u32) -> Result<Vec<u8>, BlobError> {
        let blob = self.blob(id)?;
        let (offset, len) = self.chunk_range(id, &blob, idx)?;
        self.read_range(id, offset, len)
    }

    /// Returns the bytes `offset..offset + len` of a committed blob.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], [`BlobError::NoSuchRange`], a damaged record, and those of [`Self::read`].
    pub fn read_range(&self, id: BlobId, offset: u64, len: u64) -> Result<Vec<u8>, BlobError> {
        let blob = self.blob(id)?;
        self.check_range(id, &blob, offset, len)?;
        self.read_bytes(&blob.place, offset, len)
    }

    /// Returns `len` stored bytes from offset `at` of an object.
    ///
    /// # Errors
    /// Those of [`Self::read`].
    pub fn read_bytes(&self, place: &Place, at: u64, len: u64) -> Result<Vec<u8>, BlobError> {
        let mut bytes = Vec::new();
        self.read(place, at, len, &mut |block| bytes.extend_from_slice(block))?;
        Ok(bytes)
    }

    /// Passes `len` stored bytes from offset `at` of an object to `take`, block by block.
    ///
    /// # Errors
    /// [`BlobError::MissingChunk`], also for bytes beyond the end of the last chunk, or [`BlobError::Payload`] for
    /// bytes beyond the last extent. Blocks before the error have been passed to `take`.
    pub fn read(
        &self,
        place: &Place,
        at: u64,
        len: u64,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), BlobError> {
        match place {
            Place::Chunks(prefix) => self.read_chunks(*prefix, at, len, take),
            Place::Extents(extents) => {
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                let mut take = |block: &[u8]| {
                    take(block);
                    Ok(())
                };
                Ok(self.extents.read_at(extents, at, len, &mut take)?)
            }
        }
    }

    fn read_chunks(
        &self,
        prefix: ChunkPrefix,
        at: u64,
        len: u64,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), BlobError> {
        let chunk_size = u64::from(CHUNK_SIZE);
        let (mut at, end) = (at, at.saturating_add(len));
        while at < end {
            // The number of chunks of an object fits u32, and an offset in a chunk fits usize.
            let idx = u32::try_from(at.div_euclid(chunk_size)).unwrap_or(u32::MAX);
            let chunk = self.chunk(prefix, idx).unwrap_or_default();
            let from = at.rem_euclid(chunk_size) as usize;
            let wanted = end.saturating_sub(at) as usize;
            let part = chunk.get(from..).unwrap_or_default();
            let part = part.get(..wanted).unwrap_or(part);
            if part.is_empty() {
                return Err(BlobError::MissingChunk { prefix: prefix.0, idx });
            }
            take(part);
            at = at.saturating_add(part.len() as u64);
        }
        Ok(())
    }

    /// Describes the stored structures, for the schema.
    #[cfg(test)]
    pub fn describe(&self, to: &mut crate::stable::schema::Description) {
        self.chunk_map.describe(to);
        self.extents.describe(to);
        to.table(memory_ids::numbers::BLOB_META, &self.in_map_with_sha256);
        to.table(memory_ids::numbers::MAPPED_BLOBS, &self.in_map_with_other_digest);
        to.table(memory_ids::numbers::BLOBS, &self.in_extents);
        to.table(memory_ids::numbers::BLOB_REFS, &self.refs);
        to.table(memory_ids::numbers::BLOB_BY_CONTENT, &self.by_content);
    }
}

/// Returns the key of a content in the index by content: the capsule, and the digest in hex, for BLAKE3 with a prefix.
pub fn content_key(capsule_id: &str, digest: ContentDigest) -> TwoTexts {
    let hex = hex::encode(digest.bytes);
    let digest = match digest.algorithm {
        HashAlgorithm::Sha256 => hex,
        HashAlgorithm::Blake3 => format!("blake3:{hex}"),
    };
    TwoTexts(capsule_id.to_owned(), digest)
}
