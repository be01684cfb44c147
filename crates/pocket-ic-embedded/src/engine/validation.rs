//! Validation of wasm: from the bytes of an installation to a checked module, and the facts about it that the engine
//! needs.
//!
//! Modules are unpacked, validated, and checked by the IC's rules for imports, exports and sizes. After that,
//! `module.rs` has them rewritten for execution (`rewrite.rs`) and compiled (`runtime.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use flate2::read::GzDecoder;
use wasmparser::{
    CompositeInnerType, ExternalKind, FunctionBody, KnownCustom, Name, NameSectionReader, Operator, Parser,
    Payload, TypeRef, ValType, Validator, WasmFeatures,
};

use super::entry::{MAX_METHOD_NAME_BYTES, MethodKind, SystemEntry};
use super::error::InvalidWasm;
use super::permissions;

/// Largest unpacked module in bytes.
pub const MAX_MODULE_BYTES: u64 = 100 << 20;
const MAX_CODE_SECTION_BYTES: u32 = 12 << 20;
/// Maximum complexity of a function, as on the IC: the sum of [`complexity`] over its operators, including the final
/// `end`. Each operator counts at least one, so the IC's limit on the number of operators, which has the same value,
/// never matters.
const MAX_FUNCTION_COMPLEXITY: u64 = 1_000_000;
/// Maximum length of a function name in the section `name`, in bytes.
const MAX_FUNCTION_NAME_BYTES: usize = 1 << 20;
const MAX_FUNCTIONS: usize = 50_000;
const MAX_GLOBALS: usize = 1_000;
const MAX_METHODS: usize = 1_000;
/// Maximum number of custom sections with the prefix `icp:`.
const MAX_CUSTOM_SECTIONS: usize = 16;
/// Maximum total size of the custom sections with the prefix `icp:`, including their names without prefix, in bytes.
const MAX_CUSTOM_BYTES: usize = 1 << 20;
/// Names that a module must not export, since the IC adds exports with these names. (Unknown names that begin with
/// `canister_` are refused as well, in [`add_export`].)
const RESERVED_EXPORTS: [&str; 6] = [
    "canister counter_instructions",
    "canister counter_dirty_pages",
    "canister counter_accessed_pages",
    "canister_start",
    "stable_memory",
    "stable_bytemap_memory",
];

/// Returns the wasm features that are allowed: WebAssembly 2.0 without `externref`, and in addition 64-bit memories and
/// tail calls.
pub(super) fn allowed_features() -> WasmFeatures {
    let features = WasmFeatures::WASM2 | WasmFeatures::MEMORY64 | WasmFeatures::TAIL_CALL;
    // Without this feature, `funcref` is the only reference type.
    features - WasmFeatures::GC_TYPES
}

/// A custom section with the prefix `icp:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomSection {
    pub data: Vec<u8>,
    /// Whether everyone may read the section; otherwise, only the canister's controllers may.
    pub is_public: bool,
}

/// A global that belongs to the canister's state: it is mutable or exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StateGlobal {
    pub(super) index: u32,
    pub(super) is_mutable: bool,
}

/// What the engine must know about a module in addition to its code.
#[derive(Debug, Default)]
pub(super) struct ModuleInfo {
    /// The exported methods, by name. [`check_methods`] checks their limits.
    pub(super) methods: BTreeMap<String, MethodKind>,
    pub(super) system_entries: BTreeSet<SystemEntry>,
    /// Index of the start function.
    pub(super) start: Option<u32>,
    /// The custom sections with the prefix `icp:`, by name without prefix.
    pub(super) custom_sections: BTreeMap<String, CustomSection>,
    /// Only the globals that belong to the state, by ascending index.
    pub(super) globals: Vec<StateGlobal>,
    /// Whether the module imports a function that reads the certificate of a query; `data_certificate_present` does
    /// not.
    pub(super) reads_certificate: bool,
    pub(super) has_table: bool,
    pub(super) has_memory: bool,
    pub(super) memory64: bool,
    /// The declared minimum of the memory, in wasm pages.
    pub(super) min_memory_pages: u64,
    /// The declared maximum of the memory, in wasm pages.
    pub(super) max_memory_pages: Option<u64>,
    /// Whether the code contains no `data.drop` or `elem.drop`, so that segments stay as they are at instantiation.
    pub(super) keeps_segments: bool,
}

fn invalid(text: impl Into<String>) -> InvalidWasm {
    InvalidWasm(text.into())
}

