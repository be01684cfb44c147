//! Who may make capsules, by each of the settings.

use super::*;
use crate::config::Config;
use crate::upload::tests::{TestCanister, person};

fn world(makers: CapsuleMakers) -> TestCanister {
    let mut world = TestCanister::direct();
    let config = crate::api::AdminConfig { capsule_makers: Some(makers), ..world.storage.config().unwrap() };
    world.storage.settings.set(&Config::checked(config).unwrap());
    world
}

fn may(world: &mut TestCanister, who: u8) -> bool {
    match create_capsule(&mut world.storage, person(who), None, world.now) {
        Ok(_) => true,
        Err(Error::Unauthorized { caller, .. }) if caller == person(who) => false,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn anyone_makes_capsules_unless_a_controller_says_otherwise() {
    let mut world = TestCanister::direct();
    assert!(may(&mut world, 1) && may(&mut world, 2));
}

#[test]
fn those_on_the_list_make_capsules_and_others_do_not() {
    let mut world = world(CapsuleMakers::Listed);
    assert!(!may(&mut world, 1), "nobody is listed");
    world.storage.capsule_makers.set(vec![person(1), person(3), person(1)]).unwrap();
    world.upgrade();
    assert_eq!([1, 2, 3].map(|who| may(&mut world, who)), [true, false, true]);
    assert_eq!(world.storage.capsule_makers.get().unwrap().len(), 2);
    let many = (0..=MAX_CAPSULE_MAKERS).map(|n| Principal::self_authenticating(n.to_be_bytes()));
    let refused = world.storage.capsule_makers.set(many.collect()).unwrap_err();
    assert_eq!(refused, Error::invalid("principals", "at most 1000 principals", 1_001));
    assert!(may(&mut world, 1), "a refused list changes nothing");
}

#[test]
fn nobody_can_create_capsules_and_existing_ones_still_work() {
    let mut world = world(CapsuleMakers::Nobody);
    assert!(!may(&mut world, 1));
    world.begin(1, "a");
}
