//! Payload as layouts 1 and 2 keep it: each chunk one value of a stable map.
//!
//! ```text
//! id 6    ([u8; 32], u32) -> bytes      chunk `n` under SHA-256(memory id ‖ "#" ‖ le64(session id))
//! id 24   [u8; 32] -> ()                chunks under this prefix are to be removed
//! ```

use ic_stable_structures::StableBTreeMap;
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

use crate::session::{ChunkSet, SessionId};
use crate::stable::{Memories, Memory, Table, memory_ids};

use super::record::BlobId;

/// Chunks removed in the message that ends a session; more are left to the timer. Removing one chunk
/// reads it and may move its neighbours, tens of millions of instructions of the 40 billion of a message.
pub const RELEASE_AT_ONCE: usize = 32;

/// First half of the key of a session's chunks.
#[derive(Encode, Decode, Clone, Copy, Debug, PartialEq, Eq)]
#[cbor(transparent)]
pub struct ChunkPrefix(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

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

/// The chunks, and those that are still to be removed.
pub struct ChunkMap {
    chunks: StableBTreeMap<([u8; 32], u32), Vec<u8>, Memory>,
    released: Table<[u8; 32], ()>,
}

impl ChunkMap {
    /// Opens the map, or makes an empty one.
    pub fn open(memories: &Memories) -> Self {
        Self {
            chunks: StableBTreeMap::init(memories.get(memory_ids::CHUNKS)),
            released: Table::open(memories, memory_ids::RELEASED_CHUNKS),
        }
    }

    /// Whether a chunk is stored.
    pub fn contains(&self, prefix: ChunkPrefix, idx: u32) -> bool {
        self.chunks.contains_key(&(prefix.0, idx))
    }

    /// A stored chunk.
    pub fn get(&self, prefix: ChunkPrefix, idx: u32) -> Option<Vec<u8>> {
        self.chunks.get(&(prefix.0, idx))
    }

    /// Stores a chunk.
    pub fn insert(&mut self, prefix: ChunkPrefix, idx: u32, bytes: &[u8]) {
        self.chunks.insert((prefix.0, idx), bytes.to_vec());
    }

    /// Which chunks are really stored under a prefix. Their bytes are not read.
    pub fn stored(&self, prefix: ChunkPrefix) -> ChunkSet {
        self.keys_under(prefix).map(|(_, idx)| idx).collect()
    }

    /// Number of chunks in the whole map.
    pub fn total(&self) -> u64 {
        self.chunks.len()
    }

    /// Number of prefixes whose chunks are still to be removed.
    pub fn release_total(&self) -> u64 {
        self.released.len()
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
