//! The frozen asset metadata of layout 1, and its conversion to the type of the interface and back.
//!
//! Never change a type in this file. Both directions destructure every struct without `..`, so that a field added to
//! the type of the interface fails to compile until someone decides what it maps to in layout 1.

use candid::{CandidType, Deserialize};
use serde_bytes::ByteBuf;

use super::wire::{record, variant};
use crate::api;

#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of `api::asset`, which documents them")]
pub enum LegacyAssetMetadata {
    Image(LegacyImage),
    Video(LegacyVideo),
    Audio(LegacyAudio),
    Document(LegacyDocument),
    Note(LegacyNote),
}

#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "see `api::asset`")]
pub struct LegacyImage {
    pub base: LegacyBase,
    pub color_space: Option<String>,
    pub exif_data: Option<String>,
    pub compression_ratio: Option<f32>,
    pub dpi: Option<u32>,
    pub orientation: Option<u8>,
}

#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "see `api::asset`")]
pub struct LegacyVideo {
    pub base: LegacyBase,
    pub duration: Option<u64>,
    pub frame_rate: Option<f32>,
    pub codec: Option<String>,
    pub bitrate: Option<u64>,
    pub resolution: Option<String>,
    pub aspect_ratio: Option<f32>,
}

#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "see `api::asset`")]
pub struct LegacyAudio {
    pub base: LegacyBase,
    pub duration: Option<u64>,
    pub sample_rate: Option<u32>,
    pub channels: Option<u8>,
    pub bitrate: Option<u64>,
    pub codec: Option<String>,
    pub bit_depth: Option<u8>,
}

#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "see `api::asset`")]
pub struct LegacyDocument {
    pub base: LegacyBase,
    pub page_count: Option<u32>,
    pub document_type: Option<String>,
    pub language: Option<String>,
    pub word_count: Option<u32>,
}

#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "see `api::asset`")]
pub struct LegacyNote {
    pub base: LegacyBase,
    pub word_count: Option<u32>,
    pub language: Option<String>,
    pub format: Option<String>,
}

#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "see `api::asset`")]
pub struct LegacyBase {
    pub name: String,
    pub description: Option<String>,
    pub tags: Vec<String>,
    pub asset_type: LegacyAssetType,
    pub bytes: u64,
    pub mime_type: String,
    pub sha256: Option<ByteBuf>,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub url: Option<String>,
    pub storage_key: Option<String>,
    pub bucket: Option<String>,
    pub asset_location: Option<String>,
    pub processing_status: Option<LegacyProcessingStatus>,
    pub processing_error: Option<String>,
    pub created_at: u64,
    pub updated_at: u64,
    pub deleted_at: Option<u64>,
}

#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "see `api::asset`")]
pub enum LegacyAssetType {
    Original,
    Thumbnail,
    Preview,
    Derivative,
    Metadata,
}

#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "see `api::asset`")]
pub enum LegacyProcessingStatus {
    Uploading,
    Processing,
    Finalizing,
    Completed,
    Error,
}

// From here on, cases and fields are in the order of their Candid hashes, in which records store them; a test checks
// it.
variant!(LegacyAssetMetadata {
    0 => Note(LegacyNote),
    1 => Image(LegacyImage),
    2 => Document(LegacyDocument),
    3 => Audio(LegacyAudio),
    4 => Video(LegacyVideo),
});

record!(LegacyImage { dpi, color_space, base, exif_data, compression_ratio, orientation });

record!(LegacyVideo { duration, base, codec, frame_rate, resolution, bitrate, aspect_ratio });

record!(LegacyAudio { duration, base, codec, channels, sample_rate, bit_depth, bitrate });

record!(LegacyDocument { document_type, base, language, page_count, word_count });

record!(LegacyNote { base, language, word_count, format });

record!(LegacyBase {
    url,
    height,
    updated_at,
    asset_type,
    sha256,
    name,
    storage_key,
    tags,
    processing_error,
    mime_type,
    description,
    created_at,
    deleted_at,
    bytes,
    asset_location,
    width,
    processing_status,
    bucket,
});

variant!(LegacyAssetType {
    0 => Preview,
    1 => Metadata,
    2 => Derivative,
    3 => Original,
    4 => Thumbnail,
});

