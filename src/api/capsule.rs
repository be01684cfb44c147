//! Capsules (access lists) and memories (what was uploaded).

use candid::{CandidType, Principal};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{AssetMetadata, StorageBackend};

/// The subject of a capsule: the person whom its memories are about. Rights come from the access lists only.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum PersonRef {
    /// Someone with a principal.
    Principal(Principal),
    /// Someone known only by another id.
    Opaque(String),
}

/// A collection of memories, with access lists.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Capsule {
    /// Capsule id.
    pub id: String,
    /// The subject.
    pub subject: PersonRef,
    /// Principals who may do everything, including changing the access lists.
    pub owners: Vec<Principal>,
    /// Principals who may upload and read.
    pub writers: Vec<Principal>,
    /// Principals who may read.
    pub readers: Vec<Principal>,
    /// When it was created, nanoseconds.
    pub created_at: u64,
    /// Number of memories.
    pub memory_count: u64,
    /// Whether everyone may read its blobs.
    pub is_public: Option<bool>,
}

/// All access lists of a capsule.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct CapsuleAccess {
    /// Principals who may do everything; at least one.
    pub owners: Vec<Principal>,
    /// Principals who may upload and read.
    pub writers: Vec<Principal>,
    /// Principals who may read.
    pub readers: Vec<Principal>,
}

/// A reference to stored bytes.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct BlobRef {
    /// `blob_<number>`.
    pub locator: String,
    /// SHA-256, 32 bytes.
    pub hash: Option<ByteBuf>,
    /// Size, bytes.
    pub len: u64,
    /// BLAKE3, 32 bytes, if the blob was verified by it.
    pub blake3: Option<ByteBuf>,
}

/// An asset whose bytes are stored elsewhere. None of this is checked here.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ExternalAsset {
    /// The store.
    pub backend: StorageBackend,
    /// Key in that store.
    pub storage_key: Option<String>,
    /// URL of the asset.
    pub url: Option<String>,
}

/// An asset in its capsule.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Memory {
    /// Id of the memory.
    pub id: String,
    /// Capsule of the memory.
    pub capsule_id: String,
    /// The metadata given at begin.
    pub asset_metadata: AssetMetadata,
    /// Size and SHA-256 of its bytes; the locator is `blob_<number>`, `inline` or `external`.
    pub blob: BlobRef,
    /// The bytes themselves, if they are stored in the record.
    pub inline: Option<ByteBuf>,
    /// Where the bytes are, if they are not in this record.
    pub external: Option<ExternalAsset>,
    /// When it was created, nanoseconds.
    pub created_at: u64,
    /// Who created it.
    pub created_by: Principal,
}
