//! Who may make capsules: everybody, those on a list, or nobody, as a controller has set it.
//!
//! ```text
//! id 47   CBOR    the list; no memory is taken for it before one is set
//! ```

use candid::Principal;
use ic_stable_structures::Memory as _;
use minicbor::{Decode, Encode};

use crate::api::{Capsule, CapsuleMakers, Error, PersonRef, Result};
use crate::session::Time;
use crate::stable::{Memories, Memory, Record, Register, StableError, codec, memory_ids};
use crate::storage::Storage;
use crate::upload::limits::MAX_CAPSULE_MAKERS;

/// The list. It is read when a capsule is made and at no other time.
pub struct CapsuleMakerList {
    memory: Memory,
}

#[derive(Encode, Decode, Clone, Debug, Default, PartialEq, Eq)]
struct Listed {
    #[cbor(n(0), with = "codec::principals")]
    principals: Vec<Principal>,
}

const VERSION: u8 = 1;

impl Record for Listed {
    const NAME: &'static str = "list of those who may make capsules";

    fn encode(&self) -> Vec<u8> {
        codec::encode(VERSION, self)
    }

    fn decode(bytes: &[u8]) -> std::result::Result<Self, String> {
        codec::decode(VERSION, bytes)
    }
}

impl CapsuleMakerList {
    /// The list, wherever it is.
    pub fn open(memories: &Memories) -> Self {
        Self { memory: memories.get(memory_ids::CAPSULE_MAKERS) }
    }

    /// The principals on it.
    ///
    /// # Errors
    /// When the list does not decode.
    pub fn get(&self) -> std::result::Result<Vec<Principal>, StableError> {
        if self.memory.size() == 0 {
            return Ok(Vec::new());
        }
        let listed: Option<Listed> = Register::over(self.memory.clone()).get()?;
        Ok(listed.unwrap_or_default().principals)
    }

    /// Replaces the list.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for more than [`MAX_CAPSULE_MAKERS`].
    pub fn set(&mut self, mut principals: Vec<Principal>) -> Result<()> {
        principals.sort_unstable();
        principals.dedup();
        if principals.len() > MAX_CAPSULE_MAKERS {
            let expected = format!("at most {MAX_CAPSULE_MAKERS} principals");
            return Err(Error::invalid("principals", expected, principals.len()));
        }
        Register::over(self.memory.clone()).set(&Listed { principals });
        Ok(())
    }
}

/// Makes a capsule for a caller who may.
///
/// # Errors
/// [`Error::Unauthorized`], [`Error::InvalidArgument`], [`Error::ResourceExhausted`].
pub fn create_capsule(
    storage: &mut Storage,
    caller: Principal,
    subject: Option<PersonRef>,
    now: Time,
) -> Result<Capsule> {
    let limits = storage.config()?;
    let needs = match limits.capsule_makers.unwrap_or_default() {
        CapsuleMakers::Anyone => None,
        CapsuleMakers::Listed if storage.capsule_makers.get()?.contains(&caller) => None,
        CapsuleMakers::Listed => Some("to be listed among those who may make capsules"),
        CapsuleMakers::Nobody => Some("capsules to be made again: capsule_makers is Nobody"),
    };
    if let Some(needs) = needs {
        return Err(Error::Unauthorized { caller, needs: needs.into() });
    }
    Ok(storage.capsules.create_within(limits.capsules_per_caller(), caller, subject, now)?)
}

#[cfg(all(test, feature = "direct"))]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::upload::tests::{World, person};

    fn world(makers: CapsuleMakers) -> World {
        let mut world = World::direct();
        let config =
            crate::api::AdminConfig { capsule_makers: Some(makers), ..world.storage.config().unwrap() };
        world.storage.settings.set(&Config::checked(config).unwrap());
        world
    }

    fn may(world: &mut World, who: u8) -> bool {
        match create_capsule(&mut world.storage, person(who), None, world.now) {
            Ok(_) => true,
            Err(Error::Unauthorized { caller, .. }) if caller == person(who) => false,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn anyone_makes_capsules_unless_a_controller_says_otherwise() {
        let mut world = World::direct();
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
    fn nobody_makes_capsules_and_those_there_are_go_on() {
        let mut world = world(CapsuleMakers::Nobody);
        assert!(!may(&mut world, 1));
        world.begin(1, "a");
    }
}
