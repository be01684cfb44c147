//! Submitting and awaiting, time, timers, cycles, and calls between canisters.

mod common;

use candid::Principal;
use common::{builder, counter, instance, long, number, user, wasm};
use pocket_ic::common::rest::RawEffectivePrincipal;
use pocket_ic::{ErrorCode, IngressStatusResult, PocketIc, RejectResponse, Time};
use std::time::Duration;

const ANONYMOUS: Principal = Principal::anonymous();
const GENESIS: u64 = 1_620_328_630_000_000_000;

fn installed(pic: &PocketIc) -> Principal {
    let id = pic.create_canister();
    pic.install_canister(id, counter(), vec![], None);
    id
}

fn call(pic: &PocketIc, id: Principal, method: &str, arg: &[u8]) -> Result<Vec<u8>, RejectResponse> {
    pic.update_call(id, ANONYMOUS, method, arg.to_vec())
}

fn read(pic: &PocketIc, id: Principal) -> u32 {
    number(&pic.query_call(id, ANONYMOUS, "read", vec![]).unwrap())
}

fn query_time(pic: &PocketIc, id: Principal) -> u64 {
    long(&pic.query_call(id, ANONYMOUS, "now", vec![]).unwrap())
}

fn nanos(pic: &PocketIc) -> u64 {
    pic.get_time().as_nanos_since_unix_epoch()
}

#[test]
fn time_is_set_and_moves_by_rounds() {
    let pic = instance();
    assert_eq!(nanos(&pic), GENESIS + 1);
    let id = installed(&pic);
    let target = GENESIS + 1_000_000_000;
    pic.set_time(Time::from_nanos_since_unix_epoch(target));
    assert_eq!(nanos(&pic), target);
    assert!(query_time(&pic, id) < target);
    pic.tick();
    assert_eq!(nanos(&pic), target);
    assert_eq!(query_time(&pic, id), target);
    pic.tick();
    assert_eq!(nanos(&pic), target + 1);
    let certified = target + 500;
    pic.set_certified_time(Time::from_nanos_since_unix_epoch(certified));
    assert_eq!(query_time(&pic, id), certified);
    pic.tick();
    assert_eq!(query_time(&pic, id), certified + 1);
    pic.advance_time(Duration::from_secs(3));
    assert_eq!(nanos(&pic), certified + 1 + 3_000_000_000);
}

#[test]
fn the_initial_time_is_taken() {
    let pic = builder()
        .with_application_subnet()
        .with_initial_time(Time::from_nanos_since_unix_epoch(GENESIS + 77))
        .build();
    assert_eq!(nanos(&pic), GENESIS + 78);
}

#[test]
#[should_panic(expected = "must be no earlier than")]
fn an_initial_time_before_the_first_is_refused() {
    builder().with_application_subnet().with_initial_time(Time::from_nanos_since_unix_epoch(5)).build();
}

#[test]
#[should_panic(expected = "SettingTimeIntoPast")]
fn time_does_not_go_back() {
    let pic = instance();
    pic.set_time(Time::from_nanos_since_unix_epoch(GENESIS));
}

#[test]
fn submitted_calls_run_together_and_keep_their_answers() {
    let pic = instance();
    let id = installed(&pic);
    let submit = || pic.submit_call(id, user(1), "now_update", vec![]).unwrap();
    let (first, second) = (submit(), submit());
    assert_ne!(first.message_id, second.message_id);
    assert_eq!(pic.ingress_status(first.clone()), None);
    let at_first = long(&pic.await_call(first.clone()).unwrap());
    let at_second = long(&pic.await_call(second).unwrap());
    assert_eq!(at_first, at_second);
    let later = long(&pic.await_call(submit()).unwrap());
    assert!(later > at_first);
    assert_eq!(pic.ingress_status(first.clone()), Some(Ok(at_first.to_le_bytes().to_vec())));
    assert!(matches!(
        pic.ingress_status_as(first.clone(), user(2)),
        IngressStatusResult::Forbidden(text) if text.contains("not signed by the caller")
    ));
    assert!(matches!(pic.ingress_status_as(first, user(1)), IngressStatusResult::Success(Ok(_))));
    let failing = pic.submit_call(id, user(1), "unreachable", vec![]).unwrap();
    let error = pic.await_call(failing.clone()).unwrap_err();
    assert_eq!(pic.ingress_status(failing), Some(Err(error)));
}

