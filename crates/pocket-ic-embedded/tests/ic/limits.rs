//! Limits on the sizes of messages and memories, and reproducible instruction counts.

use super::common::{ANONYMOUS, call, install_counter, install_wasm, instance, parse_u64, wasm};
use candid::Principal;
use pocket_ic::common::rest::{RawCanisterId, RawEffectivePrincipal};
use pocket_ic::{CanisterSettings, ErrorCode, PocketIc, PocketIcBuilder, RejectResponse};
use pocket_ic_embedded::EmbeddedServer;
use serde_json::json;

/// A canister whose `reply` and `reply_query` reply with as many bytes as their argument requests. `grow` grows the
/// stable memory by as many pages as its argument requests, and returns the result. `touch`, `touch_query` and
/// `touch_and_trap` write at the end of the stable memory. `work` returns both performance counters after some work.
const SIZES: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
    (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
    (import "ic0" "stable64_size" (func $size (result i64)))
    (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
    (import "ic0" "performance_counter" (func $counter (param i32) (result i64)))
    (import "ic0" "trap" (func $trap (param i32 i32)))
    (memory 64)
    (func $argument (result i64)
        (call $arg (i32.const 0) (i32.const 0) (i32.const 8)) (i64.load (i32.const 0)))
    (func $reply_many
        (call $append (i32.const 0) (i32.wrap_i64 (call $argument))) (call $reply))
    (func $touch
        (call $write (i64.sub (i64.shl (call $size) (i64.const 16)) (i64.const 1)) (i64.const 0) (i64.const 1)))
    (func (export "canister_update reply") (call $reply_many))
    (func (export "canister_query reply_query") (call $reply_many))
    (func (export "canister_update grow")
        (i64.store (i32.const 0) (call $grow (call $argument)))
        (call $append (i32.const 0) (i32.const 8)) (call $reply))
    (func (export "canister_update touch") (call $touch) (call $reply))
    (func (export "canister_query touch_query") (call $touch) (call $reply))
    (func (export "canister_update touch_and_trap") (call $touch) (call $trap (i32.const 0) (i32.const 0)))
    (func (export "canister_update work")
        (drop (call $grow (i64.const 1)))
        (call $touch)
        (memory.fill (i32.const 65536) (i32.const 7) (i32.const 100000))
        (i64.store (i32.const 0) (call $counter (i32.const 0)))
        (i64.store (i32.const 8) (call $counter (i32.const 1)))
        (call $append (i32.const 0) (i32.const 16)) (call $reply)))"#;

const MIB: u64 = 1 << 20;
/// Number of pages of stable memory in a GiB.
const GIB_PAGES: u64 = (1 << 30) / 65_536;

fn install_sizes(pic: &PocketIc) -> Principal {
    install_wasm(pic, wasm(SIZES))
}

#[test]
fn update_replies_are_limited_to_2_mib_query_replies_to_3() {
    let pic = instance();
    let id = install_sizes(&pic);
    let update = |bytes: u64| call(&pic, id, "reply", &bytes.to_le_bytes());
    let query = |bytes: u64| pic.query_call(id, ANONYMOUS, "reply_query", bytes.to_le_bytes().to_vec());
    assert_eq!(update(2 * MIB).unwrap().len() as u64, 2 * MIB);
    assert_eq!(query(3 * MIB).unwrap().len() as u64, 3 * MIB);
    for error in [update(2 * MIB + 1).unwrap_err(), query(3 * MIB + 1).unwrap_err()] {
        assert_eq!(error.error_code, ErrorCode::CanisterContractViolation);
        assert!(error.reject_message.contains("cannot be larger than"), "{error}");
    }
}

#[test]
fn ingress_has_at_most_two_mib() {
    let pic = instance();
    let id = install_counter(&pic);
    let path = format!("instances/{}/update/submit_ingress_message", pic.instance_id());
    let submit = |bytes: u64| {
        use base64::Engine;
        let encode = |bytes: &[u8]| base64::prelude::BASE64_STANDARD.encode(bytes);
        let body = json!({
            "sender": encode(ANONYMOUS.as_slice()), "canister_id": encode(id.as_slice()), "method": "echo",
            "effective_principal": RawEffectivePrincipal::CanisterId(id.as_slice().to_vec()),
            "payload": encode(&vec![0; bytes as usize]),
        });
        let url = pic.get_server_url().join(&path).unwrap();
        reqwest::blocking::Client::new().post(url).json(&body).send().unwrap()
    };
    let taken: serde_json::Value = submit(2 * MIB).json().unwrap();
    assert!(taken["Ok"]["message_id"].is_string(), "{taken}");
    let refused = submit(2 * MIB + 1);
    assert_eq!(refused.status(), 400);
    let text = refused.text().unwrap();
    assert!(text.contains("2097153 is larger than the max allowed 2097152"), "{text}");
}

#[test]
fn stable_memory_grows_to_500_gib_and_costs_what_is_written() {
    let pic = instance();
    let id = install_sizes(&pic);
    // Enough cycles that the memory does not freeze the canister.
    pic.add_cycles(id, 1_000_000_000_000_000_000);
    let grow = |pages: u64| parse_u64(&call(&pic, id, "grow", &pages.to_le_bytes()).unwrap());
    assert_eq!(grow(10 * GIB_PAGES), 0);
    // 10 GiB may be more memory than the machine has: only what was written takes space, and none of these operations
    // copies all of it.
    call(&pic, id, "touch", &[]).unwrap();
    call(&pic, id, "touch_and_trap", &[]).unwrap_err();
    pic.query_call(id, ANONYMOUS, "touch_query", vec![]).unwrap();
    let snapshots: Vec<_> = (0..10).map(|_| pic.take_canister_snapshot(id, None, None).unwrap()).collect();
    assert!(snapshots.iter().all(|snapshot| snapshot.total_size > 10 << 30));
    pic.load_canister_snapshot(id, None, snapshots[0].id.clone()).unwrap();
    assert_eq!(grow(490 * GIB_PAGES), 10 * GIB_PAGES);
    call(&pic, id, "touch", &[]).unwrap();
    assert_eq!(grow(1), u64::MAX);
    let status = pic.canister_status(id, None).unwrap();
    assert_eq!(status.memory_metrics.stable_memory_size, 500u64 << 30);
}

/// Stable memories that are too large for one answer can be read from snapshots.
#[test]
fn stable_memories_of_more_than_1_gib_are_not_read_at_once() {
    let pic = instance();
    let id = install_sizes(&pic);
    call(&pic, id, "grow", &(GIB_PAGES + 1).to_le_bytes()).unwrap();
    let url = format!("{}instances/{}/read/get_stable_memory", pic.get_server_url(), pic.instance_id());
    let body = RawCanisterId::from(id);
    let refused = reqwest::blocking::Client::new().post(url).json(&body).send().unwrap();
    assert_eq!(refused.status(), 400);
    let text = refused.text().unwrap();
    assert!(text.contains("more than can be read at once"), "{text}");
}

#[test]
fn counting_repeats_on_another_server() {
    let count = |server: &EmbeddedServer| {
        let pic = PocketIcBuilder::new().with_server_url(server.url()).with_application_subnet().build();
        let id = install_sizes(&pic);
        (0..3).map(|_| call(&pic, id, "work", &[]).unwrap()).collect::<Vec<_>>()
    };
    let first = count(EmbeddedServer::shared().unwrap());
    let own = EmbeddedServer::start().unwrap();
    assert_eq!(count(&own), first);
    assert!(parse_u64(&first[0][..8]) > 100_000);
    assert_eq!(first[1], first[2]);
}

/// A canister whose methods take one more page of wasm memory each time, except `nothing`. The heartbeat takes one page
/// in each round until there are four.
const GROWING: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (memory 1)
    (func $grow (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable))))
    (func (export "canister_heartbeat") (if (i32.lt_u (memory.size) (i32.const 4)) (then (call $grow))))
    (func (export "canister_query grow_query") (call $grow) (call $reply))
    (func (export "canister_update grow") (call $grow) (call $reply))
    (func (export "canister_update nothing") (call $reply)))"#;

