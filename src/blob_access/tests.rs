//! Tests of tokens: each is for one blob, one reader and a time, and is valid as long as that reader may
//! read.

use proptest::prelude::*;

use super::*;
use crate::api::CapsuleAccess;
use crate::memories;
use crate::stable::RawMemory;
use crate::upload::tests::{OWNER, TestCanister, file, on_every_path, person, worlds};

const READER: u8 = 3;

/// Stores two files, with a reader and a key; returns the locators of the files.
fn with_reader(world: &mut TestCanister) -> [String; 2] {
    set_readers(world, vec![person(READER)]);
    world.storage.access_keys.renew([7; 32], world.now);
    [5, 6].map(|len| {
        let session = world.begin(len, &format!("{len}"));
        let file = file(len);
        world.put(session, &file, 0).unwrap();
        world.finish(session, &file).unwrap().blob_id
    })
}

fn set_readers(world: &mut TestCanister, readers: Vec<Principal>) {
    let access = CapsuleAccess { owners: vec![person(OWNER)], writers: vec![], readers };
    let capsule = world.capsule.clone();
    world.storage.capsules.set_access(person(OWNER), &capsule, access).unwrap();
}

fn token(world: &TestCanister, who: u8, locator: &str, seconds: Option<u32>) -> Result<String> {
    issue(&world.storage, person(who), locator, seconds, world.now).map(|issued| issued.token)
}

fn opens(world: &TestCanister, locator: &str, token: &str) -> bool {
    let id = BlobId::from_locator(locator).unwrap();
    granted(&world.storage, id, Some(token), world.now) == Some(Grant::Token)
}

#[test]
fn a_reader_gets_a_token_and_a_stranger_none() {
    on_every_path(|mut world| {
        let [a, b] = with_reader(&mut world);
        for who in [OWNER, READER] {
            let token = token(&world, who, &a, None).unwrap();
            assert!(opens(&world, &a, &token));
            assert!(!opens(&world, &b, &token), "it is for one blob");
        }
        let stranger = token(&world, 4, &a, None);
        assert_eq!(stranger, Err(Error::not_found("blob", &a)));
        assert_eq!(token(&world, READER, "blob_0", None), Err(Error::not_found("blob", "blob_0")));
        assert_eq!(granted(&world.storage, BlobId::from_locator(&a).unwrap(), None, world.now), None);
    });
}

#[test]
fn a_token_expires_after_the_time_it_was_asked_for() {
    let mut world = worlds().remove(0);
    let [a, _] = with_reader(&mut world);
    let begun = world.now;
    for (asked, seconds) in [(None, 300), (Some(1), 1), (Some(3_600), 3_600)] {
        world.now = begun;
        let issued = issue(&world.storage, person(READER), &a, asked, begun).unwrap();
        assert_eq!(issued.expires_at, begun.plus_seconds(seconds).as_nanos());
        assert_eq!(issued.path, format!("/blob/{a}?token={}", issued.token));
        world.now = Time::from_nanos(issued.expires_at - 1);
        assert!(opens(&world, &a, &issued.token));
        world.now = Time::from_nanos(issued.expires_at);
        assert!(!opens(&world, &a, &issued.token), "after {seconds} s");
    }
    for seconds in [0, 3_601, u32::MAX] {
        let refused = token(&world, READER, &a, Some(seconds));
        assert_eq!(refused, Err(Error::invalid("seconds", "1 to 3600", seconds)));
    }
}

#[test]
fn a_token_ends_with_the_readers_access() {
    on_every_path(|mut world| {
        let [a, b] = with_reader(&mut world);
        let [of_a, of_b] = [&a, &b].map(|locator| token(&world, READER, locator, None).unwrap());
        let by_owner = token(&world, OWNER, &a, None).unwrap();
        set_readers(&mut world, vec![]);
        assert!(!opens(&world, &a, &of_a) && opens(&world, &a, &by_owner));
        set_readers(&mut world, vec![person(READER)]);
        assert!(opens(&world, &a, &of_a), "and begins with it again");
        let blob = BlobId::from_locator(&b).unwrap();
        memories::delete_blob(&mut world.storage, person(OWNER), blob).unwrap();
        assert!(!opens(&world, &b, &of_b));
        let capsule = world.capsule.clone();
        world.storage.capsules.delete(person(OWNER), &capsule).unwrap();
        assert!(!opens(&world, &a, &by_owner));
    });
}

