//! What functions of the system API return to a canister.

use crate::common::{ANONYMOUS, call, instance, user, wasm};
use candid::Principal;
use pocket_ic::common::rest::RawEffectivePrincipal;
use pocket_ic::{CanisterSettings, EnvironmentVariable, PocketIc, Time};
use pocket_ic_embedded::internals::SubnetKeys;
use serde_json::{Value, json};

const ARGUMENT: &[u8] = b"argument";
/// Cycles of a new canister.
const CYCLES: u64 = 100_000_000_000_000;
/// The time of the round in which the call is executed, in nanoseconds since 1970.
const NOW: u64 = 1_700_000_000_000_000_000;

/// The canister and the subnet whose ids the functions return.
struct CalledCanister {
    id: Principal,
    subnet: Principal,
}

/// Functions of the system API, and how they are called: their types as wasm text; code that calls them as `$f0`,
/// `$f1`, … and stores the results from address 0 on; and the number of bytes that all results take.
struct TestedFunctions {
    functions: &'static [&'static str],
    types: &'static [&'static str],
    body: &'static str,
    result_bytes: usize,
}

/// A function that returns 4 bytes.
const fn returning_i32(functions: &'static [&'static str]) -> TestedFunctions {
    TestedFunctions {
        functions,
        types: &["(result i32)"],
        body: "(i32.store (i32.const 0) (call $f0))",
        result_bytes: 4,
    }
}

/// A function that returns 8 bytes.
const fn returning_i64(functions: &'static [&'static str]) -> TestedFunctions {
    TestedFunctions {
        functions,
        types: &["(result i64)"],
        body: "(i64.store (i32.const 0) (call $f0))",
        result_bytes: 8,
    }
}

/// A function that stores 16 bytes at an address.
const fn storing_u128(functions: &'static [&'static str]) -> TestedFunctions {
    TestedFunctions { functions, types: &["(param i32)"], body: "(call $f0 (i32.const 0))", result_bytes: 16 }
}

/// A pair `*_size`, `*_copy`. The results are the size (4 bytes) and the bytes, `len` of them.
const fn copying_blob(functions: &'static [&'static str], len: usize) -> TestedFunctions {
    TestedFunctions {
        functions,
        types: &["(result i32)", "(param i32 i32 i32)"],
        body: "(i32.store (i32.const 0) (call $f0)) (call $f1 (i32.const 4) (i32.const 0) (call $f0))",
        result_bytes: 4 + len,
    }
}

/// Returns the expected bytes from address 0 on.
type Expected = fn(&CalledCanister) -> Vec<u8>;

/// Returns the first `bytes` bytes of a little-endian number.
fn le_bytes(value: u64, bytes: usize) -> Vec<u8> {
    u128::from(value).to_le_bytes()[..bytes].to_vec()
}

fn with_size(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes(), bytes].concat()
}