/// The error for a module that does not follow the wasm standard, or uses a feature that is not allowed.
fn failed_validation(error: wasmparser::BinaryReaderError) -> InvalidWasm {
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

/// Checks the sections of a module other than its code, which [`check_code`] has checked, and returns the facts about
/// the module.
pub(super) fn describe(wasm: &[u8], keeps_segments: bool) -> Result<ModuleInfo, InvalidWasm> {
    let mut info = ModuleInfo { keeps_segments, ..ModuleInfo::default() };
    let mut is_empty_type: Vec<bool> = Vec::new();
    // The type of each function, by index: imported functions come first.
    let mut function_types: Vec<u32> = Vec::new();
    let mut imported_count = 0;
    // Checked at the end: which functions exist depends on the memory, whose section follows.
    let mut imports: Vec<String> = Vec::new();
    let mut mutable_globals: Vec<bool> = Vec::new();
    let mut exported_globals: BTreeSet<u32> = BTreeSet::new();
    let mut exports: Vec<(String, u32)> = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(failed_validation)? {
            Payload::TypeSection(reader) => {
                for group in reader {
                    for ty in group.map_err(failed_validation)?.into_types() {
                        // Whether the type is `() -> ()`: nothing else about it matters here.
                        is_empty_type.push(match &ty.composite_type.inner {
                            CompositeInnerType::Func(f) => f.params().is_empty() && f.results().is_empty(),
                            _ => false,
                        });
                    }
                }
            }
            Payload::ImportSection(reader) => {
                for import in reader.into_imports() {
                    let import = import.map_err(failed_validation)?;
                    let (TypeRef::Func(ty) | TypeRef::FuncExact(ty)) = import.ty else {
                        return Err(invalid(format!(
                            "Wasm module has an invalid import section. Only functions can be imported, not '{}' from '{}'.",
                            import.name, import.module
                        )));
                    };
                    if import.module != "ic0" {
                        return Err(unknown_import(import.module, import.name));
                    }
                    imports.push(import.name.to_string());
                    function_types.push(ty);
                    imported_count += 1;
                }
            }
            Payload::FunctionSection(reader) => {
                for ty in reader {
                    function_types.push(ty.map_err(failed_validation)?);
                }
            }
            Payload::TableSection(reader) => info.has_table = reader.count() > 0,
            Payload::MemorySection(reader) => {
                for memory in reader {
                    let memory = memory.map_err(failed_validation)?;
                    info.has_memory = true;
                    info.memory64 = memory.memory64;
                    info.min_memory_pages = memory.initial;
                    info.max_memory_pages = memory.maximum;
                }
            }
            Payload::GlobalSection(reader) => {
                for global in reader {
                    let ty = global.map_err(failed_validation)?.ty;
                    if let ValType::Ref(other) = ty.content_type {
                        return Err(invalid(format!(
                            "Wasm module has an invalid global section. Unsupported global type: {other}"
                        )));
                    }
                    mutable_globals.push(ty.mutable);
                }
            }
            Payload::ExportSection(reader) => {
                for export in reader {
                    let export = export.map_err(failed_validation)?;
                    if RESERVED_EXPORTS.contains(&export.name) {
                        return Err(invalid(format!(
                            "Wasm module has an invalid export section. Exporting reserved symbol {} not allowed.",
                            export.name
                        )));
                    }
                    match export.kind {
                        ExternalKind::Func | ExternalKind::FuncExact => {
                            exports.push((export.name.to_string(), export.index));
                        }
                        ExternalKind::Global => {
                            exported_globals.insert(export.index);
                        }
                        _ => {}
                    }
                }
            }
            Payload::StartSection { func, .. } => {
                info.start = Some(func);
                info.system_entries.insert(SystemEntry::Start);
            }
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    check_function_names(names)?;
                }
                add_custom_section(&mut info, section.name(), section.data())?;
            }
            _ => {}
        }
    }
    for name in &imports {
        if !permissions::may_import(name, info.memory64) {
            return Err(unknown_import("ic0", name));
        }
    }
    let certificate_readers = ["data_certificate_size", "data_certificate_copy"];
    info.reads_certificate = imports.iter().any(|name| certificate_readers.contains(&name.as_str()));
    check_at_most("functions", function_types.len() - imported_count, MAX_FUNCTIONS)?;
    check_at_most("globals", mutable_globals.len(), MAX_GLOBALS)?;
    for (name, function) in exports {
        add_export(&mut info, &name, || {
            let ty = function_types.get(function as usize);
            ty.and_then(|ty| is_empty_type.get(*ty as usize)).copied().unwrap_or(false)
        })?;
    }
    info.globals = (0..)
        .zip(&mutable_globals)
        .filter(|(index, mutable)| **mutable || exported_globals.contains(index))
        .map(|(index, mutable)| StateGlobal { index, is_mutable: *mutable })
        .collect();
    Ok(info)
}

