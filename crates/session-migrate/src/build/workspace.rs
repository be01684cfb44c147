//! The source tree and cargo's target folder.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::BuildError;
use super::command;

pub(crate) const CANISTER_PACKAGE: &str = "upload-canister";

/// The source tree.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// The folder with the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// Cargo's target folder, wherever the user's settings put it.
    pub target_dir: PathBuf,
    /// The oldest version of the compiler that can build the canister, as (major, minor).
    pub rust_version: (u32, u32),
}

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    target_directory: PathBuf,
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    rust_version: Option<String>,
}

impl Workspace {
    /// Asks cargo about the tree of `manifest`; `None`: about the tree that this program was compiled from.
    ///
    /// # Errors
    /// If cargo cannot read the manifest or the workspace lacks the canister's package.
    pub fn locate(manifest: Option<&Path>) -> Result<Workspace, BuildError> {
        let manifest = match manifest {
            Some(path) => path.to_path_buf(),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml"),
        };
        let mut command = command::cargo_command();
        command.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(&manifest);
        let answer = command::capture(&mut command)?;
        let metadata: Metadata = serde_json::from_str(&answer).map_err(|error| BuildError::Answer {
            command: command::command_line(&command),
            detail: error.to_string(),
        })?;
        let canister = metadata
            .packages
            .iter()
            .find(|package| package.name == CANISTER_PACKAGE)
            .ok_or(BuildError::NotOurWorkspace { manifest })?;
        Ok(Workspace {
            root: metadata.workspace_root,
            target_dir: metadata.target_directory,
            rust_version: canister
                .rust_version
                .as_deref()
                .and_then(super::toolchain::parse_major_minor)
                // A package that names no version accepts every compiler.
                .unwrap_or((1, 0)),
        })
    }
}
