//! Conversion and rollback of random records, the decoders of stored bytes, the records that are refused, and the
//! golden record. In names of tests, `old` is the record of layout 1, and `new` those of layout 2.

mod classes;
mod records;
mod targets;

pub use records::asset;

use candid::Principal;
use proptest::prelude::*;
use serde_bytes::ByteBuf;

use records::record;

use super::asset::*;
use super::wire::{HEADER, Listed};
use super::*;
use crate::session::{ChunkSet, SessionId, Time};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn old_to_new_to_old_is_the_identity((legacy, stored, last_seen) in record()) {
        let split = convert(SessionId(legacy.session_id), legacy.clone(), stored.clone(), last_seen).unwrap();
        prop_assert_eq!(&split.session.received_idxs, &stored, "exactly the stored chunks have been received");
        prop_assert_eq!(split.session.bytes_received, split.session.bytes_of_received());
        let back = revert(SessionId(legacy.session_id), split).unwrap();
        prop_assert_eq!(back.encode(), legacy.encode());
        prop_assert_eq!(LegacyUploadSession::decode(&back.encode()), Ok(legacy));
    }

    #[test]
    fn new_to_old_to_new_is_the_identity((legacy, stored, last_seen) in record()) {
        let id = SessionId(legacy.session_id);
        let split = convert(id, legacy, stored.clone(), last_seen).unwrap();
        // The last activity is stored separately from the record and passed to the conversion.
        let seen = Some(split.session.session_meta.last_seen);
        let again = convert(id, revert(id, split.clone()).unwrap(), stored, seen).unwrap();
        prop_assert_eq!(again, split);
    }

    /// The damage is truncation at any byte.
    #[test]
    fn damaged_bytes_are_an_error((legacy, ..) in record(), cut in any::<prop::sample::Index>()) {
        let bytes = legacy.encode();
        prop_assert!(LegacyUploadSession::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }
}

