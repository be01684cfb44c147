//! Checks of an asset's metadata: its texts, its tags, its encoded size, and the SHA-256 that it claims.
//!
//! Structs are destructured without `..`: a new field must be added here, and checked if it is a text, before the
//! crate compiles.

use crate::api::{
    AssetMetadata, AssetMetadataBase, AudioAssetMetadata, DocumentAssetMetadata, Error, ImageAssetMetadata,
    NoteAssetMetadata, Result, VideoAssetMetadata,
};
use crate::blob::ContentDigest;
use crate::stable::codec;

use super::error::parse_digest;
use super::limits::{
    MAX_DESCRIPTION_BYTES, MAX_EXTERNAL_TEXT_BYTES, MAX_METADATA_BYTES, MAX_NAME_BYTES, MAX_TAGS,
    MAX_WORD_BYTES,
};

/// The field by which an error names a text, the text, and its maximum length in bytes.
type LimitedText<'a> = (&'static str, &'a str, usize);

/// Returns `Ok(())` if an asset's metadata may be stored.
///
/// # Errors
/// [`Error::InvalidArgument`] for a text that is too long, too many tags, metadata whose encoding is too large, or a
/// SHA-256 that does not have 32 bytes.
pub fn check_metadata(asset_metadata: &AssetMetadata) -> Result<()> {
    check_texts(asset_metadata)?;
    let bytes = codec::encode(1, asset_metadata).len();
    if bytes > MAX_METADATA_BYTES {
        let expected = format!("at most {MAX_METADATA_BYTES} bytes");
        return Err(Error::invalid("asset_metadata", expected, format!("{bytes} bytes")));
    }
    let sha256 = asset_metadata.base().sha256.as_ref();
    sha256.map_or(Ok(()), |sha256| parse_digest("asset_metadata.sha256", sha256).map(drop))
}

/// Returns the SHA-256 claimed in the metadata, in hex, if `digest` is a different SHA-256. `None` if they are equal,
/// if the metadata claims none, or if `digest` is a BLAKE3.
pub fn contradicting_sha256(asset_metadata: &AssetMetadata, digest: ContentDigest) -> Option<String> {
    let claimed = asset_metadata.base().sha256.as_ref()?;
    digest.as_sha256().filter(|digest| digest != claimed).map(|_| hex::encode(claimed))
}

fn check_texts(asset_metadata: &AssetMetadata) -> Result<()> {
    let tags = asset_metadata.base().tags.len();
    if tags > MAX_TAGS {
        return Err(Error::invalid("asset_metadata.tags", format!("at most {MAX_TAGS} tags"), tags));
    }
    let texts = base_texts(asset_metadata.base());
    for (field, text, max) in texts.into_iter().chain(kind_texts(asset_metadata)) {
        check_text(field, Some(text), max)?;
    }
    Ok(())
}

/// Returns `Ok(())` if a text is absent or has at most `max` bytes.
pub fn check_text(field: &str, text: Option<&str>, max: usize) -> Result<()> {
    let bytes = text.map_or(0, str::len);
    if bytes > max {
        return Err(Error::invalid(field, format!("at most {max} bytes"), format!("{bytes} bytes")));
    }
    Ok(())
}

/// Returns the texts that are set (not `None`), each with its field and its limit.
fn present_texts<'a>(
    texts: impl IntoIterator<Item = (&'static str, &'a Option<String>, usize)>,
) -> Vec<LimitedText<'a>> {
    texts.into_iter().filter_map(|(field, text, max)| Some((field, text.as_deref()?, max))).collect()
}

