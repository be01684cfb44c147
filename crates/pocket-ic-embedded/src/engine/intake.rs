//! Wasm intake: from uploaded bytes to a checked module and what the engine needs to know about it.
//!
//! Unpacks, validates, and applies the IC's rules for imports, exports and sizes. Rewriting for execution is in
//! `rewrite.rs`, compilation in `module.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use flate2::read::GzDecoder;
use wasmparser::{
    CompositeInnerType, ExternalKind, Operator, Parser, Payload, TypeRef, Validator, WasmFeatures,
};

use super::api;
use super::error::InvalidWasm;
use super::types::{MethodKind, SystemEntry};

/// Largest unpacked module in bytes.
pub const MAX_MODULE_BYTES: u64 = 100 << 20;
/// Most functions a module may define.
const MAX_FUNCTIONS: usize = 50_000;
/// Most globals.
const MAX_GLOBALS: usize = 1_000;
/// Most methods a module may export.
const MAX_METHODS: usize = 1_000;
/// Largest sum of the lengths of their names, in bytes.
const MAX_METHOD_NAMES: usize = 20_000;
/// Most custom sections with the prefix `icp:`.
const MAX_CUSTOM_SECTIONS: usize = 16;
/// Largest sum of their sizes, in bytes.
const MAX_CUSTOM_BYTES: usize = 1 << 20;

/// What the wasm may use: the second version of the standard, with 64-bit memories and tail calls.
pub(super) fn features() -> WasmFeatures {
    let features = WasmFeatures::WASM2 | WasmFeatures::MEMORY64 | WasmFeatures::TAIL_CALL;
    // References to host objects: there are none in a canister.
    features - WasmFeatures::GC_TYPES
}

/// A global that belongs to the canister's state: it is mutable or exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StateGlobal {
    pub(super) index: u32,
    pub(super) mutable: bool,
}

/// What is known about a valid module.
#[derive(Debug, Default)]
pub(super) struct ModuleInfo {
    pub(super) methods: BTreeMap<String, MethodKind>,
    pub(super) system: BTreeSet<SystemEntry>,
    /// The function of the `(start)` section.
    pub(super) start: Option<u32>,
    /// Name to contents and whether the section is public.
    pub(super) custom: BTreeMap<String, (Vec<u8>, bool)>,
    pub(super) globals: Vec<StateGlobal>,
    pub(super) has_table: bool,
    pub(super) has_memory: bool,
    pub(super) memory64: bool,
    /// The declared minimum and maximum, in wasm pages.
    pub(super) memory_pages: (u64, Option<u64>),
    /// The code changes nothing but memory and globals: tables and segments stay as they are at instantiation.
    pub(super) static_tables: bool,
}

fn invalid(text: impl Into<String>) -> InvalidWasm {
    InvalidWasm(text.into())
}

fn unreadable(error: wasmparser::BinaryReaderError) -> InvalidWasm {
    invalid(format!("Wasm module failed validation: {error}"))
}

/// The wasm in an upload: unpacked if it is gzipped.
pub(super) fn unpack(uploaded: &[u8]) -> Result<Vec<u8>, InvalidWasm> {
    let too_large =
        || invalid(format!("Wasm module is too large: at most {MAX_MODULE_BYTES} bytes are allowed"));
    let wasm = if uploaded.starts_with(&[0x1f, 0x8b]) {
        let mut wasm = Vec::new();
        GzDecoder::new(uploaded)
            .take(MAX_MODULE_BYTES + 1)
            .read_to_end(&mut wasm)
            .map_err(|error| invalid(format!("Failed to decode wasm module: {error}")))?;
        wasm
    } else {
        uploaded.to_vec()
    };
    if wasm.len() as u64 > MAX_MODULE_BYTES {
        return Err(too_large());
    }
    if !wasm.starts_with(b"\0asm") {
        return Err(invalid("Failed to decode wasm module: unsupported canister module format"));
    }
    Ok(wasm)
}

