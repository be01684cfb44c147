//! The costs of operators and system calls, compared with the figures that the IC's execution layer publishes.
//!
//! The figures come from the layer's sources: the functions `instruction_to_cost`, and the modules `overhead` and, for
//! stable memory, `overhead_native` of its system API complexity. They are transcribed here independently of the engine's
//! own tables.

use super::*;
use crate::engine::contexts::APIS;

/// An operator's weight, the operator, its operands (each weighs 1), and whether it leaves a value (dropping weighs 1).
type Row = (u64, &'static str, &'static [&'static str], bool);

const I: &str = "(i32.const 1)";
const ZERO: &str = "(i32.const 0)";
const L: &str = "(i64.const 1)";
const F: &str = "(f32.const 1)";
const D: &str = "(f64.const 1)";
const V: &str = "(v128.const i64x2 1 1)";

/// At least one operator of each weight and kind.
const WEIGHTS: &[Row] = &[
    (1, "nop", &[], false),
    (1, "i32.add", &[I, I], true),
    (1, "i64.mul", &[L, L], true),
    (1, "i32.rotl", &[I, I], true),
    (1, "i32.eqz", &[I], true),
    (1, "i64.lt_u", &[L, L], true),
    (1, "i32.popcnt", &[I], true),
    (1, "i64.clz", &[L], true),
    (1, "i64.extend_i32_u", &[I], true),
    (1, "i32.wrap_i64", &[L], true),
    (1, "i32.extend8_s", &[I], true),
    (1, "select", &[I, I, I], true),
    (1, "i32.load", &[I], true),
    (1, "i64.store", &[I, L], false),
    (1, "f32.abs", &[F], true),
    (1, "f64.neg", &[D], true),
    (1, "f32.demote_f64", &[D], true),
    (1, "f64.reinterpret_i64", &[L], true),
    (1, "ref.null func", &[], true),
    (2, "global.get 0", &[], true),
    (2, "global.set 0", &[I], false),
    (2, "f32.add", &[F, F], true),
    (2, "f64.mul", &[D, D], true),
    (2, "f64.nearest", &[D], true),
    (2, "f32.copysign", &[F, F], true),
    (3, "f64.copysign", &[D, D], true),
    (3, "f32.div", &[F, F], true),
    (3, "f64.le", &[D, D], true),
    (3, "f64.convert_i64_s", &[L], true),
    (5, "f64.div", &[D, D], true),
    (5, "f32.sqrt", &[F], true),
    (5, "table.get 0", &[I], true),
    (5, "ref.is_null", &["(ref.null func)"], true),
    (8, "f64.sqrt", &[D], true),
    (10, "i32.div_s", &[I, I], true),
    (10, "i64.rem_u", &[L, L], true),
    (16, "f32.convert_i64_u", &[L], true),
    (18, "f32.min", &[F, F], true),
    (18, "f64.max", &[D, D], true),
    (20, "i32.trunc_f64_s", &[D], true),
    (20, "i64.trunc_sat_f32_u", &[F], true),
    (20, "memory.size", &[], true),
    (100, "table.size 0", &[], true),
    (130, "ref.func $empty", &[], true),
    (1, "i8x16.add", &[V, V], true),
    (1, "v128.load", &[I], true),
    (2, "i8x16.lt_u", &[V, V], true),
    (2, "f32x4.add", &[V, V], true),
    (3, "i8x16.popcnt", &[V], true),
    (4, "i64x2.mul", &[V, V], true),
    (4, "f64x2.min", &[V, V], true),
    (5, "f64x2.max", &[V, V], true),
    (10, "f32x4.div", &[V, V], true),
    (12, "f64x2.div", &[V, V], true),
    (14, "f64x2.sqrt", &[V], true),
    // Each byte that these operators write costs one more; here, each writes one.
    (100 + 1, "memory.fill", &[I, I, I], false),
    (100 + 1, "memory.copy", &[I, I, I], false),
    (100 + 1, "memory.init 0", &[I, ZERO, I], false),
    // `block`, `loop`, `else` and `end` cost nothing.
    (0, "block loop end end", &[], false),
    (2, "block br 0 end", &[], false),
    (2, "block (param i32) br_if 0 end", &[I], false),
    (2, "block (param i32) br_table 0 end", &[I], false),
    (2, "if else end", &[I], false),
    // The cost of a call, plus one for entering the called function.
    (5 + 1, "call $empty", &[], false),
    (10 + 1, "call_indirect (type $nothing)", &[ZERO], false),
    (3 + 1, "return_call $empty", &[], false),
    (60 + 1, "return_call_indirect (type $nothing)", &[ZERO], false),
];

/// Operators whose published weight exceeds 255, the maximum of the runtime's table: published weight, weight here.
const CAPPED: &[(u64, u64, &str, &[&str], bool)] =
    &[(300, 255, "memory.grow", &[ZERO], true), (300, 255, "data.drop 0", &[], false)];

/// Returns the cost of one operator, without its operands and the drop of its result.
fn weight(operator: &str, operands: &[&str], value: bool, memory: &str) -> u64 {
    let drop = if value { "drop" } else { "" };
    let state = fresh(&format!(
        r#"(module (memory {memory} 1) (data "x") (type $nothing (func))
            (global (mut i32) (i32.const 0)) (table 2 funcref) (elem (i32.const 0) $empty)
            (func $empty) (func (export "canister_update u") {} {operator} {drop}))"#,
        operands.concat()
    ));
    let outcome = update(&state, "u");
    assert_eq!(outcome.result, Ok(()), "{operator}");
    // Entering the function costs one.
    outcome.instructions - 1 - operands.len() as u64 - u64::from(value)
}

#[test]
fn operators_have_the_published_weights() {
    for (published, operator, operands, value) in WEIGHTS {
        assert_eq!(weight(operator, operands, *value, ""), *published, "{operator}");
    }
    for (published, here, operator, operands, value) in CAPPED {
        assert!(here < published);
        assert_eq!(weight(operator, operands, *value, ""), *here, "{operator}");
    }
}

#[test]
fn loads_and_stores_of_64_bit_memories_cost_two() {
    for (operator, operands, value) in [
        ("i32.load", &[L][..], true),
        ("i64.store", &[L, L], false),
        ("f64.load", &[L], true),
        ("v128.load", &[L], true),
        ("v128.store", &[L, V], false),
    ] {
        assert_eq!(weight(operator, operands, value, "i64"), 2, "{operator}");
    }
    assert_eq!(weight("i64.add", &[L, L], true, "i64"), 1);
}

#[test]
fn system_calls_have_the_published_charges() {
    for api in APIS {
        let published = match api.name {
            "call_new" => 1_500,
            "call_perform" => 5_000,
            "cost_http_request_v2" => 10_000,
            "debug_print" => 100,
            "is_controller" => 1_000,
            "performance_counter" => 200,
            "stable_read" | "stable_write" | "stable64_read" | "stable64_write" => 20,
            "stable_size" | "stable64_size" => 0,
            "stable_grow" | "stable64_grow" => 100,
            _ => 500,
        };
        assert_eq!(api.cost, published, "{}", api.name);
    }
}

/// The expected limits are those of the page "Canister resource limits" of the IC's documentation.
#[test]
fn limits_are_the_published_ones() {
    let instructions = [Limits::update(), Limits::query(), Limits::install(), Limits::inspect()]
        .map(|limits| (limits.instructions, limits.message_instructions));
    let published = [40_000_000_000, 5_000_000_000, 300_000_000_000, 200_000_000].map(|limit| (limit, limit));
    assert_eq!(instructions, published);
    assert_eq!([Limits::update().reply_bytes, Limits::query().reply_bytes], [2 << 20, 3 << 20]);
    assert_eq!((Limits::update().call_bytes, Limits::update().calls), (2 << 20, 500));
    assert_eq!(Limits::update().stable_memory_bytes, 500 << 30);
}
