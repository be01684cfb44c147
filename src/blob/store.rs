//! Chunks, blob records and references in stable memory.
//!
//! ```text
//! id 6    ([u8; 32], u32) -> bytes      chunk `n` under SHA-256(memory id ‖ "#" ‖ le64(session id))
//! id 7    u64 -> BlobRecord             committed blobs
//! id 20   (u64, text) -> text           (blob, memory) -> capsule: who refers to a blob
//! id 24   [u8; 32] -> ()                chunks under this prefix are to be removed
//! id 31   (text, text) -> u64           (capsule, SHA-256 in hex) -> blob: one copy of a content per capsule
//! ```

use ic_stable_structures::StableBTreeMap;
use sha2::{Digest, Sha256};

use crate::session::{ChunkSet, SessionId};
use crate::stable::keys::{NumberAndText, TwoTexts};
use crate::stable::{Memories, Memory, StableError, Table, memory_ids};

use super::record::{BlobId, BlobRecord};

/// Length of every chunk but the last, bytes: the first public release's, under the IC's 2 MiB per message.
pub const CHUNK_SIZE: u32 = 1_800_000;

/// Chunks removed in the message that ends a session; more are left to the timer. Removing one chunk
/// reads it and may move its neighbours, tens of millions of instructions of the 40 billion of a message.
const RELEASE_AT_ONCE: usize = 32;

/// First half of the key of a session's chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPrefix(pub [u8; 32]);

impl ChunkPrefix {
    /// The prefix of a session: SHA-256(memory id ‖ "#" ‖ session id as eight bytes, little-endian).
    pub fn of(provisional_memory_id: &str, session: SessionId) -> Self {
        let digest = Sha256::new()
            .chain_update(provisional_memory_id.as_bytes())
            .chain_update(b"#")
            .chain_update(session.0.to_le_bytes())
            .finalize();
        Self(digest.into())
    }

