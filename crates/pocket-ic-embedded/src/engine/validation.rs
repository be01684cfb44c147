//! Validation of wasm: from the bytes of an installation to a module with valid code.
//!
//! Modules are unpacked, validated, and their code is checked by the IC's rules. After that, `module.rs` has their
//! other sections read and checked (`module_info.rs`), has them rewritten for execution (`rewrite.rs`) and compiled
//! (`runtime.rs`).

use std::io::Read;

use flate2::read::GzDecoder;
use wasmparser::{FunctionBody, Operator, Parser, Payload, Validator, WasmFeatures};

use super::error::InvalidWasm;

/// Largest unpacked module in bytes.
pub const MAX_MODULE_BYTES: u64 = 100 << 20;
const MAX_CODE_SECTION_BYTES: u32 = 12 << 20;
/// Maximum complexity of a function, as on the IC: the sum of [`complexity`] over its operators, including the final
/// `end`. Each operator counts at least one, so the IC's limit on the number of operators, which has the same value,
/// never matters.
const MAX_FUNCTION_COMPLEXITY: u64 = 1_000_000;

/// Returns the wasm features that are allowed: WebAssembly 2.0 without `externref`, and in addition 64-bit memories and
/// tail calls.
pub(super) fn allowed_features() -> WasmFeatures {
    let features = WasmFeatures::WASM2 | WasmFeatures::MEMORY64 | WasmFeatures::TAIL_CALL;
    // Without this feature, `funcref` is the only reference type.
    features - WasmFeatures::GC_TYPES
}

pub(super) fn invalid(text: impl Into<String>) -> InvalidWasm {
    InvalidWasm(text.into())
}

/// The error for a module that does not follow the wasm standard, or uses a feature that is not allowed.
pub(super) fn failed_validation(error: wasmparser::BinaryReaderError) -> InvalidWasm {
    invalid(format!("Wasm module failed validation: {error}"))
}

/// The error for bytes that are not a module at all, or cannot be unpacked.
fn undecodable(text: impl std::fmt::Display) -> InvalidWasm {
    invalid(format!("Failed to decode wasm module: {text}"))
}

/// Returns the wasm of a module as installed: unpacked if it is gzipped.
///
/// Only the first gzip member is unpacked. The last four bytes must be its unpacked size, so data after it is refused,
/// unless the data ends with this size.
pub(super) fn unpack(installed: &[u8]) -> Result<Vec<u8>, InvalidWasm> {
    /// A gzip stream cannot be shorter.
    const MIN_GZIP_BYTES: usize = 16;
    let check_size = |size: u64| {
        if size <= MAX_MODULE_BYTES {
            return Ok(());
        }
        Err(invalid(format!(
            "Wasm module size of {size} exceeds the maximum allowed size of {MAX_MODULE_BYTES}."
        )))
    };
    let wasm = if installed.starts_with(&[0x1f, 0x8b, 0x08]) {
        let size = match installed.last_chunk::<4>() {
            Some(size) if installed.len() >= MIN_GZIP_BYTES => u64::from(u32::from_le_bytes(*size)),
            _ => return Err(undecodable("invalid Wasm module: gzip stream is too short")),
        };
        check_size(size)?;
        let mut wasm = Vec::new();
        GzDecoder::new(installed)
            .take(size + 1)
            .read_to_end(&mut wasm)
            .map_err(|error| undecodable(format_args!("failed to decode compressed Wasm module: {error}")))?;
        if wasm.len() as u64 != size {
            return Err(undecodable(format_args!(
                "specified uncompressed size {size} does not match extracted size {}",
                wasm.len()
            )));
        }
        wasm
    } else {
        check_size(installed.len() as u64)?;
        installed.to_vec()
    };
    if !wasm.starts_with(b"\0asm") {
        return Err(undecodable("unsupported canister module format"));
    }
    Ok(wasm)
}

