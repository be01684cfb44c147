//! Saving and restoring states; state that must not outlive a message; 64-bit memories.

use super::*;
use crate::engine::error::StateMismatch;

/// A module with a global of each type. The constant that is not exported does not belong to the state.
const GLOBALS: &str = r#"(module
    (memory 2)
    (global $constant i32 (i32.const 1))
    (global (export "shown") i32 (i32.const 2))
    (global $a (mut i32) (i32.const 3))
    (global $b (export "b") (mut i64) (i64.const 4))
    (global $c (mut f32) (f32.const 1.5))
    (global $d (mut f64) (f64.const nan:0x4000000000001))
    (global $e (mut v128) (v128.const i64x2 5 6))
    (func (export "canister_update change")
        (global.set $a (i32.add (global.get $a) (global.get $constant)))
        (global.set $b (i64.const -1)) (global.set $c (f32.const 2.5))
        (global.set $e (v128.const i64x2 7 8))
        (i32.store (i32.const 70000) (global.get $a))))"#;

#[test]
fn globals_are_saved_and_restored() {
    let state = fresh_state(GLOBALS);
    let initial = state.globals();
    assert_eq!(
        initial,
        [
            GlobalValue::I32(2),
            GlobalValue::I32(3),
            GlobalValue::I64(4),
            GlobalValue::F32(1.5f32.to_bits()),
            GlobalValue::F64(0x7ff4_0000_0000_0001),
            GlobalValue::V128(5 | 6 << 64),
        ]
    );
    let changed = update(&state, "change").state;
    assert_eq!(
        changed.globals()[1..4],
        [GlobalValue::I32(4), GlobalValue::I64(-1), GlobalValue::F32(2.5f32.to_bits())]
    );
    assert_eq!(changed.globals()[4], initial[4], "a NaN keeps its bits");
    assert_eq!(changed.globals()[5], GlobalValue::V128(7 | 8 << 64));
    // The state is restored from its parts.
    let memory = changed.heap().read(0, changed.wasm_memory_bytes()).expect("the range is the whole memory");
    let mut heap = Heap::zeroed(memory.len() as u64 / WASM_PAGE);
    assert_eq!(heap.write(1, &memory), None);
    heap.write(0, &memory).expect("the write is within the wasm memory");
    let copy = CanisterState::from_parts(
        changed.module().clone(),
        heap,
        changed.globals(),
        StableMemory::from_bytes(b"stable"),
    )
    .expect("the parts fit the module");
    assert_eq!(copy.heap().read(0, memory.len() as u64), Some(memory));
    let next = update(&copy, "change").state;
    assert_eq!(next.globals()[1], GlobalValue::I32(5));
    assert_eq!(next.heap().read(70000, 4), Some(vec![5, 0, 0, 0]));
    assert_eq!(next.stable().to_vec()[..6], *b"stable");
    assert_eq!(update(&changed, "change").state.globals(), next.globals());
}

#[test]
fn parts_that_do_not_fit_the_module_are_refused() {
    let state = fresh_state(GLOBALS);
    let build = |pages: u64, globals: Vec<GlobalValue>| {
        let module = state.module().clone();
        CanisterState::from_parts(module, Heap::zeroed(pages), globals, StableMemory::new())
            .map(|state| state.wasm_memory_bytes())
    };
    let globals = state.globals();
    assert_eq!(build(3, globals.clone()), Ok(3 << 16));
    for pages in [0, 1, 65_537] {
        assert!(
            matches!(build(pages, globals.clone()), Err(StateMismatch::WasmMemory { .. })),
            "{pages} pages"
        );
    }
    let count = build(2, globals[1..].to_vec());
    assert_eq!(count, Err(StateMismatch::GlobalCount { got: 5, expected: 6 }));
    let mut wrong = globals;
    wrong[2] = GlobalValue::I32(4);
    let mismatch = build(2, wrong).expect_err("the module has an i64");
    assert_eq!(
        mismatch.to_string(),
        "saved global 2 is of type i32; the module's global is of type i64 (numbered from 0 among the globals that are mutable or exported)"
    );
}

