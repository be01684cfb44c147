//! The frozen records of capsules, memories and blobs: Candid of one argument, the tuple of a version and the record.
//!
//! Never change a type in this file.

use candid::{CandidType, Deserialize, Principal};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use super::asset::PublicAssetMetadata;

/// A person.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum PublicPerson {
    /// A person with a principal.
    Principal(Principal),
    /// A person known only by another id.
    Opaque(String),
}

impl PublicPerson {
    /// Returns the principal, if there is one.
    pub const fn principal(&self) -> Option<Principal> {
        match self {
            Self::Principal(principal) => Some(*principal),
            Self::Opaque(_) => None,
        }
    }
}

/// Since when a person has owned a capsule.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PublicOwner {
    /// Nanoseconds.
    pub since: u64,
    /// Nanoseconds.
    pub last_activity_at: u64,
}

/// A controller of a capsule; the time is in nanoseconds.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PublicController {
    pub granted_at: u64,
    pub granted_by: PublicPerson,
}

/// A connection in the social graph of a capsule, with times in nanoseconds.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PublicConnection {
    pub peer: PublicPerson,
    pub status: PublicConnectionStatus,
    pub created_at: u64,
    pub updated_at: u64,
}

#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum PublicConnectionStatus {
    Pending,
    Accepted,
    Blocked,
    Revoked,
}

#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct PublicGroup {
    pub id: String,
    pub name: String,
    pub description: Option<String>,
    pub members: Vec<PublicPerson>,
    pub created_at: u64,
    pub updated_at: u64,
}

/// A gallery: an ordered selection of a capsule's memories.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct PublicGallery {
    pub id: String,
    pub owner_principal: Principal,
    pub title: String,
    pub description: Option<String>,
    pub is_public: bool,
    pub created_at: u64,
    pub updated_at: u64,
    pub storage_location: PublicGalleryLocation,
    pub memory_entries: Vec<PublicGalleryEntry>,
    pub bound_to_neon: bool,
}

#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum PublicGalleryLocation {
    Web2Only,
    ICPOnly,
    Both,
    Migrating,
    Failed,
}

#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct PublicGalleryEntry {
    pub memory_id: String,
    pub position: u32,
    pub gallery_caption: Option<String>,
    pub is_featured: bool,
    pub gallery_metadata: String,
}

/// A capsule and its contents, memory id 0.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
pub struct PublicCapsule {
    /// Its id, also the key of the record.
    pub id: String,
    /// Person that the capsule is about.
    pub subject: PublicPerson,
    /// Who may do everything.
    pub owners: Vec<(PublicPerson, PublicOwner)>,
    /// Who may do everything except change the owners.
    pub controllers: Vec<(PublicPerson, PublicController)>,
    /// The social graph.
    pub connections: Vec<(PublicPerson, PublicConnection)>,
    /// Groups of connections, by id.
    pub connection_groups: Vec<(String, PublicGroup)>,
    /// Memories by id.
    pub memories: Vec<(String, PublicMemory)>,
    /// Galleries by id.
    pub galleries: Vec<(String, PublicGallery)>,
    /// Nanoseconds.
    pub created_at: u64,
    /// Nanoseconds.
    pub updated_at: u64,
    /// Whether the capsule is also in an external database.
    pub bound_to_neon: bool,
    /// Bytes of inline assets.
    pub inline_bytes_used: u64,
}

/// A memory and its assets.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
pub struct PublicMemory {
    /// Its id, also the key in its capsule.
    pub id: String,
    /// What the memory is about.
    pub metadata: PublicMemoryMetadata,
    /// Who may read it.
    pub access: PublicAccess,
    /// Assets in the record.
    pub inline_assets: Vec<PublicInlineAsset>,
    /// Assets in blobs.
    pub blob_internal_assets: Vec<PublicBlobAsset>,
    /// Assets in other stores.
    pub blob_external_assets: Vec<PublicExternalAsset>,
}

