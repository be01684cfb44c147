//! Who may create capsules under each of the settings.

use super::*;
use crate::config::Config;
use crate::upload::limits::MAX_CAPSULE_MAKERS;
use crate::upload::tests::{TestCanister, person};

fn canister(makers: CapsuleMakers) -> TestCanister {
    let mut canister = TestCanister::direct();
    let config =
        crate::api::AdminConfig { capsule_makers: Some(makers), ..canister.storage.config().unwrap() };
    canister.storage.settings.set(&Config::checked(config).unwrap());
    canister
}

/// Creates a capsule; returns `false` if the caller may not.
fn can_create(canister: &mut TestCanister, who: u8) -> bool {
    match create_capsule(&mut canister.storage, person(who), None, canister.now) {
        Ok(_) => true,
        Err(Error::Unauthorized { caller, .. }) if caller == person(who) => false,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn anyone_makes_capsules_unless_a_controller_says_otherwise() {
    let mut canister = TestCanister::direct();
    assert!(can_create(&mut canister, 1) && can_create(&mut canister, 2));
}

#[test]
fn those_on_the_list_make_capsules_and_others_do_not() {
    let mut canister = canister(CapsuleMakers::Listed);
    assert!(!can_create(&mut canister, 1), "nobody is listed");
    canister.storage.capsule_maker_list.set(vec![person(1), person(3), person(1)]).unwrap();
    canister.upgrade();
    assert_eq!([1, 2, 3].map(|who| can_create(&mut canister, who)), [true, false, true]);
    assert_eq!(canister.storage.capsule_maker_list.get().unwrap().len(), 2);
    let many = (0..=MAX_CAPSULE_MAKERS).map(|n| Principal::self_authenticating(n.to_be_bytes()));
    let refused = canister.storage.capsule_maker_list.set(many.collect()).unwrap_err();
    assert_eq!(refused, Error::invalid("principals", "at most 1000 principals", 1_001));
    assert!(can_create(&mut canister, 1), "a refused list changes nothing");
}

#[test]
fn nobody_can_create_capsules_and_existing_ones_still_work() {
    let mut canister = canister(CapsuleMakers::Nobody);
    assert!(!can_create(&mut canister, 1));
    canister.begin(1, "a");
}
