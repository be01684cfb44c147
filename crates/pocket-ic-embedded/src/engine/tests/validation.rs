//! Which bytes are accepted as a canister module, and which are refused.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use wasm_encoder::{CodeSection, Function, FunctionSection, Instruction, Module, TypeSection};

use super::*;
use crate::engine::module_info::{CustomSection, ModuleInfo};
use crate::engine::validation::{check_code, complexity};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

/// Like [`compile_wat_error`], but for bytes as uploaded instead of wasm text.
fn compile_error(uploaded: &[u8]) -> String {
    ENGINE.compile(uploaded).expect_err("the upload is refused").to_string()
}

// The smallest module: magic and version, without sections.
const EMPTY: &[u8] = b"\0asm\x01\0\0\0";

#[test]
fn the_empty_module_is_valid() {
    let module = ENGINE.compile(EMPTY).expect("the module is valid");
    let state = CanisterState::new(module);
    assert_eq!(state.wasm_memory_bytes(), 0);
    assert_eq!(state.heap().read(0, 0), Some(vec![]));
    assert_eq!(state.globals(), []);
    assert_eq!(update(&state, "any").result.expect_err("the module has no methods").error_code(), 536);
    let outcome = ENGINE.execute(&state, EntryPoint::Init, context(), Limits::install());
    assert_eq!(outcome.result, Ok(()));
}

#[test]
fn a_table_section_may_be_empty() {
    const NO_TABLE: [u8; 3] = [4, 1, 0];
    ENGINE.compile(&[EMPTY, &NO_TABLE].concat()).expect("the module is valid");
}

#[test]
fn modules_keep_the_bytes_as_uploaded() {
    let wasm =
        wat::parse_str(r#"(module (func (export "canister_update a")))"#).expect("the wasm text is valid");
    let packed = gzip(&wasm);
    let plain = ENGINE.compile(&wasm).expect("the module is valid");
    let module = ENGINE.compile(&packed).expect("the module is valid");
    assert_eq!(module.uploaded(), packed);
    assert_eq!(module.module_hash(), <[u8; 32]>::from(Sha256::digest(&packed)));
    assert_ne!(module.module_hash(), plain.module_hash());
    assert!(module.has_export(MethodKind::Update, "a"));
    // The same bytes give the same module.
    assert!(Arc::ptr_eq(&module, &ENGINE.compile(&packed).expect("the module is valid")));
}

#[test]
fn bytes_that_are_not_wasm_are_refused() {
    for bytes in
        [&b""[..], b"\0as", b"no wasm", b"\x1f\x8b", b"\x1f\x8b\x08", b"\x1f\x8bnonsense", &gzip(b"text")]
    {
        let text = compile_error(bytes);
        assert!(text.starts_with("Canister's Wasm module is not valid: Failed to decode"), "{text}");
    }
    for bytes in [&EMPTY[..6], b"\0asm\x02\0\0\0", b"\0asm\x01\0\0\0\x01"] {
        let text = compile_error(bytes);
        assert!(text.contains("not valid"), "{text}");
    }
}

#[test]
fn packed_modules_may_not_unpack_to_more_than_100_mib() {
    let mut bomb = EMPTY.to_vec();
    bomb.resize((100 << 20) + 1, 0);
    let too_large = "Wasm module size of 104857601 exceeds the maximum allowed size of 104857600.";
    assert!(compile_error(&gzip(&bomb)).ends_with(too_large));
    assert!(compile_error(&bomb).ends_with(too_large));
    // Exactly 100 MiB: still not a module, but no longer too large.
    bomb.pop();
    assert!(!compile_error(&gzip(&bomb)).contains("exceeds"));
}

/// The IC reads the last four bytes as the unpacked size, and unpacks only the first member.
#[test]
fn a_gzip_ends_with_the_size_of_its_first_member() {
    let packed = gzip(EMPTY);
    // At most one byte more than the specified size is extracted.
    for (tail, expected) in [
        (gzip(b"text"), "specified uncompressed size 4 does not match extracted size 5"),
        (vec![0; 4], "specified uncompressed size 0 does not match extracted size 1"),
        (vec![9, 0, 0, 0], "specified uncompressed size 9 does not match extracted size 8"),
        (b"garbage".to_vec(), "exceeds the maximum allowed size of 104857600"),
    ] {
        let text = compile_error(&[&packed[..], &tail].concat());
        assert!(text.contains(expected), "{text}");
    }
    for size in [0u32, 7, 9, 8 + (1 << 24)] {
        let mut wrong = packed.clone();
        wrong.splice(packed.len() - 4.., size.to_le_bytes());
        let text = compile_error(&wrong);
        assert!(text.contains("Failed to decode wasm module"), "{size}: {text}");
    }
    for len in 0..packed.len() {
        compile_error(&packed[..len]);
    }
    assert!(compile_error(&packed[..15]).contains("gzip stream is too short"));
    // The bytes after the first member are not checked, as long as they end with the size of the first member.
    ENGINE.compile(&[&packed[..], &packed].concat()).expect("the upload ends with the right size");
}

/// Returns a module with one function for each list of instructions; each function gets a final `end`.
fn functions<'a>(bodies: impl IntoIterator<Item = Vec<Instruction<'a>>>) -> Vec<u8> {
    let (mut types, mut functions, mut code) =
        (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    for body in bodies {
        functions.function(0);
        let mut function = Function::new([]);
        for instruction in &body {
            function.instruction(instruction);
        }
        function.instruction(&Instruction::End);
        code.function(&function);
    }
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&code);
    module.finish()
}

