//! The records of the first public release.

use candid::{CandidType, Principal};

/// A person whom a capsule is about, or who has a right on it.
#[derive(CandidType, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PersonRef {
    Principal(Principal),
    Opaque(String),
}

#[derive(CandidType, Clone, Debug)]
pub(super) struct OwnerState {
    pub(super) since: u64,
    pub(super) last_activity_at: u64,
}

#[derive(CandidType, Clone, Debug)]
pub(super) struct ControllerState {
    pub(super) granted_at: u64,
    pub(super) granted_by: PersonRef,
}

#[derive(CandidType, Clone, Debug)]
pub(super) struct Connection {
    pub(super) peer: PersonRef,
    pub(super) status: ConnectionStatus,
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
}

#[derive(CandidType, Clone, Debug)]
#[allow(dead_code, reason = "the type table has every case")]
pub(super) enum ConnectionStatus {
    Pending,
    Accepted,
    Blocked,
    Revoked,
}

#[derive(CandidType, Clone, Debug)]
pub(super) struct ConnectionGroup {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) members: Vec<PersonRef>,
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
}

#[derive(CandidType, Clone, Debug)]
pub(super) struct Capsule {
    pub(super) id: String,
    pub(super) subject: PersonRef,
    pub(super) owners: Vec<(PersonRef, OwnerState)>,
    pub(super) controllers: Vec<(PersonRef, ControllerState)>,
    pub(super) connections: Vec<(PersonRef, Connection)>,
    pub(super) connection_groups: Vec<(String, ConnectionGroup)>,
    pub(super) memories: Vec<(String, MemoryOfRelease)>,
    pub(super) galleries: Vec<(String, Gallery)>,
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
    pub(super) bound_to_neon: bool,
    pub(super) inline_bytes_used: u64,
}

#[derive(CandidType, Clone, Debug)]
pub(super) struct Gallery {
    pub(super) id: String,
    pub(super) owner_principal: Principal,
    pub(super) title: String,
    pub(super) description: Option<String>,
    pub(super) is_public: bool,
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
    pub(super) storage_location: GalleryStorageLocation,
    pub(super) memory_entries: Vec<GalleryMemoryEntry>,
    pub(super) bound_to_neon: bool,
}

#[derive(CandidType, Clone, Debug)]
#[allow(dead_code, reason = "the type table has every case")]
pub(super) enum GalleryStorageLocation {
    Web2Only,
    ICPOnly,
    Both,
    Migrating,
    Failed,
}

#[derive(CandidType, Clone, Debug)]
pub(super) struct GalleryMemoryEntry {
    pub(super) memory_id: String,
    pub(super) position: u32,
    pub(super) gallery_caption: Option<String>,
    pub(super) is_featured: bool,
    pub(super) gallery_metadata: String,
}

#[derive(CandidType, Clone, Debug)]
pub(super) struct MemoryOfRelease {
    pub(super) id: String,
    pub(super) metadata: MemoryMetadata,
    pub(super) access: MemoryAccess,
    pub(super) inline_assets: Vec<MemoryAssetInline>,
    pub(super) blob_internal_assets: Vec<MemoryAssetBlobInternal>,
    pub(super) blob_external_assets: Vec<MemoryAssetBlobExternal>,
}

#[derive(CandidType, Clone, Debug)]
#[allow(dead_code, reason = "the type table has every case")]
pub(super) enum MemoryType {
    Image,
    Video,
    Audio,
    Document,
    Note,
}

#[derive(CandidType, Clone, Debug)]
pub(super) struct MemoryMetadata {
    pub(super) memory_type: MemoryType,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) content_type: String,
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
    pub(super) uploaded_at: u64,
    pub(super) date_of_memory: Option<u64>,
    pub(super) file_created_at: Option<u64>,
    pub(super) parent_folder_id: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) deleted_at: Option<u64>,
    pub(super) people_in_memory: Option<Vec<String>>,
    pub(super) location: Option<String>,
    pub(super) memory_notes: Option<String>,
    pub(super) created_by: Option<String>,
    pub(super) database_storage_edges: Vec<StorageEdgeDatabaseType>,
}

#[derive(CandidType, Clone, Debug)]
#[allow(dead_code, reason = "the type table has every case")]
pub(super) enum StorageEdgeDatabaseType {
    Icp,
    Neon,
}

#[derive(CandidType, Clone, Debug)]
#[allow(dead_code, reason = "the type table has every case")]
pub(super) enum StorageEdgeBlobType {
    Icp,
    VercelBlob,
    S3,
    Arweave,
    Ipfs,
    Neon,
}

#[derive(CandidType, Clone, Debug)]
#[allow(dead_code, reason = "the type table has every case")]
pub(super) enum AccessEvent {
    AfterDeath,
    Anniversary(u32),
    Birthday(u32),
    Graduation,
    Wedding,
    CapsuleMaturity(u32),
    ConnectionCount(u32),
    Custom(String),
}

