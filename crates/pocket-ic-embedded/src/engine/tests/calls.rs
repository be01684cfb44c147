//! Replies, rejects, outgoing calls, callbacks, cycles, inspection, and what the canister can read about its
//! surroundings.

use super::*;

// A canister with a method for each use and misuse of calls, answers and cycles.
const CALLS: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "msg_reject" (func $reject (param i32 i32)))
    (import "ic0" "msg_reject_code" (func $reject_code (result i32)))
    (import "ic0" "msg_reject_msg_size" (func $reject_size (result i32)))
    (import "ic0" "msg_reject_msg_copy" (func $reject_copy (param i32 i32 i32)))
    (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
    (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
    (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "ic0" "call_on_cleanup" (func $cleanup (param i32 i32)))
    (import "ic0" "call_data_append" (func $data (param i32 i32)))
    (import "ic0" "call_cycles_add" (func $add (param i64)))
    (import "ic0" "call_cycles_add128" (func $add128 (param i64 i64)))
    (import "ic0" "call_with_best_effort_response" (func $best_effort (param i32)))
    (import "ic0" "call_perform" (func $perform (result i32)))
    (import "ic0" "canister_cycle_balance" (func $balance (result i64)))
    (import "ic0" "canister_liquid_cycle_balance128" (func $liquid (param i32)))
    (import "ic0" "msg_cycles_accept" (func $accept (param i64) (result i64)))
    (import "ic0" "msg_cycles_available" (func $available (result i64)))
    (import "ic0" "cycles_burn128" (func $burn (param i64 i64 i32)))
    (memory 40) (table funcref (elem $on_reply $on_reject $on_cleanup $not_a_callback))
    (data (i32.const 0) "\01\02\03")
    (data (i32.const 10) "method")
    (data (i32.const 20) "\ff\fe")
    (func $on_reply (param $env i32)
        (i32.store (i32.const 100) (local.get $env))
        (call $arg_copy (i32.const 104) (i32.const 0) (call $arg_size))
        (call $append (i32.const 100) (i32.add (i32.const 4) (call $arg_size))) (call $reply))
    (func $on_reject (param $env i32)
        (call $reject_copy (i32.const 100) (i32.const 0) (call $reject_size))
        (i32.store8 (i32.const 99) (call $reject_code))
        (call $append (i32.const 99) (i32.add (i32.const 1) (call $reject_size))) (call $reply))
    (func $on_cleanup (param $env i32) (i32.store (i32.const 200) (local.get $env)))
    (func $not_a_callback (param i64))
    (func $prepare (call $new
        (i32.const 0) (i32.const 3) (i32.const 10) (i32.const 6)
        (i32.const 0) (i32.const 71) (i32.const 1) (i32.const 72)))
    (func (export "canister_update one")
        (call $prepare) (call $cleanup (i32.const 2) (i32.const 73))
        (call $data (i32.const 10) (i32.const 3)) (call $data (i32.const 13) (i32.const 3))
        (call $add (i64.const 400)) (call $add128 (i64.const 0) (i64.const 100))
        (call $best_effort (i32.const 1000))
        (drop (call $perform)))
    (func (export "canister_update abandoned")
        (call $prepare) (call $add (i64.const 400))
        (call $prepare) (call $add (i64.const 300))
        (i64.store (i32.const 100) (call $balance))
        (call $append (i32.const 100) (i32.const 8)) (call $reply))
    (func (export "canister_update three")
        (call $prepare) (i32.store8 (i32.const 100) (call $perform))
        (call $prepare) (i32.store8 (i32.const 101) (call $perform))
        (call $prepare) (call $add (i64.const 400)) (i32.store8 (i32.const 102) (call $perform))
        (i64.store (i32.const 103) (call $balance))
        (call $append (i32.const 100) (i32.const 11)) (call $reply))
    (func (export "canister_update perform_nothing") (drop (call $perform)))
    (func (export "canister_update add_nothing") (call $add (i64.const 1)))
    (func (export "canister_update add_too_much") (call $prepare) (call $add (i64.const 901)))
    (func (export "canister_update two_cleanups")
        (call $prepare) (call $cleanup (i32.const 2) (i32.const 0)) (call $cleanup (i32.const 2) (i32.const 0)))
    (func (export "canister_update two_timeouts")
        (call $prepare) (call $best_effort (i32.const 1)) (call $best_effort (i32.const 1)))
    (func (export "canister_update long_callee")
        (call $new (i32.const 0) (i32.const 30) (i32.const 10) (i32.const 6)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
    (func (export "canister_update two_megabytes")
        (call $prepare) (call $data (i32.const 0) (i32.const 2097152)) (drop (call $perform)))
    (func (export "canister_update too_large")
        (call $prepare) (call $data (i32.const 0) (i32.const 2097153)))
    (func (export "canister_update reject") (call $reject (i32.const 10) (i32.const 6)))
    (func (export "canister_update reject_not_text") (call $reject (i32.const 20) (i32.const 2)))
    (func (export "canister_update reject_limit") (call $reject (i32.const 300) (i32.const 2097152)))
    (func (export "canister_update reject_over") (call $reject (i32.const 300) (i32.const 2097153)))
    (func (export "canister_update attach_over_64_bits")
        (call $prepare) (call $add128 (i64.const 1) (i64.const 100)) (drop (call $perform)))
    (func (export "canister_update reply_twice") (call $reply) (call $reply))
    (func (export "canister_update append_after") (call $reply) (call $append (i32.const 0) (i32.const 1)))
    (func (export "canister_update reject_after") (call $reply) (call $reject (i32.const 10) (i32.const 6)))
    (func (export "canister_update append_only") (call $append (i32.const 0) (i32.const 1)))
    (func (export "canister_update reply_limit") (call $append (i32.const 0) (i32.const 2097152)) (call $reply))
    (func (export "canister_update reply_over")
        (call $append (i32.const 0) (i32.const 2097152)) (call $append (i32.const 0) (i32.const 1)))
    (func (export "canister_update cycles")
        (i64.store (i32.const 100) (call $accept (i64.const 30)))
        (i64.store (i32.const 108) (call $accept (i64.const 100)))
        (i64.store (i32.const 116) (call $available))
        (i64.store (i32.const 124) (call $balance))
        (call $burn (i64.const 0) (i64.const 1000000) (i32.const 132))
        (i64.store (i32.const 148) (call $balance))
        (call $liquid (i32.const 156))
        (call $append (i32.const 100) (i32.const 72)) (call $reply))
    (func (export "canister_update all_for_nothing")
        (drop (call $accept (i64.const 30))) (call $burn (i64.const 0) (i64.const 5) (i32.const 132))
        (call $prepare) (drop (call $perform)) (call $reply) (unreachable))
    (func (export "canister_update accept_after")
        (call $reply)
        (if (i64.ne (i64.const 0) (i64.or (call $available) (call $accept (i64.const 1)))) (then (unreachable)))))"#;

fn context_with_cycles() -> MessageContext {
    MessageContext { balance: 1000, frozen_balance: 100, cycles_available: 50, ..context() }
}

fn run(method: &str) -> MessageOutcome {
    run_with(method, context_with_cycles(), Limits::update())
}

fn run_with(method: &str, ctx: MessageContext, limits: Limits) -> MessageOutcome {
    let entry = EntryPoint::Update(method.into());
    ENGINE.execute(&fresh_state(CALLS), entry, ctx, limits)
}

#[test]
fn a_call_has_all_its_parts() {
    let outcome = run("one");
    assert_eq!(outcome.result, Ok(()));
    assert_eq!(outcome.reply, None);
    assert_eq!(
        outcome.calls,
        [OutgoingCall {
            callee: Principal::from_slice(&[1, 2, 3]),
            method: "method".into(),
            arg: b"method".to_vec(),
            cycles: 500,
            on_reply: (0, 71),
            on_reject: (1, 72),
            on_cleanup: Some((2, 73)),
            // The maximum; the method requests 1000.
            timeout_seconds: Some(300),
        }]
    );
}

#[test]
fn calls_that_are_not_performed_refund_their_cycles() {
    let outcome = run("abandoned");
    // The 400 of the first call are back in the balance; the second call, not yet dropped, still has its 300.
    assert_eq!(reply_u64(&outcome), 700);
    assert_eq!(outcome.calls, []);
    // Beyond the limit, `call_perform` returns 2, and the 400 of the third call are refunded.
    let limits = Limits { calls: 2, ..Limits::update() };
    let outcome = run_with("three", context_with_cycles(), limits);
    let bytes = reply(&outcome);
    assert_eq!(bytes[..3], [0, 0, 2]);
    assert_eq!(bytes[3..], 1000u64.to_le_bytes());
    assert_eq!(outcome.calls.len(), 2);
}

#[test]
fn misuse_is_a_violation() {
    for (method, text) in [
        ("perform_nothing", "ic0_call_perform called when no call is under construction."),
        ("add_nothing", "ic0_call_cycles_add called when no call is under construction."),
        ("two_cleanups", "at most once"),
        ("two_timeouts", "a timeout is already set"),
        ("long_callee", "30 bytes are not a principal"),
        ("too_large", "request payload size (2097153) cannot be larger than 2097152"),
        ("reject_not_text", "not valid UTF-8"),
        ("reply_twice", "ic0_msg_reply: the call is already replied"),
        ("append_after", "the call is already replied"),
        ("reject_after", "the call is already replied"),
        ("reply_over", "application payload size (2097153) cannot be larger than 2097152"),
    ] {
        let outcome = run(method);
        let Err(Trap::ContractViolation(got)) = &outcome.result else {
            panic!("{method}: {:?}", outcome.result);
        };
        assert!(got.contains(text), "{method}: {got}");
        assert_eq!((outcome.reply, outcome.calls), (None, vec![]), "{method}");
    }
    // Not a violation, but an error of its own.
    let trap = run("add_too_much").result.expect_err("only 900 cycles can be spent");
    assert_eq!(trap.error_code(), 207);
    assert_eq!(run("two_megabytes").calls[0].arg.len(), 2 << 20);
}

#[test]
fn a_message_responds_only_if_it_calls_reply_or_reject() {
    assert_eq!(run("reject").reply, Some(Response::Reject("method".into())));
    assert_eq!(reply(&run("reply_limit")).len(), 2 << 20);
    let outcome = run("append_only");
    assert_eq!((outcome.result, outcome.reply), (Ok(()), None));
}

#[test]
fn cycles_are_accepted_burned_and_retained() {
    let outcome = run("cycles");
    let bytes = reply(&outcome);
    // Words 40 and 64 are the upper halves of amounts of 16 bytes.
    let word =
        |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("the slice has eight bytes"));
    assert_eq!(word(0), 30);
    assert_eq!(word(8), 20, "the second call of accept takes what is left of 50");
    assert_eq!(word(16), 0);
    assert_eq!(word(24), 1050);
    assert_eq!(word(32), 950, "all but the frozen 100 are burned");
    assert_eq!(word(48), 100);
    assert_eq!(word(56), 0);
    assert_eq!((outcome.cycles_accepted, outcome.cycles_burned), (50, 950));
    let outcome = run("all_for_nothing");
    assert_eq!(outcome.result, Err(Trap::Wasm("unreachable".into())));
    assert_eq!((outcome.cycles_accepted, outcome.cycles_burned), (0, 0));
    assert_eq!((outcome.reply, outcome.calls), (None, vec![]));
    let outcome = run("accept_after");
    assert_eq!((outcome.result, outcome.cycles_accepted), (Ok(()), 0));
    // The method reads the balance with the 64-bit function.
    let large = MessageContext { balance: 1 << 70, ..context() };
    let trap = run_with("abandoned", large, Limits::update()).result;
    assert!(matches!(trap, Err(Trap::Wasm(text)) if text.contains("64 bit cycles api")));
}

fn run_callback(entry: EntryPoint, ctx: MessageContext) -> MessageOutcome {
    ENGINE.execute(&fresh_state(CALLS), entry, ctx, Limits::update())
}

#[test]
fn callbacks_receive_the_response_and_their_environment() {
    let outcome = run_callback(EntryPoint::ReplyCallback { fun: 0, env: 71 }, context_with_arg(b"answer"));
    // 0x47 is 71, the environment.
    assert_eq!(reply(&outcome), b"\x47\0\0\0answer");
    let rejected = MessageContext { reject_code: 4, reject_message: "no".into(), ..context() };
    let entry = EntryPoint::RejectCallback { fun: 1, env: 72 };
    assert_eq!(reply(&run_callback(entry.clone(), rejected.clone())), b"\x04no");
    let responded = MessageContext { responded: true, ..rejected };
    let trap = run_callback(entry.clone(), responded).result;
    assert!(matches!(trap, Err(Trap::ContractViolation(text)) if text.contains("already replied")));
    let trap = run_callback(entry, context()).result;
    assert!(matches!(trap, Err(Trap::ContractViolation(text)) if text.contains("no reject message")));
    let outcome = run_callback(EntryPoint::CleanupCallback { fun: 2, env: 73 }, context());
    assert_eq!(outcome.state.heap().read(200, 4), Some(vec![73, 0, 0, 0]));
}

#[test]
fn callbacks_that_do_not_exist_trap() {
    for fun in [4, 5, u32::MAX] {
        let trap = run_callback(EntryPoint::ReplyCallback { fun, env: 0 }, context()).result;
        assert_eq!(trap, Err(Trap::FunctionNotFound { table: 0, index: fun }));
    }
    // Number 3 exists, but takes a 64-bit parameter.
    let trap = run_callback(EntryPoint::ReplyCallback { fun: 3, env: 0 }, context()).result;
    assert!(matches!(trap, Err(Trap::ContractViolation(text)) if text.contains("type mismatch")));
}

/// A canister that replies with everything that it can learn about itself and the message.
const INTROSPECTION: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "msg_caller_size" (func $caller_size (result i32)))
    (import "ic0" "msg_caller_copy" (func $caller_copy (param i32 i32 i32)))
    (import "ic0" "canister_self_size" (func $self_size (result i32)))
    (import "ic0" "canister_self_copy" (func $self_copy (param i32 i32 i32)))
    (import "ic0" "time" (func $time (result i64)))
    (import "ic0" "canister_version" (func $version (result i64)))
    (import "ic0" "canister_status" (func $status (result i32)))
    (import "ic0" "in_replicated_execution" (func $replicated (result i32)))
    (import "ic0" "is_controller" (func $is_controller (param i32 i32) (result i32)))
    (import "ic0" "data_certificate_present" (func $certificate (result i32)))
    (import "ic0" "env_var_count" (func $count (result i32)))
    (import "ic0" "env_var_name_size" (func $name_size (param i32) (result i32)))
    (import "ic0" "env_var_name_copy" (func $name_copy (param i32 i32 i32 i32)))
    (import "ic0" "env_var_name_exists" (func $exists (param i32 i32) (result i32)))
    (import "ic0" "env_var_value_size" (func $value_size (param i32 i32) (result i32)))
    (import "ic0" "env_var_value_copy" (func $value_copy (param i32 i32 i32 i32 i32)))
    (import "ic0" "global_timer_set" (func $timer (param i64) (result i64)))
    (import "ic0" "certified_data_set" (func $certify (param i32 i32)))
    (import "ic0" "accept_message" (func $accept))
    (import "ic0" "msg_method_name_size" (func $method_size (result i32)))
    (import "ic0" "msg_method_name_copy" (func $method_copy (param i32 i32 i32)))
    (memory 1)
    (func (export "canister_update who")
        (call $caller_copy (i32.const 0) (i32.const 0) (call $caller_size))
        (call $self_copy (i32.const 29) (i32.const 0) (call $self_size))
        (call $append (i32.const 0) (i32.const 39)) (call $reply))
    (func $state
        (i64.store (i32.const 0) (call $time))
        (i64.store (i32.const 8) (call $version))
        (i32.store8 (i32.const 16) (call $status))
        (i32.store8 (i32.const 17) (call $replicated))
        (i32.store8 (i32.const 18) (call $is_controller (i32.const 100) (i32.const 1)))
        (i32.store8 (i32.const 100) (i32.const 9))
        (i32.store8 (i32.const 19) (call $is_controller (i32.const 100) (i32.const 1)))
        (i32.store8 (i32.const 20) (call $certificate))
        (call $append (i32.const 0) (i32.const 21)) (call $reply))
    (func (export "canister_update state") (call $state))
    (func (export "canister_query state_query") (call $state))
    (func (export "canister_update environment")
        (call $name_copy (i32.const 1) (i32.const 0) (i32.const 0) (call $name_size (i32.const 1)))
        (call $value_copy (i32.const 0) (call $name_size (i32.const 1)) (i32.const 10) (i32.const 1)
            (i32.sub (call $value_size (i32.const 0) (call $name_size (i32.const 1))) (i32.const 1)))
        (i32.store8 (i32.const 20) (call $count))
        (i32.store8 (i32.const 21) (call $exists (i32.const 0) (i32.const 2)))
        (i32.store8 (i32.const 22) (call $exists (i32.const 0) (i32.const 1)))
        (call $append (i32.const 0) (i32.const 23)) (call $reply))
    (func (export "canister_update no_such_variable") (drop (call $value_size (i32.const 0) (i32.const 1))))
    (func (export "canister_update no_such_index") (drop (call $name_size (i32.const 2))))
    (func (export "canister_update timer")
        (i64.store (i32.const 0) (call $timer (i64.const 7)))
        (i64.store (i32.const 8) (call $timer (i64.const 0)))
        (call $append (i32.const 0) (i32.const 16)) (call $reply))
    (func (export "canister_update certify") (call $certify (i32.const 0) (i32.const 32)))
    (func (export "canister_update certify_too_much") (call $certify (i32.const 0) (i32.const 33)))
    ;; Accepts a method once if its name begins with "y", and twice if it begins with "t".
    (func (export "canister_inspect_message")
        (call $method_copy (i32.const 0) (i32.const 0) (call $method_size))
        (if (i32.eq (i32.load8_u (i32.const 0)) (i32.const 0x79)) (then (call $accept)))
        (if (i32.eq (i32.load8_u (i32.const 0)) (i32.const 0x74)) (then (call $accept) (call $accept)))))"#;