#[test]
fn functions_have_a_complexity_of_at_most_a_million() {
    use Instruction::{Call, Nop};
    check_code(&functions([vec![], vec![Nop; 999_999]])).expect("a complexity of a million is allowed");
    let mut calls = vec![Call(0); 19_999];
    calls.extend(vec![Nop; 49]);
    check_code(&functions([vec![], calls.clone()])).expect("a complexity of a million is allowed");
    calls.push(Nop);
    let refusal = "Wasm module contains a function at index 1 with complexity 1000001 which exceeds the maximum complexity allowed 1000000.";
    for body in [vec![Nop; 1_000_000], calls] {
        let text = compile_error(&functions([vec![], body]));
        assert!(text.ends_with(refusal), "{text}");
    }
}

#[test]
fn a_code_section_has_at_most_12_mib() {
    const MAX: usize = 12 << 20;
    // The section needs thirteen functions, since each may have at most a million operators; the byte with their number
    // does not count. Each function takes five bytes in addition to its operators: three for its size, one for its
    // locals, and one for its `end`.
    let module_with = |bytes: usize| {
        let nops = bytes - 13 * 5;
        functions((0..13).map(|index| vec![Instruction::Nop; nops / 13 + usize::from(index < nops % 13)]))
    };
    check_code(&module_with(MAX)).expect("12 MiB are allowed");
    let text = compile_error(&module_with(MAX + 1));
    assert!(
        text.ends_with(
            "Wasm module code section size of 12582913 exceeds the maximum allowed size of 12582912."
        ),
        "{text}"
    );
}

#[test]
fn operators_that_change_tables_are_refused() {
    for (name, code) in [
        ("table.set", "(table.set 0 (i32.const 0) (ref.null func))"),
        ("table.grow", "(drop (table.grow 0 (ref.null func) (i32.const 1)))"),
        ("table.fill", "(table.fill 0 (i32.const 0) (ref.null func) (i32.const 1))"),
        ("table.copy", "(table.copy (i32.const 0) (i32.const 0) (i32.const 1))"),
        ("table.init", "(table.init 0 (i32.const 0) (i32.const 0) (i32.const 1))"),
    ] {
        let text =
            compile_wat_error(&format!("(module (table 1 funcref) (elem func $f) (func) (func $f {code}))"));
        let expected = format!("contains a function at index 1 with unsupported instruction {name}.");
        assert!(text.contains(&expected), "{text}");
    }
    compile(
        "(module (table 1 funcref) (elem $e func $f) (func $f (drop (table.get 0 (i32.const 0))) (elem.drop $e)))",
    );
    // A module may have one table, of at most a million entries.
    compile("(module (table 1000000 funcref))");
    for tables in ["(table 1000001 funcref)", "(table 1 funcref) (table 1 funcref)"] {
        let text = compile_wat_error(&format!("(module {tables})"));
        assert!(text.contains("cannot be instantiated"), "{text}");
    }
}

