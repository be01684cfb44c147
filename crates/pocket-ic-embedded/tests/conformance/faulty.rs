//! A canister that does everything wrong, one fault per method; `faulty.wat` documents its methods.

use crate::common::{install_wasm, wasm};
use candid::Principal;
use pocket_ic::PocketIc;

const FAULTY: &str = include_str!("faulty.wat");

pub fn faulty() -> Vec<u8> {
    wasm(FAULTY)
}

pub fn install_faulty(pic: &PocketIc) -> Principal {
    install_wasm(pic, faulty())
}
