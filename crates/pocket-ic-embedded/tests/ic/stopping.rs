//! Stopping and uninstalling canisters that have calls in flight.

use super::calls::{forwarded_call, install_proxy};
use super::common::{
    ANONYMOUS, call, encode_canister_id, install_counter, install_wasm, instance, parse_u32, read_counter,
    submit_management, wasm,
};
use pocket_ic::ErrorCode;
use std::time::Duration;

#[test]
fn stopping_waits_for_open_calls() {
    let pic = instance();
    let (target, proxy) = (install_proxy(&pic), install_proxy(&pic));
    // The user's call of the proxy waits for the proxy's call of the target, which is still in the queue when the proxy
    // is stopped.
    let open = pic.submit_call(proxy, ANONYMOUS, "forward", forwarded_call(target, "read")).unwrap();
    let stop = submit_management(&pic, proxy, "stop_canister");
    let late = pic.submit_call(proxy, ANONYMOUS, "refund", vec![]).unwrap();
    pic.await_call(stop).unwrap();
    assert!(pic.await_call(open).is_ok());
    let error = pic.await_call(late).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterStopping);
}

#[test]
fn uninstalling_answers_open_calls() {
    let pic = instance();
    let (target, proxy) = (install_counter(&pic), install_proxy(&pic));
    let open = pic.submit_call(proxy, ANONYMOUS, "forward", forwarded_call(target, "inc")).unwrap();
    let uninstall = submit_management(&pic, proxy, "uninstall_code");
    pic.await_call(uninstall).unwrap();
    let error = pic.await_call(open).unwrap_err();
    assert!(error.reject_message.contains("uninstalled"), "{error}");
    assert_eq!(read_counter(&pic, target), 1);
}

