//! Compares arguments that are read without the library with those that the library decodes.

use candid::Principal;
use candid::utils::ArgumentEncoder;
use proptest::prelude::*;
use serde_bytes::{ByteBuf, Bytes};

use super::*;
use crate::api::{AssetMetadata, BlobRef, CapsuleAccess, HashAlgorithm, SmallFile, StorageBackend};
use crate::migrations::split_sessions::tests::asset;

/// Arguments of `uploads_begin`.
type Begin = (String, AssetMetadata, u32, String, Option<HashAlgorithm>);

/// Arguments of `memories_create`.
type Create = (
    String,
    Option<ByteBuf>,
    Option<BlobRef>,
    Option<StorageBackend>,
    Option<String>,
    Option<String>,
    Option<u64>,
    Option<ByteBuf>,
    AssetMetadata,
    String,
);

/// Returns whether the message is read without the library; if so, asserts that the library reads the same.
fn read_here<'a, T: Arguments<'a> + PartialEq + std::fmt::Debug>(message: &'a [u8]) -> bool {
    match read_values::<T>(&Header::of::<T>().unwrap().unwrap(), message) {
        None => false,
        read => {
            assert_eq!(read, decode_by_library(message).ok());
            true
        }
    }
}

fn metadata() -> impl Strategy<Value = AssetMetadata> {
    any::<u64>().prop_flat_map(asset).prop_map(Into::into)
}

fn hash() -> impl Strategy<Value = Option<HashAlgorithm>> {
    prop::option::of(prop_oneof![Just(HashAlgorithm::Sha256), Just(HashAlgorithm::Blake3)])
}

fn begin() -> impl Strategy<Value = Begin> {
    (".{0,20}", metadata(), any::<u32>(), ".{0,20}", hash())
}

fn encode(arguments: impl ArgumentEncoder) -> Vec<u8> {
    candid::encode_args(arguments).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_of_our_own_encoder_are_read_here(
        begin in begin(),
        (bytes, digest) in any::<(Vec<u8>, [u8; 32])>(),
        numbers in any::<(Option<u64>, Option<u32>)>(),
    ) {
        let (capsule_id, asset_metadata, _, idem, hash) = begin.clone();
        assert!(read_here::<Begin>(&encode(begin.clone())));
        let (first, second, third, fourth, _) = begin;
        assert!(read_here::<Begin>(&encode((first, second, third, fourth))), "an option may be left out");
        let file = SmallFile {
            capsule_id: capsule_id.clone(),
            asset_metadata: asset_metadata.clone(),
            idem: idem.clone(),
            bytes: Bytes::new(&bytes),
            digest: ByteBuf::from(digest),
            hash,
        };
        assert!(read_here::<(SmallFile<'_>,)>(&encode((&file,))));
        assert!(read_here::<(Vec<SmallFile<'_>>,)>(&encode((vec![&file, &file],))));
        let create: Create = (
            capsule_id,
            Some(ByteBuf::from(bytes)),
            Some(BlobRef { locator: idem.clone(), len: 5, hash: Some(ByteBuf::from(digest)), blake3: None }),
            Some(StorageBackend::S3),
            None,
            Some(idem.clone()),
            numbers.0,
            None,
            asset_metadata,
            idem,
        );
        assert!(read_here::<Create>(&encode(create)));
        assert!(read_here::<(Option<u64>, Option<u32>)>(&encode(numbers)));
    }

    /// Other encoders write the entries of the table in other orders.
    #[test]
    fn the_order_of_the_types_does_not_matter(
        begin in begin(),
        order in Just((0..256).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let message = encode(begin);
        let table = TypeTable::parse(&message).unwrap();
        let order: Vec<usize> = order.into_iter().filter(|place| *place < table.entry_count()).collect();
        let shuffled = [&table.written_in_order(&order), &message[table.len()..]].concat();
        assert!(read_here::<Begin>(&shuffled));
    }

    /// Messages with some bytes changed, removed or added: if one is read here, the library reads the same arguments.
    #[test]
    fn damaged_messages_get_the_librarys_answer(
        begin in begin(),
        (in_head, without_the_last) in any::<(bool, bool)>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        tail in prop::collection::vec(any::<u8>(), 0..2),
    ) {
        let mut message = if without_the_last {
            let (first, second, third, fourth, _) = begin;
            encode((first, second, third, fourth))
        } else {
            encode(begin)
        };
        let header = TypeTable::parse(&message).unwrap().len();
        for (at, byte) in changes {
            let at = if in_head { at.index(header) } else { header + at.index(message.len() - header) };
            message[at] = byte;
        }
        if let Some(cut) = cut {
            message.truncate(cut.index(message.len()));
        }
        message.extend(tail);
        read_here::<Begin>(&message);
    }
}

#[test]
fn messages_of_older_and_newer_clients_are_left_to_the_library() {
    #[derive(CandidType, Deserialize, PartialEq, Debug)]
    struct Settings {
        limit: u64,
        added: Option<u64>,
    }
    #[derive(CandidType)]
    struct Older {
        limit: u64,
    }
    #[derive(CandidType)]
    struct Newer {
        limit: u64,
        added: Option<u64>,
        added_later: u8,
    }
    for message in [encode((Older { limit: 5 },)), encode((Newer { limit: 5, added: None, added_later: 1 },))]
    {
        assert!(!read_here::<(Settings,)>(&message));
        assert_eq!(decode_by_library::<(Settings,)>(&message).unwrap().0, Settings { limit: 5, added: None });
    }
    assert!(read_here::<(Settings,)>(&encode((Settings { limit: 5, added: Some(6) },))));
    assert!(!read_here::<(u64,)>(&encode((1_u32,))));
    assert!(!read_here::<(u64, u64)>(&encode((1_u64,))));
    assert!(!read_here::<(u64,)>(&encode((1_u64, None::<u64>))));
}

#[test]
fn principals_are_left_to_the_library() {
    let message =
        encode((CapsuleAccess { owners: vec![Principal::anonymous()], writers: vec![], readers: vec![] },));
    assert!(TypeTable::parse(&message).is_none());
    cache_candid_header::<(CapsuleAccess,)>("principals").unwrap();
    assert!(HEADERS.with_borrow(|headers| !headers.contains_key("principals")));
    assert!(decode::<(CapsuleAccess,)>("principals", &message).is_ok());
}

#[test]
fn an_empty_message_has_no_arguments() {
    // First without a cached header, then with one.
    for _ in 0..2 {
        assert_eq!(decode::<(Option<u64>, Option<u32>)>("options", b""), Ok((None, None)));
        let error = decode::<(u64, Option<u32>)>("number", b"").unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { field, .. } if field == "arguments"));
        cache_candid_header::<(Option<u64>, Option<u32>)>("options").unwrap();
        cache_candid_header::<(u64, Option<u32>)>("number").unwrap();
    }
}

/// The first pass has no cached header, so the library decodes everything; the second has one.
#[test]
fn a_cached_header_changes_no_answer() {
    let good = encode((7_u64, Some(8_u32)));
    let bad = [good.as_slice(), b"x"].concat();
    for _ in 0..2 {
        assert_eq!(decode::<(u64, Option<u32>)>("function", &good), Ok((7, Some(8))));
        let error = decode::<(u64, Option<u32>)>("function", &bad).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { field, .. } if field == "arguments"));
        cache_candid_header::<(u64, Option<u32>)>("function").unwrap();
    }
}
