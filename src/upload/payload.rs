//! The payload state of a session in flight: where its bytes are stored, and how many are hashed.
//!
//! ```text
//! byte 0        1 or 2      version
//! version 1     byte 1..5   next chunk, u32 big-endian
//!               byte 5..    SHA-256 mid-state, as the sha2 crate serializes it
//! version 2     byte 1..    CBOR
//! ```
//! Version 1 is for sessions in the chunk map that are verified by SHA-256, while it is not allowed to replace their
//! chunks (`replaced` is absent). All other states are stored in version 2.

use minicbor::{Decode, Encode};

use crate::api::HashAlgorithm;
use crate::blob::{ChunkPrefix, Extents, Place};
use crate::session::SessionId;
use crate::stable::{Record, codec};

use super::UploadMeta;
use super::hashing::{PrefixHash, TreePrefix, sha256_from_bytes, sha256_to_bytes};

/// The payload state of a session in flight, keyed by session id. A session without an entry has its bytes in the chunk
/// map and is verified by SHA-256, and none of its bytes is hashed yet.
#[derive(Clone)]
pub struct PayloadState {
    /// Where the bytes are stored; absent for the chunk map.
    pub extents: Option<Extents>,
    /// A slot for each chunk, in which the chaining values of a chunk that arrives out of order are stored. Present
    /// only for BLAKE3 in extents, until a finish fails on the checksum.
    pub subtrees: Option<Extents>,
    /// The first chunk that is not hashed yet; all chunks before it are.
    pub next_chunk: u32,
    /// Intermediate digest of the chunks before `next_chunk`.
    pub hash: PrefixHash,
    /// How many times chunks were replaced: 0 once a finish has failed on the checksum, from when on they may be
    /// replaced. Before, absent.
    pub replaced: Option<u64>,
}

impl PayloadState {
    /// Returns the state of a session that has just begun.
    pub fn new(algorithm: HashAlgorithm) -> Self {
        let hash = PrefixHash::new(algorithm);
        Self { extents: None, subtrees: None, next_chunk: 0, hash, replaced: None }
    }

    /// Records that chunk `idx` has been replaced. If it was already hashed, hashing restarts from the first chunk.
    pub fn record_replaced(&mut self, idx: u32) {
        self.replaced = Some(self.replaced.unwrap_or(0).saturating_add(1));
        if idx < self.next_chunk {
            self.next_chunk = 0;
            self.hash = PrefixHash::new(self.hash.algorithm());
        }
    }

    /// Returns where the bytes of the session are stored.
    pub fn place(&self, id: SessionId, meta: &UploadMeta) -> Place {
        match &self.extents {
            Some(extents) => Place::Extents(extents.clone()),
            None => Place::Chunks(ChunkPrefix::of(&meta.provisional_memory_id, id)),
        }
    }
}

/// The state of a session without an entry.
impl Default for PayloadState {
    fn default() -> Self {
        Self::new(HashAlgorithm::Sha256)
    }
}

/// Version 2 of the stored state.
#[derive(Encode, Decode)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
struct Stored {
    #[n(0)]
    extents: Option<Extents>,
    #[n(1)]
    subtrees: Option<Extents>,
    #[n(2)]
    next_chunk: u32,
    #[n(3)]
    hash: StoredHash,
    #[n(4)]
    replaced: Option<u64>,
}

#[derive(Encode, Decode)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
enum StoredHash {
    #[n(0)]
    Sha256(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    #[n(1)]
    Blake3(#[n(0)] TreePrefix),
}

const NEWEST_VERSION: u8 = 2;

impl Record for PayloadState {
    const NAME: &'static str = "payload state";
    const FORMAT: Option<u8> = Some(NEWEST_VERSION);

    fn encode(&self) -> Vec<u8> {
        let hash = match &self.hash {
            PrefixHash::Sha256(state) if self.extents.is_none() && self.replaced.is_none() => {
                return [&[1][..], &self.next_chunk.to_be_bytes(), &sha256_to_bytes(state)].concat();
            }
            PrefixHash::Sha256(state) => StoredHash::Sha256(sha256_to_bytes(state)),
            PrefixHash::Blake3(prefix) => StoredHash::Blake3(prefix.clone()),
        };
        let stored = Stored {
            extents: self.extents.clone(),
            subtrees: self.subtrees.clone(),
            next_chunk: self.next_chunk,
            hash,
            replaced: self.replaced,
        };
        codec::encode(NEWEST_VERSION, &stored)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        if let [1, a, b, c, d, state @ ..] = bytes {
            let next_chunk = u32::from_be_bytes([*a, *b, *c, *d]);
            let hash = PrefixHash::Sha256(sha256_from_bytes(state)?);
            return Ok(Self { next_chunk, hash, ..Self::default() });
        }
        let Stored { extents, subtrees, next_chunk, hash, replaced } = codec::decode(NEWEST_VERSION, bytes)?;
        let hash = match hash {
            StoredHash::Sha256(state) => PrefixHash::Sha256(sha256_from_bytes(&state)?),
            StoredHash::Blake3(prefix) => PrefixHash::Blake3(prefix),
        };
        Ok(Self { extents, subtrees, next_chunk, hash, replaced })
    }
}

#[cfg(test)]
impl crate::stable::schema::Described for PayloadState {
    fn value() -> stable_schema::Value {
        use stable_schema::{Body, StableSchema as _, Value};
        let mid_state = Body::Opaque("u32 next chunk, big-endian; SHA-256 mid-state of sha2 0.11".into());
        Value::Versions([(1, mid_state), (2, Body::Cbor(Stored::shape()))].into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_stores_only_what_version_1_cannot() {
        let plain = || PayloadState { next_chunk: 258, ..PayloadState::default() };
        assert!(plain().encode().starts_with(&[1, 0, 0, 1, 2]));
        let replaced = PayloadState { replaced: Some(0), ..plain() };
        let in_extents = PayloadState { extents: Some(Extents::default()), ..plain() };
        let by_blake3 = PayloadState { next_chunk: 258, ..PayloadState::new(HashAlgorithm::Blake3) };
        for (version, payload) in [(1, plain()), (2, replaced), (2, in_extents), (2, by_blake3)] {
            let bytes = payload.encode();
            let decoded = PayloadState::decode(&bytes).unwrap();
            assert_eq!(bytes[0], version);
            assert_eq!((decoded.next_chunk, decoded.replaced), (258, payload.replaced));
            assert_eq!(decoded.extents.is_some(), payload.extents.is_some());
            assert_eq!(decoded.hash.algorithm(), payload.hash.algorithm());
        }
    }

    #[test]
    fn a_replaced_chunk_restarts_hashing_if_it_was_hashed() {
        let mut payload = PayloadState { next_chunk: 3, ..PayloadState::default() };
        for (idx, next_chunk, replaced) in [(4, 3, 1), (3, 3, 2), (2, 0, 3), (0, 0, 4)] {
            payload.record_replaced(idx);
            assert_eq!((payload.next_chunk, payload.replaced), (next_chunk, Some(replaced)), "chunk {idx}");
        }
    }
}
