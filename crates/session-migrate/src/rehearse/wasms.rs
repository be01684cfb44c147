//! The three wasms of a rehearsal: built from the tree, or given as files.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::RehearseError;
use crate::build::{self, Build};

/// Files to use instead of what the tree builds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wasms {
    /// In place of the legacy build.
    pub legacy: Option<PathBuf>,
    /// In place of the staged build.
    pub staged: Option<PathBuf>,
    /// In place of the direct build.
    pub direct: Option<PathBuf>,
}

/// A wasm to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wasm {
    /// The part it plays.
    pub build: Build,
    /// The features it says it was built with.
    pub features: Vec<String>,
    /// The gzipped module.
    pub gz: Vec<u8>,
    /// Size of the module in bytes, unpacked.
    pub wasm_bytes: u64,
    /// SHA-256 of `gz`, in hex.
    pub sha256: String,
}

impl Wasms {
    fn given(&self, build: Build) -> Option<&Path> {
        match build {
            Build::Legacy => self.legacy.as_deref(),
            Build::Staged => self.staged.as_deref(),
            Build::Direct => self.direct.as_deref(),
        }
    }

    /// Every given file must be a canister.
    pub(super) fn check(&self) -> Result<(), RehearseError> {
        for path in Build::ALL.into_iter().filter_map(|build| self.given(build)) {
            let bytes = read(path)?;
            build::check_is_canister(&bytes).map_err(wasm_error(path))?;
        }
        Ok(())
    }

    /// Reads the given files and builds the others, in the order legacy, staged, direct.
    pub(super) fn load(&self) -> Result<Vec<Wasm>, RehearseError> {
        Build::ALL
            .into_iter()
            .map(|build| match self.given(build) {
                Some(path) => load(build, path),
                None => load(build, &build::ensure_one(build)?.wasm_gz),
            })
            .collect()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, RehearseError> {
    std::fs::read(path).map_err(|error| RehearseError::File {
        path: path.to_path_buf(),
        why: format!("cannot read: {error}"),
    })
}

fn wasm_error(path: &Path) -> impl FnOnce(build::WasmError) -> RehearseError {
    move |source| RehearseError::Wasm { path: path.to_path_buf(), source }
}

fn load(build: Build, path: &Path) -> Result<Wasm, RehearseError> {
    let file = read(path)?;
    let wasm = build::unpack(&file).map_err(wasm_error(path))?;
    let (wasm_bytes, features) = (wasm.len() as u64, build::features(&wasm));
    // A module given without gzip is packed: a packed one is what fits in an install message.
    let gz = if wasm.len() == file.len() {
        build::gzip(&wasm).map_err(RehearseError::io("compress", path))?
    } else {
        file
    };
    Ok(Wasm { build, features, wasm_bytes, sha256: hex::encode(Sha256::digest(&gz)), gz })
}
