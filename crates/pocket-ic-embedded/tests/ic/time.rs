//! Time, and the code that runs without a call: timers, heartbeats, the low-memory hook, automatic progress.

use super::common::{
    ANONYMOUS, builder, call, counter, install_counter, install_wasm, instance, parse_u64, query_number,
    read_counter, wait_for, wasm,
};
use candid::Principal;
use pocket_ic::{CanisterSettings, ErrorCode, PocketIc, Time};
use std::time::Duration;

/// The initial time of an instance, in nanoseconds since 1970, unless another is set. Creating the instance adds a
/// nanosecond.
const GENESIS: u64 = 1_620_328_630_000_000_000;

/// Returns the time that a query sees, which is that of the last round.
fn query_time(pic: &PocketIc, id: Principal) -> u64 {
    parse_u64(&pic.query_call(id, ANONYMOUS, "now", vec![]).unwrap())
}

/// Returns the time of the instance, which may have been set since the last round.
fn nanos(pic: &PocketIc) -> u64 {
    pic.get_time().as_nanos_since_unix_epoch()
}

#[test]
fn time_is_set_and_moves_by_rounds() {
    let pic = instance();
    assert_eq!(nanos(&pic), GENESIS + 1);
    let id = install_counter(&pic);
    let target = GENESIS + 1_000_000_000;
    pic.set_time(Time::from_nanos_since_unix_epoch(target));
    assert_eq!(nanos(&pic), target);
    assert!(query_time(&pic, id) < target, "a query sees the time of the last round");
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

/// The first time that is allowed is [`GENESIS`].
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
fn the_global_timer_fires_once_when_it_is_due() {
    let pic = instance();
    let id = install_counter(&pic);
    let due = nanos(&pic) + 10_000_000_000;
    call(&pic, id, "set_timer", &due.to_le_bytes()).unwrap();
    pic.tick();
    assert_eq!(read_counter(&pic, id), 0);
    pic.advance_time(Duration::from_secs(10));
    assert_eq!(read_counter(&pic, id), 0);
    pic.tick();
    assert_eq!(read_counter(&pic, id), 100);
    pic.tick();
    pic.tick();
    assert_eq!(read_counter(&pic, id), 100);
}

#[test]
fn an_upgrade_cancels_the_timer_and_a_stop_defers_it() {
    let pic = instance();
    let id = install_counter(&pic);
    let due = nanos(&pic) + 1_000_000_000;
    call(&pic, id, "set_timer", &due.to_le_bytes()).unwrap();
    pic.upgrade_canister(id, counter(), vec![], None).unwrap();
    pic.advance_time(Duration::from_secs(2));
    pic.tick();
    assert_eq!(read_counter(&pic, id), 0);
    let due = nanos(&pic) + 1_000_000_000;
    call(&pic, id, "set_timer", &due.to_le_bytes()).unwrap();
    pic.stop_canister(id, None).unwrap();
    pic.advance_time(Duration::from_secs(2));
    pic.tick();
    pic.start_canister(id, None).unwrap();
    pic.tick();
    assert_eq!(read_counter(&pic, id), 100);
}

/// A timer fires in the round whose time is exactly its own, but not in the round one nanosecond earlier.
#[test]
fn a_timer_for_the_time_of_a_round_fires_in_that_round() {
    let pic = instance();
    let id = install_counter(&pic);
    let due = nanos(&pic) + 1_000;
    call(&pic, id, "set_timer", &due.to_le_bytes()).unwrap();
    pic.set_time(Time::from_nanos_since_unix_epoch(due - 1));
    pic.tick();
    assert_eq!((nanos(&pic), read_counter(&pic, id)), (due - 1, 0));
    pic.tick();
    assert_eq!((nanos(&pic), read_counter(&pic, id)), (due, 100));
}

/// A canister that counts its heartbeats, timers and hooks for low memory; `beats`, `timers` and `hooks` return the
/// counts.
const BUSY: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
    (import "ic0" "global_timer_set" (func $timer_set (param i64) (result i64)))
    (memory 1)
    (func $count (param $at i32)
        (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (i32.const 1))))
    (func $tell (param $at i32) (call $append (local.get $at) (i32.const 4)) (call $reply))
    (func (export "canister_heartbeat") (call $count (i32.const 0)))
    (func (export "canister_global_timer") (call $count (i32.const 4)))
    (func (export "canister_on_low_wasm_memory") (call $count (i32.const 8)))
    (func (export "canister_update set_timer")
        (call $arg_copy (i32.const 16) (i32.const 0) (i32.const 8))
        (drop (call $timer_set (i64.load (i32.const 16)))) (call $reply))
    (func (export "canister_update grow") (drop (memory.grow (i32.const 4))) (call $reply))
    (func (export "canister_query beats") (call $tell (i32.const 0)))
    (func (export "canister_query timers") (call $tell (i32.const 4)))
    (func (export "canister_query hooks") (call $tell (i32.const 8))))"#;

