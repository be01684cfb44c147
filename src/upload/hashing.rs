//! The digest of an upload, computed in parts, with a state that survives messages and upgrades.
//!
//! With BLAKE3 in extents, each chunk is hashed when it arrives, in any order, until a finish fails on the checksum. In
//! all other cases, an arriving chunk is hashed only if all chunks before it are hashed; otherwise it is hashed later,
//! from storage, once they are.

mod blake3_tree;
mod sha256;
mod source;

pub use blake3_tree::{
    LEAF_BYTES, LeafHasher, Subtree, TreePrefix, from_chaining_values, leaf_count, subtree_heights,
};
pub use blake3_tree::{leaf_range_within, to_chaining_values};
pub use sha256::Sha256;
pub use source::{ChunkHasher, HashingSource};

use sha2::Digest;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};

use crate::api::HashAlgorithm;

/// The intermediate digest over the first chunks of an upload.
#[derive(Clone)]
pub enum PrefixHash {
    Sha256(Sha256),
    Blake3(TreePrefix),
}

impl PrefixHash {
    pub fn new(algorithm: HashAlgorithm) -> Self {
        match algorithm {
            HashAlgorithm::Sha256 => Self::Sha256(Sha256::new()),
            HashAlgorithm::Blake3 => Self::Blake3(TreePrefix::default()),
        }
    }

    pub const fn algorithm(&self) -> HashAlgorithm {
        match self {
            Self::Sha256(_) => HashAlgorithm::Sha256,
            Self::Blake3(_) => HashAlgorithm::Blake3,
        }
    }
}

/// Encodes an intermediate state, not a digest.
pub fn sha256_to_bytes(state: &Sha256) -> Vec<u8> {
    state.serialize().to_vec()
}

pub fn sha256_from_bytes(bytes: &[u8]) -> Result<Sha256, String> {
    let state = SerializedState::<Sha256>::try_from(bytes)
        .map_err(|_| format!("the SHA-256 state has {} bytes", bytes.len()))?;
    Sha256::deserialize(&state).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests;