/// Returns the texts that assets of all kinds have.
fn base_texts(base: &AssetMetadataBase) -> Vec<LimitedText<'_>> {
    let AssetMetadataBase {
        name,
        description,
        tags,
        asset_type: _,
        bytes: _,
        mime_type,
        sha256: _,
        width: _,
        height: _,
        url,
        storage_key,
        bucket,
        asset_location,
        processing_status: _,
        processing_error,
        created_at: _,
        updated_at: _,
        deleted_at: _,
    } = base;
    let mut texts = present_texts([
        ("asset_metadata.description", description, MAX_DESCRIPTION_BYTES),
        ("asset_metadata.url", url, MAX_EXTERNAL_TEXT_BYTES),
        ("asset_metadata.storage_key", storage_key, MAX_EXTERNAL_TEXT_BYTES),
        ("asset_metadata.bucket", bucket, MAX_EXTERNAL_TEXT_BYTES),
        ("asset_metadata.asset_location", asset_location, MAX_EXTERNAL_TEXT_BYTES),
        ("asset_metadata.processing_error", processing_error, MAX_DESCRIPTION_BYTES),
    ]);
    texts.push(("asset_metadata.name", name, MAX_NAME_BYTES));
    texts.push(("asset_metadata.mime_type", mime_type, MAX_WORD_BYTES));
    texts.extend(tags.iter().map(|tag| ("asset_metadata.tags", tag.as_str(), MAX_WORD_BYTES)));
    texts
}

/// Returns the texts that only this kind of asset has.
fn kind_texts(asset_metadata: &AssetMetadata) -> Vec<LimitedText<'_>> {
    match asset_metadata {
        AssetMetadata::Image(image) => {
            let ImageAssetMetadata {
                base: _,
                color_space,
                exif_data,
                compression_ratio: _,
                dpi: _,
                orientation: _,
            } = image;
            present_texts([
                ("asset_metadata.color_space", color_space, MAX_WORD_BYTES),
                // Limited only by the size of the encoded metadata.
                ("asset_metadata.exif_data", exif_data, MAX_METADATA_BYTES),
            ])
        }
        AssetMetadata::Video(video) => {
            let VideoAssetMetadata {
                base: _,
                duration: _,
                frame_rate: _,
                codec,
                bitrate: _,
                resolution,
                aspect_ratio: _,
            } = video;
            present_texts([
                ("asset_metadata.codec", codec, MAX_WORD_BYTES),
                ("asset_metadata.resolution", resolution, MAX_WORD_BYTES),
            ])
        }
        AssetMetadata::Audio(audio) => {
            let AudioAssetMetadata {
                base: _,
                duration: _,
                sample_rate: _,
                channels: _,
                bitrate: _,
                codec,
                bit_depth: _,
            } = audio;
            present_texts([("asset_metadata.codec", codec, MAX_WORD_BYTES)])
        }
        AssetMetadata::Document(document) => {
            let DocumentAssetMetadata { base: _, page_count: _, document_type, language, word_count: _ } =
                document;
            present_texts([
                ("asset_metadata.document_type", document_type, MAX_WORD_BYTES),
                ("asset_metadata.language", language, MAX_WORD_BYTES),
            ])
        }
        AssetMetadata::Note(note) => {
            let NoteAssetMetadata { base: _, word_count: _, language, format } = note;
            present_texts([
                ("asset_metadata.language", language, MAX_WORD_BYTES),
                ("asset_metadata.format", format, MAX_WORD_BYTES),
            ])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::AssetType;

    fn base() -> AssetMetadataBase {
        AssetMetadataBase::new("a", "b", AssetType::Original, 1, 1)
    }

    fn refused_field(asset_metadata: &AssetMetadata) -> Option<String> {
        let Err(Error::InvalidArgument { field, .. }) = check_texts(asset_metadata) else { return None };
        Some(field)
    }

    #[test]
    fn texts_and_tags_are_accepted_up_to_their_limits() {
        let text = |bytes: usize| Some("x".repeat(bytes));
        for (excess, field) in [(0, None), (1, Some("asset_metadata.language"))] {
            let mut asset_metadata = AssetMetadata::document(base());
            if let AssetMetadata::Document(document) = &mut asset_metadata {
                document.language = text(MAX_WORD_BYTES + excess);
            }
            assert_eq!(refused_field(&asset_metadata).as_deref(), field);
        }
        for (excess, field) in [(0, None), (1, Some("asset_metadata.url"))] {
            let base = AssetMetadataBase { url: text(MAX_EXTERNAL_TEXT_BYTES + excess), ..base() };
            assert_eq!(refused_field(&AssetMetadata::image(base)).as_deref(), field);
        }
        for (excess, field) in [(0, None), (1, Some("asset_metadata.tags"))] {
            let base = AssetMetadataBase { tags: vec!["x".into(); MAX_TAGS + excess], ..base() };
            assert_eq!(refused_field(&AssetMetadata::image(base)).as_deref(), field);
        }
    }
}
