//! The keys of chunks in the chunk map.

use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

use crate::session::SessionId;

use super::id::BlobId;

/// First part of a chunk's key, the same for all chunks of a session.
#[derive(Encode, Decode, Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
#[cbor(transparent)]
pub struct ChunkPrefix(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

impl ChunkPrefix {
    /// Returns the prefix of a session: SHA-256(`provisional_memory_id` ‖ "#" ‖ session id as eight bytes,
    /// little-endian). The provisional id is the text that will identify the memory that finish creates in the capsule.
    pub fn of(provisional_memory_id: &str, session: SessionId) -> Self {
        let digest = Sha256::new()
            .chain_update(provisional_memory_id.as_bytes())
            .chain_update(b"#")
            .chain_update(session.0.to_le_bytes())
            .finalize();
        Self(digest.into())
    }

    /// Returns the id of the blob that these chunks become: the first eight bytes of the prefix, big-endian.
    pub const fn blob_id(self) -> BlobId {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        BlobId(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

/// Key of a chunk: prefix and chunk number.
pub type ChunkKey = ([u8; 32], u32);

/// Length of a stored key, bytes: the prefix, and the chunk number, big-endian.
pub const KEY_BYTES: usize = 36;

/// Returns the bytes that `ic-stable-structures` stores for a key.
pub fn key_bytes(prefix: ChunkPrefix, idx: u32) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    let bytes = prefix.0.into_iter().chain(idx.to_be_bytes());
    key.iter_mut().zip(bytes).for_each(|(byte, value)| *byte = value);
    key
}

/// The inverse of [`key_bytes`]; in practice never `None`, since the length is right.
pub fn parse_key(bytes: &[u8; KEY_BYTES]) -> Option<ChunkKey> {
    let (prefix, idx) = bytes.split_first_chunk()?;
    Some((*prefix, u32::from_be_bytes(*idx.first_chunk()?)))
}