#[test]
fn no_byte_of_a_token_can_be_changed() {
    let mut world = worlds().remove(0);
    let [a, _] = with_reader(&mut world);
    let good = hex::decode(token(&world, READER, &a, None).unwrap()).unwrap();
    assert!(opens(&world, &a, &hex::encode(&good)));
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut forged = good.clone();
            forged[at] ^= 1 << bit;
            assert!(!opens(&world, &a, &hex::encode(forged)), "bit {bit} of byte {at}");
        }
        assert!(!opens(&world, &a, &hex::encode(&good[..at])), "cut after {at}");
    }
    let longer = [good.as_slice(), &[0]].concat();
    assert!(!opens(&world, &a, &hex::encode(longer)));
    let mut other = TestCanister { raw: RawMemory::default(), ..worlds().remove(0) };
    let same = with_reader(&mut other);
    other.storage.access_keys.renew([8; 32], other.now);
    other.storage.access_keys.renew([9; 32], other.now);
    assert!(!opens(&other, &same[0], &hex::encode(&good)), "another canister has other keys");
}

#[test]
fn tokens_outlive_a_new_key_and_not_a_second_one() {
    let mut world = worlds().remove(0);
    let [a, _] = with_reader(&mut world);
    let old = token(&world, READER, &a, None).unwrap();
    assert!(!world.storage.access_keys.is_due(world.now));
    assert!(world.storage.access_keys.is_due(world.now.plus_seconds(KEY_SECONDS)));
    world.storage.access_keys.renew([8; 32], world.now);
    world.upgrade();
    let new = token(&world, READER, &a, None).unwrap();
    assert!(old != new && opens(&world, &a, &old) && opens(&world, &a, &new));
    world.storage.access_keys.renew([9; 32], world.now);
    assert!(!opens(&world, &a, &old) && opens(&world, &a, &new));
}

#[test]
fn without_a_key_or_with_a_damaged_one_nothing_opens() {
    let mut world = worlds().remove(0);
    let [a, _] = with_reader(&mut world);
    let good = token(&world, READER, &a, None).unwrap();
    let memory = Memories::init(world.raw.clone()).get(memory_ids::ACCESS_KEYS);
    Register::over(memory).set(&crate::upload::RawRecord(vec![9]));
    world.upgrade();
    assert!(world.storage.access_keys.is_due(world.now) && !opens(&world, &a, &good));
    assert!(matches!(token(&world, READER, &a, None), Err(Error::Internal(_))));
    world.storage.access_keys.renew([8; 32], world.now);
    assert!(token(&world, READER, &a, None).is_ok());

    let mut world = worlds().remove(0);
    world.storage.access_keys = AccessKeys::open(&Memories::init(RawMemory::default()));
    let session = world.begin(5, "5");
    world.put(session, &file(5), 0).unwrap();
    let locator = world.finish(session, &file(5)).unwrap().blob_id;
    assert!(world.storage.access_keys.is_due(world.now));
    let refused = token(&world, OWNER, &locator, None).unwrap_err();
    assert!(matches!(refused, Error::Conflict { .. }), "{refused}");
    assert!(!opens(&world, &locator, &good));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn no_forged_token_opens_anything(text in "[0-9a-f]{0,160}|.{0,160}") {
        thread_local! {
            static WORLD: (TestCanister, String) = {
                let mut world = worlds().remove(0);
                let [a, _] = with_reader(&mut world);
                (world, a)
            };
        }
        WORLD.with(|(world, a)| {
            for text in [&text, &format!("01{text}")] {
                prop_assert!(!opens(world, a, text), "{}", text);
            }
            Ok(())
        })?;
    }
}
