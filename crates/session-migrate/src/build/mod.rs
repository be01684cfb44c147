//! Builds the canister's three wasms from this source tree.
//!
//! [`ensure`] is the entry point: it brings the requested builds up to date under `dist/` and returns them. A
//! build whose inputs have not changed is not built again; cargo is not even started for it.
//!
//! Owns: finding the tree, choosing a compiler ([`toolchain`]), running cargo, finishing the wasm (metadata,
//! gzip), comparing the Candid interface with the checked-in one. Does not own: servers and uploads.

mod cargo;
mod error;
mod fingerprint;
mod interface;
mod module;
mod postprocess;
mod publish;
pub mod toolchain;
mod workspace;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use stable_schema::Schema;

use crate::progress::Progress;

pub use error::BuildError;
pub use interface::interface_of;
pub use module::Module;
pub use postprocess::{
    Methods, WasmError, check_is_upload_canister, features, gzip, init_args_of, keeps_wasm_memory, methods,
    schema_of, unpack,
};
pub use workspace::Workspace;

/// The target of all canisters.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// The folder of the schemas in the tree.
pub const SCHEMAS: &str = "schemas";

/// One of the canister's three builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Build {
    /// The compat path alone; stable layout 1.
    Legacy,
    /// Both session paths, and the migration; accepts layouts 1 and 2.
    Staged,
    /// The direct path alone, and the migration.
    Direct,
}

impl Build {
    /// All builds, in the order in which a canister is upgraded to them.
    pub const ALL: [Build; 3] = [Build::Legacy, Build::Staged, Build::Direct];

    /// Returns the build's name, which is also its file stem: `legacy`, `staged` or `direct`.
    pub fn name(self) -> &'static str {
        match self {
            Build::Legacy => "legacy",
            Build::Staged => "staged",
            Build::Direct => "direct",
        }
    }

    /// Returns the name of the file with its schema.
    pub fn schema_file(self) -> String {
        format!("{self}.json")
    }

    /// Returns whether an upgrade to `to` is a step of the staged upgrade, or a newer module of the same build.
    pub fn leads_to(self, to: Build) -> bool {
        matches!(
            (self, to),
            (Build::Legacy, Build::Staged)
                | (Build::Staged, Build::Staged | Build::Direct)
                | (Build::Direct, Build::Direct)
        )
    }

    /// Returns the cargo features of this build.
    pub fn features(self) -> &'static [&'static str] {
        match self {
            Build::Legacy => &["compat"],
            Build::Staged => &["compat", "direct"],
            Build::Direct => &["direct"],
        }
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Build {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Build::ALL
            .into_iter()
            .find(|build| build.name() == text)
            .ok_or_else(|| format!("expected legacy, staged or direct, got `{text}`"))
    }
}

/// A finished build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Which build this is.
    pub build: Build,
    /// The cargo features it was built with.
    pub features: Vec<String>,
    /// The file to install: the gzipped wasm.
    pub wasm_gz: PathBuf,
    /// Size of the wasm, unpacked, in bytes.
    pub wasm_bytes: u64,
    /// Size of the gzipped wasm in bytes.
    pub wasm_gz_bytes: u64,
    /// SHA-256 of the gzipped wasm, in hex. This is the module hash that the IC reports after an install.
    pub sha256: String,
    /// The Candid interface next to the wasm.
    pub did: PathBuf,
    /// True if the interface is identical, byte for byte, to the one checked in under `candid/`.
    pub did_is_checked_in: bool,
}

/// Options of [`ensure_with`].
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The tree to build: the path of its `Cargo.toml`. Without it, the tree this program was compiled from.
    pub manifest_path: Option<PathBuf>,
    /// The output folder. Without it, `dist` in the tree.
    pub out: Option<PathBuf>,
    /// Whether to overwrite the checked-in interfaces with those found in the wasms.
    pub update_did: bool,
}

/// Brings `builds` up to date in the tree's own `dist` folder.
///
/// Safe to call from several processes at once; they take turns. The first call compiles for minutes and
/// reports progress on stderr; a call that finds everything fresh takes a fraction of a second and prints
/// nothing.
///
/// # Errors
/// No usable compiler, a failing compilation, or an unreadable or unwritable file: see [`BuildError`].
pub fn ensure(builds: &[Build]) -> Result<Vec<Artifact>, BuildError> {
    ensure_with(builds, &Options::default())
}