#[test]
fn a_tick_executes_what_is_submitted() {
    let pic = instance();
    let id = installed(&pic);
    let message = pic.submit_call(id, ANONYMOUS, "inc", vec![]).unwrap();
    assert_eq!(read(&pic, id), 0);
    pic.tick();
    assert_eq!(read(&pic, id), 1);
    assert_eq!(pic.await_call_no_ticks(message), Ok(1u32.to_le_bytes().to_vec()));
}

#[test]
fn the_global_timer_fires_once_when_it_is_due() {
    let pic = instance();
    let id = installed(&pic);
    let due = nanos(&pic) + 10_000_000_000;
    call(&pic, id, "set_timer", &due.to_le_bytes()).unwrap();
    pic.tick();
    assert_eq!(read(&pic, id), 0);
    pic.advance_time(Duration::from_secs(10));
    assert_eq!(read(&pic, id), 0);
    pic.tick();
    assert_eq!(read(&pic, id), 100);
    pic.tick();
    pic.tick();
    assert_eq!(read(&pic, id), 100);
}

#[test]
fn an_upgrade_and_a_stop_hold_the_timer() {
    let pic = instance();
    let id = installed(&pic);
    let due = nanos(&pic) + 1_000_000_000;
    call(&pic, id, "set_timer", &due.to_le_bytes()).unwrap();
    pic.upgrade_canister(id, counter(), vec![], None).unwrap();
    pic.advance_time(Duration::from_secs(2));
    pic.tick();
    assert_eq!(read(&pic, id), 0);
    let due = nanos(&pic) + 1_000_000_000;
    call(&pic, id, "set_timer", &due.to_le_bytes()).unwrap();
    pic.stop_canister(id, None).unwrap();
    pic.advance_time(Duration::from_secs(2));
    pic.tick();
    pic.start_canister(id, None).unwrap();
    pic.tick();
    assert_eq!(read(&pic, id), 100);
}

#[test]
fn heartbeats_come_with_every_round() {
    let pic = instance();
    let id = pic.create_canister();
    let beating = wasm(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (memory 1)
            (func (export "canister_heartbeat")
                (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))))
            (func (export "canister_query read")
                (call $append (i32.const 0) (i32.const 4)) (call $reply)))"#,
    );
    pic.install_canister(id, beating, vec![], None);
    let before = read(&pic, id);
    for _ in 0..3 {
        pic.tick();
    }
    assert_eq!(read(&pic, id), before + 3);
}

#[test]
fn cycles_are_added_and_kept() {
    let pic = instance();
    let id = installed(&pic);
    let before = pic.cycle_balance(id);
    assert_eq!(pic.add_cycles(id, 5), before + 5);
    call(&pic, id, "inc", &[]).unwrap();
    assert_eq!(pic.cycle_balance(id), before + 5);
}

#[test]
fn time_goes_on_by_itself_while_auto_progress_is_on() {
    let pic = instance();
    let id = installed(&pic);
    let due = 1u64;
    call(&pic, id, "set_timer", &due.to_le_bytes()).unwrap();
    pic.auto_progress();
    assert!(pic.auto_progress_enabled());
    assert!(nanos(&pic) > GENESIS + 1_000_000_000_000);
    let message = pic.submit_call(id, ANONYMOUS, "inc", vec![]).unwrap();
    pic.await_call_no_ticks(message).unwrap();
    assert_eq!(read(&pic, id), 101);
    pic.stop_progress();
    assert!(!pic.auto_progress_enabled());
    let stopped = nanos(&pic);
    assert_eq!(nanos(&pic), stopped);
}