#[test]
fn a_message_reads_its_caller_canister_and_environment() {
    let state = fresh_state(INTROSPECTION);
    assert_eq!(reply(&update(&state, "who")), [caller().as_slice(), canister_id().as_slice()].concat());
    let ctx = MessageContext {
        canister_version: 77,
        status: CanisterRunStatus::Stopping,
        controllers: vec![caller(), Principal::from_slice(&[9])],
        global_timer: 5,
        environment: vec![("a".into(), "b".into()), ("XY".into(), "value".into())],
        ..context()
    };
    let run = |entry| ENGINE.execute(&state, entry, ctx.clone(), Limits::update());
    let update = |method: &str| run(EntryPoint::Update(method.into()));
    let mut expected = context().time_nanos.to_le_bytes().to_vec();
    expected.extend(77u64.to_le_bytes());
    // The status, `in_replicated_execution`, the two answers of `is_controller`, and whether there is a certificate.
    expected.extend([2, 1, 0, 1, 0]);
    assert_eq!(reply(&update("state")), expected);
    // A query is not replicated.
    expected[17] = 0;
    assert_eq!(reply(&run(EntryPoint::Query("state_query".into()))), expected);
    // Name 1; its value without the first byte, at 10; the number of variables; whether `XY` and `X` exist.
    assert_eq!(reply(&update("environment")), b"XY\0\0\0\0\0\0\0\0alue\0\0\0\0\0\0\x02\x01\x00");
    for method in ["no_such_variable", "no_such_index", "certify_too_much"] {
        let trap = update(method).result.expect_err(method);
        assert_eq!(trap.error_code(), 504, "{method}");
    }
    let outcome = update("timer");
    assert_eq!(reply(&outcome)[..8], 5u64.to_le_bytes());
    assert_eq!(reply(&outcome)[8..], 7u64.to_le_bytes());
    assert_eq!(outcome.global_timer, Some(0));
    assert_eq!(update("who").global_timer, None);
    assert_eq!(update("certify").certified_data, Some(vec![0; 32]));
    assert_eq!(update("who").certified_data, None);
}

