//! A compiled module and the values of its globals.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::{InstancePre, Val};

use super::entry::{MethodKind, SystemEntry};
use super::error::InvalidWasm;
use super::heap::Heap;
use super::host::Host;
use super::module_info::{CustomSection, DeclaredMemory, ModuleInfo};
use super::rewrite::{self, Names};
use super::runtime::Runtime;
use super::stable::WASM_PAGE;
use super::validation;

/// Largest 32-bit wasm memory in bytes.
pub const MAX_WASM_MEMORY_32: u64 = 4 << 30;
/// Largest wasm memory in bytes: the limit of 64-bit memories.
pub const MAX_WASM_MEMORY: u64 = 6 << 30;

/// The value of a global, bit for bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalValue {
    I32(i32),
    I64(i64),
    /// `f32`, as bits
    F32(u32),
    /// `f64`, as bits
    F64(u64),
    V128(u128),
}

impl GlobalValue {
    pub fn type_name(&self) -> &'static str {
        match self {
            GlobalValue::I32(_) => "i32",
            GlobalValue::I64(_) => "i64",
            GlobalValue::F32(_) => "f32",
            GlobalValue::F64(_) => "f64",
            GlobalValue::V128(_) => "v128",
        }
    }

    /// Converts the runtime's value; returns `None` for references, which cannot be saved.
    pub(super) fn from_val(value: Val) -> Option<Self> {
        Some(match value {
            Val::I32(v) => GlobalValue::I32(v),
            Val::I64(v) => GlobalValue::I64(v),
            Val::F32(v) => GlobalValue::F32(v),
            Val::F64(v) => GlobalValue::F64(v),
            Val::V128(v) => GlobalValue::V128(v.as_u128()),
            _ => return None,
        })
    }

    pub(super) fn to_val(self) -> Val {
        match self {
            GlobalValue::I32(v) => Val::I32(v),
            GlobalValue::I64(v) => Val::I64(v),
            GlobalValue::F32(v) => Val::F32(v),
            GlobalValue::F64(v) => Val::F64(v),
            GlobalValue::V128(v) => Val::V128(v.into()),
        }
    }
}

/// A module that the engine accepted and compiled.
pub struct CanisterModule {
    /// As uploaded: possibly gzipped. `hash` is the SHA-256 of these bytes.
    uploaded: Vec<u8>,
    hash: [u8; 32],
    info: ModuleInfo,
    names: Names,
    code: InstancePre<Host>,
    /// The heap of a fresh instance; empty until [`Self::with_initial`].
    initial_heap: Heap,
    /// The globals of a fresh instance, as in `CanisterState::globals`; none until [`Self::with_initial`].
    initial_globals: Arc<[GlobalValue]>,
}

impl fmt::Debug for CanisterModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CanisterModule(")?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, ")")
    }
}

impl CanisterModule {
    /// Checks and compiles a module as uploaded. The heap and globals of a fresh instance are not known yet:
    /// [`Self::with_initial`] must follow.
    pub(super) fn compile(runtime: &Runtime, uploaded: &[u8]) -> Result<Self, InvalidWasm> {
        let wasm = validation::unpack(uploaded)?;
        let runtime_for_memory = runtime.for_memory(validation::has_memory64(&wasm))?;
        // Cached code was checked when it was compiled.
        let cached = runtime.load(runtime_for_memory, &wasm);
        let keeps_segments = match &cached {
            Some(cached) => cached.keeps_segments,
            None => validation::check_code(&wasm)?,
        };
        let info = ModuleInfo::read(&wasm, keeps_segments)?;
        if let Some(memory) = info.memory {
            check_size(memory)?;
        }
        let (rewritten, names) = rewrite::rewrite(&wasm, &info)
            .map_err(|error| InvalidWasm(format!("Wasm module failed validation: {error}")))?;
        let compiled = match cached {
            Some(cached) => cached.module,
            None => runtime.compile(runtime_for_memory, &wasm, &rewritten, keeps_segments)?,
        };
        let code = runtime_for_memory.link(&compiled)?;
        Ok(Self {
            uploaded: uploaded.to_vec(),
            hash: Sha256::digest(uploaded).into(),
            info,
            names,
            code,
            initial_heap: Heap::default(),
            initial_globals: Arc::new([]),
        })
    }

