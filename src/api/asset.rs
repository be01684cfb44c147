//! Metadata of assets, each of one of five kinds.
//!
//! The same types are stored in upload and memory records. The `#[n(..)]` numbers are the stored field ids:
//! never renumber or reuse one; add a new optional field under the next free number.

use candid::CandidType;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// The role of an asset in its memory.
#[derive(CandidType, Serialize, Deserialize, Encode, Decode, Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
#[cbor(index_only)]
pub enum AssetType {
    /// The file as provided by the user.
    #[n(0)]
    Original,
    /// A thumbnail of the original.
    #[n(1)]
    Thumbnail,
    /// A reduced version for display.
    #[n(2)]
    Preview,
    /// Any other file derived from the original.
    #[n(3)]
    Derivative,
    /// Data about the original.
    #[n(4)]
    Metadata,
}

/// The processing state of an asset, as reported by its client.
#[derive(CandidType, Serialize, Deserialize, Encode, Decode, Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
#[cbor(index_only)]
pub enum ProcessingStatus {
    /// Bytes are arriving.
    #[n(0)]
    Uploading,
    /// Derivatives are being created.
    #[n(1)]
    Processing,
    /// Everything has been created and is being attached.
    #[n(2)]
    Finalizing,
    /// Done.
    #[n(3)]
    Completed,
    /// Failed; see `processing_error`.
    #[n(4)]
    Error,
}

/// The fields that all five kinds have. All values are as claimed by the client.
#[derive(CandidType, Serialize, Deserialize, Encode, Decode, Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct AssetMetadataBase {
    /// File name or title.
    #[n(0)]
    pub name: String,
    /// Free text.
    #[n(1)]
    pub description: Option<String>,
    /// Labels, in the client's order.
    #[n(2)]
    pub tags: Vec<String>,
    /// The role of the asset in its memory.
    #[n(3)]
    pub asset_type: AssetType,
    /// Size of the file in bytes; the session expects exactly this many.
    #[n(4)]
    pub bytes: u64,
    /// MIME type, such as `image/jpeg`.
    #[n(5)]
    pub mime_type: String,
    /// SHA-256 of the file, 32 bytes, if the client knows it in advance.
    #[cbor(n(6), with = "crate::stable::codec::opt_bytes")]
    pub sha256: Option<ByteBuf>,
    /// Width in pixels.
    #[n(7)]
    pub width: Option<u32>,
    /// Height in pixels.
    #[n(8)]
    pub height: Option<u32>,
    /// Another URL of the asset.
    #[n(9)]
    pub url: Option<String>,
    /// Key in an external store.
    #[n(10)]
    pub storage_key: Option<String>,
    /// Bucket in an external store.
    #[n(11)]
    pub bucket: Option<String>,
    /// Location in an external store.
    #[n(12)]
    pub asset_location: Option<String>,
    /// Processing state.
    #[n(13)]
    pub processing_status: Option<ProcessingStatus>,
    /// Why processing failed.
    #[n(14)]
    pub processing_error: Option<String>,
    /// When the client created the asset, nanoseconds.
    #[n(15)]
    pub created_at: u64,
    /// When the client last changed it, nanoseconds.
    #[n(16)]
    pub updated_at: u64,
    /// When the client deleted it, nanoseconds.
    #[n(17)]
    pub deleted_at: Option<u64>,
}

impl AssetMetadataBase {
    /// Returns metadata with only the fields that every asset has; `created_at` is in nanoseconds.
    pub fn new(
        name: impl Into<String>,
        mime_type: impl Into<String>,
        asset_type: AssetType,
        bytes: u64,
        created_at: u64,
    ) -> Self {
        Self {
            name: name.into(),
            description: None,
            tags: Vec::new(),
            asset_type,
            bytes,
            mime_type: mime_type.into(),
            sha256: None,
            width: None,
            height: None,
            url: None,
            storage_key: None,
            bucket: None,
            asset_location: None,
            processing_status: None,
            processing_error: None,
            created_at,
            updated_at: created_at,
            deleted_at: None,
        }
    }
}

/// An image.
#[derive(CandidType, Serialize, Deserialize, Encode, Decode, Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct ImageAssetMetadata {
    /// The fields that all kinds have.
    #[n(0)]
    pub base: AssetMetadataBase,
    /// Color space, such as `sRGB`.
    #[n(1)]
    pub color_space: Option<String>,
    /// EXIF data as the client read it.
    #[n(2)]
    pub exif_data: Option<String>,
    /// Compressed size over raw size.
    #[n(3)]
    pub compression_ratio: Option<f32>,
    /// Dots per inch.
    #[n(4)]
    pub dpi: Option<u32>,
    /// EXIF orientation, 1 to 8.
    #[n(5)]
    pub orientation: Option<u8>,
}