/// Forwards: `forward` calls the method named by the rest of its argument (after a 1-byte length and the callee's id)
/// of the callee with 1000 cycles, and answers what comes back: the reply, or the reject code as one byte.
/// `forward_trap` does the same but traps in its reply callback, whose cleanup adds 1 to the number `read` answers.
const PROXY: &str = r#"
(module
  (import "ic0" "msg_reply" (func $msg_reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
  (import "ic0" "msg_reject_code" (func $reject_code (result i32)))
  (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_on_cleanup" (func $on_cleanup (param i32 i32)))
  (import "ic0" "call_cycles_add128" (func $cycles_add (param i64 i64)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (import "ic0" "msg_cycles_refunded128" (func $refunded (param i32)))
  (import "ic0" "trap" (func $trap (param i32 i32)))
  (table funcref (elem $replied $rejected $replied_trap $clean $query_replied $query_rejected))
  (memory 1)
  (func $send (param $on_reply i32)
    (local $n i32)
    (call $arg_copy (i32.const 4096) (i32.const 0) (call $arg_size))
    (local.set $n (i32.load8_u (i32.const 4096)))
    (call $call_new
      (i32.const 4097) (local.get $n)
      (i32.add (i32.const 4097) (local.get $n))
      (i32.sub (i32.sub (call $arg_size) (i32.const 1)) (local.get $n))
      (local.get $on_reply) (i32.const 0)
      (i32.const 1) (i32.const 0))
    (call $on_cleanup (i32.const 3) (i32.const 0))
    (call $cycles_add (i64.const 0) (i64.const 1000))
    (if (call $perform) (then unreachable)))
  (func (export "canister_update forward") (call $send (i32.const 0)))
  (func (export "canister_update forward_trap") (call $send (i32.const 2)))
  (func (export "canister_composite_query forward_query")
    (local $n i32)
    (call $arg_copy (i32.const 4096) (i32.const 0) (call $arg_size))
    (local.set $n (i32.load8_u (i32.const 4096)))
    (call $call_new
      (i32.const 4097) (local.get $n)
      (i32.add (i32.const 4097) (local.get $n))
      (i32.sub (i32.sub (call $arg_size) (i32.const 1)) (local.get $n))
      (i32.const 4) (i32.const 0) (i32.const 5) (i32.const 0))
    (if (call $perform) (then unreachable)))
  (func (export "canister_query read")
    (call $append (i32.const 512) (i32.const 4)) (call $msg_reply))
  (func (export "canister_update refund")
    (call $append (i32.const 520) (i32.const 8)) (call $msg_reply))
  (func $replied (param i32)
    (call $refunded (i32.const 520))
    (call $query_replied (local.get 0)))
  (func $query_replied (param i32)
    (call $arg_copy (i32.const 4096) (i32.const 0) (call $arg_size))
    (call $append (i32.const 4096) (call $arg_size))
    (call $msg_reply))
  (func $rejected (param i32)
    (call $refunded (i32.const 520))
    (call $query_rejected (local.get 0)))
  (func $query_rejected (param i32)
    (i32.store8 (i32.const 600) (call $reject_code))
    (call $append (i32.const 600) (i32.const 1))
    (call $msg_reply))
  (func $replied_trap (param i32)
    (i32.store (i32.const 512) (i32.const 77))
    (call $trap (i32.const 0) (i32.const 0)))
  (func $clean (param i32)
    (i32.store (i32.const 512) (i32.add (i32.load (i32.const 512)) (i32.const 1)))))
"#;

/// The argument of the proxy's methods.
fn to(callee: Principal, method: &str) -> Vec<u8> {
    let id = callee.as_slice();
    [&[id.len() as u8], id, method.as_bytes()].concat()
}

fn proxy(pic: &PocketIc) -> Principal {
    let id = pic.create_canister();
    pic.install_canister(id, wasm(PROXY), vec![], None);
    id
}

#[test]
fn canisters_call_each_other() {
    let pic = instance();
    let (target, proxy) = (installed(&pic), proxy(&pic));
    let answer = call(&pic, proxy, "forward", &to(target, "inc")).unwrap();
    assert_eq!(number(&answer), 1);
    assert_eq!(read(&pic, target), 1);
    // The canister is the caller now.
    let caller = call(&pic, proxy, "forward", &to(target, "caller")).unwrap();
    assert_eq!(caller, proxy.as_slice());
    // A call to itself.
    let own = call(&pic, proxy, "forward", &to(proxy, "read")).unwrap();
    assert_eq!(number(&own), 0);
}

#[test]
fn rejections_reach_the_reject_callback_with_their_code() {
    let pic = instance();
    let (target, proxy) = (installed(&pic), proxy(&pic));
    let deleted = installed(&pic);
    pic.stop_canister(deleted, None).unwrap();
    let stopped = call(&pic, proxy, "forward", &to(deleted, "inc")).unwrap();
    assert_eq!(stopped, [5]);
    pic.delete_canister(deleted, None).unwrap();
    for (callee, method, code) in
        [(target, "trap_after_inc", 5), (target, "reject", 4), (target, "missing", 5), (deleted, "inc", 3)]
    {
        let answer = call(&pic, proxy, "forward", &to(callee, method)).unwrap();
        assert_eq!(answer, [code], "{method}");
    }
    assert_eq!(read(&pic, target), 0);
}

#[test]
fn cycles_travel_with_calls_and_come_back() {
    let pic = instance();
    let (target, proxy) = (installed(&pic), proxy(&pic));
    let (at_target, at_proxy) = (pic.cycle_balance(target), pic.cycle_balance(proxy));
    let accepted = call(&pic, proxy, "forward", &to(target, "accept")).unwrap();
    assert_eq!(long(&accepted), 1000);
    assert_eq!(pic.cycle_balance(target), at_target + 1000);
    assert_eq!(pic.cycle_balance(proxy), at_proxy - 1000);
    call(&pic, proxy, "forward", &to(target, "inc")).unwrap();
    assert_eq!(pic.cycle_balance(proxy), at_proxy - 1000);
    assert_eq!(long(&call(&pic, proxy, "refund", &[]).unwrap()), 1000);
    call(&pic, proxy, "forward", &to(target, "trap_after_inc")).unwrap();
    assert_eq!(pic.cycle_balance(target), at_target + 1000);
    assert_eq!(pic.cycle_balance(proxy), at_proxy - 1000);
}

#[test]
fn a_trap_in_a_callback_runs_the_cleanup() {
    let pic = instance();
    let (target, proxy) = (installed(&pic), proxy(&pic));
    let error = call(&pic, proxy, "forward_trap", &to(target, "inc")).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterCalledTrap);
    // The callee's work stays, the callback's write is gone, the cleanup's is there.
    assert_eq!(read(&pic, target), 1);
    assert_eq!(read(&pic, proxy), 1);
}

#[test]
fn canisters_call_the_management_canister() {
    let pic = instance();
    let proxy = proxy(&pic);
    let management = Principal::management_canister();
    // An empty argument is not what raw_rand takes, but it takes none at all.
    let first = call(&pic, proxy, "forward", &to(management, "raw_rand")).unwrap();
    let second = call(&pic, proxy, "forward", &to(management, "raw_rand")).unwrap();
    let first: Vec<u8> = candid::decode_one(&first).unwrap();
    let second: Vec<u8> = candid::decode_one(&second).unwrap();
    assert_eq!((first.len(), second.len()), (32, 32));
    assert_ne!(first, second);
    let error = call(&pic, proxy, "forward", &to(management, "http_request")).unwrap();
    assert_eq!(error, [4]);
    let place = RawEffectivePrincipal::CanisterId(proxy.as_slice().to_vec());
    let error = pic
        .update_call_with_effective_principal(management, place, ANONYMOUS, "raw_rand", vec![])
        .unwrap_err();
    assert!(error.reject_message.contains("Only canisters can call"), "{error}");
}

#[test]
fn composite_queries_ask_other_canisters() {
    let pic = instance();
    let (target, proxy) = (installed(&pic), proxy(&pic));
    call(&pic, target, "inc", &[]).unwrap();
    let answer = pic.query_call(proxy, ANONYMOUS, "forward_query", to(target, "read")).unwrap();
    assert_eq!(number(&answer), 1);
    let looped = pic.query_call(proxy, ANONYMOUS, "forward_query", to(proxy, "read")).unwrap();
    assert_eq!(looped, [5]);
    let error = call(&pic, proxy, "forward_query", &to(target, "read")).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CompositeQueryCalledInReplicatedMode);
}

#[test]
fn stopping_waits_for_open_calls() {
    let pic = instance();
    let (target, proxy) = (proxy(&pic), proxy(&pic));
    // The outer call waits for the inner one, which is still in the queue when the stop comes.
    let open = pic.submit_call(proxy, ANONYMOUS, "forward", to(target, "read")).unwrap();
    let stop = pic
        .submit_call_with_effective_principal(
            Principal::management_canister(),
            RawEffectivePrincipal::CanisterId(proxy.as_slice().to_vec()),
            ANONYMOUS,
            "stop_canister",
            candid::encode_one(ic_management_canister_types::CanisterIdRecord { canister_id: proxy })
                .unwrap(),
        )
        .unwrap();
    let late = pic.submit_call(proxy, ANONYMOUS, "refund", vec![]).unwrap();
    pic.await_call(stop).unwrap();
    assert!(pic.await_call(open).is_ok());
    let error = pic.await_call(late).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterStopping);
}

#[test]
fn uninstalling_answers_open_calls() {
    let pic = instance();
    let (target, proxy) = (installed(&pic), proxy(&pic));
    let open = pic.submit_call(proxy, ANONYMOUS, "forward", to(target, "inc")).unwrap();
    let uninstall = pic
        .submit_call_with_effective_principal(
            Principal::management_canister(),
            RawEffectivePrincipal::CanisterId(proxy.as_slice().to_vec()),
            ANONYMOUS,
            "uninstall_code",
            candid::encode_one(ic_management_canister_types::CanisterIdRecord { canister_id: proxy })
                .unwrap(),
        )
        .unwrap();
    pic.await_call(uninstall).unwrap();
    let error = pic.await_call(open).unwrap_err();
    assert!(error.reject_message.contains("uninstalled"), "{error}");
    assert_eq!(read(&pic, target), 1);
}

/// Calls itself without an end: every answer leads to the next call, until `give_up` was called; then a rejection ends it.
const RESTLESS: &str = r#"
(module
  (import "ic0" "canister_self_copy" (func $self_copy (param i32 i32 i32)))
  (import "ic0" "canister_self_size" (func $self_size (result i32)))
  (import "ic0" "msg_reply" (func $msg_reply))
  (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (table funcref (elem $again $rejected))
  (memory 1)
  (data (i32.const 0) "pong")
  (func $call
    (call $self_copy (i32.const 64) (i32.const 0) (call $self_size))
    (call $call_new (i32.const 64) (call $self_size) (i32.const 0) (i32.const 4)
      (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
    (drop (call $perform)))
  (func $again (param i32) (call $call))
  (func $rejected (param i32)
    (if (i32.eqz (i32.load (i32.const 128))) (then (call $call))))
  (func (export "canister_update give_up")
    (i32.store (i32.const 128) (i32.const 1)) (call $msg_reply))
  (func (export "canister_update ping") (call $call))
  (func (export "canister_update pong") (call $msg_reply)))
"#;

fn management_call(pic: &PocketIc, id: Principal, method: &str) -> pocket_ic::common::rest::RawMessageId {
    pic.submit_call_with_effective_principal(
        Principal::management_canister(),
        RawEffectivePrincipal::CanisterId(id.as_slice().to_vec()),
        ANONYMOUS,
        method,
        candid::encode_one(ic_management_canister_types::CanisterIdRecord { canister_id: id }).unwrap(),
    )
    .unwrap()
}

#[test]
fn a_canister_that_never_rests_holds_up_neither_rounds_nor_stopping() {
    let pic = instance();
    let id = pic.create_canister();
    pic.install_canister(id, wasm(RESTLESS), vec![], None);
    let endless = pic.submit_call(id, ANONYMOUS, "ping", vec![]).unwrap();
    pic.tick();
    assert_eq!(pic.ingress_status(endless.clone()), None);
    // A stop that is taken back by a start.
    let stop = management_call(&pic, id, "stop_canister");
    pic.tick();
    assert_eq!(pic.ingress_status(stop.clone()), None);
    pic.await_call(management_call(&pic, id, "start_canister")).unwrap();
    let error = pic.await_call(stop).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterStoppingCancelled);
    // Or one that nobody takes back: it ends when it has waited too long, by the instance's time.
    let stop = management_call(&pic, id, "stop_canister");
    pic.tick();
    pic.advance_time(Duration::from_secs(299));
    pic.tick();
    assert_eq!(pic.ingress_status(stop.clone()), None);
    pic.advance_time(Duration::from_secs(1));
    pic.tick();
    let error = pic.ingress_status(stop).unwrap().unwrap_err();
    assert_eq!(error.error_code, ErrorCode::StopCanisterRequestTimeout);
    pic.await_call(management_call(&pic, id, "start_canister")).unwrap();
    call(&pic, id, "give_up", &[]).unwrap();
    // While it stops, its own calls are refused, so that the rejection ends it.
    pic.stop_canister(id, None).unwrap();
    let error = pic.await_call(endless).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterDidNotReply);
}

#[test]
fn the_hook_for_low_memory_runs_once_memory_is_low() {
    let pic = instance();
    let id = pic.create_canister();
    let growing = wasm(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (memory 1)
            (func (export "canister_on_low_wasm_memory")
                (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))))
            (func (export "canister_update grow") (drop (memory.grow (i32.const 4))) (call $reply))
            (func (export "canister_query read")
                (call $append (i32.const 0) (i32.const 4)) (call $reply)))"#,
    );
    pic.install_canister(id, growing, vec![], None);
    let page = 65_536u64;
    pic.update_canister_settings(
        id,
        None,
        ic_management_canister_types::CanisterSettings {
            wasm_memory_limit: Some((20 * page).into()),
            wasm_memory_threshold: Some((12 * page).into()),
            ..Default::default()
        },
    )
    .unwrap();
    call(&pic, id, "grow", &[]).unwrap();
    pic.tick();
    assert_eq!(read(&pic, id), 0);
    call(&pic, id, "grow", &[]).unwrap();
    pic.tick();
    assert_eq!(read(&pic, id), 1);
    call(&pic, id, "grow", &[]).unwrap();
    pic.tick();
    pic.tick();
    assert_eq!(read(&pic, id), 1);
    let error = (0..3).find_map(|_| call(&pic, id, "grow", &[]).err());
    assert_eq!(error.map(|error| error.error_code), Some(ErrorCode::CanisterWasmMemoryLimitExceeded));
}
