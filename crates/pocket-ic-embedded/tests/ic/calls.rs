//! Calls between canisters: replies, rejections, cleanup, cycles.

use super::common::{
    ANONYMOUS, builder, call, call_management, install_counter, install_wasm, instance, parse_u32, parse_u64,
    read_counter, wasm,
};
use candid::Principal;
use ic_management_canister_types as types;
use pocket_ic::{ErrorCode, PocketIc};

/// A canister that forwards calls. The argument of its methods is the length of the callee's id (1 byte), that id, and
/// the name of the callee's method, which is called without an argument:
///
/// * `forward` calls the callee with 1000 cycles, and returns the reply, or the reject code as one byte.
/// * `forward_trap` does the same, but traps in its reply callback; the cleanup adds 1 to the number that `read`
///   returns.
/// * `forward_trap_twice` sends no cycles, and traps in its reply callback and in its cleanup.
/// * `forward_text` sends no cycles, and returns the reply, or the text of the rejection.
/// * The composite queries `forward_query`, `query_trap_twice` and `query_text` do with queries, without cycles, what
///   `forward`, `forward_trap_twice` and `forward_text` do; `query_twice` makes two calls, and returns the first reply.
/// * `refund` returns the cycles that were refunded with the latest answer to `forward`.
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
  (import "ic0" "msg_reject_msg_size" (func $text_size (result i32)))
  (import "ic0" "msg_reject_msg_copy" (func $text_copy (param i32 i32 i32)))
  ;; Callbacks, by number: 0 to 7.
  (table funcref
    (elem $replied $rejected $replied_trap $clean $query_replied $query_rejected $clean_trap $text))
  (memory 1)
  ;; 512: the number that `read` returns. 520: the refunded cycles. 600: scratch. 4096: arguments and replies.
  (data (i32.const 640) "callback")
  (data (i32.const 648) "cleanup")
  (func $prepare (param $on_reply i32) (param $on_reject i32)
    (local $n i32)
    (call $arg_copy (i32.const 4096) (i32.const 0) (call $arg_size))
    (local.set $n (i32.load8_u (i32.const 4096)))
    (call $call_new
      (i32.const 4097) (local.get $n)
      (i32.add (i32.const 4097) (local.get $n))
      (i32.sub (i32.sub (call $arg_size) (i32.const 1)) (local.get $n))
      (local.get $on_reply) (i32.const 0) (local.get $on_reject) (i32.const 0)))
  (func $send (param $on_reply i32)
    (call $prepare (local.get $on_reply) (i32.const 1))
    (call $on_cleanup (i32.const 3) (i32.const 0))
    (call $cycles_add (i64.const 0) (i64.const 1000))
    (if (call $perform) (then unreachable)))
  (func (export "canister_update forward") (call $send (i32.const 0)))
  (func (export "canister_update forward_trap") (call $send (i32.const 2)))
  (func (export "canister_composite_query forward_query")
    (call $prepare (i32.const 4) (i32.const 5))
    (if (call $perform) (then unreachable)))
  (func $fail_twice
    (call $prepare (i32.const 2) (i32.const 1))
    (call $on_cleanup (i32.const 6) (i32.const 0))
    (if (call $perform) (then unreachable)))
  (func $tell
    (call $prepare (i32.const 4) (i32.const 7))
    (if (call $perform) (then unreachable)))
  (func (export "canister_composite_query query_twice")
    (call $tell) (call $tell))
  (export "canister_update forward_trap_twice" (func $fail_twice))
  (export "canister_composite_query query_trap_twice" (func $fail_twice))
  (export "canister_update forward_text" (func $tell))
  (export "canister_composite_query query_text" (func $tell))
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
    (call $trap (i32.const 640) (i32.const 8)))
  (func $clean_trap (param i32) (call $trap (i32.const 648) (i32.const 7)))
  (func $text (param i32)
    (call $text_copy (i32.const 4096) (i32.const 0) (call $text_size))
    (call $append (i32.const 4096) (call $text_size))
    (call $msg_reply))
  (func $clean (param i32)
    (i32.store (i32.const 512) (i32.add (i32.load (i32.const 512)) (i32.const 1)))))