fn counts(pic: &PocketIc, id: Principal) -> [u32; 3] {
    ["beats", "timers", "hooks"].map(|method| query_number(pic, id, method))
}

/// Checks that a [`BUSY`] canister runs nothing between `hold`, which stops or freezes it, and `release`, although its
/// timer and its hook for low memory are due.
fn check_nothing_runs_while_held(
    pic: &PocketIc,
    hold: impl FnOnce(Principal),
    release: impl FnOnce(Principal),
) {
    let id = install_wasm(pic, wasm(BUSY));
    let due = nanos(pic) + 1_000_000_000;
    call(pic, id, "set_timer", &due.to_le_bytes()).unwrap();
    let before = counts(pic, id);
    assert_eq!(before[1..], [0, 0]);
    // The last round in which the canister runs is the one that stops or freezes it: one more heartbeat.
    hold(id);
    let threshold =
        CanisterSettings { wasm_memory_threshold: Some((4u64 << 30).into()), ..Default::default() };
    pic.update_canister_settings(id, None, threshold).unwrap();
    pic.advance_time(Duration::from_secs(2));
    for _ in 0..3 {
        pic.tick();
    }
    release(id);
    let [beats, timers, hooks] = counts(pic, id);
    assert_eq!([beats, timers, hooks], [before[0] + 1, 0, 0]);
    pic.tick();
    assert_eq!(counts(pic, id), [beats + 1, 1, 1]);
}

#[test]
fn no_timer_or_heartbeat_runs_while_frozen() {
    let pic = instance();
    let freeze = |seconds: u64| {
        let pic = &pic;
        move |id| {
            let threshold =
                CanisterSettings { freezing_threshold: Some(seconds.into()), ..Default::default() };
            pic.update_canister_settings(id, None, threshold).unwrap();
        }
    };
    check_nothing_runs_while_held(&pic, freeze(u64::MAX), freeze(0));
}

#[test]
fn no_timer_or_heartbeat_runs_while_stopped() {
    let pic = instance();
    let stop = |id| pic.stop_canister(id, None).unwrap();
    check_nothing_runs_while_held(&pic, stop, |id| pic.start_canister(id, None).unwrap());
}

#[test]
fn heartbeats_run_in_every_round() {
    let pic = instance();
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
    let id = install_wasm(&pic, beating);
    let before = read_counter(&pic, id);
    for _ in 0..3 {
        pic.tick();
    }
    assert_eq!(read_counter(&pic, id), before + 3);
}