/// The functions, and their results in an update call by user 1.
const TABLE: &[(TestedFunctions, Expected)] = &[
    (copying_blob(&["msg_arg_data_size", "msg_arg_data_copy"], 8), |_| with_size(ARGUMENT)),
    (copying_blob(&["msg_caller_size", "msg_caller_copy"], 29), |_| with_size(user(1).as_slice())),
    (copying_blob(&["canister_self_size", "canister_self_copy"], 10), |called| with_size(called.id.as_slice())),
    (copying_blob(&["subnet_self_size", "subnet_self_copy"], 29), |called| with_size(called.subnet.as_slice())),
    (copying_blob(&["msg_caller_info_data_size", "msg_caller_info_data_copy"], 4), |_| with_size(b"info")),
    (copying_blob(&["msg_caller_info_signer_size", "msg_caller_info_signer_copy"], 3), |_| with_size(&[1, 2, 3])),
    (copying_blob(&["root_key_size", "root_key_copy"], 133), |_| with_size(&SubnetKeys::of(0).public_key)),
    (returning_i32(&["subnet_self_node_count"]), |_| le_bytes(13, 4)),
    (returning_i32(&["canister_status"]), |_| le_bytes(1, 4)),
    (returning_i32(&["in_replicated_execution"]), |_| le_bytes(1, 4)),
    (returning_i32(&["data_certificate_present"]), |_| le_bytes(0, 4)),
    (returning_i32(&["env_var_count"]), |_| le_bytes(2, 4)),
    (returning_i32(&["stable_size"]), |_| le_bytes(0, 4)),
    (returning_i64(&["stable64_size"]), |_| le_bytes(0, 8)),
    (returning_i64(&["time"]), |_| le_bytes(NOW, 8)),
    (returning_i64(&["msg_deadline"]), |_| le_bytes(0, 8)),
    // One change for the installation, one for the settings.
    (returning_i64(&["canister_version"]), |_| le_bytes(2, 8)),
    (returning_i64(&["canister_cycle_balance"]), |_| le_bytes(CYCLES, 8)),
    (returning_i64(&["msg_cycles_available"]), |_| le_bytes(0, 8)),
    (storing_u128(&["canister_cycle_balance128"]), |_| le_bytes(CYCLES, 16)),
    (storing_u128(&["msg_cycles_available128"]), |_| le_bytes(0, 16)),
    (storing_u128(&["cost_create_canister"]), |_| le_bytes(500_000_000_000, 16)),
    (
        TestedFunctions {
            functions: &["is_controller"],
            types: &["(param i32 i32) (result i32)"],
            // The anonymous principal, which is the byte 4, is the controller.
            body: "(i32.store8 (i32.const 16) (i32.const 4)) (i32.store (i32.const 0) (call $f0 (i32.const 16) (i32.const 1)))",
            result_bytes: 4,
        },
        |_| le_bytes(1, 4),
    ),
    (
        TestedFunctions {
            functions: &["env_var_name_size", "env_var_name_copy", "env_var_value_size", "env_var_value_copy"],
            types: &[
                "(param i32) (result i32)",
                "(param i32 i32 i32 i32)",
                "(param i32 i32) (result i32)",
                "(param i32 i32 i32 i32 i32)",
            ],
            // The name of the second variable, then its value by that name.
            body: "(call $f1 (i32.const 1) (i32.const 0) (i32.const 0) (call $f0 (i32.const 1)))
                   (call $f3 (i32.const 0) (i32.const 6) (i32.const 6) (i32.const 0) (call $f2 (i32.const 0) (i32.const 6)))",
            result_bytes: 10,
        },
        |_| b"SECOND5678".to_vec(),
    ),
    (
        TestedFunctions {
            functions: &["env_var_name_exists"],
            types: &["(param i32 i32) (result i32)"],
            // Is there a variable FIRST, and is there one FIRS? (Whole names are compared.)
            body: "(i32.store (i32.const 16) (i32.const 0x53524946)) (i32.store8 (i32.const 20) (i32.const 0x54))
                   (i32.store (i32.const 0) (call $f0 (i32.const 16) (i32.const 5)))
                   (i32.store (i32.const 4) (call $f0 (i32.const 16) (i32.const 4)))",
            result_bytes: 8,
        },
        |_| [le_bytes(1, 4), le_bytes(0, 4)].concat(),
    ),
    (
        TestedFunctions {
            functions: &["global_timer_set"],
            types: &["(param i64) (result i64)"],
            body: "(i64.store (i32.const 0) (call $f0 (i64.const 7))) (i64.store (i32.const 8) (call $f0 (i64.const 0)))",
            result_bytes: 16,
        },
        |_| [le_bytes(0, 8), le_bytes(7, 8)].concat(),
    ),
    (
        TestedFunctions {
            functions: &["stable64_grow", "stable64_write", "stable64_read", "stable64_size"],
            types: &["(param i64) (result i64)", "(param i64 i64 i64)", "(param i64 i64 i64)", "(result i64)"],
            // Grows to 3 pages, writes and reads the last 8 bytes, and fails to grow further.
            body: "(i64.store (i32.const 0) (call $f0 (i64.const 3)))
                   (i64.store (i32.const 32) (i64.const 0x0102030405060708))
                   (call $f1 (i64.const 196600) (i64.const 32) (i64.const 8))
                   (call $f2 (i64.const 8) (i64.const 196600) (i64.const 8))
                   (i64.store (i32.const 16) (call $f3))
                   (i64.store (i32.const 24) (call $f0 (i64.const 0x7fffffffffff)))",
            result_bytes: 32,
        },
        |_| [le_bytes(0, 8), le_bytes(0x0102_0304_0506_0708, 8), le_bytes(3, 8), le_bytes(u64::MAX, 8)].concat(),
    ),
    (
        TestedFunctions {
            functions: &["stable_grow", "stable_write", "stable_read", "stable_size"],
            types: &["(param i32) (result i32)", "(param i32 i32 i32)", "(param i32 i32 i32)", "(result i32)"],
            body: "(i32.store (i32.const 0) (call $f0 (i32.const 1)))
                   (i32.store (i32.const 32) (i32.const 0x01020304))
                   (call $f1 (i32.const 65532) (i32.const 32) (i32.const 4))
                   (call $f2 (i32.const 4) (i32.const 65532) (i32.const 4))
                   (i32.store (i32.const 8) (call $f3))
                   (i32.store (i32.const 12) (call $f0 (i32.const 65536)))",
            result_bytes: 16,
        },
        |_| [le_bytes(0, 4), le_bytes(0x0102_0304, 4), le_bytes(1, 4), le_bytes(u64::from(u32::MAX), 4)].concat(),
    ),
    (
        TestedFunctions {
            functions: &["msg_cycles_accept128"],
            types: &["(param i64 i64 i32)"],
            body: "(call $f0 (i64.const 0) (i64.const 5) (i32.const 0))",
            result_bytes: 16,
        },
        // No cycles are attached to the call.
        |_| le_bytes(0, 16),
    ),
    (
        TestedFunctions {
            functions: &["cycles_burn128", "canister_cycle_balance128"],
            types: &["(param i64 i64 i32)", "(param i32)"],
            body: "(call $f0 (i64.const 0) (i64.const 5) (i32.const 0)) (call $f1 (i32.const 16))",
            result_bytes: 32,
        },
        |_| [le_bytes(5, 16), le_bytes(CYCLES - 5, 16)].concat(),
    ),
    (
        TestedFunctions {
            functions: &["cost_call", "cost_http_request"],
            types: &["(param i64 i64 i32)", "(param i64 i64 i32)"],
            body: "(call $f0 (i64.const 5) (i64.const 5) (i32.const 0)) (call $f1 (i64.const 5) (i64.const 5) (i32.const 16))",
            result_bytes: 32,
        },
        // Prices on a subnet of 13 nodes, for sizes of five bytes.
        |_| [le_bytes(42_102_422_000, 16), le_bytes(49_218_000, 16)].concat(),
    ),
    (
        TestedFunctions {
            functions: &["cost_sign_with_ecdsa", "cost_sign_with_schnorr", "cost_vetkd_derive_key"],
            types: &[
                "(param i32 i32 i32 i32) (result i32)",
                "(param i32 i32 i32 i32) (result i32)",
                "(param i32 i32 i32 i32) (result i32)",
            ],
            // The key is key_1. Each function is called with a curve that exists (answer 0) and with one that does not
            // (answer 1); the last call names a key that does not exist (answer 2).
            body: "(i64.store (i32.const 96) (i64.const 0x315f79656b))
                   (i32.store8 (i32.const 0) (call $f0 (i32.const 96) (i32.const 5) (i32.const 0) (i32.const 16)))
                   (i32.store8 (i32.const 1) (call $f0 (i32.const 96) (i32.const 5) (i32.const 9) (i32.const 64)))
                   (i32.store8 (i32.const 2) (call $f1 (i32.const 96) (i32.const 5) (i32.const 1) (i32.const 32)))
                   (i32.store8 (i32.const 3) (call $f1 (i32.const 96) (i32.const 5) (i32.const 9) (i32.const 64)))
                   (i32.store8 (i32.const 4) (call $f2 (i32.const 96) (i32.const 5) (i32.const 0) (i32.const 48)))
                   (i32.store8 (i32.const 5) (call $f2 (i32.const 96) (i32.const 5) (i32.const 9) (i32.const 64)))
                   (i32.store8 (i32.const 6) (call $f2 (i32.const 96) (i32.const 4) (i32.const 0) (i32.const 64)))",
            result_bytes: 80,
        },
        |_| {
            let answers = [[0, 1, 0, 1, 0, 1, 2].as_slice(), &[0; 9]].concat();
            [answers, le_bytes(26_153_846_153, 16).repeat(3), le_bytes(0, 16)].concat()
        },
    ),
];

