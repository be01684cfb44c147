//! Converts metadata of assets from the type of the first public release to the type of this canister.

use serde_bytes::ByteBuf;
use upload_canister::api::{
    AssetMetadata, AssetMetadataBase, AssetType, AudioAssetMetadata, DocumentAssetMetadata,
    ImageAssetMetadata, NoteAssetMetadata, ProcessingStatus, VideoAssetMetadata,
};
use upload_canister::migrations::public_release::{PublicAssetMetadata, PublicAssetType, PublicBase};
use upload_canister::upload::check_metadata;
use upload_canister::upload::limits::{
    MAX_DESCRIPTION_BYTES, MAX_EXTERNAL_TEXT_BYTES, MAX_NAME_BYTES, MAX_TAGS, MAX_WORD_BYTES,
};

/// Converts the metadata of an asset of `bytes` bytes. `sha256` is the hash of its bytes, if known. A value that
/// contradicts `bytes` or `sha256`, exceeds a limit of this canister or is unknown here is corrected or removed; each
/// such change adds a note to `changes`.
pub(super) fn convert(
    metadata: PublicAssetMetadata,
    bytes: u64,
    sha256: Option<&[u8]>,
    changes: &mut Vec<String>,
) -> AssetMetadata {
    let mut metadata = translate(metadata, changes);
    let base = base_mut(&mut metadata);
    if base.bytes != bytes {
        changes.push(format!("the metadata said {} bytes", base.bytes));
        base.bytes = bytes;
    }
    // `None` if the metadata claim no SHA-256.
    let claim_is_possible = base
        .sha256
        .as_deref()
        .map(|claimed| claimed.len() == 32 && sha256.is_none_or(|actual| actual == claimed.as_slice()));
    if claim_is_possible == Some(false) {
        changes.push("the metadata had another SHA-256".into());
        base.sha256 = sha256.map(|actual| ByteBuf::from(actual.to_vec()));
    }
    if check_metadata(&metadata).is_err() {
        shorten(&mut metadata);
        changes.push("texts of the metadata exceeded the limits and were shortened".into());
    }
    metadata
}

/// Returns the size that the metadata claim; [`convert`] replaces it if it is wrong.
pub(super) fn declared_bytes(metadata: &PublicAssetMetadata) -> u64 {
    base_of(metadata).bytes
}

pub(super) fn is_original(metadata: &PublicAssetMetadata) -> bool {
    base_of(metadata).asset_type == PublicAssetType::Original
}

fn base_of(metadata: &PublicAssetMetadata) -> &PublicBase {
    match metadata {
        PublicAssetMetadata::Image(asset) => &asset.base,
        PublicAssetMetadata::Video(asset) => &asset.base,
        PublicAssetMetadata::Audio(asset) => &asset.base,
        PublicAssetMetadata::Document(asset) => &asset.base,
        PublicAssetMetadata::Note(asset) => &asset.base,
    }
}

fn base_mut(metadata: &mut AssetMetadata) -> &mut AssetMetadataBase {
    match metadata {
        AssetMetadata::Image(asset) => &mut asset.base,
        AssetMetadata::Video(asset) => &mut asset.base,
        AssetMetadata::Audio(asset) => &mut asset.base,
        AssetMetadata::Document(asset) => &mut asset.base,
        AssetMetadata::Note(asset) => &mut asset.base,
    }
}

fn translate(metadata: PublicAssetMetadata, changes: &mut Vec<String>) -> AssetMetadata {
    match metadata {
        PublicAssetMetadata::Image(asset) => AssetMetadata::Image(ImageAssetMetadata {
            base: convert_base(asset.base, changes),
            color_space: asset.color_space,
            exif_data: asset.exif_data,
            compression_ratio: asset.compression_ratio,
            dpi: asset.dpi,
            orientation: asset.orientation,
        }),
        PublicAssetMetadata::Video(asset) => AssetMetadata::Video(VideoAssetMetadata {
            base: convert_base(asset.base, changes),
            duration: asset.duration,
            frame_rate: asset.frame_rate,
            codec: asset.codec,
            bitrate: asset.bitrate,
            resolution: asset.resolution,
            aspect_ratio: asset.aspect_ratio,
        }),
        PublicAssetMetadata::Audio(asset) => AssetMetadata::Audio(AudioAssetMetadata {
            base: convert_base(asset.base, changes),
            duration: asset.duration,
            sample_rate: asset.sample_rate,
            channels: asset.channels,
            bitrate: asset.bitrate,
            codec: asset.codec,
            bit_depth: asset.bit_depth,
        }),
        PublicAssetMetadata::Document(asset) => AssetMetadata::Document(DocumentAssetMetadata {
            base: convert_base(asset.base, changes),
            page_count: asset.page_count,
            document_type: asset.document_type,
            language: asset.language,
            word_count: asset.word_count,
        }),
        PublicAssetMetadata::Note(asset) => AssetMetadata::Note(NoteAssetMetadata {
            base: convert_base(asset.base, changes),
            word_count: asset.word_count,
            language: asset.language,
            format: asset.format,
        }),
    }
}

