//! Keys of units: their stored bytes, damaged ones included.

use super::*;

/// Checks that a key is stored as these bytes, and decodes from them.
fn assert_stored_as<K: Key + PartialEq>(key: K, bytes: &[u8]) {
    assert_eq!(key.to_bytes().as_ref(), bytes);
    assert_eq!(K::from_stored(bytes), Ok(key));
}

#[test]
fn keys_decode_from_their_stored_bytes() {
    assert_stored_as(7_u64, &[0, 0, 0, 0, 0, 0, 0, 7]);
    assert_stored_as(7_u32, &[0, 0, 0, 7]);
    assert_stored_as(7_u16, &[0, 7]);
    assert_stored_as(Principal::anonymous(), &[4]);
    assert_stored_as("ab".to_owned(), b"ab");
    assert_stored_as(vec![1, 2], &[1, 2]);
    assert_stored_as(7_u8, &[7]);
    assert_stored_as(7_u128, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    assert_stored_as([1, 2, 3], &[1, 2, 3]);
    assert_stored_as(Blob::<4>::try_from([1, 2].as_slice()).unwrap(), &[1, 2]);
    assert_stored_as((7_u16, 8_u8), &[0, 7, 8]);
    assert_stored_as((Blob::<3>::try_from([9].as_slice()).unwrap(), 7_u16), &[9, 0, 0, 0, 7, 1]);
    assert_stored_as((7_u8, 8_u8, "ab".to_owned()), &[7, 8, b'a', b'b']);
    assert_stored_as(("ab".to_owned(), 8_u8, vec![9]), &[0, 2, b'a', b'b', 8, 9]);
}

/// Changes the length or one byte of the key's stored bytes. Checks that the result is either refused, or read as a key
/// whose stored bytes are exactly the result.
fn assert_damage_read_or_refused<K: Key>(key: K) {
    let stored = key.to_bytes().into_owned();
    assert_eq!(K::from_stored(&stored).as_ref(), Ok(&key));
    let shorter = (0..stored.len()).map(|len| stored[..len].to_vec());
    let longer = [0, 0xff].map(|byte| [stored.as_slice(), &[byte]].concat());
    let changed = (0..stored.len()).flat_map(|place| {
        let stored = &stored;
        (0..=0xff).map(move |byte| {
            let mut changed = stored.clone();
            changed[place] = byte;
            changed
        })
    });
    for bytes in shorter.chain(longer).chain(changed) {
        if let Ok(read) = K::from_stored(&bytes) {
            assert_eq!(read.to_bytes().as_ref(), bytes, "{read:?}");
        }
    }
}

#[test]
fn pairs_and_triples_with_damage_are_read_or_refused() {
    let (owner, text) = (Principal::management_canister(), "a".repeat(300));
    assert_damage_read_or_refused((Principal::anonymous(), 7_u64));
    assert_damage_read_or_refused((7_u64, owner));
    assert_damage_read_or_refused(((owner, 7_u8), [1_u8; 3]));
    assert_damage_read_or_refused((Blob::<300>::try_from([5; 260].as_slice()).unwrap(), 7_u8));
    let long = (Blob::<70_000>::try_from([5; 260].as_slice()).unwrap(), 7_u8);
    assert_eq!(Key::from_stored(&long.to_bytes()), Ok(long));
    assert_damage_read_or_refused((Principal::anonymous(), text.clone(), 7_u32));
    assert_damage_read_or_refused((7_u8, 8_u16, text));
    assert_eq!(
        <(u8, u8)>::from_stored(&[1, 2, 3]).unwrap_err(),
        "1 byte after the key",
        "bytes after the key are an error"
    );
    <(String, u8)>::from_stored(&[1]).unwrap_err();
}

#[test]
fn damaged_keys_are_errors() {
    assert_eq!(u64::from_stored(&[1]), Err("a key of 1 byte, expected 8".into()));
    assert!(String::from_stored(&[0xff]).unwrap_err().contains("utf-8"));
    Principal::from_stored(&[0; 30]).unwrap_err();
}

/// The upload canister has stored its numbered keys as tuples of `ic-stable-structures`, so the bytes must be the same.
#[test]
fn numbered_u64_keys_are_stored_as_tuples_are() {
    let tuple = (2_u16, 300_u64);
    let key = NumberedKey::new(2, StoredKey::of(&300_u64));
    assert_eq!(key.to_bytes(), tuple.to_bytes());
    assert_eq!(NumberedKey::<u64>::from_bytes(tuple.to_bytes()), key);
    assert_eq!(format!("{key:?}"), format!("{tuple:?}"));
    assert_eq!(format!("{:?}", NumberedKey::<u64>::BOUND), format!("{:?}", <(u16, u64)>::BOUND));
    assert_eq!(format!("{:?}", StoredKey::<u64>::BOUND), format!("{:?}", u64::BOUND));
}

#[test]
fn a_numbered_key_without_a_number_keeps_its_bytes() {
    for bytes in [&[][..], &[7]] {
        let key = NumberedKey::<Vec<u8>>::from_bytes(bytes.into());
        assert_eq!(key.to_bytes(), bytes);
        assert!(!key.is_of(0) && key.decode().is_err(), "{key:?}");
    }
    assert_eq!(NumberedKey::<Vec<u8>>::from_bytes([0, 0, 7].as_slice().into()).decode(), Ok(vec![7]));
}

#[test]
fn keys_up_to_64_bits_are_cbor_numbers_others_byte_strings() {
    #[derive(Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
    struct Holder<K: Key> {
        #[cbor(n(0), with = "crate::key::opt_cbor")]
        key: Option<K>,
        #[n(1)]
        last: bool,
    }
    let bytes = minicbor::to_vec(Holder { key: Some(300_u64), last: true }).unwrap();
    assert_eq!(bytes, [0x82, 0x19, 0x01, 0x2c, 0xf5]);
    let text = Holder { key: Some("a".to_owned()), last: true };
    let bytes = minicbor::to_vec(&text).unwrap();
    assert_eq!(bytes, [0x82, 0x41, b'a', 0xf5]);
    assert_eq!(minicbor::decode::<Holder<String>>(&bytes).unwrap(), text);
    let none: Holder<u64> = minicbor::decode(&[0x82, 0xf6, 0xf5]).unwrap();
    assert_eq!(none, Holder { key: None, last: true });
    let wrong = minicbor::decode::<Holder<u16>>(&[0x82, 0x1a, 0, 1, 0, 0, 0xf5]).unwrap_err();
    assert!(wrong.to_string().contains("65536 is not a key of this type"), "{wrong}");
    minicbor::decode::<Holder<u64>>(&[0x82, 0x41, b'a', 0xf5]).unwrap_err();
}
