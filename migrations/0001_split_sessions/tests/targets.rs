//! Migration 1 must always write records byte for byte as the first release of layout 2 did.

use super::*;
use crate::session::SessionId;
use crate::stable::Record as _;
use crate::upload::SessionRecord;

/// The records of layout 2 as its first release wrote them, in hexadecimal. Never generate them again.
const LAYOUT_2: &str = include_str!("../golden/layout_2.txt");

/// Returns metadata of every kind; together they have every asset type and every processing status.
fn assets() -> [LegacyAssetMetadata; 5] {
    use LegacyAssetType::*;
    use LegacyProcessingStatus::*;
    let LegacyAssetMetadata::Image(image) = sample().asset_metadata else {
        panic!("the sample is not an image")
    };
    let base = |asset_type, processing_status| LegacyBase {
        asset_type,
        processing_status: Some(processing_status),
        ..image.base.clone()
    };
    let full = LegacyBase {
        url: Some("u".into()),
        storage_key: Some("k".into()),
        bucket: Some("b".into()),
        asset_location: Some("l".into()),
        processing_error: Some("e".into()),
        deleted_at: Some(9),
        ..base(Metadata, Error)
    };
    [
        LegacyAssetMetadata::Image(LegacyImage { exif_data: Some("x".into()), ..image.clone() }),
        LegacyAssetMetadata::Video(LegacyVideo {
            base: base(Thumbnail, Processing),
            duration: Some(1),
            frame_rate: Some(2.5),
            codec: Some("c".into()),
            bitrate: Some(3),
            resolution: Some("r".into()),
            aspect_ratio: Some(1.5),
        }),
        LegacyAssetMetadata::Audio(LegacyAudio {
            base: base(Preview, Finalizing),
            duration: Some(1),
            sample_rate: Some(2),
            channels: Some(3),
            bitrate: Some(4),
            codec: Some("c".into()),
            bit_depth: Some(5),
        }),
        LegacyAssetMetadata::Document(LegacyDocument {
            base: base(Derivative, Completed),
            page_count: Some(1),
            document_type: Some("d".into()),
            language: Some("l".into()),
            word_count: Some(2),
        }),
        LegacyAssetMetadata::Note(LegacyNote {
            base: full,
            word_count: Some(1),
            language: Some("l".into()),
            format: Some("f".into()),
        }),
    ]
}

/// Migration 1 writes the types of layout 2 that the canister uses now. If this test fails, one of them has changed,
/// and migration 1 needs a frozen copy of the old type: any later release may run migration 1, and migration 2 starts
/// from what it writes.
#[test]
fn converted_records_have_the_bytes_of_layout_2() {
    let mut written = String::new();
    let mut append = |legacy: LegacyUploadSession, last_seen| {
        let stored = [0, 1, 5].into_iter().collect();
        let Split { session, meta } = convert(SessionId(7), legacy, stored, last_seen).unwrap();
        let [session, meta] = [SessionRecord::from(&session).encode(), meta.encode()].map(hex::encode);
        written.push_str(&format!("session {session}\nmeta {meta}\n"));
    };
    for asset_metadata in assets() {
        append(LegacyUploadSession { asset_metadata, ..sample() }, Some(Time::from_nanos(1_759_000_001)));
    }
    let status = LegacyStatus::Committed { completed_at: 1_759_000_002 };
    append(LegacyUploadSession { status, blob_id: Some(u64::MAX), ..sample() }, None);
    assert!(written == LAYOUT_2, "migration 1 writes:\n{written}");
}