/// Like [`ensure`], with [`Options`].
pub fn ensure_with(builds: &[Build], options: &Options) -> Result<Vec<Artifact>, BuildError> {
    let bench = Bench::set_up(options)?;
    builds.iter().map(|&build| bench.make(build, options.update_did)).collect()
}

/// Like [`ensure`], for one build.
pub fn ensure_one(build: Build) -> Result<Artifact, BuildError> {
    Bench::set_up(&Options::default())?.make(build, false)
}

/// Everything needed to build, held by one process at a time.
struct Bench {
    workspace: Workspace,
    toolchain: toolchain::Toolchain,
    cache: PathBuf,
    out: PathBuf,
    _lock: publish::Lock,
}

impl Bench {
    fn set_up(options: &Options) -> Result<Bench, BuildError> {
        let workspace = Workspace::locate(options.manifest_path.as_deref())?;
        let out = match &options.out {
            Some(out) => std::path::absolute(out).map_err(BuildError::io("find", out))?,
            None => workspace.root.join("dist"),
        };
        let cache = workspace.target_dir.join("session-migrate");
        let lock = publish::lock(&cache)?;
        let toolchain = toolchain::resolve(&workspace)?;
        Ok(Bench { workspace, toolchain, cache, out, _lock: lock })
    }

    fn make(&self, build: Build, update_did: bool) -> Result<Artifact, BuildError> {
        let made = one(build, &self.workspace, &self.toolchain, &self.cache)?;
        publish::publish(build, &made, &self.cache, &self.out, &self.workspace, update_did)
    }
}

/// Returns the record of an up-to-date `build` in the cache folder, building it if necessary.
fn one(
    build: Build,
    workspace: &Workspace,
    toolchain: &toolchain::Toolchain,
    cache: &Path,
) -> Result<fingerprint::Record, BuildError> {
    let recipe = cargo::recipe(build, workspace, toolchain);
    if let Some(fresh) = fingerprint::fresh(build, workspace, cache, &recipe) {
        return Ok(fresh);
    }
    let progress = Progress::stderr();
    let began = std::time::SystemTime::now();
    progress.phase(format!("building the {build} canister with {}", toolchain.describe()));
    let raw = cargo::run(build, workspace, toolchain, &progress)?;
    let wasm = std::fs::read(&raw.wasm).map_err(BuildError::io("read", &raw.wasm))?;
    let did =
        interface::candid_interface(&wasm).map_err(|source| BuildError::interface(&raw.wasm, source))?;
    let schema = schema(build, workspace)?;
    let finished = postprocess::finish(&wasm, build, &did, &schema)
        .map_err(|source| BuildError::wasm(&raw.wasm, source))?;
    let gz = postprocess::gzip(&finished).map_err(BuildError::io("compress", &raw.wasm))?;
    publish::write_atomically(&cache.join(format!("{build}.wasm.gz")), &gz)?;
    publish::write_atomically(&cache.join(format!("{build}.did")), did.as_bytes())?;
    if let Some(phase) = progress.finish().last() {
        progress.line(&format!("built the {build} canister in {:.0} s", phase.seconds));
    }
    let compilation =
        fingerprint::Compilation { recipe, dep_info: &raw.dep_info, began, wasm: &finished, gz: &gz };
    fingerprint::record(build, workspace, cache, compilation)
}

/// Returns the checked-in schema of a build without blanks. A test of the canister compares it with the types.
fn schema(build: Build, workspace: &Workspace) -> Result<String, BuildError> {
    let path = workspace.root.join(SCHEMAS).join(build.schema_file());
    let json = std::fs::read(&path).map_err(BuildError::io("read", &path))?;
    let schema = Schema::from_json(&json).map_err(|source| BuildError::Schema { path, source })?;
    Ok(schema.to_compact_json())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_go_forward_one_build_at_a_time() {
        let steps: Vec<(Build, Build)> = Build::ALL
            .into_iter()
            .flat_map(|from| Build::ALL.map(|to| (from, to)))
            .filter(|(from, to)| from.leads_to(*to))
            .collect();
        use Build::{Direct, Legacy, Staged};
        assert_eq!(steps, [(Legacy, Staged), (Staged, Staged), (Staged, Direct), (Direct, Direct)]);
    }
}
