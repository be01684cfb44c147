//! Compares what two builds keep in stable memory, and their Candid interfaces, before an upgrade.
//!
//! Owns: where a schema and an interface come from, and the verdict. Does not own: the rules (the crate stable-schema).

use std::path::{Path, PathBuf};

use serde::Serialize;
use stable_schema::interface::{self, InterfaceComparison, NotCandid};
use stable_schema::{Comparison, Schema, SchemaError, SchemaMismatch, Verdict as Of};

use crate::Verdict;
use crate::build::{WasmError, candid_of, schema_of, unpack};

/// Two builds that cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A file is no wasm.
    #[error("{path}: {source}")]
    Wasm {
        /// The file.
        path: PathBuf,
        /// What it is.
        source: WasmError,
    },
    /// A wasm states no schema.
    #[error(
        "{path}: the wasm has no metadata `{name}`, so it does not say what it keeps in stable memory; \
         name the schema that was checked in with it instead, schemas/BUILD.json",
        name = stable_schema::METADATA
    )]
    NoSchema {
        /// The file.
        path: PathBuf,
    },
    /// The schema cannot be read.
    #[error("{path}: {source}")]
    Schema {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SchemaError,
    },
    /// The schemas are of two canisters.
    #[error(transparent)]
    Mismatch(#[from] SchemaMismatch),
    /// An interface cannot be read.
    #[error(transparent)]
    Interface(#[from] NotCandid),
}

impl CheckError {
    /// Whether the user's input is at fault, not the machine.
    pub fn is_usage(&self) -> bool {
        match self {
            CheckError::Read { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            _ => true,
        }
    }
}

/// A build as far as it is compared.
#[derive(Clone, Debug)]
pub struct Side {
    /// What it keeps in stable memory.
    pub schema: Schema,
    /// Its Candid interface; a schema file has none.
    pub interface: Option<String>,
}

impl Side {
    /// Reads a wasm, gzipped or not, or a schema file.
    ///
    /// # Errors
    /// [`CheckError`].
    pub fn read(path: &Path) -> Result<Side, CheckError> {
        let file = std::fs::read(path).map_err(|source| CheckError::Read { path: path.into(), source })?;
        let schema = |json: &[u8]| {
            Schema::from_json(json).map_err(|source| CheckError::Schema { path: path.into(), source })
        };
        let text = file.trim_ascii_start();
        if text.starts_with(b"{") {
            return Ok(Side { schema: schema(text)?, interface: None });
        }
        let wasm = |source| CheckError::Wasm { path: path.into(), source };
        let module = unpack(&file).map_err(wasm)?;
        wasmparser::validate(&module).map_err(|error| wasm(error.into()))?;
        let json = schema_of(&module).ok_or_else(|| CheckError::NoSchema { path: path.into() })?;
        Ok(Side { schema: schema(json.as_bytes())?, interface: candid_of(&module) })
    }
}

/// The outcome.
#[derive(Serialize, Clone, Debug)]
pub struct Report {
    /// Stable memory.
    pub schemas: Comparison,
    /// The interfaces, if both builds have one.
    pub interfaces: Option<InterfaceComparison>,
    /// Whether the upgrade is safe from every state that the old build may leave.
    pub upgrade: Verdict,
    /// Whether the rollback is possible at any time, and nothing is lost by it.
    pub rollback: Verdict,
}

/// Compares two builds.
///
/// # Errors
/// [`CheckError`].
pub fn run(old: &Path, new: &Path) -> Result<Report, CheckError> {
    compare(&Side::read(old)?, &Side::read(new)?)
}

/// Compares two builds that were read.
///
/// # Errors
/// Schemas of two canisters; a text that is no interface.
pub fn compare(old: &Side, new: &Side) -> Result<Report, CheckError> {
    let schemas = stable_schema::compare(&old.schema, &new.schema)?;
    let interfaces = match (&old.interface, &new.interface) {
        (Some(old), Some(new)) => Some(interface::compare(old, new)?),
        _ => None,
    };
    let is_safe = |verdict: Of| verdict < Of::Conditional;
    let breaks = interfaces.as_ref().is_some_and(|interfaces| !interfaces.breaking.is_empty());
    let verdict = |passes| if passes { Verdict::Pass } else { Verdict::Fail };
    Ok(Report {
        upgrade: verdict(is_safe(schemas.upgrade_verdict()) && !breaks),
        rollback: verdict(is_safe(schemas.rollback_verdict())),
        schemas,
        interfaces,
    })
}
