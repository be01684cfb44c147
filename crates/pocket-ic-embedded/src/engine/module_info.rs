//! What the engine must know about a module besides its code: read from the module's sections, which are checked by the
//! IC's rules for imports, exports and sizes.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{
    CompositeInnerType, CustomSectionReader, ExportSectionReader, ExternalKind, FunctionSectionReader,
    GlobalSectionReader, ImportSectionReader, KnownCustom, MemorySectionReader, Name, NameSectionReader,
    Parser, Payload, TypeRef, TypeSectionReader, ValType,
};

use super::entry::{MAX_METHOD_NAME_BYTES, MethodKind, SystemEntry};
use super::error::InvalidWasm;
use super::permissions;
use super::validation::{failed_validation, invalid};

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

/// The wasm memory, as the module declares it: its size in wasm pages.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeclaredMemory {
    /// Whether addresses have 64 bits.
    pub(super) is_memory64: bool,
    pub(super) min_pages: u64,
    pub(super) max_pages: Option<u64>,
}

/// What the engine must know about a module besides its code.
#[derive(Debug, Default)]
pub(super) struct ModuleInfo {
    /// The exported methods, by name. [`ModuleInfo::check_methods`] checks their limits.
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
    pub(super) memory: Option<DeclaredMemory>,
    /// Whether the code contains no `data.drop` or `elem.drop`, so that segments stay as they are at instantiation.
    pub(super) keeps_segments: bool,
}

impl ModuleInfo {
    /// Reads and checks the sections of a module whose code was checked.
    pub(super) fn read(wasm: &[u8], keeps_segments: bool) -> Result<ModuleInfo, InvalidWasm> {
        let mut sections = Sections::default();
        for payload in Parser::new(0).parse_all(wasm) {
            sections.read(payload.map_err(failed_validation)?)?;
        }
        Ok(ModuleInfo { keeps_segments, ..sections.into_info()? })
    }

    /// Returns whether the module has a memory with 64-bit addresses.
    pub(super) fn is_memory64(&self) -> bool {
        self.memory.is_some_and(|memory| memory.is_memory64)
    }

    /// Checks the limits on exported methods. A PocketIC instance can be created without these limits.
    pub(super) fn check_methods(&self) -> Result<(), InvalidWasm> {
        check_at_most("exported methods", self.methods.len(), MAX_METHODS)?;
        let names = self.methods.keys().map(String::len).sum();
        check_at_most("bytes in the names of exported methods", names, MAX_METHOD_NAME_BYTES)
    }
}

/// What the sections read so far declare. What depends on a later section is checked at the end, in
/// [`Sections::into_info`].
#[derive(Default)]
struct Sections {
    info: ModuleInfo,
    /// For each type, whether it is `() -> ()`: nothing else about it matters here.
    is_empty_type: Vec<bool>,
    /// The type of each function, by index: imported functions come first.
    function_types: Vec<u32>,
    /// The names of the imported functions. Which functions exist depends on the memory, whose section follows.
    imports: Vec<String>,
    /// For each global, whether it is mutable.
    mutable_globals: Vec<bool>,
    exported_globals: BTreeSet<u32>,
    /// Name and index of each exported function.
    exported_functions: Vec<(String, u32)>,
}

impl Sections {
    fn read(&mut self, payload: Payload<'_>) -> Result<(), InvalidWasm> {
        match payload {
            Payload::TypeSection(types) => self.read_types(types),
            Payload::ImportSection(imports) => self.read_imports(imports),
            Payload::FunctionSection(functions) => self.read_functions(functions),
            Payload::TableSection(tables) => {
                self.info.has_table = tables.count() > 0;
                Ok(())
            }
            Payload::MemorySection(memories) => self.read_memories(memories),
            Payload::GlobalSection(globals) => self.read_globals(globals),
            Payload::ExportSection(exports) => self.read_exports(exports),
            Payload::StartSection { func, .. } => {
                self.info.start = Some(func);
                self.info.system_entries.insert(SystemEntry::Start);
                Ok(())
            }
            Payload::CustomSection(section) => self.read_custom(section),
            _ => Ok(()),
        }
    }

    fn read_types(&mut self, groups: TypeSectionReader<'_>) -> Result<(), InvalidWasm> {
        for group in groups {
            for ty in group.map_err(failed_validation)?.into_types() {
                self.is_empty_type.push(match &ty.composite_type.inner {
                    CompositeInnerType::Func(f) => f.params().is_empty() && f.results().is_empty(),
                    _ => false,
                });
            }
        }
        Ok(())
    }

    fn read_imports(&mut self, imports: ImportSectionReader<'_>) -> Result<(), InvalidWasm> {
        for import in imports.into_imports() {
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
            self.imports.push(import.name.to_string());
            self.function_types.push(ty);
        }
        Ok(())
    }

    fn read_functions(&mut self, types: FunctionSectionReader<'_>) -> Result<(), InvalidWasm> {
        for ty in types {
            self.function_types.push(ty.map_err(failed_validation)?);
        }
        Ok(())
    }

    fn read_memories(&mut self, memories: MemorySectionReader<'_>) -> Result<(), InvalidWasm> {
        for memory in memories {
            let memory = memory.map_err(failed_validation)?;
            self.info.memory = Some(DeclaredMemory {
                is_memory64: memory.memory64,
                min_pages: memory.initial,
                max_pages: memory.maximum,
            });
        }
        Ok(())
    }

    fn read_globals(&mut self, globals: GlobalSectionReader<'_>) -> Result<(), InvalidWasm> {
        for global in globals {
            let ty = global.map_err(failed_validation)?.ty;
            if let ValType::Ref(other) = ty.content_type {
                return Err(invalid(format!(
                    "Wasm module has an invalid global section. Unsupported global type: {other}"
                )));
            }
            self.mutable_globals.push(ty.mutable);
        }
        Ok(())
    }

    fn read_exports(&mut self, exports: ExportSectionReader<'_>) -> Result<(), InvalidWasm> {
        for export in exports {
            let export = export.map_err(failed_validation)?;
            if RESERVED_EXPORTS.contains(&export.name) {
                return Err(invalid(format!(
                    "Wasm module has an invalid export section. Exporting reserved symbol {} not allowed.",
                    export.name
                )));
            }
            match export.kind {
                ExternalKind::Func | ExternalKind::FuncExact => {
                    self.exported_functions.push((export.name.to_string(), export.index));
                }
                ExternalKind::Global => {
                    self.exported_globals.insert(export.index);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn read_custom(&mut self, section: CustomSectionReader<'_>) -> Result<(), InvalidWasm> {
        if let KnownCustom::Name(names) = section.as_known() {
            check_function_names(names)?;
        }
        add_custom_section(&mut self.info, section.name(), section.data())
    }

    /// Checks what depends on several sections, once all of them were read.
    fn into_info(self) -> Result<ModuleInfo, InvalidWasm> {
        let Sections {
            mut info,
            is_empty_type,
            function_types,
            imports,
            mutable_globals,
            exported_globals,
            exported_functions,
        } = self;
        for name in &imports {
            if !permissions::may_import(name, info.is_memory64()) {
                return Err(unknown_import("ic0", name));
            }
        }
        let certificate_readers = ["data_certificate_size", "data_certificate_copy"];
        info.reads_certificate = imports.iter().any(|name| certificate_readers.contains(&name.as_str()));
        check_at_most("functions", function_types.len() - imports.len(), MAX_FUNCTIONS)?;
        check_at_most("globals", mutable_globals.len(), MAX_GLOBALS)?;
        for (name, function) in exported_functions {
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