/// Returns whether the module declares a memory with 64-bit addresses; `false` also if it has no memory, or cannot be
/// read up to its memory.
pub(super) fn has_memory64(wasm: &[u8]) -> bool {
    Parser::new(0).parse_all(wasm).map_while(Result::ok).any(|payload| match payload {
        Payload::MemorySection(memories) => {
            memories.into_iter().map_while(Result::ok).any(|memory| memory.memory64)
        }
        _ => false,
    })
}

/// Validates a module and applies the limits on its code; this takes most of the time. Returns whether the code leaves
/// segments as they are at instantiation.
pub(super) fn check_code(wasm: &[u8]) -> Result<bool, InvalidWasm> {
    check_code_section(wasm)?;
    Validator::new_with_features(allowed_features()).validate_all(wasm).map_err(failed_validation)?;
    let (mut functions, mut keeps_segments) = (0, true);
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::CodeSectionEntry(body) = payload.map_err(failed_validation)? {
            keeps_segments &= check_function(functions, &body)?;
            functions += 1;
        }
    }
    Ok(keeps_segments)
}

/// Checks the size of the code section before any time is spent reading it.
fn check_code_section(wasm: &[u8]) -> Result<(), InvalidWasm> {
    for payload in Parser::new(0).parse_all(wasm) {
        match payload {
            Ok(Payload::CodeSectionStart { size, .. }) if size > MAX_CODE_SECTION_BYTES => {
                return Err(invalid(format!(
                    "Wasm module code section size of {size} exceeds the maximum allowed size of {MAX_CODE_SECTION_BYTES}."
                )));
            }
            Ok(Payload::CodeSectionStart { .. }) => break,
            Ok(_) => {}
            // Validation will report the error.
            Err(_) => break,
        }
    }
    Ok(())
}

/// Applies the limits on one function, and refuses operators that change a table. `index` counts the functions that the
/// module defines. Returns whether the function leaves segments as they are at instantiation.
fn check_function(index: usize, body: &FunctionBody<'_>) -> Result<bool, InvalidWasm> {
    let refused = |text: String| invalid(format!("Wasm module contains a function at index {index} {text}."));
    let (mut total, mut keeps_segments) = (0, true);
    let mut operators = body.get_operators_reader().map_err(failed_validation)?;
    while !operators.eof() {
        let operator = operators.read().map_err(failed_validation)?;
        if let Some(name) = table_change_name(&operator) {
            return Err(refused(format!("with unsupported instruction {name}")));
        }
        keeps_segments &= !matches!(operator, Operator::ElemDrop { .. } | Operator::DataDrop { .. });
        total += complexity(&operator);
    }
    if total > MAX_FUNCTION_COMPLEXITY {
        return Err(refused(format!(
            "with complexity {total} which exceeds the maximum complexity allowed {MAX_FUNCTION_COMPLEXITY}"
        )));
    }
    Ok(keeps_segments)
}

