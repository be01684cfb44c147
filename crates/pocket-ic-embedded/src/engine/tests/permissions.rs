//! Tests which system API function may be called in which kind of execution: every cell of the table in the interface
//! specification is executed.

use std::collections::BTreeSet;

use super::*;
use crate::engine::permissions::APIS;

/// Each function's name, parameters and results as letters (i: i32, l: i64), and the kinds of execution in which it may
/// be called, as the specification's letters. Transcribed from the specification, independently of the engine's own
/// table.
const TABLE: &[(&str, &str, &str, &str)] = &[
    ("msg_arg_data_size", "", "i", "I U RQ NRQ CQ Ry CRy F"),
    ("msg_arg_data_copy", "iii", "", "I U RQ NRQ CQ Ry CRy F"),
    ("msg_caller_size", "", "i", "*"),
    ("msg_caller_copy", "iii", "", "*"),
    ("msg_caller_info_data_size", "", "i", "U RQ NRQ CQ Ry Rt CRy CRt C CC F"),
    ("msg_caller_info_data_copy", "iii", "", "U RQ NRQ CQ Ry Rt CRy CRt C CC F"),
    ("msg_caller_info_signer_size", "", "i", "U RQ NRQ CQ Ry Rt CRy CRt C CC F"),
    ("msg_caller_info_signer_copy", "iii", "", "U RQ NRQ CQ Ry Rt CRy CRt C CC F"),
    ("msg_reject_code", "", "i", "Ry Rt CRy CRt C"),
    ("msg_reject_msg_size", "", "i", "Rt CRt"),
    ("msg_reject_msg_copy", "iii", "", "Rt CRt"),
    ("msg_deadline", "", "l", "U RQ NRQ CQ Ry Rt CRy CRt"),
    ("msg_reply_data_append", "ii", "", "U RQ NRQ CQ Ry Rt CRy CRt"),
    ("msg_reply", "", "", "U RQ NRQ CQ Ry Rt CRy CRt"),
    ("msg_reject", "ii", "", "U RQ NRQ CQ Ry Rt CRy CRt"),
    ("msg_cycles_available128", "i", "", "U RQ Rt Ry"),
    ("msg_cycles_refunded128", "i", "", "Rt Ry"),
    ("msg_cycles_accept128", "lli", "", "U RQ Rt Ry"),
    ("cycles_burn128", "lli", "", "I G U RQ Ry Rt C T"),
    ("canister_self_size", "", "i", "*"),
    ("canister_self_copy", "iii", "", "*"),
    ("canister_cycle_balance128", "i", "", "*"),
    ("canister_liquid_cycle_balance128", "i", "", "*"),
    ("canister_status", "", "i", "*"),
    ("canister_version", "", "l", "*"),
    ("subnet_self_size", "", "i", "*"),
    ("subnet_self_copy", "iii", "", "*"),
    ("subnet_self_node_count", "", "i", "*"),
    ("msg_method_name_size", "", "i", "F"),
    ("msg_method_name_copy", "iii", "", "F"),
    ("accept_message", "", "", "F"),
    ("call_new", "iiiiiiii", "", "U CQ Ry Rt CRy CRt T"),
    ("call_on_cleanup", "ii", "", "U CQ Ry Rt CRy CRt T"),
    ("call_data_append", "ii", "", "U CQ Ry Rt CRy CRt T"),
    ("call_with_best_effort_response", "i", "", "U CQ Ry Rt CRy CRt T"),
    ("call_cycles_add128", "ll", "", "U Ry Rt T"),
    ("call_perform", "", "i", "U CQ Ry Rt CRy CRt T"),
    ("stable64_size", "", "l", "* s"),
    ("stable64_grow", "l", "l", "* s"),
    ("stable64_write", "lll", "", "* s"),
    ("stable64_read", "lll", "", "* s"),
    ("root_key_size", "", "i", "I G U RQ Ry Rt C T"),
    ("root_key_copy", "iii", "", "I G U RQ Ry Rt C T"),
    ("certified_data_set", "ii", "", "I G U Ry Rt T"),
    ("data_certificate_present", "", "i", "*"),
    ("data_certificate_size", "", "i", "NRQ CQ"),
    ("data_certificate_copy", "iii", "", "NRQ CQ"),
    ("time", "", "l", "*"),
    ("global_timer_set", "l", "l", "I G U Ry Rt C T"),
    ("performance_counter", "i", "l", "* s"),
    ("is_controller", "ii", "i", "* s"),
    ("in_replicated_execution", "", "i", "* s"),
    ("cost_call", "lli", "", "* s"),
    ("cost_create_canister", "i", "", "* s"),
    ("cost_http_request", "lli", "", "* s"),
    ("cost_http_request_v2", "iii", "", "* s"),
    ("cost_sign_with_ecdsa", "iiii", "i", "* s"),
    ("cost_sign_with_schnorr", "iiii", "i", "* s"),
    ("cost_vetkd_derive_key", "iiii", "i", "* s"),
    ("env_var_count", "", "i", "*"),
    ("env_var_name_size", "i", "i", "*"),
    ("env_var_name_copy", "iiii", "", "*"),
    ("env_var_name_exists", "ii", "i", "*"),
    ("env_var_value_size", "ii", "i", "*"),
    ("env_var_value_copy", "iiiii", "", "*"),
    ("debug_print", "ii", "", "* s"),
    ("trap", "ii", "", "* s"),
    ("msg_cycles_available", "", "l", "U RQ Rt Ry"),
    ("msg_cycles_refunded", "", "l", "Rt Ry"),
    ("msg_cycles_accept", "l", "l", "U RQ Rt Ry"),
    ("canister_cycle_balance", "", "l", "*"),
    ("call_cycles_add", "l", "", "U Ry Rt T"),
    ("stable_size", "", "i", "* s"),
    ("stable_grow", "i", "i", "* s"),
    ("stable_write", "iii", "", "* s"),
    ("stable_read", "iii", "", "* s"),
];