"#;

/// Returns the argument with which a [`PROXY`] forwards a call.
pub fn forwarded_call(callee: Principal, method: &str) -> Vec<u8> {
    let id = callee.as_slice();
    [&[id.len() as u8], id, method.as_bytes()].concat()
}

pub fn install_proxy(pic: &PocketIc) -> Principal {
    install_wasm(pic, wasm(PROXY))
}

#[test]
fn canisters_call_each_other() {
    let pic = instance();
    let (target, proxy) = (install_counter(&pic), install_proxy(&pic));
    let answer = call(&pic, proxy, "forward", &forwarded_call(target, "inc")).unwrap();
    assert_eq!(parse_u32(&answer), 1);
    assert_eq!(read_counter(&pic, target), 1);
    let caller = call(&pic, proxy, "forward", &forwarded_call(target, "caller")).unwrap();
    assert_eq!(caller, proxy.as_slice());
    // The proxy calls its own `read`.
    let own = call(&pic, proxy, "forward", &forwarded_call(proxy, "read")).unwrap();
    assert_eq!(parse_u32(&own), 0);
}

#[test]
fn rejections_reach_the_reject_callback_with_their_code() {
    let pic = instance();
    let (target, proxy) = (install_counter(&pic), install_proxy(&pic));
    // This canister is called while it is stopped, and again once it is deleted.
    let deleted = install_counter(&pic);
    pic.stop_canister(deleted, None).unwrap();
    let stopped = call(&pic, proxy, "forward", &forwarded_call(deleted, "inc")).unwrap();
    assert_eq!(stopped, [5]);
    pic.delete_canister(deleted, None).unwrap();
    for (callee, method, code) in
        [(target, "trap_after_inc", 5), (target, "reject", 4), (target, "missing", 5), (deleted, "inc", 3)]
    {
        let answer = call(&pic, proxy, "forward", &forwarded_call(callee, method)).unwrap();
        assert_eq!(answer, [code], "{method}");
    }
    assert_eq!(read_counter(&pic, target), 0);
}

#[test]
fn cycles_are_added_and_kept() {
    let pic = instance();
    let id = install_counter(&pic);
    let before = pic.cycle_balance(id);
    assert_eq!(pic.add_cycles(id, 5), before + 5);
    call(&pic, id, "inc", &[]).unwrap();
    assert_eq!(pic.cycle_balance(id), before + 5);
}

#[test]
fn cycles_are_sent_with_calls_and_refunded() {
    let pic = instance();
    let (target, proxy) = (install_counter(&pic), install_proxy(&pic));
    let (at_target, at_proxy) = (pic.cycle_balance(target), pic.cycle_balance(proxy));
    let accepted = call(&pic, proxy, "forward", &forwarded_call(target, "accept")).unwrap();
    assert_eq!(parse_u64(&accepted), 1000);
    assert_eq!(pic.cycle_balance(target), at_target + 1000);
    assert_eq!(pic.cycle_balance(proxy), at_proxy - 1000);
    call(&pic, proxy, "forward", &forwarded_call(target, "inc")).unwrap();
    assert_eq!(pic.cycle_balance(proxy), at_proxy - 1000);
    assert_eq!(parse_u64(&call(&pic, proxy, "refund", &[]).unwrap()), 1000);
    // The cycles of a call that is rejected are refunded, too.
    call(&pic, proxy, "forward", &forwarded_call(target, "trap_after_inc")).unwrap();
    assert_eq!(pic.cycle_balance(target), at_target + 1000);
    assert_eq!(pic.cycle_balance(proxy), at_proxy - 1000);
}

