//! Instructions: what is charged, that counts are reproducible, and that limits are enforced.

use super::*;
use crate::engine::host::NO_LIMIT;

/// A canister with one method for each operator or system call whose charge is tested.
const METERED: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
    (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
    (import "ic0" "performance_counter" (func $counter (param i32) (result i64)))
    (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
    (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
    (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
    (import "ic0" "debug_print" (func $print (param i32 i32)))
    (memory 4)
    (func (export "canister_update nothing"))
    (func (export "canister_update ten_divisions")
        (local $n i32) (local.set $n (i32.const 10))
        (loop $l
            (drop (i32.div_u (i32.const 5) (local.get $n)))
            (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "canister_update counters")
        (i64.store (i32.const 0) (call $counter (i32.const 0)))
        (i64.store (i32.const 8) (call $counter (i32.const 1)))
        (call $append (i32.const 0) (i32.const 16)) (call $reply))
    (func (export "canister_update unknown_counter") (drop (call $counter (i32.const 2))))
    (func (export "canister_update arg") (call $arg (i32.const 0) (i32.const 0) (call $arg_size)))
    (func (export "canister_update print") (call $print (i32.const 0) (i32.const 50)))
    (func (export "canister_update fill") (memory.fill (i32.const 0) (i32.const 1) (i32.const 100000)))
    (func (export "canister_update write_a_page")
        (drop (call $grow (i64.const 10)))
        (call $write (i64.const 0) (i64.const 0) (i64.const 4096)))
    (func (export "canister_update write_a_page_twice")
        (drop (call $grow (i64.const 10)))
        (call $write (i64.const 0) (i64.const 0) (i64.const 4096))
        (call $write (i64.const 0) (i64.const 0) (i64.const 4096)))
    (func (export "canister_update write_across_a_border")
        (drop (call $grow (i64.const 10)))
        (call $write (i64.const 2048) (i64.const 0) (i64.const 4096)))
    (func (export "canister_update read_a_page")
        (drop (call $grow (i64.const 10)))
        (call $read (i64.const 0) (i64.const 0) (i64.const 4096)))
    (func (export "canister_update grow_only") (drop (call $grow (i64.const 10)))))"#;

fn run_with_arg(state: &CanisterState, method: &str, arg: &[u8]) -> MessageOutcome {
    let entry = EntryPoint::Update(method.into());
    let outcome = ENGINE.execute(state, entry, context_with_arg(arg), Limits::update());
    assert_eq!(outcome.result, Ok(()));
    outcome
}

#[test]
fn operators_have_the_weights_of_the_ic() {
    let state = fresh_state(METERED);
    // Entering a function costs one.
    assert_eq!(run_with_arg(&state, "nothing", b"").instructions, 1);
    // const and local.set; then ten rounds of const, get, div (10), drop, get, const, sub, tee, br_if (2).
    let round = 1 + 1 + 10 + 1 + 1 + 1 + 1 + 1 + 2;
    assert_eq!(run_with_arg(&state, "ten_divisions", b"").instructions, 1 + 2 + 10 * round);
    // Three constants; `memory.fill` costs 100, and one per byte.
    assert_eq!(run_with_arg(&state, "fill", b"").instructions, 1 + 3 + 100 + 100_000);
}

#[test]
fn system_calls_have_their_charges() {
    let state = fresh_state(METERED);
    // Two constants, two calls (5 each), two charges of 500, one instruction for each byte.
    let arg = |bytes: usize| run_with_arg(&state, "arg", &vec![1; bytes]).instructions;
    assert_eq!(arg(0), 1 + 2 + 10 + 1000);
    assert_eq!(arg(10_000) - arg(0), 10_000);
    assert_eq!(run_with_arg(&state, "print", b"").instructions, 1 + 2 + 5 + 100 + 50);

    let grow = run_with_arg(&state, "grow_only", b"").instructions;
    let page = run_with_arg(&state, "write_a_page", b"");
    // Three constants and a call.
    let wasm = 3 + 5;
    assert_eq!(page.instructions - grow, wasm + 20 + 4096 + 1000);
    assert_eq!((page.dirty_stable_pages, page.stable_bytes_written), (1, 4096));
    let twice = run_with_arg(&state, "write_a_page_twice", b"");
    assert_eq!(twice.instructions - page.instructions, wasm + 20 + 4096);
    assert_eq!((twice.dirty_stable_pages, twice.stable_bytes_written), (1, 8192));
    let across = run_with_arg(&state, "write_across_a_border", b"");
    assert_eq!(across.instructions - page.instructions, 1000, "the charge for a second page");
    assert_eq!(across.dirty_stable_pages, 2);
    let read = run_with_arg(&state, "read_a_page", b"");
    assert_eq!(read.instructions - grow, wasm + 20 + 4096);
    assert_eq!((read.dirty_stable_pages, read.stable_bytes_read), (0, 4096));
}

#[test]
fn performance_counters_count_the_message_or_its_call_context() {
    let state = fresh_state(METERED);
    let read_counters = |earlier: u64| {
        let ctx = MessageContext { call_context_instructions: earlier, ..context() };
        let entry = EntryPoint::Update("counters".into());
        let bytes = reply(&ENGINE.execute(&state, entry, ctx, Limits::update()));
        let word =
            |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("the slice has eight bytes"));
        (word(0), word(8))
    };
    // Function entry, the address, the kind, the call, the charge.
    assert_eq!(read_counters(0).0, 1 + 1 + 1 + 5 + 200);
    // In addition to the first counter: store, address, kind, call, charge.
    assert_eq!(read_counters(0).1, read_counters(0).0 + 1 + 1 + 1 + 5 + 200);
    assert_eq!(read_counters(7_000).0, read_counters(0).0);
    assert_eq!(read_counters(7_000).1, read_counters(0).1 + 7_000);
    let trap = update(&state, "unknown_counter").result.expect_err("there is no counter 2");
    assert_eq!(trap.error_code(), 504);
}

#[test]
fn counts_repeat_on_any_engine_and_instance() {
    let other = Engine::new().expect("the runtime starts");
    let wasm = wat::parse_str(METERED).expect("the wasm text is valid");
    let module = other.compile(&wasm).expect("the module is valid");
    for method in ["ten_divisions", "counters", "write_a_page", "fill"] {
        let state = fresh_state(METERED);
        let first = run_with_arg(&state, method, b"");
        let second = run_with_arg(&state, method, b"");
        let entry = EntryPoint::Update(method.into());
        let elsewhere = other.execute(
            &CanisterState::new(module.clone()),
            entry,
            context_with_arg(b""),
            Limits::update(),
        );
        for again in [&second, &elsewhere] {
            assert_eq!(again.instructions, first.instructions, "{method}");
            assert_eq!(again.reply, first.reply, "{method}");
        }
    }
}

#[test]
fn a_limit_ends_a_message_within_twenty_instructions() {
    let state = fresh_state(METERED);
    for method in ["counters", "write_a_page", "print", "arg"] {
        let needed = run_with_arg(&state, method, b"").instructions;
        let run = |instructions: u64| {
            let limits = Limits::update().with_instructions(instructions);
            ENGINE.execute(&state, EntryPoint::Update(method.into()), context(), limits)
        };
        assert_eq!(run(needed).result, Ok(()), "{method}");
        // The runtime checks fuel at function entries, loops and calls, so a few operators after the last check may be
        // free.
        let short = run(needed - 20);
        assert_eq!(short.result, Err(Trap::InstructionLimit(needed - 20)), "{method}");
        assert_eq!(short.instructions, needed - 20);
        assert_eq!(short.state.stable().pages(), 0);
    }
}

/// The steps of an upgrade share the instructions of one message: each step has what the steps before it have left.
#[test]
fn later_steps_name_the_limit_of_the_whole_message() {
    let state = fresh_state(METERED);
    let mut limits = Limits::update().with_instructions(150_000);
    // What these methods use without bytes in the argument: see the sums in the first two tests.
    for (method, used) in [("fill", 100_104), ("arg", 1_013)] {
        let entry = EntryPoint::Update(method.into());
        let outcome = ENGINE.execute(&state, entry, context(), limits.clone());
        assert_eq!(outcome.result, Ok(()));
        assert_eq!(outcome.instructions, used);
        limits.instructions -= used;
    }
    // What is left is exceeded once by an operator of the wasm, and once by a charge of the system API.
    let left = limits.instructions;
    for (method, arg) in [("fill", 0), ("arg", 60_000)] {
        let entry = EntryPoint::Update(method.into());
        let outcome = ENGINE.execute(&state, entry, context_with_arg(&vec![0; arg]), limits.clone());
        assert_eq!(outcome.result, Err(Trap::InstructionLimit(150_000)));
        assert_eq!(outcome.instructions, left);
    }
}

#[test]
fn a_message_accesses_stable_memory_within_its_limits() {
    let state = fresh_state(METERED);
    let run = |method: &str, limits: Limits| {
        ENGINE.execute(&state, EntryPoint::Update(method.into()), context(), limits)
    };
    let dirtied = Limits { stable_dirtied_bytes: 4096, ..Limits::update() };
    assert_eq!(run("write_a_page_twice", dirtied.clone()).result, Ok(()));
    let trap = run("write_across_a_border", dirtied).result.expect_err("the write modifies two pages");
    assert_eq!(trap.error_code(), 524);
    let accessed = Limits { stable_accessed_bytes: 4095, ..Limits::update() };
    let trap = run("read_a_page", accessed).result.expect_err("a page has more than 4095 bytes");
    assert!(trap.to_string().contains("accessed pages"), "{trap}");
    let small = Limits { stable_memory_bytes: 9 * WASM_PAGE, ..Limits::update() };
    // Growing returns -1, so the write that follows is out of bounds.
    let trap = run("write_a_page", small).result.expect_err("the memory has not grown");
    assert_eq!(trap, Trap::Wasm("stable memory out of bounds".into()));
}

#[test]
fn growing_beyond_the_wasm_memory_limit_traps() {
    let state = fresh_state(
        r#"(module
        (import "ic0" "msg_reply" (func $reply))
        (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
        (memory 1)
        (func (export "canister_update grow")
            (i32.store (i32.const 0) (memory.grow (i32.const 9)))
            (call $append (i32.const 0) (i32.const 4)) (call $reply))
        (func (export "canister_update grow_beyond_4_gib")
            (i32.store (i32.const 0) (memory.grow (i32.const 65536)))
            (call $append (i32.const 0) (i32.const 4)) (call $reply)))"#,
    );
    let run = |wasm_memory_bytes: u64| {
        let limits = Limits { wasm_memory_bytes, ..Limits::update() };
        ENGINE.execute(&state, EntryPoint::Update("grow".into()), context(), limits)
    };
    assert_eq!(reply_u32(&run(NO_LIMIT)), 1);
    assert_eq!(reply_u32(&run(10 * WASM_PAGE)), 1);
    let trap = run(10 * WASM_PAGE - 1).result.expect_err("ten pages are over the limit");
    assert_eq!(trap, Trap::WasmMemoryLimit { limit: 10 * WASM_PAGE - 1, peak: 10 * WASM_PAGE });
    assert_eq!(trap.error_code(), 539);
    assert_eq!(reply_u32(&update(&state, "grow_beyond_4_gib")), u32::MAX);
}

/// A system call that costs more than the instructions that are left uses up all of them.
#[test]
fn a_message_beyond_its_limit_has_used_all_of_it() {
    let state = fresh_state(
        r#"(module (import "ic0" "debug_print" (func $print (param i32 i32))) (memory 1)
            (func (export "canister_update print") (call $print (i32.const 0) (i32.const 60000))))"#,
    );
    let limits = Limits::update().with_instructions(10_000);
    let outcome = ENGINE.execute(&state, EntryPoint::Update("print".into()), context(), limits);
    assert_eq!(outcome.result, Err(Trap::InstructionLimit(10_000)));
    assert_eq!(outcome.instructions, 10_000);
}
