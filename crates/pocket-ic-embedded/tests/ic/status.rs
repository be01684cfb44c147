//! What `canister_status` counts: memory, storage costs, queries and versions.

use super::common::{ANONYMOUS, call, counter, install_counter, install_wasm, instance, parse_u64, wasm};
use candid::{Nat, Principal};
use pocket_ic::{CanisterSettings, CanisterStatusResult, PocketIc};

/// Price of a GiB: 127,000 cycles per second, for a day.
const CYCLES_PER_GIB_DAY: u64 = 127_000 * 86_400;

fn status(pic: &PocketIc, id: Principal) -> CanisterStatusResult {
    pic.canister_status(id, None).unwrap()
}

#[test]
fn memory_is_the_sum_of_all_that_a_canister_keeps() {
    let pic = instance();
    let id = install_counter(&pic);
    pic.upload_chunk(id, None, vec![7; 1000]).unwrap();
    let snapshot = pic.take_canister_snapshot(id, None, None).unwrap();
    call(&pic, id, "print", b"a log").unwrap();
    let before = status(&pic, id);
    let metrics = before.memory_metrics;
    assert_eq!(metrics.wasm_memory_size, 65_536_u32);
    assert_eq!(metrics.stable_memory_size, 65_536_u32);
    assert_eq!(metrics.wasm_binary_size, counter().len());
    assert_eq!(metrics.global_memory_size, 8_u8, "one global of eight bytes");
    assert_eq!(metrics.wasm_chunk_store_size, 1000_u32);
    assert_eq!(metrics.snapshots_size, snapshot.total_size);
    let history = metrics.canister_history_size;
    // Globals are not part of the sum.
    let parts = [
        metrics.wasm_memory_size,
        metrics.stable_memory_size,
        metrics.wasm_binary_size,
        history.clone(),
        metrics.wasm_chunk_store_size,
        metrics.snapshots_size,
        metrics.log_memory_store_size,
    ];
    assert!(parts.iter().all(|part| *part > 0_u8), "{parts:?}");
    assert_eq!(before.memory_size, parts.into_iter().fold(Nat::from(0_u8), |sum, part| sum + part));
    // Each change in the history takes at least a principal (29 bytes) and two numbers (8 bytes each).
    pic.set_controllers(id, None, vec![ANONYMOUS]).unwrap();
    let longer = status(&pic, id).memory_metrics.canister_history_size;
    assert!(longer >= history + 45_u8, "{longer}");
}

#[test]
fn storage_is_priced_by_memory_or_by_what_is_reserved() {
    let pic = instance();
    let id = install_counter(&pic);
    let before = status(&pic, id);
    let price = before.memory_size * CYCLES_PER_GIB_DAY / (1_u64 << 30);
    assert_eq!(before.idle_cycles_burned_per_day, price);
    let reserved = CanisterSettings { memory_allocation: Some((2_u64 << 30).into()), ..Default::default() };
    pic.update_canister_settings(id, None, reserved).unwrap();
    assert_eq!(status(&pic, id).idle_cycles_burned_per_day, 2 * CYCLES_PER_GIB_DAY);
}

#[test]
fn queries_are_counted() {
    let pic = instance();
    let id = install_counter(&pic);
    let query = || pic.query_call(id, ANONYMOUS, "read", vec![1, 2, 3]).unwrap();
    query();
    let once = status(&pic, id).query_stats;
    assert_eq!(once.num_calls_total, 1_u8);
    assert_eq!(once.request_payload_bytes_total, 3_u8);
    assert_eq!(once.response_payload_bytes_total, 4_u8);
    assert!(once.num_instructions_total > 0_u8);
    query();
    let twice = status(&pic, id).query_stats;
    assert_eq!(twice.num_calls_total, 2_u8);
    assert_eq!(twice.request_payload_bytes_total, 6_u8);
    assert_eq!(twice.response_payload_bytes_total, 8_u8);
    assert_eq!(twice.num_instructions_total, once.num_instructions_total * 2_u8);
}

#[test]
fn versions_count_every_change_once() {
    let pic = instance();
    let id = install_counter(&pic);
    let mut last = status(&pic, id).version;
    let mut expect = |what: &str, changes: u64| {
        let now = status(&pic, id).version;
        assert_eq!(now - last, changes, "the number of versions added by: {what}");
        last = now;
    };
    expect("reading the status", 0);
    pic.upgrade_canister(id, counter(), vec![], None).unwrap();
    expect("upgrade", 1);
    pic.reinstall_canister(id, counter(), vec![], None).unwrap();
    expect("reinstallation", 1);
    pic.start_canister(id, None).unwrap();
    expect("start of a running canister", 0);
    assert!(!status(&pic, id).ready_for_migration);
    pic.stop_canister(id, None).unwrap();
    assert!(status(&pic, id).ready_for_migration);
    expect("stop: first stopping, then stopped", 2);
    pic.stop_canister(id, None).unwrap();
    expect("stop of a stopped canister", 0);
    pic.start_canister(id, None).unwrap();
    expect("start", 1);
    let snapshot = pic.take_canister_snapshot(id, None, None).unwrap();
    expect("taking a snapshot", 0);
    pic.load_canister_snapshot(id, None, snapshot.id).unwrap();
    expect("loading a snapshot", 1);
    pic.uninstall_canister(id, None).unwrap();
    expect("uninstallation", 1);
}

#[test]
fn what_storage_needs_cannot_be_spent() {
    let pic = instance();
    let asking = wasm(
        r#"(module
            (import "ic0" "canister_liquid_cycle_balance128" (func $liquid (param i32)))
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (memory 1)
            (func (export "canister_query liquid")
                (call $liquid (i32.const 0)) (call $append (i32.const 0) (i32.const 8)) (call $reply)))"#,
    );
    let id = install_wasm(&pic, asking);
    let reserved = CanisterSettings {
        memory_allocation: Some((1_u64 << 30).into()),
        freezing_threshold: Some((10_u64 * 86_400).into()),
        ..Default::default()
    };
    pic.update_canister_settings(id, None, reserved).unwrap();
    let liquid = parse_u64(&pic.query_call(id, ANONYMOUS, "liquid", vec![]).unwrap());
    assert_eq!(u128::from(liquid + 10 * CYCLES_PER_GIB_DAY), pic.cycle_balance(id));
}
