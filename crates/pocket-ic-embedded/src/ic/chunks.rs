//! The chunk store of a canister, as in the interface specification: parts of large modules, stored under their SHA-256
//! until they are installed. (Not the chunks of uploads.)

use super::error::UserError;
use crate::engine::MAX_MODULE_BYTES;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Limits of the IC: on the size of a chunk, and on the number of chunks of a canister.
pub const MAX_CHUNK_BYTES: usize = 1 << 20;
const MAX_CHUNKS: usize = 100;

pub type ChunkHash = [u8; 32];

/// Chunks by hash. A clone shares the bytes.
#[derive(Clone, Debug, Default)]
pub struct ChunkStore {
    chunks: BTreeMap<ChunkHash, Arc<[u8]>>,
}

impl ChunkStore {
    /// Stores a chunk and returns its hash. An existing chunk is not stored twice.
    pub fn insert(&mut self, chunk: &[u8]) -> Result<ChunkHash, UserError> {
        if chunk.len() > MAX_CHUNK_BYTES {
            return Err(store_error(format!(
                "Wasm chunk size {} exceeds the maximum chunk size of {MAX_CHUNK_BYTES}.",
                chunk.len()
            )));
        }
        let hash: ChunkHash = Sha256::digest(chunk).into();
        if !self.chunks.contains_key(&hash) && self.chunks.len() == MAX_CHUNKS {
            return Err(store_error(format!(
                "Wasm chunk store has already reached maximum capacity of {} bytes or the maximum number of chunks, {MAX_CHUNKS}.",
                MAX_CHUNKS * MAX_CHUNK_BYTES
            )));
        }
        self.chunks.entry(hash).or_insert_with(|| chunk.into());
        Ok(hash)
    }

    /// Returns a chunk; `None` also if `hash` does not have the length of a hash.
    pub fn get(&self, hash: &[u8]) -> Option<&Arc<[u8]>> {
        let hash: ChunkHash = hash.try_into().ok()?;
        self.chunks.get(&hash)
    }

    /// Returns the hashes, sorted.
    pub fn hashes(&self) -> impl Iterator<Item = &ChunkHash> {
        self.chunks.keys()
    }

    pub fn clear(&mut self) {
        self.chunks.clear();
    }

    pub fn bytes(&self) -> u64 {
        self.chunks.values().map(|chunk| chunk.len() as u64).sum()
    }

    /// Concatenates the listed chunks; an error if the hash of the result is not the expected one.
    pub fn assemble<'a>(
        &self,
        hashes: impl IntoIterator<Item = &'a [u8]>,
        expected: &[u8],
    ) -> Result<Vec<u8>, UserError> {
        let mut module = Vec::new();
        for hash in hashes {
            let chunk = self
                .get(hash)
                .ok_or_else(|| store_error(format!("Chunk hash {} was not found.", hex::encode(hash))))?;
            if (module.len() + chunk.len()) as u64 > MAX_MODULE_BYTES {
                return Err(store_error(format!(
                    "Wasm module of more than {MAX_MODULE_BYTES} bytes is too large."
                )));
            }
            module.extend_from_slice(chunk);
        }
        let found: ChunkHash = Sha256::digest(&module).into();
        if found != expected {
            return Err(store_error(format!(
                "Wasm module hash {} does not match given hash {}.",
                hex::encode(found),
                hex::encode(expected)
            )));
        }
        Ok(module)
    }
}

fn store_error(message: String) -> UserError {
    UserError::contract_violation(format!("Error from Wasm chunk store: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_together_in_the_listed_order() {
        let mut store = ChunkStore::default();
        let b = store.insert(b"b").unwrap();
        let a = store.insert(b"a").unwrap();
        assert_eq!(store.insert(b"a").unwrap(), a);
        assert_eq!(store.bytes(), 2);
        let whole = Sha256::digest(b"aba");
        let list = [a.as_slice(), &b, &a];
        assert_eq!(store.assemble(list, &whole).unwrap(), b"aba");
        let wrong = store.assemble(list, &[0; 32]).unwrap_err();
        assert!(wrong.message.contains("does not match"));
        let missing = store.assemble([[9u8; 32].as_slice()], &whole).unwrap_err();
        assert!(missing.message.contains("was not found"));
    }

    #[test]
    fn size_and_number_are_limited() {
        let mut store = ChunkStore::default();
        let error = store.insert(&vec![0; MAX_CHUNK_BYTES + 1]).unwrap_err();
        assert!(error.message.contains("exceeds the maximum"));
        for n in 0..MAX_CHUNKS as u64 {
            store.insert(&n.to_be_bytes()).unwrap();
        }
        let error = store.insert(b"one more").unwrap_err();
        assert!(error.message.contains("maximum capacity"));
        assert!(store.insert(&0u64.to_be_bytes()).is_ok());
        store.clear();
        assert_eq!(store.hashes().count(), 0);
    }
}