#[test]
fn reserved_exports_and_invalid_types_are_refused() {
    for export in [
        r#"(func (export "canister_start"))"#,
        r#"(memory (export "stable_memory") 1)"#,
        r#"(global (export "canister counter_instructions") i32 (i32.const 0))"#,
    ] {
        let text = compile_wat_error(&format!("(module {export})"));
        assert!(text.contains("Exporting reserved symbol"), "{text}");
    }
    compile(r#"(module (func (export "canister something") (param i32)))"#);
    let text = compile_wat_error("(module (func $f) (elem declare func $f) (global funcref (ref.func $f)))");
    assert!(text.contains("Unsupported global type: funcref"), "{text}");
    let text = compile_wat_error("(module (memory i64 1 98305))");
    assert!(text.contains("up to 98305 pages; at most 98304"), "{text}");
    compile("(module (memory i64 1 98304))");
    let text = compile_wat_error("(module (memory i64 98305))");
    assert!(text.contains("declares a memory of 98305 pages; at most 98304 are allowed"), "{text}");
}

#[test]
fn a_function_name_has_at_most_1_mib() {
    let named = |len: usize| format!(r#"(module (func $f (@name "{}")))"#, "n".repeat(len));
    compile(&named(1 << 20));
    // The parser of the wasm text limits names in imports to 100,000 bytes, but not names of functions.
    let text = compile_wat_error(&named((1 << 20) + 1));
    assert!(text.contains("at index 0 with name 'nnnn") && text.contains("1048577 bytes"), "{text}");
}

#[test]
fn an_engine_may_be_without_limits_on_methods() {
    let name = "n".repeat(20_001);
    let wat = format!(
        r#"(module (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
        (memory 1) (table 1 funcref)
        (func (export "canister_update call")
            (call $new (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 20001)
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
        {} (func (export "canister_query {name}")))"#,
        (0..1_000).map(|i| format!(r#"(func (export "canister_update {i}"))"#)).collect::<String>()
    );
    let wasm = wat::parse_str(&wat).expect("the wasm text is valid");
    let lenient = ENGINE.clone().without_method_limits();
    let state = CanisterState::new(lenient.compile(&wasm).expect("this engine has no limits on methods"));
    assert!(compile_error(&wasm).contains("1002 exported methods"), "the other engine has its limits");
    let call = EntryPoint::Update("call".into());
    assert_eq!(lenient.execute(&state, call.clone(), context(), Limits::update()).result, Ok(()));
    let trap = ENGINE
        .execute(&state, call, context(), Limits::update())
        .result
        .expect_err("the name of the called method is too long");
    assert!(
        trap.to_string().contains("Size of method_name 20001 exceeds the allowed limit of 20000"),
        "{trap}"
    );
}

#[test]
fn unknown_imports_are_refused() {
    for (import, name) in [
        (r#""ic0" "no_such_function" (func)"#, "'no_such_function' from 'ic0'"),
        (r#""env" "time" (func (result i64))"#, "'time' from 'env'"),
        (r#""wasi_snapshot_preview1" "fd_write" (func)"#, "'fd_write' from 'wasi_snapshot_preview1'"),
        (r#""ic0" "memory" (memory 1)"#, "'memory' from 'ic0'"),
        (r#""ic0" "g" (global i32)"#, "'g' from 'ic0'"),
        (r#""ic0" "t" (table 1 funcref)"#, "'t' from 'ic0'"),
    ] {
        let text = compile_wat_error(&format!("(module (import {import}))"));
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn invalid_exports_are_refused_and_valid_ones_are_found() {
    for (module, expected) in [
        (r#"(func $f (export "canister_update a") (export "canister_query a"))"#, "Duplicate function 'a'"),
        (
            r#"(func (export "canister_composite_query a") (export "canister_query a"))"#,
            "Duplicate function 'a'",
        ),
        (r#"(func (export "canister_update a") (param i32))"#, "'canister_update a' to have no parameters"),
        (r#"(func (export "canister_query a") (result i32) (i32.const 0))"#, "no results"),
        (r#"(func (export "canister_init") (param i32))"#, "'canister_init'"),
        (r#"(func (export "canister_heartbeat") (param i32))"#, "'canister_heartbeat'"),
        (r#"(func (export "canister_query"))"#, "reserved function 'canister_query'"),
        (r#"(func (export "canister_something"))"#, "reserved function 'canister_something'"),
    ] {
        let text = compile_wat_error(&format!("(module {module})"));
        assert!(text.contains(expected), "{text}");
    }
    let module = compile(
        r#"(module
        (func (export "canister_update with spaces in it"))
        (func (export "canister_query "))
        (func (export "canister_pre_upgrade"))
        (func (export "other") (param i32)) (memory (export "memory") 1) (global (export "g") i32 (i32.const 1))
        (table (export "t") 1 funcref))"#,
    );
    assert!(module.has_export(MethodKind::Update, "with spaces in it"));
    assert!(module.has_export(MethodKind::Query, ""));
    assert!(!module.has_export(MethodKind::Query, "with spaces in it"));
    assert!(module.exports_system(SystemEntry::PreUpgrade));
    assert!(!module.exports_system(SystemEntry::PostUpgrade));
    assert_eq!(module.methods().count(), 2);
}

#[test]
fn modules_with_unsupported_features_are_refused() {
    for module in [
        "(memory 1) (memory 1)",
        "(memory 1 1 shared)",
        "(global externref (ref.null extern))",
        "(tag)",
        "(memory 70000)",
        "(func (drop (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0))))",
        "(type (struct (field i32)))",
    ] {
        let text = compile_wat_error(&format!("(module {module})"));
        assert!(text.contains("failed validation"), "{text}");
    }
    compile("(module (func (result v128) (v128.const i64x2 1 2)) (func (return_call 2)) (func))");
}

#[test]
fn modules_over_a_size_limit_are_refused() {
    let many = |one: &dyn Fn(usize) -> String, count: usize| {
        format!("(module {})", (0..count).map(one).collect::<String>())
    };
    let method = |i: usize| format!(r#"(func (export "canister_update {i}"))"#);
    compile(&many(&method, 1000));
    assert!(compile_wat_error(&many(&method, 1001)).contains("1001 exported methods"));
    let global = |_: usize| "(global i32 (i32.const 0))".to_string();
    assert!(compile_wat_error(&many(&global, 1001)).contains("1001 globals"));
    let name = "n".repeat(20_001);
    assert!(
        compile_wat_error(&many(&|_| format!(r#"(func (export "canister_update {name}"))"#), 1))
            .contains("20001 bytes")
    );
    assert!(compile_wat_error(&many(&|_| "(func)".into(), 50_001)).contains("50001 functions"));
    // Imported functions do not count.
    let import = r#"(import "ic0" "msg_reply" (func)) (import "ic0" "msg_reject" (func (param i32 i32)))"#;
    let most = format!("(module {import} {})", "(func)".repeat(50_000));
    ModuleInfo::read(&wat::parse_str(most).expect("the wasm text is valid"), true)
        .expect("50,000 own functions are allowed");
    let section = |i: usize| format!(r#"(@custom "icp:public {i}" "x")"#);
    compile(&many(&section, 16));
    let bytes = |n: usize| format!(r#"(module (@custom "icp:public name" "{}"))"#, "x".repeat(n));
    // The four bytes of the word `name` count, too.
    compile(&bytes((1 << 20) - 4));
    assert!(compile_wat_error(&bytes((1 << 20) - 3)).contains("1048577 bytes in custom sections"));
    assert!(compile_wat_error(&many(&section, 17)).contains("17 custom sections"));
    assert!(
        compile_wat_error(r#"(module (memory 1) (data (i32.const 65535) "ab"))"#)
            .contains("heap out of bounds")
    );
}

#[test]
fn icp_custom_sections_are_read_and_checked() {
    let module = compile(
        r#"(module (@custom "icp:public candid:service" "text")
        (@custom "icp:private secret" "s") (@custom "name" "") (@custom "producers" "x"))"#,
    );
    let service = CustomSection { data: b"text".to_vec(), is_public: true };
    assert_eq!(module.custom_section("candid:service"), Some(&service));
    let secret = CustomSection { data: b"s".to_vec(), is_public: false };
    assert_eq!(module.custom_section("secret"), Some(&secret));
    assert_eq!(module.custom_section("producers"), None);
    assert_eq!(module.custom_sections().count(), 2);
    assert_eq!(module.custom_sections_bytes(), 5);
    assert!(compile_wat_error(r#"(module (@custom "icp:other x" ""))"#).contains("icp:other x"));
    assert!(
        compile_wat_error(r#"(module (@custom "icp:public x" "") (@custom "icp:private x" ""))"#)
            .contains("twice")
    );
}

#[test]
fn exports_named_like_the_engines_own_do_not_collide() {
    let state = fresh_state(
        r#"(module
        (import "ic0" "msg_reply" (func $reply))
        (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
        (memory 1) (global $g (mut i32) (i32.const 1))
        (func (export "engine:memory")) (func (export "engine::start")) (func (export "engine:global 0"))
        (func (export "canister_update next")
            (global.set $g (i32.add (global.get $g) (i32.const 1)))
            (i32.store (i32.const 0) (global.get $g))
            (call $append (i32.const 0) (i32.const 4)) (call $reply)))"#,
    );
    let next = update(&state, "next");
    assert_eq!(reply_u32(&next), 2);
    assert_eq!(reply_u32(&update(&next.state, "next")), 3);
}

/// The complexities in the IC's function `wasm_function_complexity`, transcribed independently of the engine's own
/// table. The operators that change tables are left out, since they are refused.
const COMPLEXITIES: &[(u64, &str)] = &[
    (50, "block end, loop end, if end, br 0, br_if 0, br_table 0"),
    (50, "call 0, call_indirect (type 0), memory.grow"),
    (14, "table.get 0"),
    (8, "ref.func 0"),
    (6, "ref.is_null"),
    (
        5,
        "i32.trunc_f32_s, i32.trunc_f32_u, i32.trunc_f64_s, i32.trunc_f64_u, i64.extend_i32_s, i64.extend_i32_u",
    ),
    (5, "i64.trunc_f32_s, i64.trunc_f32_u, i64.trunc_f64_s, i64.trunc_f64_u, f32.demote_f64"),
    (5, "f32.convert_i32_s, f32.convert_i32_u, f32.convert_i64_s, f32.convert_i64_u"),
    (5, "f64.convert_i32_s, f64.convert_i32_u, f64.convert_i64_s, f64.convert_i64_u"),
    (4, "f32.neg, f32.abs, f64.neg, f64.abs, memory.copy"),
    (3, "f32.copysign, f64.copysign, f64.eq, memory.fill"),
    (3, "i32.rem_u, i32.rem_s, i64.rem_u, i64.rem_s, i32.div_u, i32.div_s, i64.div_u, i64.div_s"),
    (3, "i32.load, i64.load, f32.load, f64.load, i32.load8_s, i32.load8_u, i32.load16_s, i32.load16_u"),
    (3, "i64.load8_s, i64.load8_u, i64.load16_s, i64.load16_u, i64.load32_s, i64.load32_u"),
    (3, "i32.trunc_sat_f32_s, i32.trunc_sat_f32_u, i32.trunc_sat_f64_s, i32.trunc_sat_f64_u"),
    (3, "i64.trunc_sat_f32_s, i64.trunc_sat_f32_u, i64.trunc_sat_f64_s, i64.trunc_sat_f64_u"),
    (2, "global.get 0, i32.popcnt, i64.popcnt, select, memory.size"),
    (
        2,
        "i32.store, i32.store8, i32.store16, i64.store, i64.store8, i64.store16, i64.store32, f32.store, f64.store",
    ),
    (
        2,
        "i32.eqz, i32.eq, i32.ne, i32.lt_s, i32.lt_u, i32.gt_s, i32.gt_u, i32.le_s, i32.le_u, i32.ge_s, i32.ge_u",
    ),
    (
        2,
        "i64.eqz, i64.eq, i64.ne, i64.lt_s, i64.lt_u, i64.gt_s, i64.gt_u, i64.le_s, i64.le_u, i64.ge_s, i64.ge_u",
    ),
    (2, "f32.eq, f32.ne, f32.lt, f32.gt, f32.le, f32.ge, f64.ne, f64.lt, f64.gt, f64.le, f64.ge"),
    (2, "f32.ceil, f64.ceil, f32.floor, f64.floor, f32.sqrt, f64.sqrt, f32.trunc, f64.trunc"),
    (2, "i32.reinterpret_f32, i64.reinterpret_f64, f32.reinterpret_i32, f64.reinterpret_i64, i32.wrap_i64"),
    (2, "i32.extend8_s, i32.extend16_s, i64.extend8_s, i64.extend16_s, i64.extend32_s, f64.promote_f32"),
    (1, "nop, unreachable, return, drop, local.get 0, local.set 0, local.tee 0, global.set 0, ref.null func"),
    (
        1,
        "i32.const 1, i64.const 1, f32.const 1, f64.const 1, i32.add, i64.mul, i32.clz, i64.rotl, f32.add, f64.div",
    ),
    (1, "f32.nearest, f64.nearest, f32.min, f64.max"),
];

#[test]
fn operators_have_the_published_complexity() {
    for (expected, operators) in COMPLEXITIES {
        for operator in operators.split(", ") {
            let text = format!(
                "(module (type (func)) (memory 1) (table 1 funcref) (global (mut i32) (i32.const 0)) \
                 (func (local i32) {operator}))"
            );
            let wasm = wat::parse_str(text).expect("the test's WAT is valid");
            let body = wasmparser::Parser::new(0).parse_all(&wasm).find_map(|payload| match payload {
                Ok(wasmparser::Payload::CodeSectionEntry(body)) => Some(body),
                _ => None,
            });
            let body = body.expect("the module has a function");
            let first = body.get_operators_reader().and_then(|mut reader| reader.read());
            let found = complexity(&first.expect("the function has an operator"));
            assert_eq!(found, *expected, "{operator}");
        }
    }
}