#[test]
fn time_advances_automatically_with_auto_progress() {
    let pic = instance();
    let id = install_counter(&pic);
    // A timer that has been due since 1970.
    let long_due = 1u64;
    call(&pic, id, "set_timer", &long_due.to_le_bytes()).unwrap();
    pic.auto_progress();
    assert!(pic.auto_progress_enabled());
    // The time is the host's, far more than 1,000 seconds after genesis.
    assert!(nanos(&pic) > GENESIS + 1_000_000_000_000);
    let message = pic.submit_call(id, ANONYMOUS, "inc", vec![]).unwrap();
    pic.await_call_no_ticks(message).unwrap();
    assert_eq!(read_counter(&pic, id), 101);
    pic.stop_progress();
    assert!(!pic.auto_progress_enabled());
    let stopped = nanos(&pic);
    // The clock of another instance shows that enough time has passed for several automatic rounds.
    let clock = instance();
    clock.auto_progress();
    let began = nanos(&clock);
    wait_for("a second", || (nanos(&clock) > began + 1_000_000_000).then_some(()));
    assert_eq!(nanos(&pic), stopped);
}

/// A canister that counts how often its hook for low memory has run; it begins with one page of memory, and `grow` adds
/// four.
const GROWING: &str = r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (memory 1)
            (func (export "canister_on_low_wasm_memory")
                (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))))
            (func (export "canister_update grow") (drop (memory.grow (i32.const 4))) (call $reply))
            (func (export "canister_query read")
                (call $append (i32.const 0) (i32.const 4)) (call $reply)))"#;

#[test]
fn the_hook_for_low_memory_runs_once_memory_is_low() {
    let pic = instance();
    let id = install_wasm(&pic, wasm(GROWING));
    // Memory is low if less than 12 of the 20 pages are left: with 9 pages in use, but not with 5.
    let page = 65_536u64;
    pic.update_canister_settings(
        id,
        None,
        CanisterSettings {
            wasm_memory_limit: Some((20 * page).into()),
            wasm_memory_threshold: Some((12 * page).into()),
            ..Default::default()
        },
    )
    .unwrap();
    call(&pic, id, "grow", &[]).unwrap();
    pic.tick();
    assert_eq!(read_counter(&pic, id), 0);
    call(&pic, id, "grow", &[]).unwrap();
    pic.tick();
    assert_eq!(read_counter(&pic, id), 1);
    call(&pic, id, "grow", &[]).unwrap();
    pic.tick();
    pic.tick();
    assert_eq!(read_counter(&pic, id), 1);
    let error = (0..3).find_map(|_| call(&pic, id, "grow", &[]).err());
    assert_eq!(error.map(|error| error.error_code), Some(ErrorCode::CanisterWasmMemoryLimitExceeded));
}

#[test]
fn memory_is_low_below_the_threshold_only() {
    let pic = instance();
    let id = install_wasm(&pic, wasm(GROWING));
    let hooks_after_growing_with = |limit: u64, threshold: u64| {
        let settings = CanisterSettings {
            wasm_memory_limit: Some((limit * 65_536).into()),
            wasm_memory_threshold: Some((threshold * 65_536).into()),
            ..Default::default()
        };
        pic.update_canister_settings(id, None, settings).unwrap();
        call(&pic, id, "grow", &[]).unwrap();
        pic.tick();
        read_counter(&pic, id)
    };
    assert_eq!(hooks_after_growing_with(20, 15), 0, "five pages leave exactly the threshold");
    assert_eq!(hooks_after_growing_with(0, 15), 0, "without a limit, 4 GiB are left");
    assert_eq!(hooks_after_growing_with(20, 8), 1, "13 pages leave 7");
}

/// `ic0.global_timer_set` returns the previous value of the timer.
#[test]
fn a_canister_reads_its_timer_when_it_sets_another() {
    let pic = instance();
    let setting = wasm(
        r#"(module
            (import "ic0" "global_timer_set" (func $set (param i64) (result i64)))
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (memory 1)
            (func (export "canister_update set")
                (i64.store (i32.const 0) (call $set (i64.const 0x7000000000000000)))
                (call $append (i32.const 0) (i32.const 8)) (call $reply)))"#,
    );
    let id = install_wasm(&pic, setting);
    let set = || parse_u64(&call(&pic, id, "set", &[]).unwrap());
    assert_eq!([set(), set()], [0, 0x7000_0000_0000_0000]);
}
