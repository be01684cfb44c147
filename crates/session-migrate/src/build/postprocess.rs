//! Turns the compiler's wasm into the file that is installed: adds metadata, removes debug information,
//! compresses. Also reads metadata and methods of finished modules.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::GzBuilder;
use flate2::read::GzDecoder;
use wasm_encoder::{CustomSection, Module, NameMap, NameSection, RawSection};
use wasmparser::{Encoding, KnownCustom, Name, NameSectionReader, Naming, Parser, Payload};

use super::Build;

/// Maximum size of an unpacked module. No canister is larger, and the limit keeps a damaged file from exhausting
/// memory.
const MAX_UNPACKED_BYTES: u64 = 100 * 1024 * 1024;

/// Names of the metadata sections that [`finish`] adds; they are public on the IC.
const CANDID: &str = "icp:public candid:service";
const SCHEMA: &str = "icp:public stable:schema";
const BUILD: &str = "icp:public build";
const FEATURES: &str = "icp:public features";

/// The section that marks a module as keeping its wasm memory across upgrades; `icp`, `dfx` and the IC look for it.
const PERSISTENCE: &str = "icp:private enhanced-orthogonal-persistence";

/// Why a file is not a usable canister.
#[derive(Debug, thiserror::Error)]
pub enum WasmError {
    /// Neither wasm nor gzipped wasm.
    #[error("not a wasm module: it begins with {found}")]
    NotWasm {
        /// The first bytes, in hex.
        found: String,
    },
    /// The gzip stream is damaged or too large.
    #[error("cannot decompress: {0}")]
    Gzip(std::io::Error),
    /// The module does not parse or does not validate.
    #[error("not a valid wasm module: {0}")]
    Invalid(#[from] wasmparser::BinaryReaderError),
    /// A valid module that exports neither an update nor a query; or a component instead of a module.
    #[error("not a canister: it exports no canister method ({exports} other exports)")]
    NotACanister {
        /// Number of exports, none of which is a method; 0 for a component.
        exports: usize,
    },
    /// The module of another canister.
    #[error("not an upload canister: it has no method {missing}")]
    NotAnUploadCanister {
        /// Those of the required methods that the module lacks.
        missing: String,
    },
}

/// Copies the module, with the names of its functions demangled. Removes all other custom sections except those that
/// [`is_kept`] selects, and adds the metadata.
pub(crate) fn finish(wasm: &[u8], build: Build, did: &str, schema: &str) -> Result<Vec<u8>, WasmError> {
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        if let Payload::CustomSection(section) = &payload {
            if let KnownCustom::Name(names) = section.as_known() {
                module.section(&demangled_names(names)?);
                continue;
            }
            if !is_kept(section.name()) {
                continue;
            }
        }
        if let Some((id, range)) = payload.as_section() {
            module.section(&RawSection { id, data: &wasm[range] });
        }
    }
    let features = build.features().join(",");
    for (name, text) in [(CANDID, did), (BUILD, build.name()), (FEATURES, &features), (SCHEMA, schema)] {
        module.section(&CustomSection { name: Cow::Borrowed(name), data: Cow::Borrowed(text.as_bytes()) });
    }
    Ok(module.finish())
}

/// Returns the names of the functions, demangled and without the hashes of crates: such names make a trap's backtrace
/// readable, and are a quarter smaller when compressed.
fn demangled_names(names: NameSectionReader<'_>) -> Result<NameSection, WasmError> {
    let mut functions = NameMap::new();
    for name in names {
        if let Name::Function(mangled) = name? {
            for naming in mangled {
                let Naming { index, name } = naming?;
                functions.append(index, &format!("{:#}", rustc_demangle::demangle(name)));
            }
        }
    }
    let mut section = NameSection::new();
    section.functions(&functions);
    Ok(section)
}

/// Returns whether a custom section is kept: only IC metadata, except the sections that [`finish`] replaces. Names are
/// kept by [`demangled_names`]; what else a compiler writes is of no use on the IC.
fn is_kept(custom: &str) -> bool {
    custom.starts_with("icp:") && ![CANDID, BUILD, FEATURES, SCHEMA].contains(&custom)
}

/// Compresses with a header without time and name, so that the same wasm gives the same bytes.
pub fn gzip(wasm: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    encoder.write_all(wasm)?;
    encoder.finish()
}