/// A canister that answers with its own status: `now` does so immediately; `later` first calls `now`, and answers once
/// that call has been answered or rejected.
const OWN_STATUS: &str = r#"
(module
  (import "ic0" "canister_self_copy" (func $self_copy (param i32 i32 i32)))
  (import "ic0" "canister_self_size" (func $self_size (result i32)))
  (import "ic0" "canister_status" (func $status (result i32)))
  (import "ic0" "msg_reply" (func $msg_reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (table funcref (elem $answer))
  (memory 1)
  (data (i32.const 0) "now")
  (func $answer (param i32)
    (i32.store (i32.const 16) (call $status)) (call $append (i32.const 16) (i32.const 4)) (call $msg_reply))
  (func (export "canister_update now") (call $answer (i32.const 0)))
  (func (export "canister_update later")
    (call $self_copy (i32.const 64) (i32.const 0) (call $self_size))
    (call $call_new (i32.const 64) (call $self_size) (i32.const 0) (i32.const 3)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (drop (call $perform))))
"#;

#[test]
fn a_canister_reads_that_it_is_stopping() {
    const RUNNING: u32 = 1;
    const STOPPING: u32 = 2;
    let pic = instance();
    let id = install_wasm(&pic, wasm(OWN_STATUS));
    assert_eq!(parse_u32(&call(&pic, id, "now", &[]).unwrap()), RUNNING);
    let open = pic.submit_call(id, ANONYMOUS, "later", vec![]).unwrap();
    let stop = submit_management(&pic, id, "stop_canister");
    pic.await_call(stop).unwrap();
    assert_eq!(parse_u32(&pic.await_call(open).unwrap()), STOPPING);
}

/// A canister that calls itself endlessly: every answer and every rejection triggers the next call. After `give_up`, a
/// rejection ends the loop.
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

#[test]
fn rejections_by_uninstalling_reach_canisters_without_a_code() {
    let pic = instance();
    let (target, proxy) = (install_wasm(&pic, wasm(RESTLESS)), install_proxy(&pic));
    let open = pic.submit_call(proxy, ANONYMOUS, "forward_text", forwarded_call(target, "ping")).unwrap();
    pic.tick();
    pic.await_call(submit_management(&pic, target, "uninstall_code")).unwrap();
    assert_eq!(pic.await_call(open).unwrap(), b"Canister has been uninstalled.");
}

#[test]
fn an_endlessly_busy_canister_blocks_no_round_and_can_stop() {
    let pic = instance();
    let id = install_wasm(&pic, wasm(RESTLESS));
    let endless = pic.submit_call(id, ANONYMOUS, "ping", vec![]).unwrap();
    pic.tick();
    assert_eq!(pic.ingress_status(endless.clone()), None);
    // A start cancels this stop.
    let stop = submit_management(&pic, id, "stop_canister");
    pic.tick();
    assert_eq!(pic.ingress_status(stop.clone()), None);
    pic.await_call(submit_management(&pic, id, "start_canister")).unwrap();
    let error = pic.await_call(stop).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterStoppingCancelled);
    // A stop that nobody cancels times out, by the instance's time.
    let stop = submit_management(&pic, id, "stop_canister");
    pic.tick();
    pic.advance_time(Duration::from_secs(299));
    pic.tick();
    assert_eq!(pic.ingress_status(stop.clone()), None);
    pic.advance_time(Duration::from_secs(1));
    pic.tick();
    let error = pic.ingress_status(stop).unwrap().unwrap_err();
    assert_eq!(error.error_code, ErrorCode::StopCanisterRequestTimeout);
    pic.await_call(submit_management(&pic, id, "start_canister")).unwrap();
    call(&pic, id, "give_up", &[]).unwrap();
    // While the canister is stopping, its own calls are rejected, and the rejection ends the loop.
    pic.stop_canister(id, None).unwrap();
    let error = pic.await_call(endless).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterDidNotReply);
}

/// The answer to a call by a deleted canister must not be mistaken for an answer that a new canister with the same id
/// waits for.
#[test]
fn a_late_answer_runs_no_code_of_a_canister_with_the_same_id() {
    let pic = instance();
    let id = install_proxy(&pic);
    let restless = install_wasm(&pic, wasm(RESTLESS));
    pic.submit_call(restless, ANONYMOUS, "ping", vec![]).unwrap();
    pic.set_controllers(restless, None, vec![ANONYMOUS, id]).unwrap();
    // `restless` never finishes stopping, so a call to stop it is answered only after the time limit of a stop, five
    // minutes.
    let stopper = wasm(STOPPER);
    pic.reinstall_canister(id, stopper, vec![], None).unwrap();
    pic.submit_call(id, ANONYMOUS, "stop", encode_canister_id(restless)).unwrap();
    pic.tick();
    pic.uninstall_canister(id, None).unwrap();
    pic.stop_canister(id, None).unwrap();
    pic.delete_canister(id, None).unwrap();
    // The second canister with this id waits for an answer to its own stop call, begun half a time limit later.
    let again = pic.create_canister_with_id(None, None, id).unwrap();
    pic.install_canister(again, wasm(STOPPER), vec![], None);
    pic.advance_time(Duration::from_secs(150));
    let waiting = pic.submit_call(again, ANONYMOUS, "stop", encode_canister_id(restless)).unwrap();
    pic.tick();
    pic.advance_time(Duration::from_secs(150));
    pic.tick();
    pic.tick();
    assert_eq!(pic.ingress_status(waiting.clone()), None, "the first stop was answered, this one was not");
    pic.advance_time(Duration::from_secs(150));
    pic.tick();
    pic.tick();
    assert!(pic.ingress_status(waiting).is_some());
}

/// A canister whose `stop` passes its argument on to the management canister's `stop_canister`, and replies when that
/// call is answered.
const STOPPER: &str = r#"
(module
  (import "ic0" "msg_reply" (func $msg_reply))
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
  (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_data_append" (func $data (param i32 i32)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (table funcref (elem $answered))
  (memory 1)
  (data (i32.const 0) "stop_canister")
  (func (export "canister_update stop")
    (call $arg_copy (i32.const 64) (i32.const 0) (call $arg_size))
    (call $call_new (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 13)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (call $data (i32.const 64) (call $arg_size))
    (if (call $perform) (then (unreachable))))
  (func $answered (param i32) (call $msg_reply)))
"#;