/// The changes of a query that is called as an update are discarded, except the cycles that it accepts and burns.
#[test]
fn cycles_of_replicated_queries_are_taken_and_burned() {
    let pic = instance();
    let taking = wasm(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_cycles_accept128" (func $accept (param i64 i64 i32)))
            (import "ic0" "cycles_burn128" (func $burn (param i64 i64 i32)))
            (memory 1)
            (func (export "canister_query take")
                (call $accept (i64.const 0) (i64.const 600) (i32.const 0)) (call $reply))
            (func (export "canister_query burn")
                (call $burn (i64.const 0) (i64.const 50) (i32.const 0)) (call $reply))
            (func (export "canister_query take_and_trap")
                (call $accept (i64.const 0) (i64.const 600) (i32.const 0)) (unreachable)))"#,
    );
    let (target, proxy) = (install_wasm(&pic, taking), install_proxy(&pic));
    let balances = || (pic.cycle_balance(target), pic.cycle_balance(proxy));
    let (at_target, at_proxy) = balances();
    call(&pic, proxy, "forward", &forwarded_call(target, "take")).unwrap();
    assert_eq!(balances(), (at_target + 600, at_proxy - 600));
    call(&pic, target, "burn", &[]).unwrap();
    assert_eq!(balances(), (at_target + 550, at_proxy - 600));
    call(&pic, proxy, "forward", &forwarded_call(target, "take_and_trap")).unwrap();
    assert_eq!(balances(), (at_target + 550, at_proxy - 600));
}

#[test]
fn a_trap_in_a_callback_runs_the_cleanup() {
    let pic = instance();
    let (target, proxy) = (install_counter(&pic), install_proxy(&pic));
    let error = call(&pic, proxy, "forward_trap", &forwarded_call(target, "inc")).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterCalledTrap);
    // The changes by the callee and by the cleanup are kept, and the change by the callback is rolled back.
    assert_eq!(read_counter(&pic, target), 1);
    assert_eq!(read_counter(&pic, proxy), 1);
}

#[test]
fn a_trap_in_the_cleanup_is_reported_after_the_first() {
    let pic = instance();
    let (target, proxy) = (install_counter(&pic), install_proxy(&pic));
    let errors = [
        call(&pic, proxy, "forward_trap_twice", &forwarded_call(target, "inc")).unwrap_err(),
        pic.query_call(proxy, ANONYMOUS, "query_trap_twice", forwarded_call(target, "read")).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.error_code, ErrorCode::CanisterCalledTrap);
        assert_eq!(
            error.reject_message,
            format!(
                "Error from Canister {proxy}: Canister called `ic0.trap` with message: 'callback'\n\n\
                 call_on_cleanup also failed:\n\nCanister called `ic0.trap` with message: 'cleanup'"
            )
        );
    }
    assert_eq!(read_counter(&pic, proxy), 0);
}

/// As on the IC, errors of execution and of the management canister have their code in the text. Texts of the canister
/// do not, and errors of delivery do only in composite queries.
#[test]
fn rejections_reach_canisters_with_the_code_in_their_text() {
    let pic = instance();
    let (target, proxy) = (install_counter(&pic), install_proxy(&pic));
    let (stopped, deleted) = (install_counter(&pic), install_counter(&pic));
    pic.stop_canister(stopped, None).unwrap();
    pic.stop_canister(deleted, None).unwrap();
    pic.delete_canister(deleted, None).unwrap();
    // A canister id that no subnet of the instance owns.
    let nowhere = Principal::from_text("g3wsl-eqaaa-aaaan-aaaaa-cai").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    for (callee, method, wanted) in [
        (
            target,
            "trap_after_inc",
            format!("IC0503: Error from Canister {target}: Canister called `ic0.trap`"),
        ),
        (target, "missing", format!("IC0536: Error from Canister {target}: Canister has no update method")),
        (target, "no_reply", format!("IC0506: Error from Canister {target}: Canister did not reply")),
        (target, "reject", "not today".into()),
        (stopped, "inc", format!("Canister {stopped} is stopped")),
        (deleted, "inc", format!("Canister {deleted} not found")),
        (nowhere, "inc", format!("No route to canister {nowhere}")),
        (Principal::management_canister(), "start_canister", "IC0408: Error decoding candid".into()),
    ] {
        let got = text(call(&pic, proxy, "forward_text", &forwarded_call(callee, method)).unwrap());
        assert!(got.starts_with(&wanted), "{method} of {callee}: {got}");
    }
    for (callee, method, wanted) in [
        (target, "missing", format!("IC0536: Error from Canister {target}: Canister has no query method")),
        (stopped, "read", format!("IC0508: Canister {stopped} is stopped")),
        (deleted, "read", format!("IC0301: Canister {deleted} not found")),
    ] {
        let got =
            text(pic.query_call(proxy, ANONYMOUS, "query_text", forwarded_call(callee, method)).unwrap());
        assert!(got.starts_with(&wanted), "{method} of {callee}: {got}");
    }
}

