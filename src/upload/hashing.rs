//! SHA-256 over the stored bytes, chunk by chunk, with a mid-state that survives messages and upgrades.
//!
//! A chunk that arrives in order is hashed from the message that brings it. What arrived out of order is
//! caught up from stable memory when the upload finishes. Either way every byte is hashed once.

use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest, Sha256};

use crate::stable::Record;

/// SHA-256 over the chunks `0..next_chunk`.
#[derive(Clone)]
pub struct HashState {
    next_chunk: u32,
    sha256: Sha256,
}

impl Default for HashState {
    fn default() -> Self {
        Self { next_chunk: 0, sha256: Sha256::new() }
    }
}

impl HashState {
    /// The chunk that comes next.
    pub const fn next_chunk(&self) -> u32 {
        self.next_chunk
    }

    /// Hashes the next chunk.
    pub fn absorb(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.next_chunk = self.next_chunk.saturating_add(1);
    }

    /// The digest of everything absorbed so far.
    pub fn digest(&self) -> [u8; 32] {
        self.sha256.clone().finalize().into()
    }
}

/// ```text
/// byte 0        1           version
/// byte 1..5     u32         next chunk, big-endian
/// byte 5..      state       as the sha2 crate serialises it
/// ```
impl Record for HashState {
    const NAME: &'static str = "hash state";

    fn encode(&self) -> Vec<u8> {
        [&[1][..], &self.next_chunk.to_be_bytes(), &self.sha256.serialize()].concat()
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let [1, a, b, c, d, state @ ..] = bytes else {
            return Err(format!("expected version 1 and a chunk number, found {} bytes", bytes.len()));
        };
        let state = SerializedState::<Sha256>::try_from(state)
            .map_err(|_| format!("the SHA-256 state has {} bytes", state.len()))?;
        let sha256 = Sha256::deserialize(&state).map_err(|e| e.to_string())?;
        Ok(Self { next_chunk: u32::from_be_bytes([*a, *b, *c, *d]), sha256 })
    }
}