/// Checks a module and describes it.
pub(super) fn inspect(wasm: &[u8]) -> Result<ModuleInfo, InvalidWasm> {
    Validator::new_with_features(features()).validate_all(wasm).map_err(unreadable)?;
    let mut info = ModuleInfo { static_tables: true, ..ModuleInfo::default() };
    let mut types: Vec<bool> = Vec::new();
    let mut functions: Vec<u32> = Vec::new();
    let mut imported = 0;
    let mut imports: Vec<String> = Vec::new();
    let mut mutable_globals: Vec<bool> = Vec::new();
    let mut exported_globals: BTreeSet<u32> = BTreeSet::new();
    let mut exports: Vec<(String, u32)> = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(unreadable)? {
            Payload::TypeSection(reader) => {
                for group in reader {
                    for ty in group.map_err(unreadable)?.into_types() {
                        // Whether it is `() -> ()`, which is all that matters here.
                        types.push(match &ty.composite_type.inner {
                            CompositeInnerType::Func(f) => f.params().is_empty() && f.results().is_empty(),
                            _ => false,
                        });
                    }
                }
            }
            Payload::ImportSection(reader) => {
                for import in reader.into_imports() {
                    let import = import.map_err(unreadable)?;
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
                    functions.push(ty);
                    imported += 1;
                }
            }
            Payload::FunctionSection(reader) => {
                for ty in reader {
                    functions.push(ty.map_err(unreadable)?);
                }
            }
            Payload::TableSection(reader) => info.has_table = reader.count() > 0,
            Payload::MemorySection(reader) => {
                for memory in reader {
                    let memory = memory.map_err(unreadable)?;
                    info.has_memory = true;
                    info.memory64 = memory.memory64;
                    info.memory_pages = (memory.initial, memory.maximum);
                }
            }
            Payload::GlobalSection(reader) => {
                for global in reader {
                    mutable_globals.push(global.map_err(unreadable)?.ty.mutable);
                }
            }
            Payload::ExportSection(reader) => {
                for export in reader {
                    let export = export.map_err(unreadable)?;
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
                info.system.insert(SystemEntry::Start);
            }
            Payload::CodeSectionEntry(body) => {
                let mut operators = body.get_operators_reader().map_err(unreadable)?;
                while info.static_tables && !operators.eof() {
                    let operator = operators.read().map_err(unreadable)?;
                    info.static_tables = !changes_tables(&operator);
                }
            }
            Payload::CustomSection(section) => {
                custom_section(&mut info, section.name(), section.data())?;
            }
            _ => {}
        }
    }
    for name in &imports {
        if !api::known(name, info.memory64) {
            return Err(unknown_import("ic0", name));
        }
    }
    at_most("functions", functions.len() - imported, MAX_FUNCTIONS)?;
    at_most("globals", mutable_globals.len(), MAX_GLOBALS)?;
    for (name, function) in exports {
        export(&mut info, &name, || {
            let ty = functions.get(function as usize);
            ty.and_then(|ty| types.get(*ty as usize)).copied().unwrap_or(false)
        })?;
    }
    at_most("exported methods", info.methods.len(), MAX_METHODS)?;
    let names = info.methods.keys().map(String::len).sum();
    at_most("bytes in the names of exported methods", names, MAX_METHOD_NAMES)?;
    info.globals = (0..)
        .zip(&mutable_globals)
        .filter(|(index, mutable)| **mutable || exported_globals.contains(index))
        .map(|(index, mutable)| StateGlobal { index, mutable: *mutable })
        .collect();
    Ok(info)
}

fn unknown_import(module: &str, name: &str) -> InvalidWasm {
    invalid(format!(
        "Wasm module has an invalid import section. Module imports function '{name}' from '{module}' that is not exported by the runtime."
    ))
}

fn at_most(what: &str, got: usize, allowed: usize) -> Result<(), InvalidWasm> {
    if got > allowed {
        return Err(invalid(format!(
            "Wasm module defined {got} {what} which exceeds the maximum number allowed {allowed}."
        )));
    }
    Ok(())
}

/// Applies the rules for one exported function.
fn export(
    info: &mut ModuleInfo,
    name: &str,
    takes_and_gives_nothing: impl FnOnce() -> bool,
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
        if name.starts_with("canister_") || name.starts_with("canister ") {
            return Err(invalid(format!(
                "Wasm module has an invalid export section. Exporting reserved function '{name}' with \"canister\" prefix."
            )));
        }
        return Ok(());
    }
    if !takes_and_gives_nothing() {
        return Err(invalid(format!(
            "Wasm module has an invalid function signature. Expected function '{name}' to have no parameters and no results."
        )));
    }
    if let Some(entry) = system {
        info.system.insert(entry);
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

fn custom_section(info: &mut ModuleInfo, name: &str, data: &[u8]) -> Result<(), InvalidWasm> {
    let Some(rest) = name.strip_prefix("icp:") else {
        return Ok(());
    };
    let (name, public) = if let Some(name) = rest.strip_prefix("public ") {
        (name, true)
    } else if let Some(name) = rest.strip_prefix("private ") {
        (name, false)
    } else {
        return Err(invalid(format!(
            "Wasm module has an invalid custom section. Section '{name}' is neither 'icp:public <name>' nor 'icp:private <name>'."
        )));
    };
    if info.custom.insert(name.to_string(), (data.to_vec(), public)).is_some() {
        return Err(invalid(format!(
            "Wasm module has an invalid custom section. Section '{name}' is there twice."
        )));
    }
    at_most("custom sections", info.custom.len(), MAX_CUSTOM_SECTIONS)?;
    let bytes = info.custom.values().map(|(data, _)| data.len()).sum();
    at_most("bytes in custom sections", bytes, MAX_CUSTOM_BYTES)
}

/// Whether an operator changes something of an instance that is not part of the canister's state.
fn changes_tables(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::TableSet { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
            | Operator::ElemDrop { .. }
            | Operator::DataDrop { .. }
    )
}
