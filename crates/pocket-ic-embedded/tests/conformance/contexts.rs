//! Each kind of message is executed in the correct mode of the system API.
//!
//! The engine's own tests check every function in every mode. Here a function that is forbidden in a mode is called in
//! situations that lead to that mode, and the violation names the mode.

use crate::common::{ANONYMOUS, builder, call, install_wasm, submit_management, wasm};
use candid::Principal;
use pocket_ic::{CanisterSettings, ErrorCode, PocketIc, RejectResponse};
use std::time::Duration;

/// Returns a module with one exported function, which calls a function that is allowed only in
/// `canister_inspect_message`.
fn exporting_module(name: &str) -> Vec<u8> {
    wasm(&format!(
        r#"(module (import "ic0" "accept_message" (func $f)) (memory 1) (func (export "{name}") (call $f)))"#
    ))
}

/// Returns a canister whose `go`, of this `kind`, calls `method` of the canister in its argument, or of itself if there
/// is no argument. `on_reply`, `on_reject` and `on_cleanup` are the bodies of the callbacks, in which `$f` is the
/// forbidden function. `method` is `works`, which replies, or `fails`, which traps.
fn calling_module(kind: &str, method: &str, on_reply: &str, on_reject: &str, on_cleanup: &str) -> Vec<u8> {
    let size = method.len();
    wasm(&format!(
        r#"(module
            (import "ic0" "accept_message" (func $f))
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "canister_self_size" (func $self_size (result i32)))
            (import "ic0" "canister_self_copy" (func $self_copy (param i32 i32 i32)))
            (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
            (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
            (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
            (import "ic0" "call_on_cleanup" (func $cleanup (param i32 i32)))
            (import "ic0" "call_perform" (func $perform (result i32)))
            (memory 1) (data (i32.const 0) "{method}")
            (table funcref (elem $on_reply $on_reject $on_cleanup))
            (func $on_reply (param i32) {on_reply})
            (func $on_reject (param i32) {on_reject})
            (func $on_cleanup (param i32) {on_cleanup})
            (func (export "canister_{kind} go")
                (call $self_copy (i32.const 64) (i32.const 0) (call $self_size))
                (call $arg_copy (i32.const 64) (i32.const 0) (call $arg_size))
                (call $new (i32.const 64) (call $self_size) (i32.const 0) (i32.const {size})
                    (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
                (call $cleanup (i32.const 2) (i32.const 0))
                (drop (call $perform)))
            (func (export "canister_query works") (call $reply))
            (func (export "canister_query fails") unreachable))"#
    ))
}

fn violation_text(result: Result<Vec<u8>, RejectResponse>) -> String {
    let error = result.expect_err("the message violates the contract");
    assert_eq!(error.error_code, ErrorCode::CanisterContractViolation, "{error}");
    error.reject_message
}

fn log_text(pic: &PocketIc, id: Principal) -> String {
    let records = pic.fetch_canister_logs(id, ANONYMOUS).expect("the log");
    records.iter().map(|record| String::from_utf8_lossy(&record.content)).collect()
}

/// Installs a canister, prepares it, runs a round, and returns the canister's log.
fn log_after_a_round(pic: &PocketIc, module: Vec<u8>, prepare: fn(&PocketIc, Principal)) -> String {
    let id = install_wasm(pic, module);
    prepare(pic, id);
    pic.tick();
    log_text(pic, id)
}

/// Returns the text of the error of an upgrade from one module to the other.
fn upgrade_error(pic: &PocketIc, before: Vec<u8>, after: Vec<u8>) -> String {
    let id = install_wasm(pic, before);
    let error = pic.upgrade_canister(id, after, vec![], None).expect_err("the message violates the contract");
    error.reject_message
}

fn reinstall_error(pic: &PocketIc, module: Vec<u8>) -> String {
    let id = pic.create_canister();
    let error =
        pic.reinstall_canister(id, module, vec![], None).expect_err("the message violates the contract");
    error.reject_message
}

fn empty_module() -> Vec<u8> {
    wasm("(module)")
}

/// A mode, and a function that runs a message in this mode. The message violates the contract, and the function returns
/// the error text.
type Situation = (&'static str, fn(&PocketIc) -> String);

const SITUATIONS: &[Situation] = &[
    ("start", |pic| {
        let module = wasm(r#"(module (import "ic0" "accept_message" (func $f)) (start $f))"#);
        reinstall_error(pic, module)
    }),
    ("init", |pic| reinstall_error(pic, exporting_module("canister_init"))),
    // `canister_post_upgrade` has no mode of its own.
    ("init", |pic| upgrade_error(pic, empty_module(), exporting_module("canister_post_upgrade"))),
    ("pre upgrade", |pic| upgrade_error(pic, exporting_module("canister_pre_upgrade"), empty_module())),
    ("update", |pic| {
        let id = install_wasm(pic, exporting_module("canister_update u"));
        violation_text(call(pic, id, "u", &[]))
    }),
    ("replicated query", |pic| {
        let id = install_wasm(pic, exporting_module("canister_query q"));
        violation_text(call(pic, id, "q", &[]))
    }),
    ("non replicated query", |pic| {
        let id = install_wasm(pic, exporting_module("canister_query q"));
        violation_text(pic.query_call(id, ANONYMOUS, "q", vec![]))
    }),
    ("composite query", |pic| {
        let id = install_wasm(pic, exporting_module("canister_composite_query c"));
        violation_text(pic.query_call(id, ANONYMOUS, "c", vec![]))
    }),
    ("inspect message", |pic| {
        let module = wasm(
            r#"(module (import "ic0" "msg_reply" (func $f)) (memory 1)
                (func (export "canister_inspect_message") (call $f)))"#,
        );
        let id = install_wasm(pic, module);
        violation_text(call(pic, id, "anything", &[]))
    }),
    ("heartbeat", |pic| log_after_a_round(pic, exporting_module("canister_heartbeat"), |_, _| {})),
    ("global timer", |pic| {
        let module = wasm(
            r#"(module (import "ic0" "accept_message" (func $f))
                (import "ic0" "global_timer_set" (func $set (param i64) (result i64)))
                (func (export "canister_init") (drop (call $set (i64.const 1))))
                (func (export "canister_global_timer") (call $f)))"#,
        );
        log_after_a_round(pic, module, |pic, _| pic.advance_time(Duration::from_secs(1)))
    }),
    ("on low Wasm memory", |pic| {
        log_after_a_round(pic, exporting_module("canister_on_low_wasm_memory"), |pic, id| {
            let settings = CanisterSettings {
                wasm_memory_limit: Some(100_000u32.into()),
                wasm_memory_threshold: Some(90_000u32.into()),
                ..Default::default()
            };
            pic.update_canister_settings(id, None, settings).expect("the settings are accepted");
        })
    }),
    ("reply callback", |pic| {
        let id = install_wasm(pic, calling_module("update", "works", "(call $f)", "", ""));
        violation_text(call(pic, id, "go", &[]))
    }),
    ("reject callback", |pic| {
        let id = install_wasm(pic, calling_module("update", "fails", "", "(call $f)", ""));
        violation_text(call(pic, id, "go", &[]))
    }),
    ("cleanup", |pic| {
        let id = install_wasm(pic, calling_module("update", "works", "unreachable", "", "(call $f)"));
        call(pic, id, "go", &[]).expect_err("the callback traps");
        log_text(pic, id)
    }),
    ("composite reply callback", |pic| {
        let other = install_wasm(pic, calling_module("update", "works", "", "", ""));
        let id = install_wasm(pic, calling_module("composite_query", "works", "(call $f)", "", ""));
        violation_text(pic.query_call(id, ANONYMOUS, "go", other.as_slice().to_vec()))
    }),
    ("composite reject callback", |pic| {
        let other = install_wasm(pic, calling_module("update", "works", "", "", ""));
        let id = install_wasm(pic, calling_module("composite_query", "fails", "", "(call $f)", ""));
        violation_text(pic.query_call(id, ANONYMOUS, "go", other.as_slice().to_vec()))
    }),
];

#[test]
fn each_situation_has_its_mode() {
    let pic = builder().with_application_subnet().build();
    for (mode, situation) in SITUATIONS {
        let text = situation(&pic);
        assert!(text.contains(&format!("cannot be executed in {mode} mode")), "{mode}: {text}");
    }
}

/// The canister is stopped while it waits for its own answer: its callback still runs, and the canister stops
/// afterwards.
#[test]
fn a_stopping_canister_still_gets_its_callbacks() {
    let pic = builder().with_application_subnet().build();
    let id = install_wasm(&pic, calling_module("update", "works", "(call $reply)", "(call $reply)", ""));
    let waiting = pic.submit_call(id, ANONYMOUS, "go", vec![]).expect("the call is accepted");
    let stop = submit_management(&pic, id, "stop_canister");
    assert!(pic.await_call(stop).is_ok());
    assert!(pic.await_call(waiting).is_ok());
}
