//! Random records of layout 1, as the legacy build or an earlier build could have stored them.

use candid::Principal;
use proptest::prelude::*;
use serde_bytes::ByteBuf;

use crate::migrations::split_sessions::asset::*;
use crate::migrations::split_sessions::{LegacyStatus, LegacyUploadSession};
use crate::session::{ChunkSet, Time};

fn asset_type() -> impl Strategy<Value = LegacyAssetType> {
    use LegacyAssetType::*;
    prop_oneof![Just(Original), Just(Thumbnail), Just(Preview), Just(Derivative), Just(Metadata)]
}

fn processing_status() -> impl Strategy<Value = LegacyProcessingStatus> {
    use LegacyProcessingStatus::*;
    prop_oneof![Just(Uploading), Just(Processing), Just(Finalizing), Just(Completed), Just(Error)]
}

fn text() -> impl Strategy<Value = Option<String>> {
    prop::option::of(".{0,12}")
}

prop_compose! {
    fn base(bytes: u64)(
        (name, description, tags) in (".{0,12}", text(), prop::collection::vec(".{0,6}", 0..3)),
        (asset_type, mime_type) in (asset_type(), "[a-z]{1,8}/[a-z]{1,8}"),
        sha256 in prop::option::of(any::<[u8; 32]>()),
        (width, height) in any::<(Option<u32>, Option<u32>)>(),
        (url, storage_key, bucket, asset_location) in (text(), text(), text(), text()),
        (processing_status, processing_error) in (prop::option::of(processing_status()), text()),
        (created_at, updated_at, deleted_at) in any::<(u64, u64, Option<u64>)>(),
    ) -> LegacyBase {
        LegacyBase {
            name, description, tags, asset_type, bytes, mime_type, sha256: sha256.map(ByteBuf::from), width,
            height, url, storage_key, bucket, asset_location, processing_status, processing_error, created_at,
            updated_at, deleted_at,
        }
    }
}

/// Generates metadata of any kind for a file of this size. Boxed, since five kinds of some twenty fields by value
/// overflow the stack of a test thread.
pub fn asset(bytes: u64) -> BoxedStrategy<LegacyAssetMetadata> {
    let base = |bytes| base(bytes).boxed();
    // Finite numbers only: NaN is not equal to itself, and no client measures one.
    let ratio = || prop::option::of(-1e6f32..1e6);
    let image = (base(bytes), text(), text(), ratio(), any::<Option<u32>>(), any::<Option<u8>>());
    let video = (base(bytes), any::<Option<u64>>(), ratio(), text(), any::<Option<u64>>(), text(), ratio());
    let audio =
        (base(bytes), any::<(Option<u64>, Option<u32>, Option<u8>, Option<u64>, Option<u8>)>(), text());
    let document = (base(bytes), any::<(Option<u32>, Option<u32>)>(), text(), text());
    let note = (base(bytes), any::<Option<u32>>(), text(), text());
    prop_oneof![
        image
            .prop_map(|(base, color_space, exif_data, compression_ratio, dpi, orientation)| {
                LegacyAssetMetadata::Image(LegacyImage {
                    base,
                    color_space,
                    exif_data,
                    compression_ratio,
                    dpi,
                    orientation,
                })
            })
            .boxed(),
        video
            .prop_map(|(base, duration, frame_rate, codec, bitrate, resolution, aspect_ratio)| {
                LegacyAssetMetadata::Video(LegacyVideo {
                    base,
                    duration,
                    frame_rate,
                    codec,
                    bitrate,
                    resolution,
                    aspect_ratio,
                })
            })
            .boxed(),
        audio
            .prop_map(|(base, (duration, sample_rate, channels, bitrate, bit_depth), codec)| {
                LegacyAssetMetadata::Audio(LegacyAudio {
                    base,
                    duration,
                    sample_rate,
                    channels,
                    bitrate,
                    codec,
                    bit_depth,
                })
            })
            .boxed(),
        document
            .prop_map(|(base, (page_count, word_count), document_type, language)| {
                LegacyAssetMetadata::Document(LegacyDocument {
                    base,
                    page_count,
                    document_type,
                    language,
                    word_count,
                })
            })
            .boxed(),
        note.prop_map(|(base, word_count, language, format)| {
            LegacyAssetMetadata::Note(LegacyNote { base, word_count, language, format })
        })
        .boxed(),
    ]
    .boxed()
}

fn status() -> impl Strategy<Value = LegacyStatus> {
    prop_oneof![
        Just(LegacyStatus::Pending),
        any::<u64>().prop_map(|completed_at| LegacyStatus::Committed { completed_at }),
    ]
}

prop_compose! {
    /// Generates a record of layout 1, with the chunks that are stored for it and the time of its last activity.
    pub fn record()(bytes in 0u64..5_000, chunk_size in 1u32..700)(
        asset_metadata in asset(bytes),
        stored in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        (session_id, created_at, blob_id, last_seen) in any::<(u64, u64, Option<u64>, Option<u64>)>(),
        (capsule_id, provisional_memory_id, idem) in (".{0,12}", ".{0,12}", ".{0,12}"),
        caller in prop::collection::vec(any::<u8>(), 0..=29),
        status in status(),
        chunk_size in Just(chunk_size),
        bytes in Just(bytes),
    ) -> (LegacyUploadSession, ChunkSet, Option<Time>) {
        let chunks = bytes.div_ceil(u64::from(chunk_size)) as u32;
        let stored = stored.iter().filter(|_| chunks > 0).map(|index| index.index(chunks.max(1) as usize) as u32);
        let legacy = LegacyUploadSession {
            session_id, capsule_id, caller: Principal::from_slice(&caller), created_at,
            expected_chunks: chunks, status, chunk_count: chunks, asset_metadata, provisional_memory_id,
            chunk_size: u64::from(chunk_size), idem, blob_id,
        };
        (legacy, stored.collect(), last_seen.map(Time::from_nanos))
    }
}
