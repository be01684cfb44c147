//! Uploads and reads of blobs.

use candid::CandidType;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteBuf, Bytes};

use super::AssetMetadata;

/// What a client needs to know before it splits a file.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadConfig {
    /// Largest asset that may be stored inside a memory record, bytes.
    pub inline_max: u32,
    /// Length of every chunk but the last, bytes.
    pub chunk_size: u32,
    /// Total size of the inline assets of one capsule, bytes.
    pub inline_budget_per_capsule: u32,
}

/// How the bytes of an upload are verified. The variant numbers are part of the stored format.
#[derive(
    CandidType, Serialize, Deserialize, Encode, Decode, Clone, Copy, Debug, Default, PartialEq, Eq, Hash,
)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
#[cbor(index_only)]
pub enum HashAlgorithm {
    /// SHA-256, available on every platform.
    #[default]
    #[n(0)]
    #[serde(rename = "sha256")]
    Sha256,
    /// BLAKE3: a fifth of the instructions of SHA-256; each chunk is hashed as it arrives, in any order.
    #[n(1)]
    #[serde(rename = "blake3")]
    Blake3,
}

/// A file that fits into one message. Its bytes are borrowed from the message that carries it.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct SmallFile<'a> {
    /// Capsule to upload to.
    pub capsule_id: String,
    /// The client's metadata; `base.bytes` is the size of the file.
    pub asset_metadata: AssetMetadata,
    /// The client's idempotency key, as in `uploads_begin`.
    pub idem: String,
    /// The file, at most as long as a chunk.
    #[serde(borrow)]
    pub bytes: &'a Bytes,
    /// Digest of the file, 32 bytes.
    pub digest: ByteBuf,
    /// Hash function of the digest; SHA-256 if absent.
    pub hash: Option<HashAlgorithm>,
}

/// Chunk numbers `first..=last`.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRange {
    /// First chunk of the range.
    pub first: u32,
    /// Last chunk of the range, included.
    pub last: u32,
}

/// SHA-256 of a stored chunk.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ChunkDigest {
    /// Chunk number.
    pub idx: u32,
    /// Digest of the chunk, 32 bytes.
    pub sha256: ByteBuf,
}

/// A page of digests of chunks, in order. Chunks that have not arrived are left out.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ChunkDigests {
    /// As many as one message can hash, about twenty.
    pub digests: Vec<ChunkDigest>,
    /// The first chunk of the next page; absent on the last one.
    pub next: Option<u32>,
}

/// The path that serves a session.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionPath {
    /// The compat path: the session is a legacy record.
    Compat,
    /// The direct path: the session is stored in split records.
    Direct,
}

/// Status of one of the caller's sessions.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct UploadStatus {
    /// Session id.
    pub session: u64,
    /// Capsule of the upload.
    pub capsule_id: String,
    /// The client's idempotency key.
    pub idem: String,
    /// Size of the file, bytes.
    pub bytes_expected: u64,
    /// Bytes that have arrived.
    pub bytes_received: u64,
    /// Length of every chunk but the last, bytes.
    pub chunk_size: u32,
    /// Number of chunks of the file.
    pub expected_chunks: u32,
    /// Chunks that have arrived, in order.
    pub received: Vec<ChunkRange>,
    /// Chunks that have not arrived, in order.
    pub missing: Vec<ChunkRange>,
    /// First chunk that has not arrived; absent if all have arrived.
    pub next_expected: Option<u32>,
    /// Id of the memory that finish will create.
    pub provisional_memory_id: String,
    /// Last activity, nanoseconds.
    pub last_seen: u64,
    /// When the session expires if nothing else happens, nanoseconds.
    pub expires_at: u64,
    /// The path that serves the session.
    pub path: SessionPath,
}

/// Where the bytes of an asset are stored. The variant numbers are part of the stored format.
#[derive(CandidType, Serialize, Deserialize, Encode, Decode, Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
#[cbor(index_only)]
pub enum StorageBackend {
    /// Amazon S3.
    #[n(0)]
    S3,
    /// This canister.
    #[n(1)]
    Icp,
    /// Vercel Blob.
    #[n(2)]
    VercelBlob,
    /// Arweave.
    #[n(3)]
    Arweave,
    /// IPFS.
    #[n(4)]
    Ipfs,
}

/// A finished upload.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct UploadFinishResult {
    /// Id of the memory that was created in the capsule: the `provisional_memory_id` of the session.
    pub memory_id: String,
    /// Locator of the blob, `blob_<number>`.
    pub blob_id: String,
    /// Id at a remote backend; always absent here.
    pub remote_id: Option<String>,
    /// Size, bytes.
    pub size: u64,
    /// SHA-256 of the stored bytes, 32 bytes, if the upload was verified by it.
    pub checksum_sha256: Option<ByteBuf>,
    /// BLAKE3 of the stored bytes, 32 bytes, if the upload was verified by it.
    pub checksum_blake3: Option<ByteBuf>,
    /// Where the bytes are.
    pub storage_backend: StorageBackend,
    /// `icp://blob/blob_<number>`.
    pub storage_location: String,
    /// When the upload was committed, nanoseconds.
    pub uploaded_at: u64,
    /// When the asset expires, nanoseconds; absent: never.
    pub expires_at: Option<u64>,
}

/// Size of a blob, and the number of its chunks.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobMeta {
    /// Size, bytes.
    pub size: u64,
    /// Number of chunks for `blob_read_chunk`.
    pub chunk_count: u32,
}
