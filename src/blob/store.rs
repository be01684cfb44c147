//! Chunks, blob records and references in stable memory.
//!
//! ```text
//! id 6    ([u8; 32], u32) -> bytes      chunk `n` under SHA-256(memory id ‖ "#" ‖ le64(session id))
//! id 7    u64 -> BlobRecord             committed blobs
//! id 20   (u64, text) -> text           (blob, memory) -> capsule: who refers to a blob
//! id 24   [u8; 32] -> ()                chunks under this prefix are to be removed
//! ```

use ic_stable_structures::StableBTreeMap;
use sha2::{Digest, Sha256};

use crate::session::{ChunkSet, SessionId};
use crate::stable::keys::NumberAndText;
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
}

impl BlobStore {
    /// Opens the store, or makes an empty one.
    pub fn open(memories: &Memories) -> Self {
        Self {
            chunks: StableBTreeMap::init(memories.get(memory_ids::CHUNKS)),
            blobs: Table::open(memories, memory_ids::BLOB_META),
            refs: Table::open(memories, memory_ids::BLOB_REFS),
            released: Table::open(memories, memory_ids::RELEASED_CHUNKS),
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

    /// Number of chunks in the whole store.
    pub fn chunk_total(&self) -> u64 {
        self.chunks.len()
    }

    /// Commits a blob whose chunks are stored, with its first reference.
    ///
    /// # Errors
    /// [`BlobError::AlreadyExists`]; a committed blob is never overwritten.
    pub fn commit(
        &mut self,
        id: BlobId,
        record: &BlobRecord,
        memory_id: &str,
        capsule_id: &str,
    ) -> Result<(), BlobError> {
        if self.blobs.contains(&id.0) {
            return Err(BlobError::AlreadyExists(id));
        }
        self.blobs.insert(id.0, record);
        self.refs.insert(NumberAndText(id.0, memory_id.to_owned()), &capsule_id.to_owned());
        Ok(())
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

    /// The capsules whose memories refer to a blob.
    ///
    /// # Errors
    /// A damaged entry.
    pub fn capsules_of(&self, id: BlobId) -> Result<Vec<String>, BlobError> {
        self.refs
            .range(NumberAndText(id.0, String::new())..)
            .take_while(|entry| !matches!(entry, Ok((NumberAndText(blob, _), _)) if *blob != id.0))
            .map(|entry| Ok(entry?.1))
            .collect()
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

impl BlobRecord {
    /// In how many chunks the blob is stored; none for an empty one.
    pub fn chunk_count(&self) -> u32 {
        u32::try_from(self.size.div_ceil(u64::from(CHUNK_SIZE))).unwrap_or(u32::MAX)
    }
}
