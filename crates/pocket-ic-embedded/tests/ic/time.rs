//! Time, and what it sets off: timers, heartbeats, the hook for low memory, time that goes on by itself.

use super::common::{
    ANONYMOUS, builder, call, counter, installed, installed_wasm, instance, long, read, wait_for, wasm,
};
use candid::Principal;
use pocket_ic::{ErrorCode, PocketIc, Time};
use std::time::Duration;

const GENESIS: u64 = 1_620_328_630_000_000_000;

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
    let id = installed_wasm(&pic, beating);
    let before = read(&pic, id);
    for _ in 0..3 {
        pic.tick();
    }
    assert_eq!(read(&pic, id), before + 3);
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
    // Another instance tells when several pauses have passed in which a task would have gone on.
    let clock = instance();
    clock.auto_progress();
    let began = nanos(&clock);
    wait_for("a second", || (nanos(&clock) > began + 1_000_000_000).then_some(()));
    assert_eq!(nanos(&pic), stopped);
}

#[test]
fn the_hook_for_low_memory_runs_once_memory_is_low() {
    let pic = instance();
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
    let id = installed_wasm(&pic, growing);
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
