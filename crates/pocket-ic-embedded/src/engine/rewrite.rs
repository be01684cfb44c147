//! Makes accessible what the engine needs of a module: exports the memory, the function table and the globals
//! that belong to the canister's state, and turns the `(start)` section into an export.
//!
//! Without its `(start)` section a module can be instantiated any number of times; the start function runs only for the
//! entry point `Start`. The export section is written again, custom sections are dropped, and all other sections are
//! copied byte for byte.

use wasm_encoder::{ExportKind, ExportSection, Module, RawSection, SectionId};
use wasmparser::{BinaryReaderError, ExternalKind, Parser, Payload};

use super::module_info::ModuleInfo;

/// The names of the engine's own exports, with a prefix that no export of the module has.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn memory(&self) -> String {
        format!("{}memory", self.prefix)
    }

    pub(super) fn table(&self) -> String {
        format!("{}table", self.prefix)
    }

    pub(super) fn start(&self) -> String {
        format!("{}start", self.prefix)
    }

    pub(super) fn global(&self, index: u32) -> String {
        format!("{}global {index}", self.prefix)
    }
}

/// Returns the module to compile, and the names of the exports that were added to it.
pub(super) fn rewrite(wasm: &[u8], info: &ModuleInfo) -> Result<(Vec<u8>, Names), BinaryReaderError> {
    let mut exports = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ExportSection(reader) = payload? {
            for export in reader {
                exports.push(export?);
            }
        }
    }
    let mut names = Names { prefix: "engine:".to_string() };
    while exports.iter().any(|e| e.name.starts_with(&names.prefix)) {
        names.prefix.push(':');
    }

    let mut section = ExportSection::new();
    for export in &exports {
        let kind = match export.kind {
            ExternalKind::Func | ExternalKind::FuncExact => ExportKind::Func,
            ExternalKind::Table => ExportKind::Table,
            ExternalKind::Memory => ExportKind::Memory,
            ExternalKind::Global => ExportKind::Global,
            ExternalKind::Tag => ExportKind::Tag,
        };
        section.export(export.name, kind, export.index);
    }
    if info.memory.is_some() {
        section.export(&names.memory(), ExportKind::Memory, 0);
    }
    if info.has_table {
        section.export(&names.table(), ExportKind::Table, 0);
    }
    for global in &info.globals {
        section.export(&names.global(global.index), ExportKind::Global, global.index);
    }
    if let Some(start) = info.start {
        section.export(&names.start(), ExportKind::Func, start);
    }

    let mut module = Module::new();
    let mut exports_are_written = false;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        let Some((id, range)) = payload.as_section() else {
            continue;
        };
        let sections_after_exports =
            [SectionId::Start, SectionId::Element, SectionId::DataCount, SectionId::Code, SectionId::Data];
        if !exports_are_written
            && (id == SectionId::Export as u8
                || sections_after_exports.iter().any(|section| id == *section as u8))
        {
            module.section(&section);
            exports_are_written = true;
        }
        let dropped_sections = [SectionId::Custom, SectionId::Export, SectionId::Start];
        if !dropped_sections.iter().any(|section| id == *section as u8) {
            module.section(&RawSection { id, data: &wasm[range] });
        }
    }
    if !exports_are_written {
        module.section(&section);
    }
    Ok((module.finish(), names))
}
