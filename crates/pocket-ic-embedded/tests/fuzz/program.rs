//! Random valid canisters, as wasm text: expressions of both integer types, and statements, with loads, stores, growing
//! memories, indirect calls, loops, and calls of the system API with arbitrary arguments.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Functions of the system API: name, parameters, result (`i`: i32, `l`: i64).
const APIS: &[(&str, &str, &str)] = &[
    ("msg_reply", "", ""),
    ("msg_reply_data_append", "ii", ""),
    ("msg_reject", "ii", ""),
    ("msg_reject_msg_size", "", "i"),
    ("msg_arg_data_size", "", "i"),
    ("msg_arg_data_copy", "iii", ""),
    ("msg_caller_copy", "iii", ""),
    ("msg_cycles_accept128", "lli", ""),
    ("msg_cycles_available", "", "l"),
    ("cycles_burn128", "lli", ""),
    ("canister_cycle_balance", "", "l"),
    ("canister_self_copy", "iii", ""),
    ("stable_grow", "i", "i"),
    ("stable_write", "iii", ""),
    ("stable64_grow", "l", "l"),
    ("stable64_size", "", "l"),
    ("stable64_write", "lll", ""),
    ("stable64_read", "lll", ""),
    ("call_new", "iiiiiiii", ""),
    ("call_data_append", "ii", ""),
    ("call_cycles_add128", "ll", ""),
    ("call_on_cleanup", "ii", ""),
    ("call_perform", "", "i"),
    ("certified_data_set", "ii", ""),
    ("data_certificate_copy", "iii", ""),
    ("global_timer_set", "l", "l"),
    ("performance_counter", "i", "l"),
    ("is_controller", "ii", "i"),
    ("env_var_count", "", "i"),
    ("env_var_name_exists", "ii", "i"),
    ("env_var_value_copy", "iiiii", ""),
    ("cost_http_request_v2", "iii", ""),
    ("time", "", "l"),
    ("debug_print", "ii", ""),
    ("trap", "ii", ""),
];

const ENTRIES: [&str; 9] = [
    "canister_init",
    "canister_pre_upgrade",
    "canister_post_upgrade",
    "canister_inspect_message",
    "canister_heartbeat",
    "canister_global_timer",
    "canister_update u",
    "canister_query q",
    "canister_composite_query c",
];

fn wasm_type(letter: char) -> &'static str {
    if letter == 'i' { "i32" } else { "i64" }
}

/// Generates numbers near boundaries, and others.
fn number() -> impl Strategy<Value = i64> {
    prop_oneof![
        0..40i64,
        select(vec![-1, 4096, 65_535, 65_536, 1 << 31, (1 << 32) - 1, i64::MAX, i64::MIN]),
        any::<i64>(),
    ]
}

/// Returns the arguments of a call, one for each letter: `narrow` are expressions of type i32, `wide` of type i64. They
/// are used repeatedly if there are more letters than expressions.
fn arguments(letters: &str, narrow: &[String], wide: &[String]) -> String {
    let (mut narrow, mut wide) = (narrow.iter().cycle(), wide.iter().cycle());
    letters
        .chars()
        .filter_map(|letter| if letter == 'i' { narrow.next() } else { wide.next() })
        .fold(String::new(), |all, one| all + one)
}

/// Generates a pair: an expression of type i32 and one of type i64. They may use the local variables `$n` and `$w`.
fn expressions() -> impl Strategy<Value = (String, String)> {
    // A constant in wasm text must fit its type, signed or unsigned, so the number for i32 is truncated to 32 bits.
    let leaf = (number(), number(), any::<bool>()).prop_map(|(narrow, wide, local)| {
        if local {
            ("(local.get $n)".into(), "(local.get $w)".into())
        } else {
            (format!("(i32.const {})", narrow as i32), format!("(i64.const {wide})"))
        }
    });
    leaf.prop_recursive(3, 24, 4, |inner| {
        let binary =
            ["add", "sub", "mul", "div_s", "div_u", "rem_u", "and", "xor", "shl", "shr_s", "rotl"].to_vec();
        let apis: Vec<usize> = (0..APIS.len()).filter(|index| !APIS[*index].2.is_empty()).collect();
        prop_oneof![
            (select(binary), inner.clone(), inner.clone()).prop_map(|(op, a, b)| {
                (format!("(i32.{op} {} {})", a.0, b.0), format!("(i64.{op} {} {})", a.1, b.1))
            }),
            inner.clone().prop_map(|(narrow, wide)| {
                (format!("(i32.wrap_i64 {wide})"), format!("(i64.extend_i32_u {narrow})"))
            }),
            inner.clone().prop_map(|(narrow, _)| {
                (format!("(i32.load {narrow})"), format!("(i64.load8_s {narrow})"))
            }),
            inner.clone().prop_map(|(narrow, wide)| {
                (
                    format!("(memory.grow {narrow})"),
                    format!("(i64.trunc_sat_f64_s (f64.sqrt (f64.convert_i64_u {wide})))"),
                )
            }),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| {
                (
                    format!("(select {} {} {})", a.0, b.0, a.0),
                    format!("(if (result i64) {} (then {}) (else {}))", a.0, a.1, b.1),
                )
            }),
            inner.clone().prop_map(|(narrow, wide)| {
                (format!("(call_indirect (param i64) (result i32) {wide} {narrow})"), wide)
            }),
            (select(apis), vec(inner, 1..4)).prop_map(|(api, parts)| {
                let (name, params, result) = APIS[api];
                let (narrow, wide): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
                let call = format!("(call ${name} {})", arguments(params, &narrow, &wide));
                match result {
                    "i" => (call.clone(), format!("(i64.extend_i32_s {call})")),
                    _ => (format!("(i32.wrap_i64 {call})"), call),
                }
            }),
        ]
    })
}

