//! State after an execution: after success, after traps, after queries.

use wasmtime::ResourceLimiter;

use super::*;
use crate::engine::host::{HeapLimiter, NO_LIMIT};

/// A canister that keeps one number in a mutable global that is not exported, one in the heap, and one in stable
/// memory.
const COUNTER: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
    (import "ic0" "stable64_size" (func $pages (result i64)))
    (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
    (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
    (import "ic0" "certified_data_set" (func $certify (param i32 i32)))
    (import "ic0" "global_timer_set" (func $timer (param i64) (result i64)))
    (import "ic0" "debug_print" (func $print (param i32 i32)))
    (import "ic0" "trap" (func $trap (param i32 i32)))
    (memory 1)
    (global $hidden (mut i32) (i32.const 1000))
    (data (i32.const 100) "\05\00\00\00")
    (data (i32.const 200) "printed")
    (func $bump
        (if (i64.eqz (call $pages)) (then (drop (call $grow (i64.const 1)))))
        (global.set $hidden (i32.add (global.get $hidden) (i32.const 1)))
        (i32.store (i32.const 100) (i32.add (i32.load (i32.const 100)) (i32.const 1)))
        (call $read (i64.const 0) (i64.const 0) (i64.const 4))
        (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
        (call $write (i64.const 0) (i64.const 0) (i64.const 4)))
    (func $show
        (i32.store (i32.const 4) (global.get $hidden))
        (call $append (i32.const 4) (i32.const 4))
        (call $append (i32.const 100) (i32.const 4))
        (call $append (i32.const 0) (i32.const 4))
        (call $reply))
    (func (export "canister_update bump") (call $bump) (call $show))
    (func (export "canister_query bump_query") (call $bump) (call $show))
    (func (export "canister_update bump_and_trap")
        (call $bump) (call $show)
        (call $certify (i32.const 200) (i32.const 7))
        (drop (call $timer (i64.const 5)))
        (call $print (i32.const 200) (i32.const 7))
        (call $trap (i32.const 200) (i32.const 7)))
    (func (export "canister_update bump_and_fault") (call $bump) (unreachable))
    (func (export "canister_update grow_heap")
        (drop (memory.grow (i32.const 3))) (i32.store (i32.const 262140) (i32.const 7)) (call $show)))"#;

/// Returns the numbers in the reply: of the global, of the heap and of stable memory.
fn numbers(outcome: &MessageOutcome) -> Vec<u32> {
    let bytes = reply(outcome);
    let words = bytes.chunks(4).map(|c| c.try_into().expect("the reply has whole words"));
    words.map(u32::from_le_bytes).collect()
}

#[test]
fn heap_globals_and_stable_memory_survive_messages() {
    let mut state = fresh_state(COUNTER);
    for round in 1..=5 {
        let outcome = update(&state, "bump");
        assert_eq!(numbers(&outcome), [1000 + round, 5 + round, round]);
        state = outcome.state;
    }
    assert_eq!(state.stable().pages(), 1);
    assert_eq!(state.globals(), [GlobalValue::I32(1005)]);
    assert_eq!(state.heap().read(100, 4), Some(vec![10, 0, 0, 0]));
}

#[test]
fn old_states_are_unchanged() {
    let first = update(&fresh_state(COUNTER), "bump").state;
    let second = update(&first, "bump").state;
    let third = update(&second, "bump").state;
    // Back and forth between states that share pages.
    for (state, next) in [(&second, 3), (&first, 2), (&third, 4), (&first, 2), (&second, 3)] {
        assert_eq!(numbers(&update(state, "bump")), [1000 + next, 5 + next, next]);
    }
    assert_eq!(second.stable().to_vec()[..4], [2, 0, 0, 0]);
}

#[test]
fn traps_roll_back_and_keep_logs_and_counts() {
    let state = update(&fresh_state(COUNTER), "bump").state;
    let outcome = update(&state, "bump_and_trap");
    assert_eq!(outcome.result, Err(Trap::CalledTrap("printed".into())));
    assert_eq!(outcome.reply, None);
    assert_eq!(outcome.certified_data, None);
    assert_eq!(outcome.global_timer, None);
    assert_eq!(outcome.logs, [b"printed".to_vec(), b"[TRAP]: printed".to_vec()]);
    assert_eq!(outcome.stable_bytes_written, 4);
    assert!(outcome.instructions > 4000, "the instructions before the trap count");
    for state in [&outcome.state, &state] {
        assert_eq!(numbers(&update(state, "bump")), [1002, 7, 2]);
    }
    let outcome = update(&state, "bump_and_fault");
    assert_eq!(outcome.result, Err(Trap::Wasm("unreachable".into())));
    assert_eq!(outcome.logs, [b"[TRAP]: unreachable".to_vec()]);
    assert_eq!(numbers(&update(&outcome.state, "bump")), [1002, 7, 2]);
}

#[test]
fn queries_leave_no_trace_in_the_state_they_ran_on() {
    let state = update(&fresh_state(COUNTER), "bump").state;
    for _ in 0..3 {
        assert_eq!(numbers(&query(&state, "bump_query")), [1002, 7, 2]);
    }
    assert_eq!(numbers(&update(&state, "bump")), [1002, 7, 2]);
}

#[test]
fn a_grown_heap_is_rolled_back_to_its_size() {
    let state = fresh_state(COUNTER);
    // No message traps here: the older state, with the smaller heap, is used again.
    let grown = update(&state, "grow_heap").state;
    assert_eq!(grown.wasm_memory_bytes(), 4 * WASM_PAGE);
    assert_eq!(grown.heap().read(262140, 4), Some(vec![7, 0, 0, 0]));
    assert_eq!(grown.heap().read(262141, 4), None);
    assert_eq!(state.wasm_memory_bytes(), WASM_PAGE);
    // Back to the old state, while the engine keeps an instance with the larger memory.
    let again = update(&state, "bump").state;
    assert_eq!(again.wasm_memory_bytes(), WASM_PAGE);
    assert_eq!(update(&again, "grow_heap").state.wasm_memory_bytes(), 4 * WASM_PAGE);
    assert_eq!(update(&grown, "bump").state.wasm_memory_bytes(), 4 * WASM_PAGE);
}

#[test]
fn states_of_many_canisters_in_parallel() {
    std::thread::scope(|scope| {
        for canister in 0..4 {
            scope.spawn(move || {
                let mut state = fresh_state(COUNTER);
                for round in 1..=50 {
                    let outcome = update(&state, "bump");
                    assert_eq!(numbers(&outcome), [1000 + round, 5 + round, round], "canister {canister}");
                    state = outcome.state;
                }
            });
        }
    });
}

/// A canister whose `(start)` function writes to the heap and grows stable memory: messages must not run it again, or
/// write the data segment again.
const STARTS: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
    (import "ic0" "stable64_size" (func $pages (result i64)))
    (memory 1)
    (data (i32.const 0) "\01")
    (func $start
        (drop (call $grow (i64.const 2)))
        (i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (i32.const 10))))
    (start $start)
    (func (export "canister_update show")
        (i32.store8 (i32.const 1) (i32.wrap_i64 (call $pages)))
        (call $append (i32.const 0) (i32.const 2)) (call $reply)))"#;

