//! Tests of the engine with canisters in wasm text.

mod calls;
mod execution;
mod metering;
mod module_cache;
mod permissions;
mod robustness;
mod stable;
mod states;
mod validation;
mod weights;

use std::sync::{Arc, LazyLock};

use candid::Principal;

use super::*;

/// One engine for all tests in this folder, as in a server: they share its compiled modules and live instances.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new().expect("the runtime starts"));

fn canister_id() -> Principal {
    Principal::from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xe0, 0, 0, 1, 1])
}

fn caller() -> Principal {
    Principal::from_slice(&[7; 29])
}

fn context() -> MessageContext {
    MessageContext::new(canister_id(), caller(), 1_620_328_630_000_000_001)
}

fn context_with_arg(arg: &[u8]) -> MessageContext {
    MessageContext { arg: arg.to_vec(), ..context() }
}

fn compile(wat: &str) -> Arc<CanisterModule> {
    let wasm = wat::parse_str(wat).expect("the test's WAT is valid");
    ENGINE.compile(&wasm).expect("the test's module is valid")
}

/// Returns the text of the error with which a module in wasm text is refused.
fn compile_wat_error(wat: &str) -> String {
    let wasm = wat::parse_str(wat).expect("the test's WAT is valid");
    let error = ENGINE.compile(&wasm).expect_err("the module is refused");
    assert_eq!(error.error_code(), 505);
    error.to_string()
}

/// Returns the state in which the module starts: neither `(start)` nor `canister_init` has run.
fn fresh_state(wat: &str) -> CanisterState {
    CanisterState::new(compile(wat))
}

/// Executes an update method without argument; the state that is passed stays as it is.
fn update(state: &CanisterState, method: &str) -> MessageOutcome {
    let entry = EntryPoint::Update(method.to_string());
    ENGINE.execute(state, entry, context(), Limits::update())
}

fn query(state: &CanisterState, method: &str) -> MessageOutcome {
    let entry = EntryPoint::Query(method.to_string());
    ENGINE.execute(state, entry, context(), Limits::query())
}

/// Returns the reply of a message; panics if it trapped, rejected or did not answer.
fn reply(outcome: &MessageOutcome) -> Vec<u8> {
    assert_eq!(outcome.result, Ok(()));
    match &outcome.reply {
        Some(Response::Reply(bytes)) => bytes.clone(),
        other => panic!("expected a reply, got {other:?}"),
    }
}

fn reply_u32(outcome: &MessageOutcome) -> u32 {
    let bytes = reply(outcome);
    u32::from_le_bytes(bytes.try_into().expect("the reply has four bytes"))
}

fn reply_u64(outcome: &MessageOutcome) -> u64 {
    let bytes = reply(outcome);
    u64::from_le_bytes(bytes.try_into().expect("the reply has eight bytes"))
}