#[test]
fn the_wasm_memory_limit_is_for_updates_and_installations() {
    let pic = instance();
    let id = install_wasm(&pic, wasm(GROWING));
    // Sets the wasm memory limit, in pages.
    let limit = |pages: u64| {
        let limited =
            CanisterSettings { wasm_memory_limit: Some((pages * 65_536).into()), ..Default::default() };
        pic.update_canister_settings(id, None, limited).unwrap();
    };
    let exceeded = |result: Result<(), RejectResponse>| {
        assert_eq!(result.unwrap_err().error_code, ErrorCode::CanisterWasmMemoryLimitExceeded);
    };
    let update = |method: &str| call(&pic, id, method, &[]).map(drop);
    limit(2);
    (0..4).for_each(|_| pic.tick());
    let status = pic.canister_status(id, None).unwrap();
    assert_eq!(status.memory_metrics.wasm_memory_size, 4u64 * 65_536, "the heartbeat exceeded the limit");
    // Neither queries nor queries that are called as updates are limited.
    pic.query_call(id, ANONYMOUS, "grow_query", vec![]).unwrap();
    update("grow_query").unwrap();
    // Updates are refused as long as the memory is too large, even if they need no more memory.
    exceeded(update("nothing"));
    limit(5);
    update("nothing").unwrap();
    update("grow").unwrap();
    exceeded(update("grow"));
    update("nothing").unwrap();
    // A module whose initial memory exceeds the limit is not installed, and the installed module continues.
    let large = wasm("(module (memory 6))");
    exceeded(pic.upgrade_canister(id, large.clone(), vec![], None));
    exceeded(pic.reinstall_canister(id, large, vec![], None));
    update("nothing").unwrap();
}

/// The limit must not keep a canister from saving its state: `canister_pre_upgrade` takes four more pages, although
/// only one more is allowed.
#[test]
fn pre_upgrade_may_exceed_the_wasm_memory_limit() {
    let pic = instance();
    let saving = wasm(
        r#"(module (memory 1)
            (func (export "canister_pre_upgrade")
                (if (i32.eq (memory.grow (i32.const 4)) (i32.const -1)) (then (unreachable)))))"#,
    );
    let id = install_wasm(&pic, saving.clone());
    let limited = CanisterSettings { wasm_memory_limit: Some((2_u64 * 65_536).into()), ..Default::default() };
    pic.update_canister_settings(id, None, limited).unwrap();
    pic.upgrade_canister(id, saving, vec![], None).unwrap();
}