/// Returns a canister whose update method `ask` replies with the results of the functions.
fn asking_module(tested: &TestedFunctions) -> Vec<u8> {
    let imports: String = tested
        .functions
        .iter()
        .zip(tested.types)
        .enumerate()
        .map(|(index, (name, types))| format!(r#"(import "ic0" "{name}" (func $f{index} {types}))"#))
        .collect();
    let (body, bytes) = (tested.body, tested.result_bytes);
    wasm(&format!(
        r#"(module {imports}
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (memory 1)
            (func (export "canister_update ask")
                {body} (call $append (i32.const 0) (i32.const {bytes})) (call $reply)))"#
    ))
}

fn variable(name: &str, value: &str) -> EnvironmentVariable {
    EnvironmentVariable { name: name.into(), value: value.into() }
}

/// Makes an update call by user 1, with information about the caller.
fn ask(pic: &PocketIc, id: Principal) -> Vec<u8> {
    use base64::Engine;
    let encode = |bytes: &[u8]| base64::prelude::BASE64_STANDARD.encode(bytes);
    let client = reqwest::blocking::Client::new();
    let post = |path: &str, body: &Value| -> Value {
        let url = pic.get_server_url().join(&format!("instances/{}/update/{path}", pic.instance_id()));
        client.post(url.expect("a path")).json(body).send().and_then(|r| r.json()).expect("an answer")
    };
    let submitted = post(
        "submit_ingress_message",
        &json!({
            "sender": encode(user(1).as_slice()), "canister_id": encode(id.as_slice()),
            "effective_principal": RawEffectivePrincipal::CanisterId(id.as_slice().to_vec()),
            "method": "ask", "payload": encode(ARGUMENT),
            "sender_info": { "info": encode(b"info"), "signer": encode(&[1, 2, 3]) },
        }),
    );
    let answer = post("await_ingress_message", &submitted["Ok"]);
    let reply = answer["Ok"].as_str().unwrap_or_else(|| panic!("expected a reply, got {answer}"));
    base64::prelude::BASE64_STANDARD.decode(reply).expect("base64")
}

#[test]
fn each_function_returns_the_correct_value() {
    let mut wrong = Vec::new();
    for (tested, expected) in TABLE {
        let pic = instance();
        let id = pic.create_canister();
        pic.install_canister(id, asking_module(tested), vec![], None);
        let variables = vec![variable("FIRST", "1"), variable("SECOND", "5678")];
        let settings = CanisterSettings { environment_variables: Some(variables), ..Default::default() };
        pic.update_canister_settings(id, None, settings).expect("the settings are accepted");
        // The call is executed in the next round, which has this time.
        pic.set_time(Time::from_nanos_since_unix_epoch(NOW));
        let called = CalledCanister { id, subnet: pic.topology().get_app_subnets()[0] };
        let (got, expected) = (ask(&pic, id), expected(&called));
        if got != expected {
            wrong.push(format!("{:?}: expected {expected:?}, got {got:?}", tested.functions));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_query_can_tell_that_it_is_one() {
    let pic = instance();
    let id = pic.create_canister();
    let module = wasm(
        r#"(module
            (import "ic0" "in_replicated_execution" (func $replicated (result i32)))
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (memory 1)
            (func (export "canister_query ask")
                (i32.store (i32.const 0) (call $replicated))
                (call $append (i32.const 0) (i32.const 1)) (call $reply)))"#,
    );
    pic.install_canister(id, module, vec![], None);
    assert_eq!(pic.query_call(id, ANONYMOUS, "ask", vec![]).expect("a reply"), [0]);
    assert_eq!(call(&pic, id, "ask", &[]).expect("a reply"), [1]);
}