#[test]
fn a_minimum_of_cycles_applies_to_calls_by_other_canisters() {
    let pic = instance();
    let (one, other) = (install_proxy(&pic), install_proxy(&pic));
    let settings = types::CanisterSettings {
        minimum_incoming_canister_call_cycles: Some(1_001u32.into()),
        ..Default::default()
    };
    let args = types::UpdateSettingsArgs { canister_id: one, settings, sender_canister_version: None };
    call_management(&pic, one, ANONYMOUS, "update_settings", candid::encode_one(args).unwrap()).unwrap();
    let before = pic.cycle_balance(other);
    // 1000 cycles are attached to each call; the cycles of a refused call are refunded.
    assert_eq!(call(&pic, other, "forward", &forwarded_call(one, "read")).unwrap(), [5]);
    assert_eq!(pic.cycle_balance(other), before);
    // The minimum does not apply to calls by users, who cannot attach cycles, nor to the canister's own calls, of
    // itself or of others.
    assert_eq!(parse_u32(&call(&pic, one, "forward", &forwarded_call(one, "read")).unwrap()), 0);
    assert_eq!(parse_u32(&call(&pic, one, "forward", &forwarded_call(other, "read")).unwrap()), 0);
}

#[test]
fn prices_are_returned_unless_cycles_are_free() {
    let module = wasm(
        r#"(module
            (import "ic0" "cost_create_canister" (func $cost (param i32)))
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (memory 1)
            (func (export "canister_query cost")
                (call $cost (i32.const 0)) (call $append (i32.const 0) (i32.const 8)) (call $reply)))"#,
    );
    for (builder, wanted) in
        [(builder().with_application_subnet(), 500_000_000_000), (builder().with_system_subnet(), 0)]
    {
        let pic = builder.build();
        let id = install_wasm(&pic, module.clone());
        assert_eq!(parse_u64(&pic.query_call(id, ANONYMOUS, "cost", vec![]).unwrap()), wanted);
    }
}

/// The random bytes are drawn in the next round, so that a caller cannot know them in the round of its request.
#[test]
fn raw_rand_is_answered_in_the_next_round() {
    let pic = instance();
    let proxy = install_proxy(&pic);
    let arg = forwarded_call(Principal::management_canister(), "raw_rand");
    let ids = [(); 2].map(|()| pic.submit_call(proxy, ANONYMOUS, "forward", arg.clone()).unwrap());
    let before = pic.cycle_balance(proxy);
    pic.tick();
    assert!(ids.iter().all(|id| pic.ingress_status(id.clone()).is_none()));
    pic.tick();
    let [one, other] = ids.map(|id| {
        let answer = pic.ingress_status(id).expect("an answer").unwrap();
        candid::decode_one::<Vec<u8>>(&answer).unwrap()
    });
    assert_eq!((one.len(), other.len()), (32, 32));
    assert_ne!(one, other, "two draws of the same round differ");
    assert_eq!(pic.cycle_balance(proxy), before);
}

#[test]
fn canisters_call_the_management_canister() {
    let pic = instance();
    let proxy = install_proxy(&pic);
    let management = Principal::management_canister();
    // The argument is empty, which is not the encoding of an empty argument list: `raw_rand` accepts it, too.
    let first = call(&pic, proxy, "forward", &forwarded_call(management, "raw_rand")).unwrap();
    let second = call(&pic, proxy, "forward", &forwarded_call(management, "raw_rand")).unwrap();
    let first: Vec<u8> = candid::decode_one(&first).unwrap();
    let second: Vec<u8> = candid::decode_one(&second).unwrap();
    assert_eq!((first.len(), second.len()), (32, 32));
    assert_ne!(first, second);
    let error = call(&pic, proxy, "forward", &forwarded_call(management, "http_request")).unwrap();
    // The reject code.
    assert_eq!(error, [4]);
    let error = call_management(&pic, proxy, ANONYMOUS, "raw_rand", vec![]).unwrap_err();
    assert!(error.reject_message.contains("Only canisters can call"), "{error}");
}

