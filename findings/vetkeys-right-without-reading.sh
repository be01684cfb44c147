#!/usr/bin/env bash
# ic-vetkeys 0.9.0 (crates.io), encrypted maps with rights of one's own
#
# Expected: AccessControl may be implemented by one's own rights, which say can_read and can_write independently of each
#   other ("control precisely which users can read or modify entries in an encrypted map"), such as an inbox: others add
#   messages, and the owner reads them.
# Actual: a user who may write and not read can be entered, and writes. From then on listing the users of the map panics
#   ("always some access rights"), and so do the lists of all maps, for the owner and for the user. Asked for directly,
#   the user's right is None, as if there were no entry. The given rights each include reading.
# Affected: canisters with their own rights: one such entry, and the owner's page cannot be loaded, while single values
#   can still be read and written. Removing the user makes it work again. Let can_read be true for each right.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use candid::{CandidType, Principal};
use ic_cdk_management_canister::{VetKDCurve, VetKDKeyId};
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager};
use ic_stable_structures::storable::{Blob, Bound};
use ic_stable_structures::{DefaultMemoryImpl, Storable};
use ic_vetkeys::{encrypted_maps::EncryptedMaps, types::AccessControl};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::panic::{catch_unwind, AssertUnwindSafe};

#[derive(CandidType, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, strum_macros::EnumIter)]
enum Right {
    Read,
    Add,
    Manage,
}

impl Storable for Right {
    const BOUND: Bound = Bound::Bounded { max_size: 1, is_fixed_size: true };
    fn to_bytes(&self) -> Cow<'_, [u8]> { Cow::Owned(vec![*self as u8]) }
    fn into_bytes(self) -> Vec<u8> { vec![self as u8] }
    fn from_bytes(bytes: Cow<[u8]>) -> Self { [Right::Read, Right::Add, Right::Manage][bytes[0] as usize] }
}

impl AccessControl for Right {
    fn can_read(&self) -> bool { matches!(self, Right::Read | Right::Manage) }
    fn can_write(&self) -> bool { matches!(self, Right::Add | Right::Manage) }
    fn can_get_user_rights(&self) -> bool { matches!(self, Right::Manage) }
    fn can_set_user_rights(&self) -> bool { matches!(self, Right::Manage) }
    fn owner_rights() -> Self { Right::Manage }
}

fn show<T: std::fmt::Debug>(what: &str, act: impl FnOnce() -> T) {
    let outcome = catch_unwind(AssertUnwindSafe(act)).map_or_else(|panic| format!("panics, {}", panic.downcast_ref::<String>().unwrap()), |value| format!("{value:?}"));
    println!("  {what}: {outcome}");
}

fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    let memories = MemoryManager::init(DefaultMemoryImpl::default());
    let [first, second, third, fourth] = [0, 1, 2, 3].map(|id| memories.get(MemoryId::new(id)));
    let key = VetKDKeyId { curve: VetKDCurve::Bls12_381_G2, name: "test_key_1".into() };
    let mut maps: EncryptedMaps<Right> = EncryptedMaps::init("findings", key, first, second, third, fourth);
    let [owner, user] = [1, 2].map(|n| Principal::from_slice(&[n; 10]));
    let name = |text: &str| Blob::<32>::try_from(text.as_bytes()).unwrap();
    let inbox = (owner, name("inbox"));
    maps.insert_encrypted_value(owner, inbox, name("first"), vec![1].into()).unwrap();
    for right in [Some(Right::Read), Some(Right::Add), None] {
        println!("the user has {right:?}");
        match right {
            Some(right) => maps.set_user_rights(owner, inbox, user, right).unwrap(),
            None => maps.remove_user(owner, inbox, user).unwrap(),
        };
        show("the user adds a value", || maps.insert_encrypted_value(user, inbox, name("second"), vec![2].into()).map(|_| ()));
        show("the user's right", || maps.get_user_rights(owner, inbox, user));
        show("users of the map", || maps.get_shared_user_access_for_map(owner, inbox).map(|users| users.len()));
        show("maps of the owner", || maps.get_all_accessible_encrypted_maps(owner).len());
        show("maps of the user", || maps.get_all_accessible_encrypted_maps(user).len());
        show("values of the user", || maps.get_all_accessible_encrypted_values(user).len());
        show("one value, for the owner", || maps.get_encrypted_value(owner, inbox, name("first")).map(|value| value.is_some()));
    }
}
EOF
rust_program > seen <<'EOF'
candid = "=0.10.39"
ic-cdk-management-canister = "=0.1.1"
ic-stable-structures = "=0.7.2"
ic-vetkeys = "=0.9.0"
serde = "1"
strum = "0.27"
strum_macros = "0.27"
EOF
expect_seen <<'EOF'
the user has Some(Read)
  the user adds a value: Err("unauthorized")
  the user's right: Ok(Some(Read))
  users of the map: Ok(1)
  maps of the owner: 1
  maps of the user: 1
  values of the user: 1
  one value, for the owner: Ok(true)
the user has Some(Add)
  the user adds a value: Ok(())
  the user's right: Ok(None)
  users of the map: panics, always some access rights
  maps of the owner: panics, always some access rights
  maps of the user: panics, called `Result::unwrap()` on an `Err` value: "unauthorized"
  values of the user: panics, called `Result::unwrap()` on an `Err` value: "unauthorized"
  one value, for the owner: Ok(true)
the user has None
  the user adds a value: Err("unauthorized")
  the user's right: Ok(None)
  users of the map: Ok(0)
  maps of the owner: 1
  maps of the user: 0
  values of the user: 0
  one value, for the owner: Ok(true)
EOF
