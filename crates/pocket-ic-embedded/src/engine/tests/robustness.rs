//! Tests of invalid modules and of heavy load: the engine answers and keeps working.

use proptest::prelude::*;

use super::*;

/// A module with most kinds of sections, whose parts depend on one another.
const SUBJECT: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))
    (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
    (type $t (func (param i32) (result i32)))
    (memory 1 3) (table 3 funcref) (elem (i32.const 1) $add $double)
    (global $g (mut i32) (i32.const 5)) (global (export "h") i64 (i64.const 6))
    (data (i32.const 10) "some data") (data $passive "more")
    (func $add (param i32) (result i32)
        (global.set $g (i32.add (global.get $g) (local.get 0))) (global.get $g))
    (func $double (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
    (func $start (memory.init $passive (i32.const 30) (i32.const 0) (i32.const 4)))
    (start $start)
    (func (export "canister_update u")
        (i32.store (i32.const 0) (call_indirect (type $t) (i32.const 7) (i32.const 1)))
        (call $copy (i32.const 4) (i32.const 0) (i32.const 2))
        (call $append (i32.const 0) (i32.const 40)) (call $reply))
    (func (export "canister_query q") (drop (memory.grow (i32.const 1))) (call $write (i64.const 0) (i64.const 0) (i64.const 1)))
    (@custom "icp:public note" "a note"))"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_modules_are_refused_or_run(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut wasm = wat::parse_str(SUBJECT).expect("the wasm text is valid");
        for (at, byte) in damage {
            let at = at.index(wasm.len());
            wasm[at] = byte;
        }
        if let Ok(module) = ENGINE.compile(&wasm) {
            let state = CanisterState::new(module.clone());
            let mut entries = vec![EntryPoint::Start, EntryPoint::ReplyCallback { fun: 1, env: 0 }];
            for (name, kind) in module.methods() {
                entries.push(match kind {
                    MethodKind::Update => EntryPoint::Update(name.to_string()),
                    MethodKind::Query => EntryPoint::Query(name.to_string()),
                    MethodKind::CompositeQuery => EntryPoint::CompositeQuery(name.to_string()),
                });
            }
            for entry in entries {
                let limits = Limits::update().with_instructions(100_000);
                let outcome = ENGINE.execute(&state, entry, context_with_arg(b"abc"), limits);
                prop_assert!(!matches!(outcome.result, Err(Trap::Engine(_))), "{:?}", outcome.result);
                prop_assert!(outcome.instructions <= 100_000);
            }
        }
    }
}

#[test]
fn the_undamaged_module_works() {
    let state = fresh_state(SUBJECT);
    let started = ENGINE.execute(&state, EntryPoint::Start, context(), Limits::install());
    assert_eq!(started.result, Ok(()));
    let entry = EntryPoint::Update("u".into());
    let outcome = ENGINE.execute(&started.state, entry, context_with_arg(b"abc"), Limits::update());
    let bytes = reply(&outcome);
    // 12 is the sum of the global and the argument of the indirect call, 5 + 7; then the first two bytes of the
    // message's argument.
    assert_eq!(bytes[..6], *b"\x0c\0\0\0ab");
    assert_eq!(bytes[10..19], *b"some data");
    assert_eq!(bytes[30..34], *b"more");
}

/// The test has more modules than the engine keeps instances, and two canisters for each module, one after the other.
#[test]
fn many_canisters_take_turns() {
    let fresh_states: Vec<_> = (0..20)
        .map(|number| {
            fresh_state(&format!(
                r#"(module
                (import "ic0" "msg_reply" (func $reply))
                (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
                (memory 1)
                (func (export "canister_update next")
                    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const {number})))
                    (call $append (i32.const 0) (i32.const 4)) (call $reply)))"#
            ))
        })
        .collect();
    for _ in 0..2 {
        let mut states = fresh_states.clone();
        for round in 1..=3 {
            for (number, state) in (0..).zip(&mut states) {
                let outcome = update(state, "next");
                assert_eq!(reply_u32(&outcome), round * number);
                *state = outcome.state;
            }
        }
    }
}

#[test]
fn pages_that_become_zero_again_count_as_changed() {
    let state = fresh_state(
        r#"(module (memory 2) (data (i32.const 40000) "x")
        (func (export "canister_update clear") (memory.fill (i32.const 0) (i32.const 0) (i32.const 131072)))
        (func (export "canister_update set") (memory.fill (i32.const 0) (i32.const 1) (i32.const 131072))))"#,
    );
    let byte = |state: &CanisterState, at: u64| {
        state.heap().read(at, 1).expect("the byte is within the wasm memory")[0]
    };
    // The memory has 32 pages of 4 KiB; in the initial memory, only one of them is not zeros.
    let set = update(&state, "set");
    assert_eq!(set.dirty_wasm_pages, 32);
    let clear = update(&set.state, "clear");
    assert_eq!(clear.dirty_wasm_pages, 32);
    assert_eq!(update(&state, "clear").dirty_wasm_pages, 1);
    for (state, expected) in [(&state, [0, b'x', 0]), (&set.state, [1, 1, 1]), (&clear.state, [0, 0, 0])] {
        assert_eq!([0, 40000, 131071].map(|at| byte(state, at)), expected);
        assert_eq!(update(state, "set").state.heap().read(0, 131072), Some(vec![1; 131072]));
    }
}