/// Metadata of a memory, in addition to the metadata of its assets.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it; times are in nanoseconds")]
pub struct PublicMemoryMetadata {
    pub memory_type: PublicMemoryType,
    pub title: Option<String>,
    pub description: Option<String>,
    pub content_type: String,
    pub created_at: u64,
    pub updated_at: u64,
    pub uploaded_at: u64,
    pub date_of_memory: Option<u64>,
    pub file_created_at: Option<u64>,
    pub parent_folder_id: Option<String>,
    pub tags: Vec<String>,
    pub deleted_at: Option<u64>,
    pub people_in_memory: Option<Vec<String>>,
    pub location: Option<String>,
    pub memory_notes: Option<String>,
    pub created_by: Option<String>,
    pub database_storage_edges: Vec<PublicDatabase>,
}

/// Kind of a memory.
#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum PublicMemoryType {
    Image,
    Video,
    Audio,
    Document,
    Note,
}

/// A database that stores the record of a memory.
#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum PublicDatabase {
    Icp,
    Neon,
}

/// Who may read a memory.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum PublicAccess {
    Public { owner_secure_code: String },
    Private { owner_secure_code: String },
    Custom { individuals: Vec<PublicPerson>, groups: Vec<String>, owner_secure_code: String },
    Scheduled { accessible_after: u64, access: Box<PublicAccess>, owner_secure_code: String },
    EventTriggered { trigger_event: PublicEvent, access: Box<PublicAccess>, owner_secure_code: String },
}

/// An event that opens a memory.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum PublicEvent {
    AfterDeath,
    Anniversary(u32),
    Birthday(u32),
    Graduation,
    Wedding,
    CapsuleMaturity(u32),
    ConnectionCount(u32),
    Custom(String),
}

/// An asset in the record.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
pub struct PublicInlineAsset {
    /// Its bytes.
    pub bytes: ByteBuf,
    /// Metadata of the asset.
    pub metadata: PublicAssetMetadata,
}

/// An asset in a blob.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
pub struct PublicBlobAsset {
    /// The blob.
    pub blob_ref: PublicBlobRef,
    /// Metadata of the asset.
    pub metadata: PublicAssetMetadata,
}

/// A reference to a blob. It may name a blob that does not exist, or one of another capsule.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PublicBlobRef {
    /// `blob_<number>`, or any text given by a client.
    pub locator: String,
    /// SHA-256, 32 bytes.
    pub hash: Option<ByteBuf>,
    /// Size in bytes; 0 if the client gave none.
    pub len: u64,
}

/// An asset in another store.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
pub struct PublicExternalAsset {
    /// The store.
    pub location: PublicStore,
    /// Key of the asset in that store.
    pub storage_key: String,
    /// Address of the asset.
    pub url: Option<String>,
    /// Metadata of the asset.
    pub metadata: PublicAssetMetadata,
}

/// A store of assets.
#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum PublicStore {
    Icp,
    VercelBlob,
    S3,
    Arweave,
    Ipfs,
    Neon,
}

/// A committed blob, memory id 7.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PublicBlob {
    /// Size, bytes.
    pub size: u64,
    /// SHA-256 given by the client, 32 bytes.
    pub checksum: ByteBuf,
    /// Nanoseconds.
    pub created_at: u64,
    /// First part of the keys of its chunks in memory id 6, 32 bytes; see [`session_prefix`].
    pub pmid_hash: ByteBuf,
}

const VERSION: u16 = 1;

/// Decodes a stored capsule or blob.
///
/// # Errors
/// What is wrong with the bytes: not Candid of one tuple, another version, or another type.
pub fn decode<T: CandidType + for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, String> {
    let (version, record): (u16, T) = candid::decode_one(bytes).map_err(|error| error.to_string())?;
    if version == VERSION { Ok(record) } else { Err(format!("record version {version}, expected {VERSION}")) }
}

/// Returns the first part of the keys of a session's chunks in memory id 6. The first public release gives sessions no
/// id of a memory to create, so the hash covers only a separator and the session number; numbers start at 1.
pub fn session_prefix(session: u64) -> [u8; 32] {
    Sha256::new().chain_update(b"#").chain_update(session.to_le_bytes()).finalize().into()
}
