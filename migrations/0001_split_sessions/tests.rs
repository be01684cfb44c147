//! The two laws of the migration, its refusals, and its golden fixture.

mod classes;

use candid::Principal;
use proptest::prelude::*;
use serde_bytes::ByteBuf;

use super::asset::*;
use super::wire::{HEADER, Listed, is_same};
use super::*;
use crate::session::{ChunkSet, SessionId, Time};

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

/// Boxed, since five kinds of some twenty fields by value overflow the stack of a test thread.
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
    /// A record that the old release could have left, with the chunks that are stored for it.
    fn record()(bytes in 0u64..5_000, chunk_size in 1u32..700)(
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn old_to_new_to_old_is_the_identity((legacy, stored, last_seen) in record()) {
        let split = convert(SessionId(legacy.session_id), legacy.clone(), stored.clone(), last_seen).unwrap();
        prop_assert_eq!(&split.session.received_idxs, &stored, "what is stored has been received");
        prop_assert_eq!(split.session.bytes_received, split.session.bytes_of_received());
        let back = revert(SessionId(legacy.session_id), split).unwrap();
        prop_assert_eq!(back.encode(), legacy.encode());
        prop_assert_eq!(LegacyUploadSession::decode(&back.encode()), Ok(legacy));
    }

    #[test]
    fn new_to_old_to_new_is_the_identity((legacy, stored, last_seen) in record()) {
        let id = SessionId(legacy.session_id);
        let split = convert(id, legacy, stored.clone(), last_seen).unwrap();
        // The last activity is kept beside the record and given back to the conversion.
        let seen = Some(split.session.session_meta.last_seen);
        let again = convert(id, revert(id, split.clone()).unwrap(), stored, seen).unwrap();
        prop_assert_eq!(again, split);
    }

    #[test]
    fn damaged_bytes_are_an_error((legacy, ..) in record(), cut in any::<prop::sample::Index>()) {
        let bytes = legacy.encode();
        prop_assert!(LegacyUploadSession::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }
}

proptest! {
    /// The short way and the library agree on every record, and on every byte string near one.
    #[test]
    fn the_short_way_is_the_librarys((legacy, ..) in record(), place in any::<prop::sample::Index>(), bit in 0u8..8) {
        let bytes = legacy.encode();
        prop_assert_eq!(&bytes, &crate::stable::codec::encode_candid(1, &legacy));
        prop_assert_eq!(LegacyUploadSession::decode_by_library(&bytes), Ok(legacy.clone()));
        let digest = LegacyUploadSession::digest_of_stored(&bytes);
        prop_assert_eq!(legacy.digest_as_stored(&bytes), Some(digest));
        let mut changed = bytes.clone();
        let place = HEADER.len() + place.index(bytes.len() - HEADER.len());
        changed[place] ^= 1 << bit;
        // Written out, since a changed float may be a NaN, which is not equal to itself.
        let in_words = |decoded| format!("{decoded:?}");
        let by_library = LegacyUploadSession::decode_by_library(&changed);
        prop_assert_eq!(in_words(LegacyUploadSession::decode(&changed)), in_words(by_library));
        prop_assert_ne!(LegacyUploadSession::digest_of_stored(&changed), digest, "byte {}", place);
        prop_assert_eq!(legacy.digest_as_stored(&changed), None, "byte {}", place);
    }
}

#[test]
fn bytes_are_compared_to_the_last() {
    let bytes: Vec<u8> = (0..21).collect();
    for len in 0..=bytes.len() {
        let (same, rest) = bytes.split_at(len);
        assert!(is_same(same, &bytes[..len]));
        assert!(rest.is_empty() || !is_same(same, &bytes));
        for place in 0..len {
            let mut other = same.to_vec();
            other[place] ^= 0x80;
            assert!(!is_same(same, &other), "byte {place} of {len}");
        }
    }
}

fn sample() -> LegacyUploadSession {
    let base = LegacyBase {
        name: "avocado.jpg".into(),
        description: Some("a still life".into()),
        tags: vec!["green".into(), "fruit".into()],
        asset_type: LegacyAssetType::Original,
        bytes: 21_827_484,
        mime_type: "image/jpeg".into(),
        sha256: Some(ByteBuf::from([7; 32])),
        width: Some(6_000),
        height: Some(4_000),
        url: None,
        storage_key: None,
        bucket: None,
        asset_location: None,
        processing_status: Some(LegacyProcessingStatus::Uploading),
        processing_error: None,
        created_at: 1_759_000_000_000_000_000,
        updated_at: 1_759_000_000_000_000_001,
        deleted_at: None,
    };
    LegacyUploadSession {
        session_id: 7,
        capsule_id: "capsule_1".into(),
        caller: Principal::self_authenticating([1]),
        created_at: 1_759_000_000_000_000_002,
        expected_chunks: 13,
        status: LegacyStatus::Pending,
        chunk_count: 13,
        asset_metadata: LegacyAssetMetadata::Image(LegacyImage {
            base,
            color_space: Some("sRGB".into()),
            exif_data: None,
            compression_ratio: Some(0.25),
            dpi: Some(300),
            orientation: Some(1),
        }),
        provisional_memory_id: "mem_7_00112233445566778899aabbccddeeff".into(),
        chunk_size: 1_800_000,
        idem: "upload-1759000000-abc".into(),
        blob_id: None,
    }
}

/// The bytes of [`sample`] as layout 1 stores them. Made once, never again; the test prints
/// what the types encode to today when that differs.
const GOLDEN: &[u8] = include_bytes!("golden/upload_session_meta.bin");

#[test]
fn the_golden_record_decodes_and_encodes_to_the_byte() {
    let bytes = sample().encode();
    assert!(bytes == GOLDEN, "today: {bytes:02x?}");
    assert_eq!(LegacyUploadSession::decode(GOLDEN), Ok(sample()));
}

#[test]
fn fields_and_cases_are_listed_by_hash() {
    fn sorted<T: Listed>() {
        let hashes: Vec<u32> = T::NAMES.iter().map(|name| candid::idl_hash(name)).collect();
        assert!(hashes.is_sorted(), "{:?}", T::NAMES);
    }
    sorted::<LegacyUploadSession>();
    sorted::<LegacyAssetMetadata>();
    sorted::<LegacyImage>();
    sorted::<LegacyVideo>();
    sorted::<LegacyAudio>();
    sorted::<LegacyDocument>();
    sorted::<LegacyNote>();
    sorted::<LegacyBase>();
    sorted::<LegacyAssetType>();
    sorted::<LegacyProcessingStatus>();
}

#[test]
fn another_encoders_record_is_read_by_the_library_and_leads_back_to_its_bytes() {
    // The same record with one more type in the table, as another encoder may write it.
    let legacy = sample();
    let other = candid::encode_args((1u16, legacy.clone(), Some(7u64))).unwrap();
    assert!(!other.starts_with(HEADER));
    let values = candid::IDLArgs::from_bytes(&other).unwrap();
    assert_eq!(values.args.len(), 3);
    assert_eq!(LegacyUploadSession::decode(&other), Ok(legacy.clone()), "what comes behind is ignored");
    let digest = LegacyUploadSession::digest_of_stored(&other);
    assert_eq!(legacy.digest_as_stored(&other), Some(digest));
    let changed = LegacyUploadSession { created_at: legacy.created_at + 1, ..legacy };
    assert_eq!(changed.digest_as_stored(&other), None);
}

#[test]
fn a_record_of_another_version_is_told_from_rubbish() {
    let next = candid::encode_args((2u16, "whatever that will be")).unwrap();
    assert_eq!(LegacyUploadSession::decode(&next), Err(DecodeError::Version(2)));
    assert!(matches!(LegacyUploadSession::decode(b"rubbish"), Err(DecodeError::Bytes(_))));
}

#[test]
fn a_record_that_contradicts_itself_is_refused_with_the_numbers() {
    let refused = |change: fn(&mut LegacyUploadSession), stored: &[u32]| {
        let mut legacy = sample();
        change(&mut legacy);
        convert(SessionId(sample().session_id), legacy, stored.iter().copied().collect(), None).unwrap_err()
    };
    let counts = Unconvertible::CountsDisagree { expected_chunks: 13, chunk_count: 12 };
    assert_eq!(refused(|legacy| legacy.chunk_count = 12, &[]), counts);
    let size = Unconvertible::SizeDisagrees {
        bytes: 21_827_484,
        chunk_size: 1_800_000,
        implied: 13,
        expected_chunks: 14,
    };
    let fourteen = |legacy: &mut LegacyUploadSession| {
        (legacy.expected_chunks, legacy.chunk_count) = (14, 14);
    };
    assert_eq!(refused(fourteen, &[]), size);
    assert_eq!(refused(|legacy| legacy.chunk_size = 0, &[]), Unconvertible::ChunkSize(0));
    assert_eq!(refused(|legacy| legacy.chunk_size = 1 << 32, &[]), Unconvertible::ChunkSize(1 << 32));
    assert_eq!(refused(|_| {}, &[0, 13]), Unconvertible::StrayChunk { idx: 13, chunks: 13 });
}

#[test]
fn without_a_noted_activity_the_beginning_counts() {
    let split = convert(SessionId(sample().session_id), sample(), ChunkSet::new(), None).unwrap();
    assert_eq!(split.session.session_meta.last_seen, Time::from_nanos(sample().created_at));
}

/// Layout 1 as its own layer writes it is layout 1 as this migration reads it.
#[cfg(feature = "compat")]
#[test]
fn the_compat_path_writes_what_this_migration_reads() {
    use crate::upload::tests::World;
    let mut world = World::compat();
    let id = world.begin(10, "a");
    let raw = world.storage.sessions.legacy.get_raw(&id).unwrap();
    let legacy = LegacyUploadSession::decode(&raw).unwrap();
    assert_eq!((legacy.session_id, legacy.idem.as_str()), (id, "a"));
    assert_eq!(legacy.encode(), raw, "to the byte");
}
