//! Access tokens: who gets one, what it opens and for how long; expired, forged and damaged ones; replaced keys.

use proptest::prelude::*;

use super::*;
use crate::api::CapsuleAccess;
use crate::memories;
use crate::stable::RawMemory;
use crate::stable::{Memories, Register, memory_ids};
use crate::upload::tests::{OWNER, TestCanister, canisters, file, on_every_path, person};

const READER: u8 = 3;

/// Stores a key, and two files that [`READER`] may read; returns the locators of the files.
fn store_key_and_files(canister: &mut TestCanister) -> [String; 2] {
    set_readers(canister, vec![person(READER)]);
    canister.storage.access_keys.renew([7; 32], canister.now);
    [5, 6].map(|len| {
        let session = canister.begin(len, &format!("{len}"));
        let file = file(len);
        canister.put(session, &file, 0).unwrap();
        canister.finish(session, &file).unwrap().blob_id
    })
}

fn set_readers(canister: &mut TestCanister, readers: Vec<Principal>) {
    let access = CapsuleAccess { owners: vec![person(OWNER)], writers: vec![], readers };
    let capsule = canister.capsule.clone();
    canister.storage.capsules.set_access(person(OWNER), &capsule, access).unwrap();
}

fn issue_token(canister: &TestCanister, who: u8, locator: &str, seconds: Option<u32>) -> Result<String> {
    issue(&canister.storage, person(who), locator, seconds, canister.now).map(|issued| issued.token)
}

/// Returns whether a token lets its bearer read a blob.
fn opens(canister: &TestCanister, locator: &str, token: &str) -> bool {
    let id = BlobId::from_locator(locator).unwrap();
    find_grant(&canister.storage, id, Some(token), canister.now) == Some(Grant::Token)
}

#[test]
fn a_reader_gets_a_token_and_a_stranger_none() {
    on_every_path(|mut canister| {
        let [a, b] = store_key_and_files(&mut canister);
        for who in [OWNER, READER] {
            let token = issue_token(&canister, who, &a, None).unwrap();
            assert!(opens(&canister, &a, &token));
            assert!(!opens(&canister, &b, &token), "the token is for another blob");
        }
        let stranger = issue_token(&canister, 4, &a, None);
        assert_eq!(stranger, Err(Error::not_found("blob", &a)));
        assert_eq!(issue_token(&canister, READER, "blob_0", None), Err(Error::not_found("blob", "blob_0")));
        assert_eq!(
            find_grant(&canister.storage, BlobId::from_locator(&a).unwrap(), None, canister.now),
            None
        );
    });
}

#[test]
fn a_token_expires_after_the_requested_time() {
    let mut canister = canisters().remove(0);
    let [a, _] = store_key_and_files(&mut canister);
    let begun = canister.now;
    for (asked, seconds) in [(None, 300), (Some(1), 1), (Some(3_600), 3_600)] {
        canister.now = begun;
        let issued = issue(&canister.storage, person(READER), &a, asked, begun).unwrap();
        assert_eq!(issued.expires_at, begun.plus_seconds(seconds).as_nanos());
        assert_eq!(issued.path, format!("/blob/{a}?token={}", issued.token));
        canister.now = Time::from_nanos(issued.expires_at - 1);
        assert!(opens(&canister, &a, &issued.token));
        canister.now = Time::from_nanos(issued.expires_at);
        assert!(!opens(&canister, &a, &issued.token), "the token is invalid after {seconds} s");
    }
    for seconds in [0, 3_601, u32::MAX] {
        let refused = issue_token(&canister, READER, &a, Some(seconds));
        assert_eq!(refused, Err(Error::invalid("seconds", "1 to 3600", seconds)));
    }
}

#[test]
fn a_token_is_valid_only_while_its_reader_has_access() {
    on_every_path(|mut canister| {
        let [a, b] = store_key_and_files(&mut canister);
        let [token_a, token_b] =
            [&a, &b].map(|locator| issue_token(&canister, READER, locator, None).unwrap());
        let by_owner = issue_token(&canister, OWNER, &a, None).unwrap();
        set_readers(&mut canister, vec![]);
        assert!(!opens(&canister, &a, &token_a) && opens(&canister, &a, &by_owner));
        set_readers(&mut canister, vec![person(READER)]);
        assert!(opens(&canister, &a, &token_a), "the token is valid again when its reader has access again");
        let blob = BlobId::from_locator(&b).unwrap();
        memories::delete_blob(&mut canister.storage, person(OWNER), blob).unwrap();
        assert!(!opens(&canister, &b, &token_b));
        let capsule = canister.capsule.clone();
        canister.storage.capsules.delete(person(OWNER), &capsule).unwrap();
        assert!(!opens(&canister, &a, &by_owner));
    });
}