#[derive(CandidType, Clone, Debug)]
#[allow(dead_code, reason = "the type table has every case")]
pub(super) enum MemoryAccess {
    Public { owner_secure_code: String },
    Private { owner_secure_code: String },
    Custom { individuals: Vec<PersonRef>, groups: Vec<String>, owner_secure_code: String },
    Scheduled { accessible_after: u64, access: Box<MemoryAccess>, owner_secure_code: String },
    EventTriggered { trigger_event: AccessEvent, access: Box<MemoryAccess>, owner_secure_code: String },
}

#[derive(CandidType, Clone, Debug)]
pub(super) struct MemoryAssetInline {
    pub(super) bytes: Vec<u8>,
    pub(super) metadata: AssetMetadata,
}

#[derive(CandidType, Clone, Debug)]
pub(super) struct BlobRef {
    pub(super) locator: String,
    pub(super) hash: Option<[u8; 32]>,
    pub(super) len: u64,
}

#[derive(CandidType, Clone, Debug)]
pub(super) struct MemoryAssetBlobInternal {
    pub(super) blob_ref: BlobRef,
    pub(super) metadata: AssetMetadata,
}

#[derive(CandidType, Clone, Debug)]
pub(super) struct MemoryAssetBlobExternal {
    pub(super) location: StorageEdgeBlobType,
    pub(super) storage_key: String,
    pub(super) url: Option<String>,
    pub(super) metadata: AssetMetadata,
}

#[derive(CandidType, Clone, Debug)]
#[allow(dead_code, reason = "the type table has every case")]
pub(super) enum AssetType {
    Original,
    Thumbnail,
    Preview,
    Derivative,
    Metadata,
}

#[derive(CandidType, Clone, Debug)]
pub(super) struct AssetMetadataBase {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) asset_type: AssetType,
    pub(super) bytes: u64,
    pub(super) mime_type: String,
    pub(super) sha256: Option<[u8; 32]>,
    pub(super) width: Option<u32>,
    pub(super) height: Option<u32>,
    pub(super) url: Option<String>,
    pub(super) storage_key: Option<String>,
    pub(super) bucket: Option<String>,
    pub(super) asset_location: Option<String>,
    pub(super) processing_status: Option<String>,
    pub(super) processing_error: Option<String>,
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
    pub(super) deleted_at: Option<u64>,
}

#[derive(CandidType, Clone, Debug)]
pub(super) struct ImageAssetMetadata {
    pub(super) base: AssetMetadataBase,
    pub(super) color_space: Option<String>,
    pub(super) exif_data: Option<String>,
    pub(super) compression_ratio: Option<f32>,
    pub(super) dpi: Option<u32>,
    pub(super) orientation: Option<u8>,
}

#[derive(CandidType, Clone, Debug)]
pub(super) struct VideoAssetMetadata {
    pub(super) base: AssetMetadataBase,
    pub(super) duration: Option<u64>,
    pub(super) frame_rate: Option<f32>,
    pub(super) codec: Option<String>,
    pub(super) bitrate: Option<u64>,
    pub(super) resolution: Option<String>,
    pub(super) aspect_ratio: Option<f32>,
}

#[derive(CandidType, Clone, Debug)]
pub(super) struct AudioAssetMetadata {
    pub(super) base: AssetMetadataBase,
    pub(super) duration: Option<u64>,
    pub(super) sample_rate: Option<u32>,
    pub(super) channels: Option<u8>,
    pub(super) bitrate: Option<u64>,
    pub(super) codec: Option<String>,
    pub(super) bit_depth: Option<u8>,
}

#[derive(CandidType, Clone, Debug)]
pub(super) struct DocumentAssetMetadata {
    pub(super) base: AssetMetadataBase,
    pub(super) page_count: Option<u32>,
    pub(super) document_type: Option<String>,
    pub(super) language: Option<String>,
    pub(super) word_count: Option<u32>,
}

#[derive(CandidType, Clone, Debug)]
pub(super) struct NoteAssetMetadata {
    pub(super) base: AssetMetadataBase,
    pub(super) word_count: Option<u32>,
    pub(super) language: Option<String>,
    pub(super) format: Option<String>,
}

#[derive(CandidType, Clone, Debug)]
#[allow(dead_code, reason = "the type table has every case")]
pub(super) enum AssetMetadata {
    Image(ImageAssetMetadata),
    Video(VideoAssetMetadata),
    Audio(AudioAssetMetadata),
    Document(DocumentAssetMetadata),
    Note(NoteAssetMetadata),
}

/// The stored record of a blob.
#[derive(CandidType, Clone, Debug)]
pub(super) struct BlobMeta {
    pub(super) size: u64,
    pub(super) checksum: [u8; 32],
    pub(super) created_at: u64,
    /// The first part of the keys of the blob's chunks in memory id 6.
    pub(super) pmid_hash: [u8; 32],
}