variant!(LegacyProcessingStatus {
    0 => Error,
    1 => Uploading,
    2 => Finalizing,
    3 => Processing,
    4 => Completed,
});

impl LegacyAssetMetadata {
    /// Returns the size of the file according to the metadata, bytes.
    pub const fn bytes(&self) -> u64 {
        match self {
            Self::Image(asset) => asset.base.bytes,
            Self::Video(asset) => asset.base.bytes,
            Self::Audio(asset) => asset.base.bytes,
            Self::Document(asset) => asset.base.bytes,
            Self::Note(asset) => asset.base.bytes,
        }
    }
}

impl From<LegacyAssetMetadata> for api::AssetMetadata {
    fn from(value: LegacyAssetMetadata) -> Self {
        match value {
            LegacyAssetMetadata::Image(asset) => Self::Image(asset.into()),
            LegacyAssetMetadata::Video(asset) => Self::Video(asset.into()),
            LegacyAssetMetadata::Audio(asset) => Self::Audio(asset.into()),
            LegacyAssetMetadata::Document(asset) => Self::Document(asset.into()),
            LegacyAssetMetadata::Note(asset) => Self::Note(asset.into()),
        }
    }
}

impl From<api::AssetMetadata> for LegacyAssetMetadata {
    fn from(value: api::AssetMetadata) -> Self {
        match value {
            api::AssetMetadata::Image(asset) => Self::Image(asset.into()),
            api::AssetMetadata::Video(asset) => Self::Video(asset.into()),
            api::AssetMetadata::Audio(asset) => Self::Audio(asset.into()),
            api::AssetMetadata::Document(asset) => Self::Document(asset.into()),
            api::AssetMetadata::Note(asset) => Self::Note(asset.into()),
        }
    }
}

impl From<LegacyImage> for api::ImageAssetMetadata {
    fn from(value: LegacyImage) -> Self {
        let LegacyImage { base, color_space, exif_data, compression_ratio, dpi, orientation } = value;
        Self { base: base.into(), color_space, exif_data, compression_ratio, dpi, orientation }
    }
}

impl From<api::ImageAssetMetadata> for LegacyImage {
    fn from(value: api::ImageAssetMetadata) -> Self {
        let api::ImageAssetMetadata { base, color_space, exif_data, compression_ratio, dpi, orientation } =
            value;
        Self { base: base.into(), color_space, exif_data, compression_ratio, dpi, orientation }
    }
}

impl From<LegacyVideo> for api::VideoAssetMetadata {
    fn from(value: LegacyVideo) -> Self {
        let LegacyVideo { base, duration, frame_rate, codec, bitrate, resolution, aspect_ratio } = value;
        Self { base: base.into(), duration, frame_rate, codec, bitrate, resolution, aspect_ratio }
    }
}

impl From<api::VideoAssetMetadata> for LegacyVideo {
    fn from(value: api::VideoAssetMetadata) -> Self {
        let api::VideoAssetMetadata { base, duration, frame_rate, codec, bitrate, resolution, aspect_ratio } =
            value;
        Self { base: base.into(), duration, frame_rate, codec, bitrate, resolution, aspect_ratio }
    }
}

impl From<LegacyAudio> for api::AudioAssetMetadata {
    fn from(value: LegacyAudio) -> Self {
        let LegacyAudio { base, duration, sample_rate, channels, bitrate, codec, bit_depth } = value;
        Self { base: base.into(), duration, sample_rate, channels, bitrate, codec, bit_depth }
    }
}

impl From<api::AudioAssetMetadata> for LegacyAudio {
    fn from(value: api::AudioAssetMetadata) -> Self {
        let api::AudioAssetMetadata { base, duration, sample_rate, channels, bitrate, codec, bit_depth } =
            value;
        Self { base: base.into(), duration, sample_rate, channels, bitrate, codec, bit_depth }
    }
}

impl From<LegacyDocument> for api::DocumentAssetMetadata {
    fn from(value: LegacyDocument) -> Self {
        let LegacyDocument { base, page_count, document_type, language, word_count } = value;
        Self { base: base.into(), page_count, document_type, language, word_count }
    }
}