/// Nor removed or added; and another canister does not accept the token.
#[test]
fn no_byte_of_a_token_can_be_changed() {
    let mut canister = canisters().remove(0);
    let [a, _] = store_key_and_files(&mut canister);
    let good = hex::decode(issue_token(&canister, READER, &a, None).unwrap()).unwrap();
    assert!(opens(&canister, &a, &hex::encode(&good)));
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut forged = good.clone();
            forged[at] ^= 1 << bit;
            assert!(!opens(&canister, &a, &hex::encode(forged)), "bit {bit} of byte {at}");
        }
        assert!(!opens(&canister, &a, &hex::encode(&good[..at])), "a token truncated to {at} bytes");
    }
    let longer = [good.as_slice(), &[0]].concat();
    assert!(!opens(&canister, &a, &hex::encode(longer)));
    let mut other = TestCanister { raw: RawMemory::default(), ..canisters().remove(0) };
    let same = store_key_and_files(&mut other);
    // Twice, since a token of the previous key would still be valid.
    other.storage.access_keys.renew([8; 32], other.now);
    other.storage.access_keys.renew([9; 32], other.now);
    assert!(!opens(&other, &same[0], &hex::encode(&good)), "another canister has other keys");
}

#[test]
fn tokens_stay_valid_for_one_new_key_but_not_for_two() {
    let mut canister = canisters().remove(0);
    let [a, _] = store_key_and_files(&mut canister);
    let old = issue_token(&canister, READER, &a, None).unwrap();
    assert!(!canister.storage.access_keys.needs_renewal(canister.now));
    assert!(canister.storage.access_keys.needs_renewal(canister.now.plus_seconds(keys::KEY_SECONDS)));
    canister.storage.access_keys.renew([8; 32], canister.now);
    canister.upgrade();
    let new = issue_token(&canister, READER, &a, None).unwrap();
    assert!(old != new && opens(&canister, &a, &old) && opens(&canister, &a, &new));
    canister.storage.access_keys.renew([9; 32], canister.now);
    assert!(!opens(&canister, &a, &old) && opens(&canister, &a, &new));
}

#[test]
fn no_token_is_valid_without_a_key_or_with_a_damaged_one() {
    let mut canister = canisters().remove(0);
    let [a, _] = store_key_and_files(&mut canister);
    let good = issue_token(&canister, READER, &a, None).unwrap();
    let memory = Memories::init(canister.raw.clone()).get(memory_ids::ACCESS_KEYS);
    Register::over(memory).set(&crate::upload::RawRecord(vec![9]));
    canister.upgrade();
    assert!(canister.storage.access_keys.needs_renewal(canister.now) && !opens(&canister, &a, &good));
    assert!(matches!(issue_token(&canister, READER, &a, None), Err(Error::Internal(_))));
    canister.storage.access_keys.renew([8; 32], canister.now);
    assert!(issue_token(&canister, READER, &a, None).is_ok());

    let mut canister = canisters().remove(0);
    canister.storage.access_keys = AccessKeys::open(&Memories::init(RawMemory::default()));
    let session = canister.begin(5, "5");
    canister.put(session, &file(5), 0).unwrap();
    let locator = canister.finish(session, &file(5)).unwrap().blob_id;
    assert!(canister.storage.access_keys.needs_renewal(canister.now));
    let refused = issue_token(&canister, OWNER, &locator, None).unwrap_err();
    assert!(matches!(refused, Error::Conflict { .. }), "{refused}");
    assert!(!opens(&canister, &locator, &good));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn no_forged_token_opens_anything(text in "[0-9a-f]{0,160}|.{0,160}") {
        thread_local! {
            static CANISTER: (TestCanister, String) = {
                let mut canister = canisters().remove(0);
                let [a, _] = store_key_and_files(&mut canister);
                (canister, a)
            };
        }
        CANISTER.with(|(canister, a)| {
            // All tokens begin with the version, 01.
            for text in [&text, &format!("01{text}")] {
                prop_assert!(!opens(canister, a, text), "{}", text);
            }
            Ok(())
        })?;
    }
}
