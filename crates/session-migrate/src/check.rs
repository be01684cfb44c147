//! Compares what two builds keep in stable memory, and their Candid interfaces, before an upgrade.
//!
//! Owns: reading schemas and interfaces, and the verdict. Does not own: the rules of the comparison (they are in the
//! crate stable-schema).

use std::path::{Path, PathBuf};

use candid::Principal;
use serde::Serialize;
use stable_schema::interface::{self, InterfaceComparison, NotCandid};
use stable_schema::{Comparison, Compatibility, Schema, SchemaError, SchemaMismatch};

use crate::Verdict;
use crate::build::{Build, WasmError, interface_of, schema_of, unpack};
use crate::client::ClientError;
use crate::network::Network;

/// The reason why two builds cannot be compared.
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
    /// A file is not a valid wasm module.
    #[error("{path}: {source}")]
    Wasm {
        /// The file.
        path: PathBuf,
        /// What is wrong with the file.
        source: WasmError,
    },
    /// A wasm, or a live canister, has no schema in its metadata.
    #[error(
        "{side}: the wasm has no metadata `{name}`, so it does not say what it keeps in stable memory; \
         name the schema that was checked in with it instead, schemas/BUILD.json",
        name = stable_schema::METADATA
    )]
    NoSchema {
        /// The file, or the canister.
        side: String,
    },
    /// The schema cannot be read.
    #[error("{side}: {source}")]
    Schema {
        /// The file, or the canister.
        side: String,
        /// What is wrong with the schema.
        source: SchemaError,
    },
    /// The schemas belong to two different canisters.
    #[error(transparent)]
    Mismatch(#[from] SchemaMismatch),
    /// An interface cannot be read.
    #[error(transparent)]
    Interface(#[from] NotCandid),
    /// The metadata of a live canister cannot be read.
    #[error("canister {canister}: {source}")]
    Canister {
        /// The canister.
        canister: Principal,
        /// The error of the request.
        source: ClientError,
    },
    /// A tree without schemas of earlier releases.
    #[error("{path} has no release: copy the schemas of each release to {path}/VERSION/")]
    NoRelease {
        /// The folder of releases.
        path: PathBuf,
    },
}

impl CheckError {
    /// Returns whether the user's input is at fault; `false`: the machine or the network is.
    pub fn is_usage(&self) -> bool {
        match self {
            CheckError::Read { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            CheckError::Canister { .. } => false,
            _ => true,
        }
    }
}

/// One of the two builds that are compared: its schema and its interface.
#[derive(Clone, Debug)]
pub struct Side {
    /// The schema of the build's stable memory.
    pub schema: Schema,
    /// The build's Candid interface; `None` for a schema file, and for a wasm or canister without a readable interface.
    pub interface: Option<String>,
}

impl Side {
    /// Reads a wasm, gzipped or not, or a schema file, which is recognized by its first character, `{`.
    ///
    /// # Errors
    /// [`CheckError`].
    pub fn read(path: &Path) -> Result<Side, CheckError> {
        let file = std::fs::read(path).map_err(|source| CheckError::Read { path: path.into(), source })?;
        let name = path.display().to_string();
        let text = file.trim_ascii_start();
        if text.starts_with(b"{") {
            return Side::of(name, Some(text), None);
        }
        let wasm_error = |source| CheckError::Wasm { path: path.into(), source };
        let module = unpack(&file).map_err(wasm_error)?;
        wasmparser::validate(&module).map_err(|error| wasm_error(error.into()))?;
        Side::of(name, schema_of(&module).as_deref().map(str::as_bytes), interface_of(&module))
    }

    /// Reads the metadata of a live canister, certified by the network.
    ///
    /// # Errors
    /// [`CheckError`].
    pub async fn live(network: &Network, canister: Principal) -> Result<Side, CheckError> {
        let canister_error = |source| CheckError::Canister { canister, source };
        let management = network.management(canister);
        let schema = management.metadata(stable_schema::METADATA).await.map_err(canister_error)?;
        let interface = management.metadata("candid:service").await.map_err(canister_error)?;
        let interface = interface.map(|did| String::from_utf8_lossy(&did).into_owned());
        Side::of(format!("canister {canister}"), schema.as_deref(), interface)
    }

    /// Creates a side from the metadata of a build. `name` is the build's name in errors.
    pub(crate) fn of(
        name: String,
        schema: Option<&[u8]>,
        interface: Option<String>,
    ) -> Result<Side, CheckError> {
        let Some(json) = schema else { return Err(CheckError::NoSchema { side: name }) };
        let schema = Schema::from_json(json).map_err(|source| CheckError::Schema { side: name, source })?;
        Ok(Side { schema, interface })
    }
}

/// The outcome of the comparison of an old build with a new one.
#[derive(Serialize, Clone, Debug)]
pub struct Report {
    /// The comparison of the schemas.
    pub schemas: Comparison,
    /// The comparison of the interfaces; `None` if the interface of one build is not known.
    pub interfaces: Option<InterfaceComparison>,
    /// [`Verdict::Pass`] if the new build can continue from every state in which the old build may leave stable memory,
    /// if necessary by a migration, and the comparison of the interfaces, if there is one, finds nothing that breaks
    /// clients.
    pub upgrade: Verdict,
    /// [`Verdict::Pass`] if the old build can continue, without a loss, from every state in which the new build may
    /// leave stable memory. Interfaces are not considered.
    pub rollback: Verdict,
}

/// Compares two builds, given as files for [`Side::read`].
///
/// # Errors
/// [`CheckError`].
pub fn run(old: &Path, new: &Path) -> Result<Report, CheckError> {
    compare(&Side::read(old)?, &Side::read(new)?)
}

/// An upgrade from one build of a release to one build of the tree.
#[derive(Serialize, Clone, Debug)]
pub struct FromRelease {
    /// The version of the release.
    pub release: String,
    /// The comparison of the two builds; its schemas name them.
    pub report: Report,
}

/// Compares the schemas of every earlier release, `schemas/releases/VERSION/BUILD.json`, with the schemas of a tree,
/// `schemas/BUILD.json`, for each upgrade that an operator of the release may make: from a build to the same build of
/// the tree, or to the next build of the staged upgrade.
///
/// # Errors
/// [`CheckError`].
pub fn tree(schemas: &Path) -> Result<Vec<FromRelease>, CheckError> {
    let path = schemas.join("releases");
    let read_error = |source| CheckError::Read { path: path.clone(), source };
    let mut releases = Vec::new();
    for entry in std::fs::read_dir(&path).map_err(read_error)? {
        let entry = entry.map_err(read_error)?;
        if entry.path().is_dir() {
            releases.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    releases.sort();
    if releases.is_empty() {
        return Err(CheckError::NoRelease { path });
    }
    let mut comparisons = Vec::new();
    for release in releases {
        for from in Build::ALL {
            let old = Side::read(&path.join(&release).join(from.schema_file()))?;
            for to in Build::ALL.into_iter().filter(|to| from == *to || from.leads_to(*to)) {
                let new = Side::read(&schemas.join(to.schema_file()))?;
                comparisons.push(FromRelease { release: release.clone(), report: compare(&old, &new)? });
            }
        }
    }
    Ok(comparisons)
}

/// Compares two builds whose schemas and interfaces have been read.
///
/// # Errors
/// If the schemas belong to different canisters, or an interface is not Candid.
pub fn compare(old: &Side, new: &Side) -> Result<Report, CheckError> {
    let schemas = stable_schema::compare(&old.schema, &new.schema)?;
    let interfaces = match (&old.interface, &new.interface) {
        (Some(old), Some(new)) => Some(interface::compare(old, new)?),
        _ => None,
    };
    let is_safe = |compatibility: Compatibility| {
        matches!(
            compatibility,
            Compatibility::Unchanged | Compatibility::Compatible | Compatibility::NeedsMigration(_)
        )
    };
    let breaks_clients = interfaces.as_ref().is_some_and(|interfaces| !interfaces.breaking.is_empty());
    let to_verdict = |passes| if passes { Verdict::Pass } else { Verdict::Fail };
    Ok(Report {
        upgrade: to_verdict(is_safe(schemas.upgrade_verdict()) && !breaks_clients),
        rollback: to_verdict(is_safe(schemas.rollback_verdict())),
        schemas,
        interfaces,
    })
}