/// Returns the name of an operator that changes a table; `None` for all others. Canisters must not use these operators:
/// tables stay as they are at instantiation.
fn table_change_name(operator: &Operator<'_>) -> Option<&'static str> {
    Some(match operator {
        Operator::TableSet { .. } => "table.set",
        Operator::TableGrow { .. } => "table.grow",
        Operator::TableFill { .. } => "table.fill",
        Operator::TableCopy { .. } => "table.copy",
        Operator::TableInit { .. } => "table.init",
        _ => return None,
    })
}

/// Returns how much an operator adds to the complexity of its function, that is, to its compile time,
/// according to the IC's table.
pub(super) fn complexity(operator: &Operator<'_>) -> u64 {
    use Operator as Op;
    match operator {
        Op::Block { .. } | Op::Loop { .. } | Op::If { .. } => 50,
        Op::Br { .. } | Op::BrIf { .. } | Op::BrTable { .. } => 50,
        Op::Call { .. } | Op::CallIndirect { .. } | Op::MemoryGrow { .. } => 50,
        Op::TableGet { .. } => 14,
        Op::RefFunc { .. } => 8,
        Op::RefIsNull => 6,
        Op::I64ExtendI32S | Op::I64ExtendI32U | Op::F32DemoteF64 => 5,
        Op::I32TruncF32S | Op::I32TruncF32U | Op::I32TruncF64S | Op::I32TruncF64U => 5,
        Op::I64TruncF32S | Op::I64TruncF32U | Op::I64TruncF64S | Op::I64TruncF64U => 5,
        Op::F32ConvertI32S | Op::F32ConvertI32U | Op::F32ConvertI64S | Op::F32ConvertI64U => 5,
        Op::F64ConvertI32S | Op::F64ConvertI32U | Op::F64ConvertI64S | Op::F64ConvertI64U => 5,
        Op::F32Neg | Op::F32Abs | Op::F64Neg | Op::F64Abs | Op::MemoryCopy { .. } => 4,
        Op::F32Copysign | Op::F64Copysign | Op::F64Eq | Op::MemoryFill { .. } => 3,
        Op::I32DivS | Op::I32DivU | Op::I32RemS | Op::I32RemU => 3,
        Op::I64DivS | Op::I64DivU | Op::I64RemS | Op::I64RemU => 3,
        Op::I32Load { .. } | Op::I64Load { .. } | Op::F32Load { .. } | Op::F64Load { .. } => 3,
        Op::I32Load8S { .. } | Op::I32Load8U { .. } | Op::I32Load16S { .. } | Op::I32Load16U { .. } => 3,
        Op::I64Load8S { .. } | Op::I64Load8U { .. } | Op::I64Load16S { .. } | Op::I64Load16U { .. } => 3,
        Op::I64Load32S { .. } | Op::I64Load32U { .. } => 3,
        Op::I32TruncSatF32S | Op::I32TruncSatF32U | Op::I32TruncSatF64S | Op::I32TruncSatF64U => 3,
        Op::I64TruncSatF32S | Op::I64TruncSatF32U | Op::I64TruncSatF64S | Op::I64TruncSatF64U => 3,
        Op::I32Store { .. } | Op::I64Store { .. } | Op::F32Store { .. } | Op::F64Store { .. } => 2,
        Op::I32Store8 { .. } | Op::I32Store16 { .. } => 2,
        Op::I64Store8 { .. } | Op::I64Store16 { .. } | Op::I64Store32 { .. } => 2,
        Op::GlobalGet { .. } | Op::Select | Op::MemorySize { .. } | Op::I32Popcnt | Op::I64Popcnt => 2,
        Op::I32Eqz | Op::I32Eq | Op::I32Ne | Op::I32LtS | Op::I32LtU | Op::I32GtS | Op::I32GtU => 2,
        Op::I32LeS | Op::I32LeU | Op::I32GeS | Op::I32GeU => 2,
        Op::I64Eqz | Op::I64Eq | Op::I64Ne | Op::I64LtS | Op::I64LtU | Op::I64GtS | Op::I64GtU => 2,
        Op::I64LeS | Op::I64LeU | Op::I64GeS | Op::I64GeU => 2,
        Op::F32Eq | Op::F32Ne | Op::F32Lt | Op::F32Gt | Op::F32Le | Op::F32Ge => 2,
        Op::F64Ne | Op::F64Lt | Op::F64Gt | Op::F64Le | Op::F64Ge => 2,
        Op::F32Ceil | Op::F32Floor | Op::F32Trunc | Op::F32Sqrt => 2,
        Op::F64Ceil | Op::F64Floor | Op::F64Trunc | Op::F64Sqrt | Op::F64PromoteF32 => 2,
        Op::I32ReinterpretF32 | Op::I64ReinterpretF64 | Op::F32ReinterpretI32 | Op::F64ReinterpretI64 => 2,
        Op::I32WrapI64 | Op::I32Extend8S | Op::I32Extend16S => 2,
        Op::I64Extend8S | Op::I64Extend16S | Op::I64Extend32S => 2,
        _ => 1,
    }
}
