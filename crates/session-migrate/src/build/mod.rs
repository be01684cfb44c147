//! Builds the canister's three wasms from this source tree.
//!
//! [`ensure`] is the entry point: it brings the requested builds up to date under `dist/` and returns them. A
//! build whose inputs have not changed is not compiled again.
//!
//! Owns: finding the tree, choosing a compiler ([`toolchain`]), running cargo, finishing the wasm (metadata,
//! gzip), comparing the Candid interface with the checked-in one. Does not own: servers and uploads.

mod builds;
mod cargo;
mod command;
mod error;
mod freshness;
mod interface;
mod module;
mod postprocess;
mod publish;
pub mod toolchain;
mod workspace;
mod write;

use std::path::{Path, PathBuf};

use stable_schema::Schema;

use crate::progress::Progress;
use write::write_atomically;

pub use builds::{Build, SCHEMAS, TARGET};
pub use error::BuildError;
pub use interface::interface_of;
pub use module::Module;
pub use postprocess::{
    Methods, WasmError, check_is_upload_canister, features, gzip, init_args_of, keeps_wasm_memory, methods,
    schema_of, unpack,
};
pub use publish::Artifact;
pub use workspace::Workspace;

/// Options of [`ensure_with`].
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The `Cargo.toml` of the tree to build; `None` for the tree that this program was compiled from.
    pub manifest_path: Option<PathBuf>,
    /// The output folder; `None` for `dist` in the tree.
    pub out: Option<PathBuf>,
    /// Whether to overwrite the checked-in interfaces with those found in the wasms; if not, a difference is only
    /// reported.
    pub update_did: bool,
}

/// Brings `builds` up to date in the tree's own `dist` folder.
///
/// Several processes may call this function at once: they wait for one another. The first call compiles for minutes and
/// reports progress on stderr; a call that finds everything fresh takes a fraction of a second and prints nothing.
///
/// # Errors
/// If there is no usable compiler, a compilation fails, or a file cannot be read or written: see [`BuildError`].
pub fn ensure(builds: &[Build]) -> Result<Vec<Artifact>, BuildError> {
    ensure_with(builds, &Options::default())
}

/// Like [`ensure`], with [`Options`].
pub fn ensure_with(builds: &[Build], options: &Options) -> Result<Vec<Artifact>, BuildError> {
    let setup = BuildSetup::set_up(options)?;
    builds.iter().map(|&build| setup.make(build, options.update_did)).collect()
}

/// Like [`ensure`], for one build.
pub fn ensure_one(build: Build) -> Result<Artifact, BuildError> {
    BuildSetup::set_up(&Options::default())?.make(build, false)
}

/// Everything needed to build. While it exists, it holds a lock: only one process at a time builds in a cache folder.
struct BuildSetup {
    workspace: Workspace,
    toolchain: toolchain::Toolchain,
    cache: PathBuf,
    out: PathBuf,
    _lock: publish::Lock,
}

impl BuildSetup {
    fn set_up(options: &Options) -> Result<BuildSetup, BuildError> {
        let workspace = Workspace::locate(options.manifest_path.as_deref())?;
        let out = match &options.out {
            Some(out) => std::path::absolute(out).map_err(BuildError::io("find", out))?,
            None => workspace.root.join("dist"),
        };
        let cache = workspace.target_dir.join("session-migrate");
        let lock = publish::lock(&cache)?;
        let toolchain = toolchain::resolve(&workspace)?;
        Ok(BuildSetup { workspace, toolchain, cache, out, _lock: lock })
    }

    fn make(&self, build: Build, update_did: bool) -> Result<Artifact, BuildError> {
        let record = bring_up_to_date(build, &self.workspace, &self.toolchain, &self.cache)?;
        publish::publish(build, &record, &self.cache, &self.out, &self.workspace, update_did)
    }
}

fn bring_up_to_date(
    build: Build,
    workspace: &Workspace,
    toolchain: &toolchain::Toolchain,
    cache: &Path,
) -> Result<freshness::BuildRecord, BuildError> {
    let recipe = cargo::recipe(build, workspace, toolchain);
    if let Some(fresh) = freshness::find_fresh(build, workspace, cache, &recipe) {
        return Ok(fresh);
    }
    let progress = Progress::stderr();
    let began = std::time::SystemTime::now();
    progress.phase(format!("building the {build} canister with {}", toolchain.describe()));
    let output = cargo::run(build, workspace, toolchain, &progress)?;
    let wasm = std::fs::read(&output.wasm).map_err(BuildError::io("read", &output.wasm))?;
    let did =
        interface::exported_interface(&wasm).map_err(|source| BuildError::interface(&output.wasm, source))?;
    let schema = read_schema(build, workspace)?;
    let finished = postprocess::finish(&wasm, build, &did, &schema)
        .map_err(|source| BuildError::wasm(&output.wasm, source))?;
    let gz = postprocess::gzip(&finished).map_err(BuildError::io("compress", &output.wasm))?;
    write_atomically(&cache.join(format!("{build}.wasm.gz")), &gz)?;
    write_atomically(&cache.join(format!("{build}.did")), did.as_bytes())?;
    if let Some(phase) = progress.finish().last() {
        progress.line(&format!("built the {build} canister in {:.0} s", phase.seconds));
    }
    let compilation =
        freshness::Compilation { recipe, dep_info: &output.dep_info, began, wasm: &finished, gz: &gz };
    freshness::write_record(build, workspace, cache, compilation)
}

/// Returns the checked-in schema of a build as compact JSON. A test of the canister compares the checked-in schema with
/// the types of the canister's tables.
fn read_schema(build: Build, workspace: &Workspace) -> Result<String, BuildError> {
    let path = workspace.root.join(SCHEMAS).join(build.schema_file());
    let json = std::fs::read(&path).map_err(BuildError::io("read", &path))?;
    let schema = Schema::from_json(&json).map_err(|source| BuildError::Schema { path, source })?;
    Ok(schema.to_compact_json())
}