fn convert_base(base: PublicBase, changes: &mut Vec<String>) -> AssetMetadataBase {
    let status = base.processing_status.as_deref().map(|status| (status, parse_processing_status(status)));
    if let Some((status, None)) = status {
        changes.push(format!("the processing status {status:?} is unknown here"));
    }
    let processing_status = status.and_then(|(_, known)| known);
    AssetMetadataBase {
        name: base.name,
        description: base.description,
        tags: base.tags,
        asset_type: match base.asset_type {
            PublicAssetType::Original => AssetType::Original,
            PublicAssetType::Thumbnail => AssetType::Thumbnail,
            PublicAssetType::Preview => AssetType::Preview,
            PublicAssetType::Derivative => AssetType::Derivative,
            PublicAssetType::Metadata => AssetType::Metadata,
        },
        bytes: base.bytes,
        mime_type: base.mime_type,
        sha256: base.sha256,
        width: base.width,
        height: base.height,
        url: base.url,
        storage_key: base.storage_key,
        bucket: base.bucket,
        asset_location: base.asset_location,
        processing_status,
        processing_error: base.processing_error,
        created_at: base.created_at,
        updated_at: base.updated_at,
        deleted_at: base.deleted_at,
    }
}

/// Parses a processing status, which is free text in the first public release; `None` if this canister has no such
/// status.
fn parse_processing_status(text: &str) -> Option<ProcessingStatus> {
    Some(match text.to_ascii_lowercase().as_str() {
        "uploading" => ProcessingStatus::Uploading,
        "processing" => ProcessingStatus::Processing,
        "finalizing" => ProcessingStatus::Finalizing,
        "completed" => ProcessingStatus::Completed,
        "error" => ProcessingStatus::Error,
        _ => return None,
    })
}

/// Truncates the name, the MIME type, the description and the processing error to their limits. Removes tags beyond the
/// limit of their number, and tags and other texts that are too long: they make no sense when truncated. If the
/// metadata as a whole is still too long, removes the EXIF data; then, if necessary, the description, the processing
/// error and the tags.
fn shorten(metadata: &mut AssetMetadata) {
    let base = base_mut(metadata);
    cut(&mut base.name, MAX_NAME_BYTES);
    cut(&mut base.mime_type, MAX_WORD_BYTES);
    base.tags.retain(|tag| tag.len() <= MAX_WORD_BYTES);
    base.tags.truncate(MAX_TAGS);
    for text in [&mut base.description, &mut base.processing_error].into_iter().flatten() {
        cut(text, MAX_DESCRIPTION_BYTES);
    }
    for text in [&mut base.url, &mut base.storage_key, &mut base.bucket, &mut base.asset_location] {
        text.take_if(|text| text.len() > MAX_EXTERNAL_TEXT_BYTES);
    }
    let words = match metadata {
        AssetMetadata::Image(asset) => vec![&mut asset.color_space],
        AssetMetadata::Video(asset) => vec![&mut asset.codec, &mut asset.resolution],
        AssetMetadata::Audio(asset) => vec![&mut asset.codec],
        AssetMetadata::Document(asset) => vec![&mut asset.document_type, &mut asset.language],
        AssetMetadata::Note(asset) => vec![&mut asset.language, &mut asset.format],
    };
    for word in words {
        word.take_if(|word| word.len() > MAX_WORD_BYTES);
    }
    if check_metadata(metadata).is_err()
        && let AssetMetadata::Image(image) = metadata
    {
        image.exif_data = None;
    }
    if check_metadata(metadata).is_err() {
        let base = base_mut(metadata);
        (base.description, base.processing_error) = (None, None);
        base.tags.clear();
    }
}

/// Truncates a text to at most `limit` bytes, at the end of a character. Returns whether it was longer.
pub(super) fn cut(text: &mut String, limit: usize) -> bool {
    let is_longer = text.len() > limit;
    if is_longer {
        let end = (0..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    is_longer
}
