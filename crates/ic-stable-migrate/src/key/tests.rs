use super::*;

fn stored_as<K: Key + PartialEq>(key: K, bytes: &[u8]) {
    assert_eq!(key.to_bytes().as_ref(), bytes);
    assert_eq!(K::from_stored(bytes), Ok(key));
}

#[test]
fn keys_decode_from_their_stored_bytes() {
    stored_as(7_u64, &[0, 0, 0, 0, 0, 0, 0, 7]);
    stored_as(7_u32, &[0, 0, 0, 7]);
    stored_as(7_u16, &[0, 7]);
    stored_as(Principal::anonymous(), &[4]);
    stored_as("ab".to_owned(), b"ab");
    stored_as(vec![1, 2], &[1, 2]);
}

#[test]
fn damaged_keys_are_errors() {
    assert_eq!(u64::from_stored(&[1]), Err("a key of 1 bytes, expected 8".into()));
    assert!(String::from_stored(&[0xff]).unwrap_err().contains("utf-8"));
    Principal::from_stored(&[0; 30]).unwrap_err();
}

/// The upload canister has stored them as tuples of the library.
#[test]
fn numbered_u64_keys_are_stored_as_tuples_are() {
    let tuple = (2_u16, 300_u64);
    let key = Numbered { migration: 2, key: Stored::of(&300_u64) };
    assert_eq!(key.to_bytes(), tuple.to_bytes());
    assert_eq!(Numbered::<u64>::from_bytes(tuple.to_bytes()), key);
    assert_eq!(format!("{key:?}"), format!("{tuple:?}"));
    assert_eq!(format!("{:?}", Numbered::<u64>::BOUND), format!("{:?}", <(u16, u64)>::BOUND));
    assert_eq!(format!("{:?}", Stored::<u64>::BOUND), format!("{:?}", u64::BOUND));
}

#[test]
fn numbers_are_cbor_numbers_and_others_byte_strings() {
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
    assert!(wrong.to_string().contains("65536 is no key of this kind"), "{wrong}");
    minicbor::decode::<Holder<u64>>(&[0x82, 0x41, b'a', 0xf5]).unwrap_err();
}