    /// Returns the module with the memory and globals of a fresh instance.
    pub(super) fn with_initial(self, (heap, globals): (Heap, Arc<[GlobalValue]>)) -> Self {
        Self { initial_heap: heap, initial_globals: globals, ..self }
    }

    /// Returns the bytes as uploaded: a gzipped module stays gzipped.
    pub fn uploaded(&self) -> &[u8] {
        &self.uploaded
    }

    /// Returns the SHA-256 of [`Self::uploaded`].
    pub fn module_hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Returns whether the module exports a method of this kind and name; for system functions, see
    /// [`Self::exports_system`].
    pub fn has_export(&self, kind: MethodKind, name: &str) -> bool {
        self.info.methods.get(name) == Some(&kind)
    }

    pub fn methods(&self) -> impl Iterator<Item = (&str, MethodKind)> {
        let methods = self.info.methods.iter();
        methods.map(|(name, kind)| (name.as_str(), *kind))
    }

    /// Returns whether the module has the system function (for `Start`: whether it has a start section).
    pub fn exports_system(&self, entry: SystemEntry) -> bool {
        self.info.system_entries.contains(&entry)
    }

    /// Returns the custom section `icp:public <name>` or `icp:private <name>`.
    pub fn custom_section(&self, name: &str) -> Option<&CustomSection> {
        self.info.custom_sections.get(name)
    }

    /// Returns all custom sections of [`Self::custom_section`], by name.
    pub fn custom_sections(&self) -> impl Iterator<Item = (&str, &CustomSection)> {
        let sections = self.info.custom_sections.iter();
        sections.map(|(name, section)| (name.as_str(), section))
    }

    /// Returns whether the module imports a function that reads the certificate of a query.
    pub fn reads_certificate(&self) -> bool {
        self.info.reads_certificate
    }

    /// Returns the total size of the contents of [`Self::custom_sections`], in bytes, without their names.
    pub fn custom_sections_bytes(&self) -> u64 {
        let sections = self.info.custom_sections.values();
        sections.map(|section| section.data.len() as u64).sum()
    }

    pub(super) fn info(&self) -> &ModuleInfo {
        &self.info
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn code(&self) -> &InstancePre<Host> {
        &self.code
    }

    pub(super) fn initial_heap(&self) -> &Heap {
        &self.initial_heap
    }

    pub(super) fn initial_globals(&self) -> &Arc<[GlobalValue]> {
        &self.initial_globals
    }

    /// Returns the largest wasm memory that the index type allows, in bytes.
    pub fn largest_wasm_memory(&self) -> u64 {
        largest_memory(self.info.is_memory64())
    }

    /// Returns the smallest and largest wasm memory that the module may have, in bytes; zeros for one without memory.
    /// The largest is the declared maximum, unless [`Self::largest_wasm_memory`] is smaller.
    pub(super) fn memory_limits(&self) -> (u64, u64) {
        self.info.memory.map_or((0, 0), limits_of)
    }
}

/// Returns the largest wasm memory with addresses of 32 or 64 bits, in bytes.
fn largest_memory(is_memory64: bool) -> u64 {
    if is_memory64 { MAX_WASM_MEMORY } else { MAX_WASM_MEMORY_32 }
}

/// See [`CanisterModule::memory_limits`].
fn limits_of(memory: DeclaredMemory) -> (u64, u64) {
    let largest = largest_memory(memory.is_memory64);
    let to_bytes = |pages: u64| pages.saturating_mul(WASM_PAGE);
    (to_bytes(memory.min_pages), memory.max_pages.map_or(largest, to_bytes).min(largest))
}

/// An error if a memory is declared with more pages than are allowed.
fn check_size(memory: DeclaredMemory) -> Result<(), InvalidWasm> {
    let (_, max_bytes) = limits_of(memory);
    if memory.min_pages > max_bytes / WASM_PAGE {
        return Err(InvalidWasm(format!(
            "Wasm module declares a memory of {} pages; at most {} are allowed.",
            memory.min_pages,
            max_bytes / WASM_PAGE
        )));
    }
    if memory.is_memory64
        && let Some(declared) = memory.max_pages
        && declared > MAX_WASM_MEMORY / WASM_PAGE
    {
        return Err(InvalidWasm(format!(
            "Wasm module declares a memory of up to {declared} pages; at most {} are allowed.",
            MAX_WASM_MEMORY / WASM_PAGE
        )));
    }
    Ok(())
}