proptest! {
    /// The reader in `wire.rs` and the library agree on every record, also if one bit after the header is changed.
    #[test]
    fn the_fast_reader_agrees_with_the_library((legacy, ..) in record(), place in any::<prop::sample::Index>(), bit in 0u8..8) {
        let bytes = legacy.encode();
        prop_assert_eq!(&bytes, &crate::stable::codec::encode_candid(1, &legacy));
        prop_assert_eq!(LegacyUploadSession::decode_by_library(&bytes), Ok(legacy.clone()));
        prop_assert_eq!(LegacyUploadSession::read_after_header(&bytes), Some(legacy.clone()));
        let digest = LegacyUploadSession::digest_of_stored(&bytes);
        prop_assert_eq!(legacy.digest_if_decoded_from(&bytes), Some(digest));
        let mut changed = bytes.clone();
        let place = HEADER.len() + place.index(bytes.len() - HEADER.len());
        changed[place] ^= 1 << bit;
        // Compared as text, since a changed float may be a NaN, which is not equal to itself.
        let to_text = |decoded| format!("{decoded:?}");
        let by_library = LegacyUploadSession::decode_by_library(&changed);
        prop_assert_eq!(to_text(LegacyUploadSession::decode(&changed)), to_text(by_library));
        prop_assert_ne!(LegacyUploadSession::digest_of_stored(&changed), digest, "byte {}", place);
        prop_assert_eq!(legacy.digest_if_decoded_from(&changed), None, "byte {}", place);
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

/// The bytes of [`sample`] as layout 1 stores them. Never generate them again.
const GOLDEN: &[u8] = include_bytes!("golden/upload_session_meta.bin");

#[test]
fn the_golden_record_decodes_and_encodes_to_the_byte() {
    let bytes = sample().encode();
    assert!(bytes == GOLDEN, "the sample is encoded as {bytes:02x?}");
    assert_eq!(LegacyUploadSession::decode(GOLDEN), Ok(sample()));
}

#[test]
fn fields_and_cases_are_listed_by_hash() {
    fn assert_sorted<T: Listed>() {
        let hashes: Vec<u32> = T::NAMES.iter().map(|name| candid::idl_hash(name)).collect();
        assert!(hashes.is_sorted(), "{:?}", T::NAMES);
    }
    assert_sorted::<LegacyUploadSession>();
    assert_sorted::<LegacyAssetMetadata>();
    assert_sorted::<LegacyImage>();
    assert_sorted::<LegacyVideo>();
    assert_sorted::<LegacyAudio>();
    assert_sorted::<LegacyDocument>();
    assert_sorted::<LegacyNote>();
    assert_sorted::<LegacyBase>();
    assert_sorted::<LegacyAssetType>();
    assert_sorted::<LegacyProcessingStatus>();
}

#[test]
fn a_record_of_another_encoder_matches_its_stored_bytes() {
    // The sample with another type table, as another encoder may write it, and followed by a third value.
    let legacy = sample();
    let other = candid::encode_args((1u16, legacy.clone(), Some(7u64))).unwrap();
    assert!(!other.starts_with(HEADER));
    let values = candid::IDLArgs::from_bytes(&other).unwrap();
    assert_eq!(values.args.len(), 3);
    assert_eq!(LegacyUploadSession::decode(&other), Ok(legacy.clone()), "a third value is ignored");
    let digest = LegacyUploadSession::digest_of_stored(&other);
    assert_eq!(legacy.digest_if_decoded_from(&other), Some(digest));
    let changed = LegacyUploadSession { created_at: legacy.created_at + 1, ..legacy };
    assert_eq!(changed.digest_if_decoded_from(&other), None);
}

#[test]
fn a_record_of_another_version_is_distinguished_from_garbage() {
    let next = candid::encode_args((2u16, "whatever that version will be")).unwrap();
    assert_eq!(LegacyUploadSession::decode(&next), Err(DecodeError::Version(2)));
    assert!(matches!(LegacyUploadSession::decode(b"rubbish"), Err(DecodeError::Bytes(_))));
}

#[test]
fn a_record_that_contradicts_itself_is_refused_with_the_numbers() {
    let refusal_after = |change: fn(&mut LegacyUploadSession), stored: &[u32]| {
        let mut legacy = sample();
        change(&mut legacy);
        convert(SessionId(sample().session_id), legacy, stored.iter().copied().collect(), None).unwrap_err()
    };
    let counts = Unconvertible::CountsDisagree { expected_chunks: 13, chunk_count: 12 };
    assert_eq!(refusal_after(|legacy| legacy.chunk_count = 12, &[]), counts);
    let size = Unconvertible::SizeDisagrees {
        bytes: 21_827_484,
        chunk_size: 1_800_000,
        implied: 13,
        expected_chunks: 14,
    };
    let fourteen = |legacy: &mut LegacyUploadSession| {
        (legacy.expected_chunks, legacy.chunk_count) = (14, 14);
    };
    assert_eq!(refusal_after(fourteen, &[]), size);
    assert_eq!(refusal_after(|legacy| legacy.chunk_size = 0, &[]), Unconvertible::ChunkSize(0));
    assert_eq!(refusal_after(|legacy| legacy.chunk_size = 1 << 32, &[]), Unconvertible::ChunkSize(1 << 32));
    assert_eq!(refusal_after(|_| {}, &[0, 13]), Unconvertible::ExtraChunks { idx: 13, chunks: 13 });
}

#[test]
fn without_recorded_activity_the_beginning_counts() {
    let split = convert(SessionId(sample().session_id), sample(), ChunkSet::new(), None).unwrap();
    assert_eq!(split.session.session_meta.last_seen, Time::from_nanos(sample().created_at));
}

#[cfg(feature = "compat")]
#[test]
fn the_compat_path_writes_what_this_migration_reads() {
    use crate::upload::tests::TestCanister;
    let mut canister = TestCanister::compat();
    let id = canister.begin(10, "a");
    let raw = canister.storage.sessions.legacy.get_raw(&id).unwrap();
    let legacy = LegacyUploadSession::decode(&raw).unwrap();
    assert_eq!((legacy.session_id, legacy.idem.as_str()), (id, "a"));
    assert_eq!(legacy.encode(), raw, "the record is encoded to the bytes that the compat path wrote");
}