    /// The id of the blob that these chunks become: the first eight bytes, big-endian.
    pub const fn blob_id(self) -> BlobId {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        BlobId(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

/// What [`BlobStore::commit`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The blob that holds the content.
    pub id: BlobId,
    /// Whether the new chunks were kept; false where the capsule had the content already.
    pub stored: bool,
}

/// A blob call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// No committed blob has this id.
    #[error("{0} not found")]
    NotFound(BlobId),
    /// A committed blob has this id already.
    #[error("{0} exists already")]
    AlreadyExists(BlobId),
    /// The blob has no such chunk.
    #[error("chunk {idx} of {blob}: it has {chunks} chunks")]
    NoSuchChunk {
        /// Which blob.
        blob: BlobId,
        /// Chunk that was asked for.
        idx: u32,
        /// How many it has.
        chunks: u32,
    },
    /// The blob has no such range.
    #[error("bytes {offset} to {offset} + {len} of {blob}: it has {size} bytes")]
    NoSuchRange {
        /// Which blob.
        blob: BlobId,
        /// First byte that was asked for.
        offset: u64,
        /// Number of bytes that was asked for.
        len: u64,
        /// How many it has.
        size: u64,
    },
    /// A chunk that should be stored is not.
    #[error("chunk {idx} under {prefix:02x?} is not stored")]
    MissingChunk {
        /// Where it should be.
        prefix: [u8; 32],
        /// Which chunk.
        idx: u32,
    },
    /// A record does not decode.
    #[error(transparent)]
    Stable(#[from] StableError),
}

/// Blobs in stable memory.
pub struct BlobStore {
    chunks: StableBTreeMap<([u8; 32], u32), Vec<u8>, Memory>,
    blobs: Table<u64, BlobRecord>,
    refs: Table<NumberAndText, String>,
    released: Table<[u8; 32], ()>,
    by_content: Table<TwoTexts, u64>,
}

impl BlobStore {
    /// Opens the store, or makes an empty one.
    pub fn open(memories: &Memories) -> Self {
        Self {
            chunks: StableBTreeMap::init(memories.get(memory_ids::CHUNKS)),
            blobs: Table::open(memories, memory_ids::BLOB_META),
            refs: Table::open(memories, memory_ids::BLOB_REFS),
            released: Table::open(memories, memory_ids::RELEASED_CHUNKS),
            by_content: Table::open(memories, memory_ids::BLOB_BY_CONTENT),
        }
    }

    /// Whether a chunk is stored.
    pub fn has_chunk(&self, prefix: ChunkPrefix, idx: u32) -> bool {
        self.chunks.contains_key(&(prefix.0, idx))
    }

    /// A stored chunk.
    pub fn chunk(&self, prefix: ChunkPrefix, idx: u32) -> Option<Vec<u8>> {
        self.chunks.get(&(prefix.0, idx))
    }

    /// Stores a chunk.
    pub fn write_chunk(&mut self, prefix: ChunkPrefix, idx: u32, bytes: &[u8]) {
        self.chunks.insert((prefix.0, idx), bytes.to_vec());
    }

    /// Which chunks are really stored under a prefix. Their bytes are not read.
    pub fn stored_chunks(&self, prefix: ChunkPrefix) -> ChunkSet {
        self.keys_under(prefix).map(|(_, idx)| idx).collect()
    }

    /// Number of prefixes whose chunks are still to be removed.
    pub fn release_total(&self) -> u64 {
        self.released.len()
    }

    /// Number of chunks in the whole store.
    pub fn chunk_total(&self) -> u64 {
        self.chunks.len()
    }

    /// Commits stored chunks as a blob that `memory_id` refers to, and says which blob that is: where the
    /// capsule holds the same content already, the blob that it has, and the new chunks are given back.
    ///
    /// Content is not shared between capsules: that would tell one capsule's members what another one holds.
    ///
    /// # Errors
    /// [`BlobError::AlreadyExists`]; a committed blob is never overwritten.
    pub fn commit(
        &mut self,
        id: BlobId,
        record: &BlobRecord,
        memory_id: &str,
        capsule_id: &str,
    ) -> Result<Committed, BlobError> {
        let content = content_key(capsule_id, &record.checksum);
        let same = self.by_content.get(&content)?.map(BlobId);
        let committed = match same {
            Some(id) => Committed { id, stored: false },
            None if self.blobs.contains(&id.0) => return Err(BlobError::AlreadyExists(id)),
            None => Committed { id, stored: true },
        };
        if committed.stored {
            self.blobs.insert(id.0, record);
            self.by_content.insert(content, &id.0);
        } else {
            self.release(ChunkPrefix(record.prefix));
        }
        self.add_ref(committed.id, memory_id, capsule_id);
        Ok(committed)
    }

    /// Lets one more memory refer to a committed blob.
    pub fn add_ref(&mut self, id: BlobId, memory_id: &str, capsule_id: &str) {
        self.refs.insert(NumberAndText(id.0, memory_id.to_owned()), &capsule_id.to_owned());
    }

    /// Takes the reference of a memory away. The bytes that became free: none while another memory refers
    /// to the blob.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], or a damaged record.
    pub fn unref(&mut self, id: BlobId, memory_id: &str, capsule_id: &str) -> Result<u64, BlobError> {
        let record = self.blob(id)?;
        self.refs.remove(&NumberAndText(id.0, memory_id.to_owned()));
        if self.refs(id).next().is_some() {
            return Ok(0);
        }
        self.blobs.remove(&id.0);
        self.by_content.remove(&content_key(capsule_id, &record.checksum));
        self.release(ChunkPrefix(record.prefix));
        Ok(record.size)
    }

    /// A committed blob.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], or a damaged record.
    pub fn blob(&self, id: BlobId) -> Result<BlobRecord, BlobError> {
        self.blobs.get(&id.0)?.ok_or(BlobError::NotFound(id))
    }

    /// Number of committed blobs.
    pub fn blob_total(&self) -> u64 {
        self.blobs.len()
    }

    /// The memories that refer to a blob, each with its capsule.
    ///
    /// # Errors
    /// A damaged entry, in the place where it is.
    pub fn refs(&self, id: BlobId) -> impl Iterator<Item = Result<(String, String), BlobError>> + '_ {
        self.refs
            .range(NumberAndText(id.0, String::new())..)
            .take_while(move |entry| !matches!(entry, Ok((NumberAndText(blob, _), _)) if *blob != id.0))
            .map(|entry| {
                let (NumberAndText(_, memory), capsule) = entry?;
                Ok((memory, capsule))
            })
    }

    /// The capsule that a blob is in; all its references come from there.
    ///
    /// # Errors
    /// [`BlobError::NotFound`] when nothing refers to the blob, or a damaged entry.
    pub fn capsule_of(&self, id: BlobId) -> Result<String, BlobError> {
        let first = self.refs(id).next().ok_or(BlobError::NotFound(id))?;
        Ok(first?.1)
    }

    /// The bytes of one chunk of a committed blob.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], [`BlobError::NoSuchChunk`], [`BlobError::MissingChunk`].
    pub fn read_chunk(&self, id: BlobId, idx: u32) -> Result<Vec<u8>, BlobError> {
        let blob = self.blob(id)?;
        let chunks = blob.chunk_count();
        if idx >= chunks {
            return Err(BlobError::NoSuchChunk { blob: id, idx, chunks });
        }
        let prefix = ChunkPrefix(blob.prefix);
        self.chunk(prefix, idx).ok_or(BlobError::MissingChunk { prefix: blob.prefix, idx })
    }

    /// The bytes `offset..offset + len` of a committed blob.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], [`BlobError::NoSuchRange`], [`BlobError::MissingChunk`].
    pub fn read_range(&self, id: BlobId, offset: u64, len: u64) -> Result<Vec<u8>, BlobError> {
        let size = self.blob(id)?.size;
        let end = offset.checked_add(len).filter(|end| *end <= size);
        let end = end.ok_or(BlobError::NoSuchRange { blob: id, offset, len, size })?;
        let chunk_size = u64::from(CHUNK_SIZE);
        let mut bytes = Vec::new();
        let mut at = offset;
        while at < end {
            // A blob has fewer chunks than u32 counts, and a position in a chunk fits usize.
            let idx = u32::try_from(at.div_euclid(chunk_size)).unwrap_or(u32::MAX);
            let chunk = self.read_chunk(id, idx)?;
            let from = at.rem_euclid(chunk_size) as usize;
            let wanted = end.saturating_sub(at) as usize;
            let part = chunk.get(from..).unwrap_or_default();
            let part = part.get(..wanted).unwrap_or(part);
            if part.is_empty() {
                return Err(BlobError::MissingChunk { prefix: self.blob(id)?.prefix, idx });
            }
            bytes.extend_from_slice(part);
            at = at.saturating_add(part.len() as u64);
        }
        Ok(bytes)
    }

    /// Gives the chunks under a prefix back: a few at once, the rest by [`Self::sweep`].
    pub fn release(&mut self, prefix: ChunkPrefix) {
        if !self.remove_some(prefix, RELEASE_AT_ONCE) {
            self.released.insert(prefix.0, &());
        }
    }

    /// Removes at most a few released chunks. True when nothing is left to remove.
    pub fn sweep(&mut self) -> bool {
        let Some(prefix) = self.released.next_key(None) else {
            return true;
        };
        if self.remove_some(ChunkPrefix(prefix), RELEASE_AT_ONCE) {
            self.released.remove(&prefix);
        }
        self.released.is_empty()
    }

    /// Removes up to `limit` chunks under a prefix. True when none is left.
    fn remove_some(&mut self, prefix: ChunkPrefix, limit: usize) -> bool {
        let keys: Vec<_> = self.keys_under(prefix).take(limit).collect();
        for key in &keys {
            self.chunks.remove(key);
        }
        keys.len() < limit || self.keys_under(prefix).next().is_none()
    }

    fn keys_under(&self, prefix: ChunkPrefix) -> impl Iterator<Item = ([u8; 32], u32)> + '_ {
        self.chunks.keys_range((prefix.0, 0)..=(prefix.0, u32::MAX))
    }
}

fn content_key(capsule_id: &str, checksum: &[u8; 32]) -> TwoTexts {
    let hex = checksum.iter().map(|byte| format!("{byte:02x}")).collect();
    TwoTexts(capsule_id.to_owned(), hex)
}

impl BlobRecord {
    /// In how many chunks the blob is stored; none for an empty one.
    pub fn chunk_count(&self) -> u32 {
        u32::try_from(self.size.div_ceil(u64::from(CHUNK_SIZE))).unwrap_or(u32::MAX)
    }
}
