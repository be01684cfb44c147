//! Helpers that the tests share: a server in this process, and small canisters written in WAT.

#![allow(dead_code, reason = "no test file uses all of it")]

use candid::Principal;
use ic_management_canister_types::CanisterIdRecord;
use pocket_ic::common::rest::{RawEffectivePrincipal, RawMessageId};
use pocket_ic::{PocketIc, PocketIcBuilder, RejectResponse};
use pocket_ic_embedded::EmbeddedServer;
use std::time::{Duration, Instant};

/// Time limit of every wait: more than any step takes, so that a fault makes a test fail instead of hang.
const PATIENCE: Duration = Duration::from_secs(60);
/// The caller in tests for which the caller does not matter.
pub const ANONYMOUS: Principal = Principal::anonymous();

/// Returns a builder of an instance on the server of this process.
pub fn builder() -> PocketIcBuilder {
    let server = EmbeddedServer::shared().expect("the embedded server starts");
    PocketIcBuilder::new().with_server_url(server.url())
}

/// Returns a new instance, with one application subnet, on the server of this process.
pub fn instance() -> PocketIc {
    builder().with_application_subnet().build()
}

/// Returns a user that is not anonymous, a different one for each number.
pub fn user(n: u8) -> Principal {
    Principal::self_authenticating([n; 32])
}

/// Waits until the condition returns a value, and returns it; fails after [`PATIENCE`]. `what` is for the message of
/// the failure.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn wasm(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).expect("the test's WAT is valid")
}

/// Returns the canister that most tests use; `counter.wat` documents its methods.
pub fn counter() -> Vec<u8> {
    wasm(COUNTER)
}

/// Creates a canister with this module, which the anonymous user controls.
pub fn install_wasm(pic: &PocketIc, module: Vec<u8>) -> Principal {
    let id = pic.create_canister();
    pic.install_canister(id, module, vec![], None);
    id
}

/// Creates a [`counter`] that starts with 0.
pub fn install_counter(pic: &PocketIc) -> Principal {
    install_wasm(pic, counter())
}

/// Creates a [`counter`] that starts with this number.
pub fn install_counter_with(pic: &PocketIc, start: u32) -> Principal {
    let id = pic.create_canister();
    pic.install_canister(id, counter(), start.to_le_bytes().to_vec(), None);
    id
}

/// Makes an update call as the anonymous user, and waits for the answer.
pub fn call(pic: &PocketIc, id: Principal, method: &str, arg: &[u8]) -> Result<Vec<u8>, RejectResponse> {
    pic.update_call(id, ANONYMOUS, method, arg.to_vec())
}

/// Returns the number that this query method replies with, as four bytes.
pub fn query_number(pic: &PocketIc, id: Principal, method: &str) -> u32 {
    parse_u32(&pic.query_call(id, ANONYMOUS, method, vec![]).expect("the query answers"))
}

/// Returns the heap counter of a [`counter`].
pub fn read_counter(pic: &PocketIc, id: Principal) -> u32 {
    query_number(pic, id, "read")
}

/// Calls the management canister as `sender`, with `id` as the effective canister id.
pub fn call_management(
    pic: &PocketIc,
    id: Principal,
    sender: Principal,
    method: &str,
    arg: Vec<u8>,
) -> Result<Vec<u8>, RejectResponse> {
    let effective = RawEffectivePrincipal::CanisterId(id.as_slice().to_vec());
    pic.update_call_with_effective_principal(Principal::management_canister(), effective, sender, method, arg)
}

/// Returns the argument of the management methods that take only a canister id.
pub fn encode_canister_id(id: Principal) -> Vec<u8> {
    candid::encode_one(CanisterIdRecord { canister_id: id }).expect("the record encodes")
}

/// Submits an anonymous call of a management method that takes only a canister id, and does not wait for the answer.
pub fn submit_management(pic: &PocketIc, id: Principal, method: &str) -> RawMessageId {
    let effective = RawEffectivePrincipal::CanisterId(id.as_slice().to_vec());
    pic.submit_call_with_effective_principal(
        Principal::management_canister(),
        effective,
        ANONYMOUS,
        method,
        encode_canister_id(id),
    )
    .expect("the call is accepted")
}

/// Returns a number as the canisters reply with it: little-endian.
pub fn parse_u32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("there are four bytes"))
}

pub fn parse_u64(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("there are eight bytes"))
}

/// The text of [`counter`], for tests that change it before they compile it.
pub const COUNTER: &str = include_str!("counter.wat");