/// A one-way call names callbacks that do not exist, and the caller continues immediately.
#[test]
fn one_way_calls_are_made_without_waiting() {
    let pic = instance();
    let target = install_counter(&pic);
    let teller = install_wasm(
        &pic,
        wasm(
            r#"(module
                (import "ic0" "msg_reply" (func $reply))
                (import "ic0" "msg_arg_data_size" (func $size (result i32)))
                (import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))
                (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
                (import "ic0" "call_cycles_add128" (func $cycles (param i64 i64)))
                (import "ic0" "call_perform" (func $perform (result i32)))
                (memory 1) (data (i32.const 0) "inc")
                (func (export "canister_update tell")
                    (call $copy (i32.const 16) (i32.const 0) (call $size))
                    (call $new (i32.const 16) (call $size) (i32.const 0) (i32.const 3)
                        (i32.const -1) (i32.const -1) (i32.const -1) (i32.const -1))
                    (call $cycles (i64.const 0) (i64.const 500))
                    (if (call $perform) (then unreachable))
                    (call $reply)))"#,
        ),
    );
    let before = pic.cycle_balance(teller);
    call(&pic, teller, "tell", target.as_slice()).unwrap();
    assert_eq!(read_counter(&pic, target), 1);
    // The cycles were not accepted and are refunded; the call by the user is closed, so the teller stops immediately.
    assert_eq!(pic.cycle_balance(teller), before);
    pic.stop_canister(teller, None).unwrap();
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A call with a best-effort response has a deadline, which its callee can read; other calls have none.
#[test]
fn a_callee_reads_the_deadline_of_its_call() {
    let pic = instance();
    let module = wasm(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
            (import "ic0" "msg_deadline" (func $deadline (result i64)))
            (import "ic0" "time" (func $time (result i64)))
            (import "ic0" "canister_self_copy" (func $self_copy (param i32 i32 i32)))
            (import "ic0" "canister_self_size" (func $self_size (result i32)))
            (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
            (import "ic0" "call_with_best_effort_response" (func $best_effort (param i32)))
            (import "ic0" "call_perform" (func $perform (result i32)))
            (memory 1) (table funcref (elem $answered))
            (data (i32.const 0) "deadline")
            (func $prepare ;; begins a call of its own `deadline`
                (call $self_copy (i32.const 64) (i32.const 0) (call $self_size))
                (call $new (i32.const 64) (call $self_size) (i32.const 0) (i32.const 8)
                    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
            (func $answered (param i32)
                (call $arg (i32.const 16) (i32.const 0) (i32.const 16))
                (call $append (i32.const 16) (i32.const 16)) (call $reply))
            (func (export "canister_update deadline")
                (i64.store (i32.const 16) (call $deadline)) (i64.store (i32.const 24) (call $time))
                (call $append (i32.const 16) (i32.const 16)) (call $reply))
            (func (export "canister_update patient") (call $prepare) (drop (call $perform)))
            (func (export "canister_update impatient")
                (call $prepare) (call $best_effort (i32.const 10)) (drop (call $perform))))"#,
    );
    let id = install_wasm(&pic, module);
    let ask = |method: &str| -> Vec<u64> {
        call(&pic, id, method, &[]).unwrap().chunks(8).map(parse_u64).collect()
    };
    assert_eq!(ask("patient")[0], 0);
    let impatient = ask("impatient");
    // The answer is the deadline, and the time of the same round. The deadline is 10 seconds after this time, rounded
    // down to a whole second.
    assert_eq!(impatient[0], (impatient[1] / NANOS_PER_SECOND + 10) * NANOS_PER_SECOND);
}
