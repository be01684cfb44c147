//! A canister that does everything wrong, one fault per method.

use crate::common::{installed_wasm, wasm};
use candid::Principal;
use pocket_ic::PocketIc;

/// The canister's source.
const FAULTY: &str = include_str!("faulty.wat");

/// Returns the module of the faulty canister.
pub fn faulty() -> Vec<u8> {
    wasm(FAULTY)
}

/// Returns a new canister that does everything wrong.
pub fn installed(pic: &PocketIc) -> Principal {
    installed_wasm(pic, faulty())
}
