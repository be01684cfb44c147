//! Wasm modules: generated, damaged, truncated, compressed. The engine refuses or runs them.

use crate::common::COUNTER;
use crate::fuzz;
use crate::program::program;
use candid::Principal;
use flate2::Compression;
use flate2::write::GzEncoder;
use pocket_ic_embedded::internals::engine::{
    CanisterState, Engine, EntryPoint, Limits, MessageContext, MethodKind, Trap,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::io::Write;
use std::sync::LazyLock;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new().expect("the runtime starts"));

/// Instructions for one entry point: enough to execute a meaningful part of it, but no more.
const INSTRUCTIONS: u64 = 200_000;

fn gzip(wasm: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(wasm).expect("memory does not fail");
    encoder.finish().expect("memory does not fail")
}

/// Compiles a module and, if it is accepted, runs its methods and most other entry points. Returns whether the module
/// was accepted; an error is a fault of the engine.
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
    // Each entry point starts with the state that the previous one has left.
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
fn generated_canisters_run() {
    fuzz(&program(), |text| {
        let wasm = wat::parse_str(&text).map_err(|error| TestCaseError::fail(format!("{error}: {text}")))?;
        prop_assert!(run_all(&wasm)?, "refused: {text}");
        Ok(())
    });
}

#[test]
fn damaged_generated_canisters_are_refused_or_run() {
    let damage = (program(), vec((any::<Index>(), any::<u8>()), 1..4), any::<bool>());
    fuzz(&damage, |(text, bytes, compressed)| {
        let wasm = wat::parse_str(&text).map_err(|error| TestCaseError::fail(format!("{error}: {text}")))?;
        let mut wasm = if compressed { gzip(&wasm) } else { wasm };
        for (at, byte) in bytes {
            let at = at.index(wasm.len());
            wasm[at] = byte;
        }
        run_all(&wasm)?;
        Ok(())
    });
}

#[test]
fn damaged_and_truncated_modules_are_refused_or_run() {
    let whole = wat::parse_str(COUNTER).expect("the text is valid");
    let damage = (vec((any::<Index>(), any::<u8>()), 0..5), any::<Index>(), any::<bool>(), any::<bool>());
    fuzz(&damage, |(bytes, end, cut, compressed)| {
        let mut wasm = if compressed { gzip(&whole) } else { whole.clone() };
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
fn arbitrary_modules_are_refused_or_run() {
    fuzz(&(vec(any::<u8>(), 0..300), 0..3usize), |(bytes, header)| {
        let header: &[u8] = [b"".as_slice(), b"\0asm\x01\0\0\0", b"\x1f\x8b\x08\0"][header];
        run_all(&[header, &bytes].concat())?;
        Ok(())
    });
}