/// A video.
#[derive(CandidType, Serialize, Deserialize, Encode, Decode, Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct VideoAssetMetadata {
    /// The fields that all kinds have.
    #[n(0)]
    pub base: AssetMetadataBase,
    /// Length in milliseconds.
    #[n(1)]
    pub duration: Option<u64>,
    /// Frames per second.
    #[n(2)]
    pub frame_rate: Option<f32>,
    /// Codec name.
    #[n(3)]
    pub codec: Option<String>,
    /// Bits per second.
    #[n(4)]
    pub bitrate: Option<u64>,
    /// Resolution as text, such as `1920x1080`.
    #[n(5)]
    pub resolution: Option<String>,
    /// Width over height.
    #[n(6)]
    pub aspect_ratio: Option<f32>,
}

/// A sound recording.
#[derive(CandidType, Serialize, Deserialize, Encode, Decode, Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct AudioAssetMetadata {
    /// The fields that all kinds have.
    #[n(0)]
    pub base: AssetMetadataBase,
    /// Length in milliseconds.
    #[n(1)]
    pub duration: Option<u64>,
    /// Samples per second.
    #[n(2)]
    pub sample_rate: Option<u32>,
    /// Number of channels.
    #[n(3)]
    pub channels: Option<u8>,
    /// Bits per second.
    #[n(4)]
    pub bitrate: Option<u64>,
    /// Codec name.
    #[n(5)]
    pub codec: Option<String>,
    /// Bits per sample.
    #[n(6)]
    pub bit_depth: Option<u8>,
}

/// A document.
#[derive(CandidType, Serialize, Deserialize, Encode, Decode, Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct DocumentAssetMetadata {
    /// The fields that all kinds have.
    #[n(0)]
    pub base: AssetMetadataBase,
    /// Number of pages.
    #[n(1)]
    pub page_count: Option<u32>,
    /// Kind of document.
    #[n(2)]
    pub document_type: Option<String>,
    /// Language tag.
    #[n(3)]
    pub language: Option<String>,
    /// Number of words.
    #[n(4)]
    pub word_count: Option<u32>,
}

/// A text note.
#[derive(CandidType, Serialize, Deserialize, Encode, Decode, Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct NoteAssetMetadata {
    /// The fields that all kinds have.
    #[n(0)]
    pub base: AssetMetadataBase,
    /// Number of words.
    #[n(1)]
    pub word_count: Option<u32>,
    /// Language tag.
    #[n(2)]
    pub language: Option<String>,
    /// Text format, such as `markdown`.
    #[n(3)]
    pub format: Option<String>,
}

/// Metadata of an asset, in one of five kinds.
#[derive(CandidType, Serialize, Deserialize, Encode, Decode, Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub enum AssetMetadata {
    /// An image.
    #[n(0)]
    Image(#[n(0)] ImageAssetMetadata),
    /// A video.
    #[n(1)]
    Video(#[n(0)] VideoAssetMetadata),
    /// A sound recording.
    #[n(2)]
    Audio(#[n(0)] AudioAssetMetadata),
    /// A document.
    #[n(3)]
    Document(#[n(0)] DocumentAssetMetadata),
    /// A text note.
    #[n(4)]
    Note(#[n(0)] NoteAssetMetadata),
}

impl AssetMetadata {
    /// Returns the metadata of an image, with only the fields that all kinds have.
    pub fn image(base: AssetMetadataBase) -> Self {
        Self::Image(ImageAssetMetadata {
            base,
            color_space: None,
            exif_data: None,
            compression_ratio: None,
            dpi: None,
            orientation: None,
        })
    }

    /// Returns the metadata of a document, with only the fields that all kinds have.
    pub fn document(base: AssetMetadataBase) -> Self {
        Self::Document(DocumentAssetMetadata {
            base,
            page_count: None,
            document_type: None,
            language: None,
            word_count: None,
        })
    }

    /// Returns the fields that all kinds have.
    pub fn base(&self) -> &AssetMetadataBase {
        match self {
            Self::Image(asset) => &asset.base,
            Self::Video(asset) => &asset.base,
            Self::Audio(asset) => &asset.base,
            Self::Document(asset) => &asset.base,
            Self::Note(asset) => &asset.base,
        }
    }
}
