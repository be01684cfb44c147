//! The costs of operators and system calls, compared with the figures that the IC's execution layer publishes.
//!
//! The figures are those in the layer's sources, transcribed independently of the engine's own tables. The weights of
//! operators are in its functions `instruction_to_cost`. The charges of system calls are in the modules `overhead` and,
//! for stable memory, `overhead_native` of its system API complexity.

use super::*;
use crate::engine::permissions::APIS;

/// An operator's weight, the operator, its operands (each weighs 1), and whether it leaves a value (dropping weighs 1).
type Row = (u64, &'static str, &'static [&'static str], bool);

const I32: &str = "(i32.const 1)";
const I32_ZERO: &str = "(i32.const 0)";
const I64: &str = "(i64.const 1)";
const F32: &str = "(f32.const 1)";
const F64: &str = "(f64.const 1)";
const V128: &str = "(v128.const i64x2 1 1)";

/// At least one operator of each weight and kind.
const WEIGHTS: &[Row] = &[
    (1, "nop", &[], false),
    (1, "i32.add", &[I32, I32], true),
    (1, "i64.mul", &[I64, I64], true),
    (1, "i32.rotl", &[I32, I32], true),
    (1, "i32.eqz", &[I32], true),
    (1, "i64.lt_u", &[I64, I64], true),
    (1, "i32.popcnt", &[I32], true),
    (1, "i64.clz", &[I64], true),
    (1, "i64.extend_i32_u", &[I32], true),
    (1, "i32.wrap_i64", &[I64], true),
    (1, "i32.extend8_s", &[I32], true),
    (1, "select", &[I32, I32, I32], true),
    (1, "i32.load", &[I32], true),
    (1, "i64.store", &[I32, I64], false),
    (1, "f32.abs", &[F32], true),
    (1, "f64.neg", &[F64], true),
    (1, "f32.demote_f64", &[F64], true),
    (1, "f64.reinterpret_i64", &[I64], true),
    (1, "ref.null func", &[], true),
    (2, "global.get 0", &[], true),
    (2, "global.set 0", &[I32], false),
    (2, "f32.add", &[F32, F32], true),
    (2, "f64.mul", &[F64, F64], true),
    (2, "f64.nearest", &[F64], true),
    (2, "f32.copysign", &[F32, F32], true),
    (3, "f64.copysign", &[F64, F64], true),
    (3, "f32.div", &[F32, F32], true),
    (3, "f64.le", &[F64, F64], true),
    (3, "f64.convert_i64_s", &[I64], true),
    (5, "f64.div", &[F64, F64], true),
    (5, "f32.sqrt", &[F32], true),
    (5, "table.get 0", &[I32], true),
    (5, "ref.is_null", &["(ref.null func)"], true),
    (8, "f64.sqrt", &[F64], true),
    (10, "i32.div_s", &[I32, I32], true),
    (10, "i64.rem_u", &[I64, I64], true),
    (16, "f32.convert_i64_u", &[I64], true),
    (18, "f32.min", &[F32, F32], true),
    (18, "f64.max", &[F64, F64], true),
    (20, "i32.trunc_f64_s", &[F64], true),
    (20, "i64.trunc_sat_f32_u", &[F32], true),
    (20, "memory.size", &[], true),
    (100, "table.size 0", &[], true),
    (130, "ref.func $empty", &[], true),
    (1, "i8x16.add", &[V128, V128], true),
    (1, "v128.load", &[I32], true),
    (2, "i8x16.lt_u", &[V128, V128], true),
    (2, "f32x4.add", &[V128, V128], true),
    (3, "i8x16.popcnt", &[V128], true),
    (4, "i64x2.mul", &[V128, V128], true),
    (4, "f64x2.min", &[V128, V128], true),
    (5, "f64x2.max", &[V128, V128], true),
    (10, "f32x4.div", &[V128, V128], true),
    (12, "f64x2.div", &[V128, V128], true),
    (14, "f64x2.sqrt", &[V128], true),
    // Each byte that these operators write costs one more; here, each writes one.
    (100 + 1, "memory.fill", &[I32, I32, I32], false),
    (100 + 1, "memory.copy", &[I32, I32, I32], false),
    (100 + 1, "memory.init 0", &[I32, I32_ZERO, I32], false),
    // `block`, `loop`, `else` and `end` cost nothing.
    (0, "block loop end end", &[], false),
    (2, "block br 0 end", &[], false),
    (2, "block (param i32) br_if 0 end", &[I32], false),
    (2, "block (param i32) br_table 0 end", &[I32], false),
    (2, "if else end", &[I32], false),
    // The cost of a call, plus one for entering the called function.
    (5 + 1, "call $empty", &[], false),
    (10 + 1, "call_indirect (type $nothing)", &[I32_ZERO], false),
    (3 + 1, "return_call $empty", &[], false),
    (60 + 1, "return_call_indirect (type $nothing)", &[I32_ZERO], false),
];

/// Operators whose published weight exceeds 255, the maximum of the runtime's table: published weight,
/// weight here, and the other fields of [`Row`].
const CAPPED: &[(u64, u64, &str, &[&str], bool)] =
    &[(300, 255, "memory.grow", &[I32_ZERO], true), (300, 255, "data.drop 0", &[], false)];

/// Returns the cost of one operator, without its operands and the drop of its result. `address_type` is `i64` for a
/// module with a 64-bit memory, otherwise empty.
fn weight(operator: &str, operands: &[&str], leaves_value: bool, address_type: &str) -> u64 {
    let drop = if leaves_value { "drop" } else { "" };
    let state = fresh_state(&format!(
        r#"(module (memory {address_type} 1) (data "x") (type $nothing (func))
            (global (mut i32) (i32.const 0)) (table 2 funcref) (elem (i32.const 0) $empty)
            (func $empty) (func (export "canister_update u") {} {operator} {drop}))"#,
        operands.concat()
    ));
    let outcome = update(&state, "u");
    assert_eq!(outcome.result, Ok(()), "{operator}");
    // Entering the function costs one.
    outcome.instructions - 1 - operands.len() as u64 - u64::from(leaves_value)
}

#[test]
fn operators_have_the_published_weights() {
    for (published, operator, operands, leaves_value) in WEIGHTS {
        assert_eq!(weight(operator, operands, *leaves_value, ""), *published, "{operator}");
    }
    for (published, here, operator, operands, leaves_value) in CAPPED {
        assert!(here < published);
        assert_eq!(weight(operator, operands, *leaves_value, ""), *here, "{operator}");
    }
}

#[test]
fn loads_and_stores_of_64_bit_memories_cost_two() {
    for (operator, operands, leaves_value) in [
        ("i32.load", &[I64][..], true),
        ("i64.store", &[I64, I64], false),
        ("f64.load", &[I64], true),
        ("v128.load", &[I64], true),
        ("v128.store", &[I64, V128], false),
    ] {
        assert_eq!(weight(operator, operands, leaves_value, "i64"), 2, "{operator}");
    }
    assert_eq!(weight("i64.add", &[I64, I64], true, "i64"), 1);
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

/// The expected limits are those of the page "Canister resource limits" of the IC's documentation. A test in
/// `execution.rs` has those on the access to stable memory as well.
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
