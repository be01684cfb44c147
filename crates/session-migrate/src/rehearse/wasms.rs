//! The three wasms of a rehearsal: built from the tree, or given as files.

use std::path::{Path, PathBuf};

use super::RehearseError;
use crate::build::{self, Build, Module};

/// Name of the phase in which the wasms are built.
pub const BUILDING: &str = "building wasms";

/// Wasm files to use instead of those built from the tree; `None` for a build of the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wasms {
    /// Instead of the legacy build.
    pub legacy: Option<PathBuf>,
    /// Instead of the staged build.
    pub staged: Option<PathBuf>,
    /// Instead of the direct build.
    pub direct: Option<PathBuf>,
}

/// A wasm to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wasm {
    /// The build that the wasm is used as.
    pub build: Build,
    /// The module.
    pub module: Module,
}

impl Wasms {
    fn given(&self, build: Build) -> Option<&Path> {
        match build {
            Build::Legacy => self.legacy.as_deref(),
            Build::Staged => self.staged.as_deref(),
            Build::Direct => self.direct.as_deref(),
        }
    }

    /// Checks that every given file is an upload canister.
    pub(crate) fn check(&self) -> Result<(), RehearseError> {
        for path in Build::ALL.into_iter().filter_map(|build| self.given(build)) {
            let bytes = std::fs::read(path).map_err(|error| RehearseError::File {
                path: path.to_path_buf(),
                why: format!("cannot read: {error}"),
            })?;
            build::check_is_upload_canister(&bytes)
                .map_err(|source| RehearseError::Wasm { path: path.to_path_buf(), source })?;
        }
        Ok(())
    }

    /// Reads the given files and builds the others, in the order legacy, staged, direct.
    pub(crate) fn load(&self) -> Result<[Wasm; 3], RehearseError> {
        let load = |build| -> Result<Wasm, RehearseError> {
            let module = match self.given(build) {
                Some(path) => Module::read(path)?,
                None => Module::read(&build::ensure_one(build)?.wasm_gz)?,
            };
            Ok(Wasm { build, module })
        };
        Ok([load(Build::Legacy)?, load(Build::Staged)?, load(Build::Direct)?])
    }
}