// The specification's `*`: everywhere but in `(start)`.
const EVERYWHERE: &str = "I G U RQ NRQ CQ Ry Rt CRy CRt C CC F T";

fn wasm_types(keyword: &str, letters: &str) -> String {
    letters.chars().map(|c| format!("({keyword} {})", if c == 'i' { "i32" } else { "i64" })).collect()
}

/// Returns a module that calls the function with zeros from every kind of entry point.
fn calling_module(name: &str, params: &str, results: &str) -> String {
    let zeros: String =
        params.chars().map(|c| if c == 'i' { "(i32.const 0)" } else { "(i64.const 0)" }).collect();
    let call = format!("(call $f {zeros}){}", "(drop)".repeat(results.len()));
    let entries: String = [
        "canister_init",
        "canister_pre_upgrade",
        "canister_post_upgrade",
        "canister_heartbeat",
        "canister_inspect_message",
        "canister_global_timer",
        "canister_on_low_wasm_memory",
        "canister_update u",
        "canister_query q",
        "canister_composite_query c",
    ]
    .map(|entry| format!(r#"(func (export "{entry}") {call})"#))
    .concat();
    format!(
        r#"(module (import "ic0" "{name}" (func $f {} {}))
            (memory 1) (table funcref (elem $callback))
            (func $callback (param i32) {call})
            (func $start {call}) (start $start) {entries})"#,
        wasm_types("param", params),
        wasm_types("result", results),
    )
}

/// Returns every kind of entry point, whether it is a callback of a composite query, and the specification's letters
/// for it.
fn entry_points() -> Vec<(EntryPoint, bool, &'static str)> {
    use EntryPoint::*;
    let (fun, env) = (0, 0);
    vec![
        (Start, false, "s"),
        (Init, false, "I"),
        (PostUpgrade, false, "I"),
        (PreUpgrade, false, "G"),
        (InspectMessage, false, "F"),
        (Update("u".into()), false, "U"),
        (Query("q".into()), false, "NRQ"),
        (ReplicatedQuery("q".into()), false, "RQ"),
        (CompositeQuery("c".into()), false, "CQ"),
        (Heartbeat, false, "T"),
        (GlobalTimer, false, "T"),
        (OnLowWasmMemory, false, "T"),
        (ReplyCallback { fun, env }, false, "Ry"),
        (RejectCallback { fun, env }, false, "Rt"),
        (CleanupCallback { fun, env }, false, "C"),
        (ReplyCallback { fun, env }, true, "CRy"),
        (RejectCallback { fun, env }, true, "CRt"),
        (CleanupCallback { fun, env }, true, "CC"),
    ]
}

#[test]
fn the_table_has_every_function_but_those_for_minting() {
    let known: BTreeSet<&str> =
        APIS.iter().map(|api| api.name).filter(|name| !name.starts_with("mint_cycles")).collect();
    let tested: BTreeSet<&str> = TABLE.iter().map(|row| row.0).collect();
    assert_eq!(tested, known);
    assert_eq!(TABLE.len(), tested.len(), "no function is listed twice");
}

#[test]
fn functions_may_be_called_as_the_table_says() {
    let mut wrong = Vec::new();
    for (name, params, results, allowed) in TABLE {
        let state = fresh_state(&calling_module(name, params, results));
        let allowed: Vec<&str> = allowed
            .split(' ')
            .flat_map(|letters| match letters {
                "*" => EVERYWHERE.split(' ').collect(),
                other => vec![other],
            })
            .collect();
        for (entry, composite_query, letters) in entry_points() {
            let ctx = MessageContext {
                composite_query,
                reject_code: 4,
                data_certificate: Some(DataCertificate::new(|| vec![1])),
                environment: vec![(String::new(), String::new())],
                ..context()
            };
            let outcome = ENGINE.execute(&state, entry.clone(), ctx, Limits::install());
            // A call that is allowed may still fail, since its arguments are zeros.
            let forbidden = matches!(&outcome.result, Err(Trap::ContractViolation(text))
                if text.starts_with(&format!("\"ic0_{name}\" cannot be executed in ")));
            if forbidden == allowed.contains(&letters) {
                wrong.push(format!("{name} in {entry:?} ({letters}): {:?}", outcome.result));
            }
            if let Err(Trap::Engine(text)) = &outcome.result {
                wrong.push(format!("{name} in {entry:?}: engine error {text}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn minting_is_refused() {
    for (name, params, results) in [("mint_cycles", "l", "l"), ("mint_cycles128", "lli", "")] {
        let outcome = update(&fresh_state(&calling_module(name, params, results)), "u");
        let Err(Trap::ContractViolation(text)) = &outcome.result else {
            panic!("{name}: {:?}", outcome.result);
        };
        assert!(text.contains("Cycles Minting Canister"), "{text}");
    }
}

#[test]
fn forbidden_text_names_function_and_mode() {
    let outcome = query(&fresh_state(&calling_module("call_perform", "", "i")), "q");
    let trap = outcome.result.expect_err("a query must not call this function");
    assert_eq!(trap.error_code(), 504);
    assert_eq!(
        trap.to_string(),
        "Canister violated contract: \"ic0_call_perform\" cannot be executed in non replicated query mode"
    );
}

#[test]
fn wrong_import_types_are_refused() {
    let text = compile_wat_error(r#"(module (import "ic0" "time" (func (result i32))))"#);
    assert!(text.contains("time"), "{text}");
}