/// Checks the limits on exported methods. A PocketIC instance can be created without these limits.
pub(super) fn check_methods(info: &ModuleInfo) -> Result<(), InvalidWasm> {
    check_at_most("exported methods", info.methods.len(), MAX_METHODS)?;
    let names = info.methods.keys().map(String::len).sum();
    check_at_most("bytes in the names of exported methods", names, MAX_METHOD_NAME_BYTES)
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

/// Checks the lengths of the function names in the section `name`. Parts of the section that cannot be read are
/// ignored: a custom section may have any contents.
fn check_function_names(names: NameSectionReader<'_>) -> Result<(), InvalidWasm> {
    let maps = names.into_iter().map_while(Result::ok).filter_map(|names| match names {
        Name::Function(map) => Some(map),
        _ => None,
    });
    for naming in maps.flatten().map_while(Result::ok) {
        if naming.name.len() > MAX_FUNCTION_NAME_BYTES {
            let start: String = naming.name.chars().take(40).collect();
            return Err(invalid(format!(
                "Wasm module contains a function at index {} with name '{start}...' of size {} bytes that exceeds the maximum allowed size of {MAX_FUNCTION_NAME_BYTES} bytes.",
                naming.index,
                naming.name.len()
            )));
        }
    }
    Ok(())
}

fn unknown_import(module: &str, name: &str) -> InvalidWasm {
    invalid(format!(
        "Wasm module has an invalid import section. Module imports function '{name}' from '{module}' that is not exported by the runtime."
    ))
}

fn check_at_most(what: &str, got: usize, allowed: usize) -> Result<(), InvalidWasm> {
    if got > allowed {
        return Err(invalid(format!(
            "Wasm module defined {got} {what} which exceeds the maximum number allowed {allowed}."
        )));
    }
    Ok(())
}

/// Applies the rules for one exported function, and records it if it is a method or a system function. `has_empty_type`
/// says whether it has neither parameters nor results.
fn add_export(
    info: &mut ModuleInfo,
    name: &str,
    has_empty_type: impl FnOnce() -> bool,
) -> Result<(), InvalidWasm> {
    let system = match name {
        "canister_init" => Some(SystemEntry::Init),
        "canister_pre_upgrade" => Some(SystemEntry::PreUpgrade),
        "canister_post_upgrade" => Some(SystemEntry::PostUpgrade),
        "canister_inspect_message" => Some(SystemEntry::InspectMessage),
        "canister_heartbeat" => Some(SystemEntry::Heartbeat),
        "canister_global_timer" => Some(SystemEntry::GlobalTimer),
        "canister_on_low_wasm_memory" => Some(SystemEntry::OnLowWasmMemory),
        _ => None,
    };
    let method =
        [MethodKind::Update, MethodKind::Query, MethodKind::CompositeQuery].into_iter().find_map(|kind| {
            let name = name.strip_prefix(kind.export_prefix())?.strip_prefix(' ')?;
            Some((kind, name))
        });
    if system.is_none() && method.is_none() {
        if name.starts_with("canister_") {
            return Err(invalid(format!(
                "Wasm module has an invalid export section. Exporting reserved function '{name}' with \"canister\" prefix."
            )));
        }
        return Ok(());
    }
    if !has_empty_type() {
        return Err(invalid(format!(
            "Wasm module has an invalid function signature. Expected function '{name}' to have no parameters and no results."
        )));
    }
    if let Some(entry) = system {
        info.system_entries.insert(entry);
    }
    if let Some((kind, name)) = method
        && let Some(other) = info.methods.insert(name.to_string(), kind)
    {
        return Err(invalid(format!(
            "Wasm module has an invalid export section. Duplicate function '{name}' exported multiple times with different call types: {} and {}.",
            other.export_prefix(),
            kind.export_prefix()
        )));
    }
    Ok(())
}

/// Records a custom section if its name begins with `icp:`; ignores all others.
fn add_custom_section(info: &mut ModuleInfo, name: &str, data: &[u8]) -> Result<(), InvalidWasm> {
    let Some(rest) = name.strip_prefix("icp:") else {
        return Ok(());
    };
    let (name, is_public) = if let Some(name) = rest.strip_prefix("public ") {
        (name, true)
    } else if let Some(name) = rest.strip_prefix("private ") {
        (name, false)
    } else {
        return Err(invalid(format!(
            "Wasm module has an invalid custom section. Section '{name}' is neither 'icp:public <name>' nor 'icp:private <name>'."
        )));
    };
    let section = CustomSection { data: data.to_vec(), is_public };
    if info.custom_sections.insert(name.to_string(), section).is_some() {
        return Err(invalid(format!(
            "Wasm module has an invalid custom section. Section '{name}' occurs twice."
        )));
    }
    check_at_most("custom sections", info.custom_sections.len(), MAX_CUSTOM_SECTIONS)?;
    let sections = info.custom_sections.iter();
    let bytes = sections.map(|(name, section)| name.len() + section.data.len()).sum();
    check_at_most("bytes in custom sections", bytes, MAX_CUSTOM_BYTES)
}

/// Returns how much an operator adds to the complexity of its function, that is, to its compile time, according to the
/// IC's table.
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
