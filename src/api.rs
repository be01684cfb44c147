//! The types of the Candid interface, shared by the canister, its clients and the tests.
//!
//! Does not own: the records in stable memory, which each store defines, nor any rule about the values.
//!
//! Names and argument orders of the first public release are kept; later additions are trailing optional arguments or
//! new functions. Times are nanoseconds since 1970-01-01 UTC, sizes are bytes.

mod admin;
mod asset;
mod canary;
mod capsule;
mod counts;
mod download;
mod error;
mod http;
mod upload;

pub use admin::{AdminConfig, AdminStats, BuildInfo, CapsuleMakers, RecentError};
pub use asset::{
    AssetMetadata, AssetMetadataBase, AssetType, AudioAssetMetadata, DocumentAssetMetadata,
    ImageAssetMetadata, NoteAssetMetadata, ProcessingStatus, VideoAssetMetadata,
};
pub use canary::{CanaryCounts, CanaryReport, CanaryVerdict};
pub use capsule::{BlobRef, Capsule, CapsuleAccess, ExternalAsset, Memory, PersonRef};
pub use counts::{CallCounts, ErrorCounts, PathCounts, UploadCounts};
pub use download::DownloadStatus;
pub(crate) use error::shortened;
pub use error::{Error, Result};
pub use http::{
    AccessToken, HttpRequest, HttpResponse, StreamingBody, StreamingCallback, StreamingStrategy,
    StreamingToken,
};
pub use ic_stable_migrate::api::{ClassCount, MigrationPhase};
pub use upload::{
    BlobMeta, ChunkDigest, ChunkDigests, ChunkRange, HashAlgorithm, SessionPath, SmallFile, StorageBackend,
    UploadConfig, UploadFinishResult, UploadStatus,
};

/// The state of the migration.
pub type MigrationStatus = ic_stable_migrate::api::MigrationStatus<u64>;
/// A page of a dry run: what the migration would do.
pub type DryRun = ic_stable_migrate::api::DryRun<u64>;
/// A class on a page of a dry run.
pub type ClassForecast = ic_stable_migrate::api::ClassForecast<u64>;
/// An entry of the journal.
pub type JournalEntry = ic_stable_migrate::api::JournalEntry<u64>;
/// A record that could not be converted.
pub type QuarantinedRecord = ic_stable_migrate::api::QuarantinedRecord<u64>;
