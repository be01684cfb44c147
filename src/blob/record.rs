//! The record of a committed blob.
//!
//! ```text
//! id 7    u64 blob id -> Candid (1 : nat16, record { size; checksum; created_at; pmid_hash })
//! id 40   u64 blob id -> CBOR of BlobRecord, of a blob in extents
//! id 41   u64 blob id -> CBOR of BlobRecord, of a blob in the chunk map whose digest is not a SHA-256
//! ```
//! The record in memory id 7 has the same fields as that of the first public release, but is encoded as two Candid
//! arguments instead of one tuple, so this canister and that release cannot decode each other's records. Memory ids 40
//! and 41 have the blobs that a record in memory id 7 cannot represent.

use candid::{CandidType, Deserialize};
use minicbor::{Decode, Encode};
use serde_bytes::ByteBuf;

use crate::api::HashAlgorithm;
use crate::session::{Chunking, Time};
use crate::stable::{Record, codec};

use super::CHUNK_SIZE;
use super::chunk_key::ChunkPrefix;
use super::extents::Extents;

/// Where the bytes of an object, a session or a committed blob, are stored.
#[derive(Encode, Decode, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub enum Place {
    /// Chunk by chunk in the chunk map.
    #[n(0)]
    Chunks(#[n(0)] ChunkPrefix),
    /// In extents of the payload region.
    #[n(1)]
    Extents(#[n(0)] Extents),
}

/// Digest of some content, and its hash function.
#[derive(Encode, Decode, Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct ContentDigest {
    /// The hash function.
    #[n(0)]
    pub algorithm: HashAlgorithm,
    /// The digest.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub bytes: [u8; 32],
}

impl ContentDigest {
    /// Returns a SHA-256 digest.
    pub const fn sha256(bytes: [u8; 32]) -> Self {
        Self { algorithm: HashAlgorithm::Sha256, bytes }
    }

    /// Returns the digest if it is a SHA-256, otherwise `None`.
    pub fn as_sha256(&self) -> Option<ByteBuf> {
        (self.algorithm == HashAlgorithm::Sha256).then(|| ByteBuf::from(self.bytes))
    }

    /// Returns the digest if it is a BLAKE3, otherwise `None`.
    pub fn as_blake3(&self) -> Option<ByteBuf> {
        (self.algorithm == HashAlgorithm::Blake3).then(|| ByteBuf::from(self.bytes))
    }
}

/// A committed blob.
#[derive(Encode, Decode, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct BlobRecord {
    /// Size, bytes.
    #[n(0)]
    pub size: u64,
    /// Digest over the stored bytes.
    #[n(1)]
    pub digest: ContentDigest,
    /// When the blob was committed.
    #[cbor(n(2), with = "codec::time")]
    pub created_at: Time,
    /// Where the bytes are.
    #[n(3)]
    pub place: Place,
}

impl BlobRecord {
    /// Returns how the blob is divided into the chunks in which it is read.
    pub const fn chunking(&self) -> Chunking {
        Chunking::new(self.size, CHUNK_SIZE as u64)
    }

    /// Returns the number of chunks in which the blob is read; 0 for an empty one.
    pub fn chunk_count(&self) -> u32 {
        self.chunking().count()
    }
}

const VERSION: u8 = 1;

codec::cbor_record!(BlobRecord, "blob", format VERSION);

#[cfg(test)]
crate::stable::schema::described!(BlobRecord, cbor VERSION);

/// The record of a blob in the chunk map whose digest is a SHA-256; other blobs have a [`BlobRecord`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sha256Blob {
    /// Size, bytes.
    pub size: u64,
    /// Digest over the stored bytes.
    pub sha256: [u8; 32],
    /// When the blob was committed.
    pub created_at: Time,
    /// Where the chunks are.
    pub prefix: ChunkPrefix,
}

impl Sha256Blob {
    /// Returns `None` for a blob in extents, or with another digest.
    pub fn of(blob: &BlobRecord) -> Option<Self> {
        let BlobRecord { size, digest, created_at, ref place } = *blob;
        match (digest.algorithm, place) {
            (HashAlgorithm::Sha256, Place::Chunks(prefix)) => {
                Some(Self { size, sha256: digest.bytes, created_at, prefix: *prefix })
            }
            _ => None,
        }
    }
}

impl From<Sha256Blob> for BlobRecord {
    fn from(blob: Sha256Blob) -> Self {
        let Sha256Blob { size, sha256, created_at, prefix } = blob;
        Self { size, digest: ContentDigest::sha256(sha256), created_at, place: Place::Chunks(prefix) }
    }
}

const SHA256_BLOB_VERSION: u16 = 1;

/// A [`Sha256Blob`] in Candid.
#[derive(CandidType, Deserialize)]
struct Stored {
    size: u64,
    checksum: ByteBuf,
    created_at: u64,
    /// The prefix of the chunks: a hash of `UploadMeta::provisional_memory_id` and the session id.
    pmid_hash: ByteBuf,
}

/// Caches the Candid header of [`Sha256Blob`]s.
///
/// # Errors
/// Does not fail: the type is static.
pub fn cache_candid_header_of_sha256_blobs() -> Result<(), candid::Error> {
    codec::cache_candid_header::<Stored>().map(drop)
}

impl Record for Sha256Blob {
    const NAME: &'static str = "blob";

    fn encode(&self) -> Vec<u8> {
        let stored = Stored {
            size: self.size,
            checksum: ByteBuf::from(self.sha256),
            created_at: self.created_at.as_nanos(),
            pmid_hash: ByteBuf::from(self.prefix.0),
        };
        codec::encode_candid(SHA256_BLOB_VERSION, &stored)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let stored: Stored = codec::decode_candid(SHA256_BLOB_VERSION, bytes)?;
        Ok(Self {
            size: stored.size,
            sha256: parse_digest(&stored.checksum, "checksum")?,
            created_at: Time::from_nanos(stored.created_at),
            prefix: ChunkPrefix(parse_digest(&stored.pmid_hash, "pmid_hash")?),
        })
    }
}

#[cfg(test)]
crate::stable::schema::described!(Sha256Blob, candid SHA256_BLOB_VERSION of Stored);

fn parse_digest(bytes: &[u8], field: &str) -> Result<[u8; 32], String> {
    bytes.try_into().map_err(|_| format!("{field}: {} bytes, expected 32", bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_blob_encoding_matches_the_candid_library() {
        let blob = Sha256Blob {
            size: 5,
            sha256: [1; 32],
            created_at: Time::from_nanos(7),
            prefix: ChunkPrefix([2; 32]),
        };
        let stored = Stored {
            size: 5,
            checksum: ByteBuf::from([1; 32]),
            created_at: 7,
            pmid_hash: ByteBuf::from([2; 32]),
        };
        let by_library = candid::encode_args((SHA256_BLOB_VERSION, &stored)).unwrap();
        cache_candid_header_of_sha256_blobs().unwrap();
        assert_eq!(blob.encode(), by_library);
        assert_eq!(Sha256Blob::decode(&by_library), Ok(blob));
    }
}