fn run(state: &CanisterState, entry: EntryPoint) -> MessageOutcome {
    ENGINE.execute(state, entry, context(), Limits::install())
}

#[test]
fn start_runs_only_when_requested() {
    let state = fresh_state(STARTS);
    assert!(state.module().exports_system(SystemEntry::Start));
    assert_eq!(state.stable().pages(), 0);
    assert_eq!(reply(&update(&state, "show")), [1, 0]);
    let started = run(&state, EntryPoint::Start);
    assert_eq!(started.result, Ok(()));
    for _ in 0..3 {
        assert_eq!(reply(&update(&started.state, "show")), [11, 2]);
    }
    // After an upgrade to the same module, stable memory is kept, and the heap is fresh.
    let upgraded = started.state.replace_module(state.module().clone(), false);
    assert_eq!(reply(&update(&upgraded, "show")), [1, 2]);
    let with_heap = started.state.replace_module(state.module().clone(), true);
    assert_eq!(reply(&update(&with_heap, "show")), [11, 2]);
}

#[test]
fn entry_points_that_are_not_exported_do_nothing() {
    let state = fresh_state(COUNTER);
    for entry in [
        EntryPoint::Start,
        EntryPoint::Init,
        EntryPoint::PreUpgrade,
        EntryPoint::PostUpgrade,
        EntryPoint::Heartbeat,
        EntryPoint::GlobalTimer,
        EntryPoint::OnLowWasmMemory,
        EntryPoint::InspectMessage,
    ] {
        let outcome = run(&state, entry);
        assert_eq!((outcome.result, outcome.instructions), (Ok(()), 0));
        assert!(!outcome.message_accepted);
    }
}