/// Returns the wasm in `file`, which may be gzipped.
///
/// # Errors
/// If the file is neither wasm nor gzipped wasm, is damaged, or unpacks to more than 100 MiB.
pub fn unpack(file: &[u8]) -> Result<Cow<'_, [u8]>, WasmError> {
    if file.starts_with(b"\0asm") {
        return Ok(Cow::Borrowed(file));
    }
    if !file.starts_with(&[0x1f, 0x8b]) {
        let found = match &file[..file.len().min(4)] {
            [] => "nothing, the file is empty".to_owned(),
            bytes => hex::encode(bytes),
        };
        return Err(WasmError::NotWasm { found });
    }
    let mut wasm = Vec::new();
    GzDecoder::new(file).take(MAX_UNPACKED_BYTES + 1).read_to_end(&mut wasm).map_err(WasmError::Gzip)?;
    if wasm.len() as u64 > MAX_UNPACKED_BYTES {
        let text = format!("more than {MAX_UNPACKED_BYTES} bytes");
        return Err(WasmError::Gzip(std::io::Error::other(text)));
    }
    if !wasm.starts_with(b"\0asm") {
        return Err(WasmError::NotWasm { found: hex::encode(&wasm[..wasm.len().min(4)]) });
    }
    Ok(Cow::Owned(wasm))
}

/// Returns the cargo features in the metadata of the canister `wasm` (unpacked); empty if there are none.
pub fn features(wasm: &[u8]) -> Vec<String> {
    metadata_section(wasm, FEATURES).map_or(Vec::new(), |text| text.split(',').map(str::to_owned).collect())
}

/// Returns the interface in the metadata of the canister `wasm` (unpacked), public or private, if there is one.
pub fn candid_of(wasm: &[u8]) -> Option<String> {
    // Motoko's compiler makes the interface private by default.
    metadata_section(wasm, CANDID).or_else(|| metadata_section(wasm, "icp:private candid:service"))
}

/// Returns the types of the arguments of `init`, if the metadata of the canister `wasm` (unpacked) have a section for
/// them. Motoko's compiler writes them there instead of into the interface.
pub fn init_args_of(wasm: &[u8]) -> Option<String> {
    ["icp:public candid:args", "icp:private candid:args"].iter().find_map(|name| metadata_section(wasm, name))
}

/// Returns the stable schema in the metadata of the canister `wasm` (unpacked), if there is one.
pub fn schema_of(wasm: &[u8]) -> Option<String> {
    metadata_section(wasm, SCHEMA)
}

/// Returns whether the canister `wasm` (unpacked) keeps its wasm memory across upgrades: Motoko's enhanced orthogonal
/// persistence. An upgrade of such a module must say explicitly whether to keep it.
pub fn keeps_wasm_memory(wasm: &[u8]) -> bool {
    metadata_section(wasm, PERSISTENCE).is_some()
}

fn metadata_section(wasm: &[u8], name: &str) -> Option<String> {
    Parser::new(0).parse_all(wasm).find_map(|payload| match payload {
        Ok(Payload::CustomSection(section)) if section.name() == name => {
            Some(String::from_utf8_lossy(section.data()).into_owned())
        }
        _ => None,
    })
}

/// Methods that every build has, and without which nothing can be rehearsed, recorded or compared.
const REQUIRED_METHODS: [&str; 4] = ["build_info", "uploads_begin", "uploads_put_chunk", "uploads_finish"];

/// Methods that a canister exports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Methods {
    /// Queries, also composite ones.
    pub queries: BTreeSet<String>,
    /// Updates.
    pub updates: BTreeSet<String>,
}

impl Methods {
    /// Returns whether there is a method of this name.
    pub fn has(&self, name: &str) -> bool {
        self.queries.contains(name) || self.updates.contains(name)
    }
}

