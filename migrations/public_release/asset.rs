//! The frozen asset metadata of the first public release.
//!
//! Never change a type in this file.

use candid::{CandidType, Deserialize};
use serde_bytes::ByteBuf;

/// The role of an asset in its memory.
#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum PublicAssetType {
    Original,
    Thumbnail,
    Preview,
    Derivative,
    Metadata,
}

/// Metadata common to all kinds.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it; times are as the client gave them")]
pub struct PublicBase {
    pub name: String,
    pub description: Option<String>,
    pub tags: Vec<String>,
    pub asset_type: PublicAssetType,
    pub bytes: u64,
    pub mime_type: String,
    pub sha256: Option<ByteBuf>,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub url: Option<String>,
    pub storage_key: Option<String>,
    pub bucket: Option<String>,
    pub asset_location: Option<String>,
    pub processing_status: Option<String>,
    pub processing_error: Option<String>,
    pub created_at: u64,
    pub updated_at: u64,
    pub deleted_at: Option<u64>,
}

/// Metadata of an asset.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum PublicAssetMetadata {
    Image(PublicImage),
    Video(PublicVideo),
    Audio(PublicAudio),
    Document(PublicDocument),
    Note(PublicNote),
}

#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct PublicImage {
    pub base: PublicBase,
    pub color_space: Option<String>,
    pub exif_data: Option<String>,
    pub compression_ratio: Option<f32>,
    pub dpi: Option<u32>,
    pub orientation: Option<u8>,
}

#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct PublicVideo {
    pub base: PublicBase,
    pub duration: Option<u64>,
    pub frame_rate: Option<f32>,
    pub codec: Option<String>,
    pub bitrate: Option<u64>,
    pub resolution: Option<String>,
    pub aspect_ratio: Option<f32>,
}

#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct PublicAudio {
    pub base: PublicBase,
    pub duration: Option<u64>,
    pub sample_rate: Option<u32>,
    pub channels: Option<u8>,
    pub bitrate: Option<u64>,
    pub codec: Option<String>,
    pub bit_depth: Option<u8>,
}

#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct PublicDocument {
    pub base: PublicBase,
    pub page_count: Option<u32>,
    pub document_type: Option<String>,
    pub language: Option<String>,
    pub word_count: Option<u32>,
}

/// A text note.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct PublicNote {
    pub base: PublicBase,
    pub word_count: Option<u32>,
    pub language: Option<String>,
    pub format: Option<String>,
}