impl From<api::DocumentAssetMetadata> for LegacyDocument {
    fn from(value: api::DocumentAssetMetadata) -> Self {
        let api::DocumentAssetMetadata { base, page_count, document_type, language, word_count } = value;
        Self { base: base.into(), page_count, document_type, language, word_count }
    }
}

impl From<LegacyNote> for api::NoteAssetMetadata {
    fn from(value: LegacyNote) -> Self {
        let LegacyNote { base, word_count, language, format } = value;
        Self { base: base.into(), word_count, language, format }
    }
}

impl From<api::NoteAssetMetadata> for LegacyNote {
    fn from(value: api::NoteAssetMetadata) -> Self {
        let api::NoteAssetMetadata { base, word_count, language, format } = value;
        Self { base: base.into(), word_count, language, format }
    }
}

impl From<LegacyBase> for api::AssetMetadataBase {
    fn from(value: LegacyBase) -> Self {
        let LegacyBase {
            name,
            description,
            tags,
            asset_type,
            bytes,
            mime_type,
            sha256,
            width,
            height,
            url,
            storage_key,
            bucket,
            asset_location,
            processing_status,
            processing_error,
            created_at,
            updated_at,
            deleted_at,
        } = value;
        Self {
            name,
            description,
            tags,
            asset_type: asset_type.into(),
            bytes,
            mime_type,
            sha256,
            width,
            height,
            url,
            storage_key,
            bucket,
            asset_location,
            processing_status: processing_status.map(Into::into),
            processing_error,
            created_at,
            updated_at,
            deleted_at,
        }
    }
}

impl From<api::AssetMetadataBase> for LegacyBase {
    fn from(value: api::AssetMetadataBase) -> Self {
        let api::AssetMetadataBase {
            name,
            description,
            tags,
            asset_type,
            bytes,
            mime_type,
            sha256,
            width,
            height,
            url,
            storage_key,
            bucket,
            asset_location,
            processing_status,
            processing_error,
            created_at,
            updated_at,
            deleted_at,
        } = value;
        Self {
            name,
            description,
            tags,
            asset_type: asset_type.into(),
            bytes,
            mime_type,
            sha256,
            width,
            height,
            url,
            storage_key,
            bucket,
            asset_location,
            processing_status: processing_status.map(Into::into),
            processing_error,
            created_at,
            updated_at,
            deleted_at,
        }
    }
}

impl From<LegacyAssetType> for api::AssetType {
    fn from(value: LegacyAssetType) -> Self {
        match value {
            LegacyAssetType::Original => Self::Original,
            LegacyAssetType::Thumbnail => Self::Thumbnail,
            LegacyAssetType::Preview => Self::Preview,
            LegacyAssetType::Derivative => Self::Derivative,
            LegacyAssetType::Metadata => Self::Metadata,
        }
    }
}

impl From<api::AssetType> for LegacyAssetType {
    fn from(value: api::AssetType) -> Self {
        match value {
            api::AssetType::Original => Self::Original,
            api::AssetType::Thumbnail => Self::Thumbnail,
            api::AssetType::Preview => Self::Preview,
            api::AssetType::Derivative => Self::Derivative,
            api::AssetType::Metadata => Self::Metadata,
        }
    }
}

impl From<LegacyProcessingStatus> for api::ProcessingStatus {
    fn from(value: LegacyProcessingStatus) -> Self {
        match value {
            LegacyProcessingStatus::Uploading => Self::Uploading,
            LegacyProcessingStatus::Processing => Self::Processing,
            LegacyProcessingStatus::Finalizing => Self::Finalizing,
            LegacyProcessingStatus::Completed => Self::Completed,
            LegacyProcessingStatus::Error => Self::Error,
        }
    }
}

impl From<api::ProcessingStatus> for LegacyProcessingStatus {
    fn from(value: api::ProcessingStatus) -> Self {
        match value {
            api::ProcessingStatus::Uploading => Self::Uploading,
            api::ProcessingStatus::Processing => Self::Processing,
            api::ProcessingStatus::Finalizing => Self::Finalizing,
            api::ProcessingStatus::Completed => Self::Completed,
            api::ProcessingStatus::Error => Self::Error,
        }
    }
}
