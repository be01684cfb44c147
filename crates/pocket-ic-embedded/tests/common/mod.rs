//! What the tests share: a server in this process, and small canisters written in WAT.

#![allow(dead_code, reason = "no test file uses all of it")]

use candid::Principal;
use pocket_ic::{PocketIc, PocketIcBuilder};
use pocket_ic_embedded::EmbeddedServer;

/// Builder of an instance on the server of this process.
pub fn builder() -> PocketIcBuilder {
    let server = EmbeddedServer::shared().expect("the embedded server starts");
    PocketIcBuilder::new().with_server_url(server.url())
}

/// An instance with one application subnet.
pub fn instance() -> PocketIc {
    builder().with_application_subnet().build()
}

/// A user that is not anonymous.
pub fn user(n: u8) -> Principal {
    Principal::self_authenticating([n; 32])
}

/// WAT to wasm.
pub fn wasm(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).expect("the test's WAT is valid")
}

/// The canister that most tests use: counters on the heap and in stable memory, and ways to fail. Its source, `counter.wat`,
/// says what each method does.
pub fn counter() -> Vec<u8> {
    wasm(COUNTER)
}

/// Four bytes, little endian.
pub fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("four bytes"))
}

/// Eight bytes, little endian.
pub fn long(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

/// The source of [`counter`].
pub const COUNTER: &str = include_str!("counter.wat");