#[test]
fn calling_a_method_that_is_not_exported_traps() {
    let state = fresh_state(COUNTER);
    let outcome = update(&state, "nothing");
    let trap = outcome.result.expect_err("no such method");
    assert_eq!(trap.to_string(), "Canister has no update method 'nothing'.");
    assert_eq!(trap.error_code(), 536);
    // The kind of the method must match, too.
    let trap = update(&state, "bump_query").result.expect_err("`bump_query` is a query");
    assert_eq!(trap.to_string(), "Canister has no update method 'bump_query'.");
    let trap = query(&state, "bump").result.expect_err("`bump` is an update method");
    assert_eq!(trap.to_string(), "Canister has no query method 'bump'.");
    assert!(!state.module().has_export(MethodKind::CompositeQuery, "bump"));
}

// A canister with one method for each fault.
const FAULTS: &str = r#"(module
    (type $none (func))
    (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
    (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
    (import "ic0" "stable_size" (func $size32 (result i32)))
    (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
    (memory 1 2) (table 2 funcref) (elem (i32.const 1) $deep) (global $zero (mut i32) (i32.const 0))
    (func $deep (result i32) (i32.add (call $deep) (i32.const 1)))
    (func $loop (loop $l (br $l)))
    (func (export "canister_update heap") (drop (i32.load (i32.const 65536))))
    (func (export "canister_update division") (drop (i32.div_u (i32.const 1) (global.get $zero))))
    (func (export "canister_update unreachable") (unreachable))
    (func (export "canister_update recursion") (drop (call $deep)))
    (func (export "canister_update table") (call_indirect (type $none) (i32.const 9)))
    (func (export "canister_update null") (call_indirect (type $none) (i32.const 0)))
    (func (export "canister_update signature") (call_indirect (type $none) (i32.const 1)))
    (func (export "canister_update overflow")
        (drop (i32.div_s (i32.const 0x80000000) (i32.sub (global.get $zero) (i32.const 1)))))
    (func (export "canister_update conversion")
        (drop (i32.trunc_f32_s (f32.div (f32.convert_i32_s (global.get $zero)) (f32.convert_i32_s (global.get $zero))))))
    (func (export "canister_update stable") (call $read (i64.const 0) (i64.const 0) (i64.const 1)))
    (func (export "canister_update stable_wraps") (call $read (i64.const 0) (i64.const -1) (i64.const 2)))
    (func (export "canister_update stable_to_heap")
        (drop (call $grow (i64.const 3))) (call $read (i64.const 65530) (i64.const 0) (i64.const 10)))
    (func (export "canister_update narrow")
        (drop (call $grow (i64.const 65537))) (drop (call $size32)))
    (func (export "canister_update narrow_limit")
        (drop (call $grow (i64.const 65536))) (if (i32.ne (call $size32) (i32.const 65536)) (then (unreachable))))
    (func (export "canister_update arg") (call $arg (i32.const 0) (i32.const 1) (i32.const 5)))
    (func (export "canister_update arg_to_heap") (call $arg (i32.const 65535) (i32.const 0) (i32.const 2)))
    (func (export "canister_update forever") (call $loop)))"#;

#[test]
fn faults_have_the_texts_of_the_ic() {
    let state = fresh_state(FAULTS);
    for (method, code, text) in [
        ("heap", 502, "Canister trapped: heap out of bounds"),
        ("division", 502, "Canister trapped: integer division by 0"),
        ("unreachable", 502, "Canister trapped: unreachable"),
        ("recursion", 502, "Canister trapped: stack overflow"),
        ("table", 502, "Canister trapped: table out of bounds"),
        ("null", 502, "Canister trapped: indirect call to a null table entry"),
        ("signature", 502, "Canister trapped: indirect call type mismatch"),
        ("overflow", 502, "Canister trapped: integer overflow"),
        ("conversion", 502, "Canister trapped: invalid conversion to integer"),
        ("stable", 502, "Canister trapped: stable memory out of bounds"),
        ("stable_wraps", 502, "Canister trapped: stable memory out of bounds"),
        ("stable_to_heap", 502, "Canister trapped: heap out of bounds"),
        ("narrow", 502, "Canister trapped: 32 bit stable memory api used on a memory larger than 4GB"),
        (
            "arg",
            504,
            "Canister violated contract: ic0_msg_arg_data_copy payload: src=1 + length=5 exceeds the slice size=3",
        ),
        (
            "arg_to_heap",
            504,
            "Canister violated contract: ic0_msg_arg_data_copy heap: src=65535 + length=2 exceeds the slice size=65536",
        ),
    ] {
        let entry = EntryPoint::Update(method.into());
        let outcome = ENGINE.execute(&state, entry, context_with_arg(b"abc"), Limits::update());
        let trap = outcome.result.expect_err(method);
        assert_eq!((trap.to_string().as_str(), trap.error_code()), (text, code), "{method}");
    }
    assert_eq!(update(&state, "narrow_limit").result, Ok(()), "exactly 4 GiB are allowed");
    let limits = Limits::update().with_instructions(1_000_000);
    let outcome = ENGINE.execute(&state, EntryPoint::Update("forever".into()), context(), limits);
    let trap = outcome.result.expect_err("`forever` never ends");
    assert_eq!(outcome.instructions, 1_000_000);
    assert_eq!(trap.error_code(), 522);
    assert_eq!(
        trap.to_string(),
        "Canister exceeded the limit of 1000000 instructions for single message execution."
    );
}

/// The method `much` prints 1 MiB of memory five times, and then a word. Two of the large texts would exceed 2 MiB,
/// since each also takes a few bytes for its record.
#[test]
fn the_last_prints_of_a_message_are_kept() {
    let state = fresh_state(
        r#"(module
            (import "ic0" "debug_print" (func $print (param i32 i32)))
            (import "ic0" "trap" (func $trap (param i32 i32)))
            (memory 48) (data (i32.const 0) "last")
            (func (export "canister_update much")
                (local $left i32)
                (local.set $left (i32.const 5))
                (loop $next
                    (call $print (i32.const 65536) (i32.const 1048576))
                    (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
                (call $print (i32.const 0) (i32.const 4)))
            (func (export "canister_update long") (call $print (i32.const 0) (i32.const 3145728)))
            (func (export "canister_update trap") (call $trap (i32.const 0) (i32.const 3145728))))"#,
    );
    let much = update(&state, "much");
    assert_eq!(much.logs.iter().map(Vec::len).collect::<Vec<_>>(), [1 << 20, 4]);
    assert_eq!(much.logs[1], b"last");
    assert!(much.instructions > 5 << 20, "each printed byte is charged");
    let long = update(&state, "long");
    assert_eq!(long.logs.iter().map(Vec::len).sum::<usize>() as u64, MAX_LOG_BYTES - LOG_RECORD_BYTES);
    assert!(long.logs[0].starts_with(b"last"));
    let trapped = update(&state, "trap");
    assert!(trapped.instructions > 3 << 20);
    let Err(Trap::CalledTrap(text)) = trapped.result else {
        panic!("{:?}", trapped.result);
    };
    assert_eq!(text.len(), 16 << 10);
    assert_eq!(trapped.logs[0].len(), "[TRAP]: ".len() + text.len());
}

/// The expected limits are taken from the IC's documentation of its resource limits.
#[test]
fn messages_of_each_kind_have_the_published_limits() {
    const BILLION: u64 = 1_000_000_000;
    const GIB: u64 = 1 << 30;
    let main_limits = |limits: Limits| {
        assert_eq!(limits.instructions, limits.message_instructions);
        assert_eq!(limits.stable_accessed_bytes, limits.stable_dirtied_bytes);
        [limits.instructions, limits.stable_accessed_bytes, limits.reply_bytes]
    };
    assert_eq!(main_limits(Limits::update()), [40 * BILLION, 2 * GIB, 2 << 20]);
    assert_eq!(main_limits(Limits::query()), [5 * BILLION, GIB, 3 << 20]);
    assert_eq!(main_limits(Limits::install()), [300 * BILLION, 8 * GIB, 2 << 20]);
    assert_eq!(main_limits(Limits::inspect()), [BILLION / 5, GIB, 3 << 20]);
    assert_eq!((Limits::update().calls, Limits::update().call_bytes), (500, 2 << 20));
}

#[test]
fn a_wasm_memory_grows_to_its_limits_and_no_further() {
    let grow = |limit, desired, maximum| {
        let mut limiter = HeapLimiter { limit, largest: 300 };
        limiter.memory_growing(0, desired, maximum).map_err(|error| error.downcast::<Trap>().unwrap())
    };
    assert_eq!((grow(NO_LIMIT, 300, None), grow(NO_LIMIT, 301, None)), (Ok(true), Ok(false)));
    assert_eq!((grow(NO_LIMIT, 100, Some(100)), grow(NO_LIMIT, 101, Some(100))), (Ok(true), Ok(false)));
    assert_eq!(grow(200, 200, None), Ok(true));
    assert_eq!(grow(200, 201, None), Err(Trap::WasmMemoryLimit { limit: 200, peak: 201 }));
    assert_eq!(grow(200, 301, None), Ok(false), "growth beyond the largest memory fails without a trap");
}

#[test]
fn a_trap_without_a_message_is_logged_as_such() {
    let state = fresh_state(
        r#"(module (import "ic0" "trap" (func $trap (param i32 i32))) (memory 1)
            (func (export "canister_update trap") (call $trap (i32.const 0) (i32.const 0))))"#,
    );
    assert_eq!(update(&state, "trap").logs, [b"[TRAP]: (no message)"]);
}