/// Returns the methods of the canister `wasm` (unpacked).
///
/// # Errors
/// If the module is not valid, or exports neither an update nor a query.
pub fn methods(wasm: &[u8]) -> Result<Methods, WasmError> {
    wasmparser::validate(wasm)?;
    let (mut exports, mut methods) = (0, Methods::default());
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::Version { encoding: Encoding::Component, .. } => {
                return Err(WasmError::NotACanister { exports: 0 });
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let name = export?.name;
                    exports += 1;
                    let query_prefixes = ["canister_query ", "canister_composite_query "];
                    if let Some(query) = query_prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)) {
                        methods.queries.insert(query.to_owned());
                    } else if let Some(update) = name.strip_prefix("canister_update ") {
                        methods.updates.insert(update.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    if methods == Methods::default() {
        return Err(WasmError::NotACanister { exports });
    }
    Ok(methods)
}

/// Checks that `file` (wasm or gzipped wasm) is valid and an upload canister; otherwise the error says why not.
pub fn check_is_upload_canister(file: &[u8]) -> Result<(), WasmError> {
    let methods = methods(&unpack(file)?)?;
    let missing: Vec<&str> = REQUIRED_METHODS.into_iter().filter(|name| !methods.has(name)).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(WasmError::NotAnUploadCanister { missing: missing.join(", ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(exports: &[&str], customs: &[&str]) -> Vec<u8> {
        use wasm_encoder::{CodeSection, ExportKind, ExportSection, Function, FunctionSection, TypeSection};
        let mut types = TypeSection::new();
        types.ty().function([], []);
        let mut functions = FunctionSection::new();
        functions.function(0);
        let mut export = ExportSection::new();
        for name in exports {
            export.export(name, ExportKind::Func, 0);
        }
        let mut code = CodeSection::new();
        let mut body = Function::new([]);
        body.instructions().end();
        code.function(&body);
        let mut module = Module::new();
        module.section(&types);
        module.section(&functions);
        module.section(&export);
        module.section(&code);
        for name in customs {
            module.section(&CustomSection { name: Cow::Borrowed(name), data: Cow::Borrowed(b"payload") });
        }
        module.finish()
    }

    fn encoded(section: &impl wasm_encoder::Section) -> Vec<u8> {
        let mut bytes = Vec::new();
        section.append_to(&mut bytes);
        bytes
    }

    fn customs(wasm: &[u8]) -> Vec<(String, Vec<u8>)> {
        Parser::new(0)
            .parse_all(wasm)
            .filter_map(|payload| match payload.unwrap() {
                Payload::CustomSection(section) => Some((section.name().to_owned(), section.data().to_vec())),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn metadata_replaces_what_the_compiler_left() {
        let raw = module(
            &["canister_query a"],
            &["producers", ".debug_info", "target_features", "icp:private x", CANDID],
        );
        let mut functions = NameMap::new();
        functions.append(0, "_RNvNtCs1_7example4part3run");
        let mut name = NameSection::new();
        name.functions(&functions);
        let raw = [raw, encoded(&name)].concat();
        let finished = finish(&raw, Build::Staged, "service : {}", "{}").unwrap();
        wasmparser::validate(&finished).unwrap();
        let found = customs(&finished);
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["icp:private x", "name", CANDID, BUILD, FEATURES, SCHEMA]);
        assert!(String::from_utf8_lossy(&found[1].1).contains("example::part::run"), "{:?}", found[1].1);
        assert_eq!(found[2].1, b"service : {}");
        assert_eq!(found[3].1, b"staged");
        assert_eq!(found[4].1, b"compat,direct");
        assert_eq!(schema_of(&finished).as_deref(), Some("{}"));
        assert_eq!(features(&finished), ["compat", "direct"]);
    }

    #[test]
    fn compression_is_reversible_and_contains_no_time() {
        let raw = module(&["canister_query a"], &[]);
        let packed = gzip(&raw).unwrap();
        assert_eq!(&packed[4..8], [0; 4], "the time in the gzip header is not zero");
        assert_eq!(unpack(&packed).unwrap(), raw);
        assert_eq!(unpack(&raw).unwrap(), raw);
    }

    #[test]
    fn an_upload_canister_is_distinguished_from_other_files() {
        let ours = [
            "canister_query build_info",
            "canister_update uploads_begin",
            "canister_update uploads_put_chunk",
            "canister_update uploads_finish",
        ];
        check_is_upload_canister(&module(&ours, &[])).unwrap();
        check_is_upload_canister(&gzip(&module(&ours, &[])).unwrap()).unwrap();

        let error_of = |file: &[u8]| check_is_upload_canister(file).unwrap_err().to_string();
        assert_eq!(
            error_of(&module(&["canister_query build_info", "canister_update uploads_begin", "memory"], &[])),
            "not an upload canister: it has no method uploads_put_chunk, uploads_finish"
        );
        assert!(error_of(b"").contains("empty"));
        assert!(error_of(b"#!/bin/sh").contains("not a wasm module"));
        assert!(error_of(&module(&["main", "_start"], &[])).contains("2 other exports"));
        assert!(error_of(&module(&["canister_init"], &[])).contains("not a canister"));
        let mut cut = module(&["canister_update a"], &[]);
        cut.truncate(cut.len() - 3);
        assert!(error_of(&cut).contains("not a valid wasm module"));
        let mut packed = gzip(&module(&["canister_update a"], &[])).unwrap();
        packed.truncate(packed.len() - 9);
        assert!(error_of(&packed).contains("cannot decompress"));
        assert!(error_of(&gzip(b"text").unwrap()).contains("not a wasm module"));
    }
}
