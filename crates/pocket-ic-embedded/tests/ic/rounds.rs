//! How many messages fit into a round, and how canisters share it.

use super::common::{ANONYMOUS, install_counter, install_wasm, instance, parse_u32, wasm};
use candid::Principal;
use pocket_ic::common::rest::RawMessageId;
use pocket_ic::{ErrorCode, PocketIc};

/// A canister whose `loop` calls its own `pong` endlessly; `answers` returns how many answers it got. `work` fills 64
/// MiB fifteen times, which takes a billion instructions, and answers how often `work` was called. `work_in_cleanup`
/// does the same work in the cleanup of a callback that traps. The heartbeat counts rounds.
const GREEDY: &str = r#"
(module
  (import "ic0" "canister_self_copy" (func $self_copy (param i32 i32 i32)))
  (import "ic0" "canister_self_size" (func $self_size (result i32)))
  (import "ic0" "msg_reply" (func $msg_reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_on_cleanup" (func $on_cleanup (param i32 i32)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (table funcref (elem $answered $never $work))
  (memory 1)
  (data (i32.const 0) "pong")
  (func $call
    (call $self_copy (i32.const 64) (i32.const 0) (call $self_size))
    (call $call_new (i32.const 64) (call $self_size) (i32.const 0) (i32.const 4)
      (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
    (if (call $perform) (then unreachable)))
  (func $count (param $at i32)
    (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (i32.const 1))))
  (func $answered (param i32) (call $count (i32.const 16)) (call $call))
  (func $never (param i32) (unreachable))
  (func (export "canister_update loop") (call $call))
  (func (export "canister_update pong") (call $msg_reply))
  (func (export "canister_heartbeat") (call $count (i32.const 20)))
  (func $work (param $n i32)
    (loop $again
      (memory.fill (i32.const 65536) (i32.const 1) (i32.const 67108864))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $n) (i32.const 15)))))
  (func (export "canister_update work")
    (call $work (i32.const 0))
    (call $count (i32.const 24)) (call $append (i32.const 24) (i32.const 4)) (call $msg_reply))
  (func (export "canister_update work_in_cleanup")
    (call $self_copy (i32.const 64) (i32.const 0) (call $self_size))
    (call $call_new (i32.const 64) (call $self_size) (i32.const 0) (i32.const 4)
      (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 0))
    (call $on_cleanup (i32.const 2) (i32.const 0))
    (if (call $perform) (then unreachable)))
  (func (export "canister_query answers") (call $append (i32.const 16) (i32.const 4)) (call $msg_reply))
  (func (export "canister_query rounds") (call $append (i32.const 20) (i32.const 4)) (call $msg_reply)))
"#;

fn install_greedy(pic: &PocketIc) -> Principal {
    install_wasm(pic, wasm(GREEDY))
}

fn start_loop(pic: &PocketIc, id: Principal) {
    pic.submit_call(id, ANONYMOUS, "loop", vec![]).unwrap();
}

/// Returns the number that the query `method` replies with.
fn count(pic: &PocketIc, id: Principal, method: &str) -> u32 {
    parse_u32(&pic.query_call(id, ANONYMOUS, method, vec![]).unwrap())
}

#[test]
fn a_loop_of_calls_does_not_starve_others() {
    let pic = instance();
    let (looping, other) = (install_greedy(&pic), install_counter(&pic));
    let others: Vec<Principal> = (0..5).map(|_| install_greedy(&pic)).collect();
    start_loop(&pic, looping);
    pic.tick();
    // A canister's share is slightly less than 3,500 messages, half of them calls and half of them answers.
    let share = count(&pic, looping, "answers");
    assert!((1_700..1_750).contains(&share), "{share}");
    let (beats, time) = (count(&pic, looping, "rounds"), pic.get_time().as_nanos_since_unix_epoch());
    for _ in 0..3 {
        pic.tick();
    }
    assert_eq!(count(&pic, looping, "rounds"), beats + 3);
    // Each round adds a nanosecond.
    assert_eq!(pic.get_time().as_nanos_since_unix_epoch(), time + 3);
    let answers = count(&pic, looping, "answers");
    assert!((4 * share - 4..=4 * share + 4).contains(&answers), "{answers}");
    // A call to another canister is answered in its first round, however many canisters are looping: together, these
    // get four shares, as many as a round has threads.
    others.iter().for_each(|id| start_loop(&pic, *id));
    pic.tick();
    let all = || -> u32 { others.iter().chain([&looping]).map(|id| count(&pic, *id, "answers")).sum() };
    let before = all();
    let message = pic.submit_call(other, ANONYMOUS, "inc", vec![]).unwrap();
    pic.tick();
    assert_eq!(parse_u32(&pic.ingress_status(message).expect("an answer").unwrap()), 1);
    let answers = all() - before;
    assert!((4 * share - 40..=4 * share + 40).contains(&answers), "{answers}, a share is {share}");
}

/// Installs a [`GREEDY`] canister with enough memory for `work`: one page, and the 64 MiB that it fills.
fn install_hard_working(pic: &PocketIc) -> Principal {
    install_wasm(pic, wasm(&GREEDY.replace("(memory 1)", "(memory 1025)")))
}

/// Submits nine calls of a method and runs a round. Returns how many calls have ended, and the ids of all nine.
fn ended_in_a_round(pic: &PocketIc, id: Principal, method: &str) -> (usize, Vec<RawMessageId>) {
    let messages: Vec<_> = (0..9).map(|_| pic.submit_call(id, ANONYMOUS, method, vec![]).unwrap()).collect();
    pic.tick();
    let ended = messages.iter().filter(|id| pic.ingress_status((*id).clone()).is_some()).count();
    (ended, messages)
}

/// Each message uses a billion instructions: seven fit into a round, and the order of all nine is kept.
#[test]
fn messages_beyond_seven_billion_instructions_wait() {
    let pic = instance();
    let id = install_hard_working(&pic);
    let (ended, messages) = ended_in_a_round(&pic, id, "work");
    assert_eq!(ended, 7);
    let answers: Vec<u32> =
        messages.into_iter().map(|message| parse_u32(&pic.await_call(message).unwrap())).collect();
    assert_eq!(answers, (1..=9).collect::<Vec<_>>());
}

#[test]
fn the_instructions_of_a_cleanup_count_in_the_round() {
    let pic = instance();
    let id = install_hard_working(&pic);
    // The calls end with an error, the trap of the callback.
    let (ended, messages) = ended_in_a_round(&pic, id, "work_in_cleanup");
    assert_eq!(ended, 7);
    for message in messages {
        let error = pic.await_call(message).unwrap_err();
        assert_eq!(error.error_code, ErrorCode::CanisterTrapped);
    }
}