#[test]
fn an_upgrade_keeps_stable_memory_and_on_request_the_heap() {
    let mut old = update(&fresh_state(GLOBALS), "change").state;
    let module =
        compile(r#"(module (memory 5) (data (i32.const 70000) "new") (global (mut i32) (i32.const 9)))"#);
    old.stable_mut().grow(1, 1 << 20).expect("the limit allows a page");
    old.stable_mut().write(3, b"kept").expect("the write is within stable memory");
    let new = old.replace_module(module.clone(), false);
    assert_eq!(new.heap().read(70000, 4), Some(b"new\0".to_vec()));
    assert_eq!(new.globals(), [GlobalValue::I32(9)]);
    assert_eq!(new.stable().to_vec()[3..7], *b"kept");
    let with_heap = old.replace_module(module, true);
    assert_eq!(with_heap.heap().read(70000, 4), Some(vec![4, 0, 0, 0]));
    assert_eq!(with_heap.wasm_memory_bytes(), 5 * WASM_PAGE);
    assert_eq!(with_heap.globals(), [GlobalValue::I32(9)]);
}

/// The IC runs each message on a new instance, so a segment that one message has dropped is there again in the next.
#[test]
fn segments_are_fresh_in_every_message() {
    let state = fresh_state(
        r#"(module
        (import "ic0" "msg_reply" (func $reply))
        (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
        (memory 1) (data $d "seven")
        (func (export "canister_update read")
            (memory.init $d (i32.const 0) (i32.const 0) (i32.const 5))
            (data.drop $d)
            (call $append (i32.const 0) (i32.const 5)) (call $reply)))"#,
    );
    let first = update(&state, "read");
    assert_eq!(reply(&first), b"seven");
    assert_eq!(reply(&update(&first.state, "read")), b"seven");
}

#[test]
fn memories_with_64_bit_addresses() {
    let state = fresh_state(
        r#"(module
        (import "ic0" "msg_reply" (func $reply))
        (import "ic0" "msg_reply_data_append" (func $append (param i64 i64)))
        (import "ic0" "msg_arg_data_size" (func $size (result i64)))
        (import "ic0" "msg_arg_data_copy" (func $copy (param i64 i64 i64)))
        (import "ic0" "call_new" (func $new (param i64 i64 i64 i64 i64 i64 i64 i64)))
        (import "ic0" "call_perform" (func $perform (result i32)))
        (memory i64 1) (table funcref (elem $callback))
        (func $callback (param i64)
            (i64.store (i64.const 0) (local.get 0)) (call $append (i64.const 0) (i64.const 8)) (call $reply))
        (func (export "canister_update echo")
            (call $copy (i64.const 8) (i64.const 0) (call $size))
            (call $append (i64.const 8) (call $size)) (call $reply))
        (func (export "canister_update grow_beyond_6_gib")
            (i64.store (i64.const 0) (memory.grow (i64.const 98304)))
            (call $append (i64.const 0) (i64.const 8)) (call $reply))
        (func (export "canister_update call")
            (call $new (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0)
                (i64.const 0) (i64.const 0x123456789a) (i64.const 0) (i64.const 1))
            (drop (call $perform)))
        (func (export "canister_update bad_index")
            (call $new (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0)
                (i64.const 0x100000000) (i64.const 0) (i64.const 0) (i64.const 1))))"#,
    );
    let entry = EntryPoint::Update("echo".into());
    let outcome = ENGINE.execute(&state, entry, context_with_arg(b"sixty-four"), Limits::update());
    assert_eq!(reply(&outcome), b"sixty-four");
    assert_eq!(reply_u64(&update(&state, "grow_beyond_6_gib")), u64::MAX);
    let calls = update(&state, "call").calls;
    assert_eq!(calls[0].on_reply, (0, 0x12_3456_789a));
    let (fun, env) = calls[0].on_reply;
    let entry = EntryPoint::ReplyCallback { fun, env };
    let outcome = ENGINE.execute(&state, entry, context(), Limits::update());
    assert_eq!(reply_u64(&outcome), 0x12_3456_789a);
    assert_eq!(
        update(&state, "bad_index").result.expect_err("a table index of 33 bits is refused").error_code(),
        504
    );
    // The original 32-bit functions are not available for these memories, nor are 32-bit parameters.
    let text =
        compile_wat_error(r#"(module (import "ic0" "stable_size" (func (result i32))) (memory i64 1))"#);
    assert!(text.contains("'stable_size' from 'ic0'"), "{text}");
    compile_wat_error(r#"(module (import "ic0" "msg_arg_data_size" (func (result i32))) (memory i64 1))"#);
    assert_eq!(state.wasm_memory_bytes(), WASM_PAGE);
}

/// The hardware of most hosts would set the sign of the NaN that is the result of 0/0.
#[test]
fn computed_nans_have_the_same_bits_on_every_host() {
    let state = fresh_state(
        r#"(module
        (import "ic0" "msg_reply" (func $reply))
        (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
        (memory 1)
        (func (export "canister_update divide")
            (f64.store (i32.const 0) (f64.div (f64.load (i32.const 8)) (f64.load (i32.const 16))))
            (call $append (i32.const 0) (i32.const 8)) (call $reply)))"#,
    );
    assert_eq!(reply_u64(&update(&state, "divide")), 0x7ff8_0000_0000_0000);
}
