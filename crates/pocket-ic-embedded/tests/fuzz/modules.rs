//! Wasm modules: generated, damaged, cut off, packed. The engine refuses or runs them.

use crate::common::COUNTER;
use crate::fuzz;
use arbitrary::{Arbitrary, Unstructured};
use candid::Principal;
use flate2::Compression;
use flate2::write::GzEncoder;
use pocket_ic_embedded::engine::{
    CanisterState, Engine, EntryPoint, Limits, MessageContext, MethodKind, Trap,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::io::Write;
use std::sync::LazyLock;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new().expect("the runtime starts"));

/// Instructions for one entry point: enough to get somewhere, and no more.
const INSTRUCTIONS: u64 = 200_000;

/// What generated modules must export: something to run of every kind.
const EXPORTS: &str = r#"(module
    (func (export "canister_init")) (func (export "canister_pre_upgrade"))
    (func (export "canister_post_upgrade")) (func (export "canister_inspect_message"))
    (func (export "canister_heartbeat")) (func (export "canister_global_timer"))
    (func (export "canister_update u")) (func (export "canister_query q"))
    (func (export "canister_composite_query c")))"#;

/// What they may import: system functions of all families.
const IMPORTS: &str = r#"(module
    (import "ic0" "msg_reply" (func)) (import "ic0" "msg_reply_data_append" (func (param i32 i32)))
    (import "ic0" "msg_reject" (func (param i32 i32))) (import "ic0" "msg_arg_data_size" (func (result i32)))
    (import "ic0" "msg_arg_data_copy" (func (param i32 i32 i32)))
    (import "ic0" "stable64_grow" (func (param i64) (result i64)))
    (import "ic0" "stable64_write" (func (param i64 i64 i64)))
    (import "ic0" "stable64_read" (func (param i64 i64 i64)))
    (import "ic0" "stable_grow" (func (param i32) (result i32)))
    (import "ic0" "stable_write" (func (param i32 i32 i32)))
    (import "ic0" "call_new" (func (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "ic0" "call_data_append" (func (param i32 i32)))
    (import "ic0" "call_cycles_add128" (func (param i64 i64))) (import "ic0" "call_perform" (func (result i32)))
    (import "ic0" "cycles_burn128" (func (param i64 i64 i32)))
    (import "ic0" "msg_cycles_accept128" (func (param i64 i64 i32)))
    (import "ic0" "certified_data_set" (func (param i32 i32)))
    (import "ic0" "global_timer_set" (func (param i64) (result i64)))
    (import "ic0" "performance_counter" (func (param i32) (result i64)))
    (import "ic0" "env_var_value_copy" (func (param i32 i32 i32 i32 i32)))
    (import "ic0" "debug_print" (func (param i32 i32))) (import "ic0" "trap" (func (param i32 i32))))"#;

/// A module from random bytes, with the features of canisters and some that they may not have.
fn generated(entropy: &[u8], canister: bool) -> Option<Vec<u8>> {
    let mut source = Unstructured::new(entropy);
    let mut config = wasm_smith::Config::arbitrary(&mut source).ok()?;
    config.max_memory32_bytes = 1 << 24;
    config.max_memory64_bytes = 1 << 24;
    if canister {
        let part = |text: &str| wat::parse_str(text).expect("the text is valid");
        config.exports = Some(part(EXPORTS));
        config.available_imports = Some(part(IMPORTS));
        config.max_imports = 20;
        config.gc_enabled = false;
        config.exceptions_enabled = false;
        config.threads_enabled = false;
        config.relaxed_simd_enabled = false;
        config.memory64_enabled = false;
    }
    wasm_smith::Module::new(config, &mut source).ok().map(|module| module.to_bytes())
}

fn packed(wasm: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(wasm).expect("memory does not fail");
    encoder.finish().expect("memory does not fail")
}

/// Compiles a module and, if it is accepted, runs everything in it. Gives whether it was accepted.
fn run_all(wasm: &[u8]) -> Result<bool, TestCaseError> {
    let Ok(module) = ENGINE.compile(wasm) else {
        return Ok(false);
    };
    let mut entries = vec![
        EntryPoint::Start,
        EntryPoint::Init,
        EntryPoint::PreUpgrade,
        EntryPoint::PostUpgrade,
        EntryPoint::InspectMessage,
        EntryPoint::Heartbeat,
        EntryPoint::GlobalTimer,
        EntryPoint::ReplyCallback { fun: 0, env: 0 },
        EntryPoint::CleanupCallback { fun: 1, env: 0 },
    ];
    for (name, kind) in module.methods() {
        entries.push(match kind {
            MethodKind::Update => EntryPoint::Update(name.into()),
            MethodKind::Query => EntryPoint::Query(name.into()),
            MethodKind::CompositeQuery => EntryPoint::CompositeQuery(name.into()),
        });
    }
    let canister = Principal::from_slice(&[1]);
    let mut state = CanisterState::new(module);
    for entry in entries {
        let mut context = MessageContext::new(canister, Principal::anonymous(), 1);
        context.arg = b"argument".to_vec();
        context.balance = 1_000;
        let limits = Limits::update().with_instructions(INSTRUCTIONS);
        let outcome = ENGINE.execute(&state, entry.clone(), context, limits);
        prop_assert!(!matches!(outcome.result, Err(Trap::Engine(_))), "{entry:?}: {:?}", outcome.result);
        prop_assert!(outcome.instructions <= INSTRUCTIONS);
        state = outcome.state;
    }
    Ok(true)
}

#[test]
fn generated_canisters_run_or_are_refused() {
    let accepted = std::cell::Cell::new(0);
    fuzz(&vec(any::<u8>(), 0..4096), |entropy| {
        if let Some(wasm) = generated(&entropy, true) {
            accepted.set(accepted.get() + u32::from(run_all(&wasm)?));
            run_all(&packed(&wasm))?;
        }
        Ok(())
    });
    // Else the generator has missed what it is for.
    assert!(accepted.get() > 20, "only {} modules were accepted", accepted.get());
}

#[test]
fn generated_modules_with_features_that_canisters_lack() {
    fuzz(&vec(any::<u8>(), 0..2048), |entropy| {
        if let Some(wasm) = generated(&entropy, false) {
            run_all(&wasm)?;
        }
        Ok(())
    });
}

#[test]
fn damaged_and_shortened_canisters() {
    let whole = wat::parse_str(COUNTER).expect("the text is valid");
    let damage = (vec((any::<Index>(), any::<u8>()), 0..5), any::<Index>(), any::<bool>(), any::<bool>());
    fuzz(&damage, |(bytes, end, cut, pack)| {
        let mut wasm = if pack { packed(&whole) } else { whole.clone() };
        for (at, byte) in bytes {
            let at = at.index(wasm.len());
            wasm[at] = byte;
        }
        if cut {
            wasm.truncate(end.index(wasm.len()));
        }
        run_all(&wasm)?;
        Ok(())
    });
}

#[test]
fn any_bytes() {
    fuzz(&(vec(any::<u8>(), 0..300), 0..3usize), |(bytes, kind)| {
        let start: &[u8] = [b"".as_slice(), b"\0asm\x01\0\0\0", b"\x1f\x8b\x08\0"][kind];
        run_all(&[start, &bytes].concat())?;
        Ok(())
    });
}