/// Generates a statement: code that leaves nothing on the stack.
fn statement() -> impl Strategy<Value = String> {
    let apis: Vec<usize> = (0..APIS.len()).filter(|index| APIS[*index].2.is_empty()).collect();
    let simple = prop_oneof![
        4 => (select(apis), vec(expressions(), 1..5)).prop_map(|(api, parts)| {
            let (narrow, wide): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
            format!("(call ${} {})", APIS[api].0, arguments(APIS[api].1, &narrow, &wide))
        }),
        2 => (expressions(), expressions()).prop_map(|(a, b)| format!("(i64.store {} {})", a.0, b.1)),
        2 => expressions().prop_map(|(narrow, wide)| format!("(local.set $n {narrow}) (global.set $g {wide})")),
        1 => expressions().prop_map(|(narrow, wide)| format!("(drop {narrow}) (local.set $w {wide})")),
        1 => (expressions(), expressions(), expressions())
            .prop_map(|(a, b, c)| format!("(memory.fill {} {} {})", a.0, b.0, c.0)),
        1 => (expressions(), expressions(), expressions())
            .prop_map(|(a, b, c)| format!("(memory.copy {} {} {})", a.0, b.0, c.0)),
        1 => expressions().prop_map(|(narrow, _)| format!("(drop (table.get {narrow}))")),
        1 => expressions().prop_map(|(narrow, _)| format!("(memory.init $bytes {narrow} (i32.const 0) (i32.const 2)) (data.drop $bytes)")),
    ];
    simple.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            (expressions(), inner.clone()).prop_map(|(e, body)| format!("(if {} (then {body}))", e.0)),
            (expressions(), inner)
                .prop_map(|(e, body)| format!("(loop $again {body} (br_if $again {}))", e.0)),
        ]
    })
}

/// Generates a canister with the entry points of [`ENTRIES`], a start function, and callbacks.
pub fn program() -> impl Strategy<Value = String> {
    // One body for each entry point, one for the callback, and one for the start function.
    let bodies = vec(vec(statement(), 0..4), ENTRIES.len() + 2);
    (bodies, expressions()).prop_map(|(bodies, (narrow, _))| {
        let imports = APIS.iter().map(|(name, params, result)| {
            let list = |keyword: &str, letters: &str| {
                letters.chars().map(|letter| format!("({keyword} {})", wasm_type(letter))).collect::<String>()
            };
            format!(r#"(import "ic0" "{name}" (func ${name} {} {}))"#, list("param", params), list("result", result))
        });
        let locals = "(local $n i32) (local $w i64)";
        let entries = ENTRIES.iter().zip(&bodies).map(|(name, body)| {
            format!(r#"(func (export "{name}") {locals} {})"#, body.concat())
        });
        let callback = &bodies[ENTRIES.len()];
        let start = &bodies[ENTRIES.len() + 1];
        format!(
            r#"(module {} (memory 1 200) (table 8 20 funcref) (elem (i32.const 0) $callback $callback $indirect)
                (global $g (mut i64) (i64.const 7)) (data (i32.const 100) "some bytes") (data $bytes "more")
                {} (func $callback (param $n i32) (local $w i64) {})
                (func $indirect (param $w i64) (result i32) (local $n i32) {narrow})
                (func $start {locals} {}) (start $start))"#,
            imports.collect::<String>(),
            entries.collect::<String>(),
            callback.concat(),
            start.concat(),
        )
    })
}