#[test]
fn a_call_is_accepted_if_inspect_message_accepts_it_once() {
    let state = fresh_state(INTROSPECTION);
    let inspect = |method: &str| {
        let ctx = MessageContext { method: method.into(), ..context() };
        ENGINE.execute(&state, EntryPoint::InspectMessage, ctx, Limits::inspect())
    };
    assert!(inspect("yes").message_accepted);
    assert!(!inspect("no").message_accepted);
    let twice = inspect("twice");
    assert!(twice.result.is_err());
    assert!(!twice.message_accepted);
}

#[test]
fn a_call_takes_all_that_can_be_spent_and_no_more() {
    let with = |balance| {
        let outcome = run_with("one", MessageContext { balance, ..context_with_cycles() }, Limits::update());
        (outcome.result, outcome.calls.iter().map(|call| call.cycles).collect::<Vec<_>>())
    };
    assert_eq!(with(600), (Ok(()), vec![500]), "all but the frozen 100 can be attached");
    // The method attaches 400 cycles, and then 100.
    let (result, calls) = with(599);
    assert!(matches!(result, Err(Trap::OutOfCycles { requested: 100, available: 99, .. })), "{result:?}");
    assert!(calls.is_empty(), "{calls:?}");
}

#[test]
fn cycles_beyond_64_bits_are_joined_from_two_halves() {
    let rich = MessageContext { balance: 1 << 70, ..context_with_cycles() };
    let outcome = run_with("attach_over_64_bits", rich, Limits::update());
    assert_eq!(outcome.calls.first().map(|call| call.cycles), Some((1 << 64) + 100));
}

#[test]
fn a_method_name_is_as_long_as_its_limit_at_most() {
    let with = |method_name_bytes| {
        run_with("one", context_with_cycles(), Limits { method_name_bytes, ..Limits::update() }).result
    };
    assert_eq!(with(6), Ok(()));
    let refused = format!("{:?}", with(5));
    assert!(refused.contains("Size of method_name 6 exceeds the allowed limit of 5."), "{refused}");
}

#[test]
fn a_reject_is_as_long_as_a_reply_at_most() {
    let outcome = run("reject_limit");
    assert!(matches!(outcome.reply, Some(Response::Reject(text)) if text.len() == 2 << 20));
    let refused = format!("{:?}", run("reject_over").result);
    assert!(
        refused.contains("application payload size (2097153) cannot be larger than 2097152"),
        "{refused}"
    );
}
