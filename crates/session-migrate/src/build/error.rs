//! Errors of a build, each with the file or program concerned.

use std::path::{Path, PathBuf};

/// Why a build failed, or why a module cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file or folder could not be used.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// The operation that failed: read, write, lock, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A program could not be started.
    #[error("cannot run `{program}`: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A program ran and failed.
    #[error("`{command}` failed ({status}){detail}")]
    Failed {
        /// The command line.
        command: String,
        /// The exit status.
        status: String,
        /// The program's output, or where to find it.
        detail: String,
    },
    /// The manifest is not in a tree that this program can build.
    #[error("{manifest} is not in a workspace with the package `upload-canister`")]
    NotOurWorkspace {
        /// The manifest.
        manifest: PathBuf,
    },
    /// The output of a program that succeeded could not be understood.
    #[error("unexpected answer of `{command}`: {detail}")]
    Answer {
        /// The command line.
        command: String,
        /// What was wrong with the answer.
        detail: String,
    },
    /// There is no compiler for the wasm target, and none could be installed.
    #[error("no compiler for {target}: {tried}. {advice}", target = super::TARGET)]
    NoToolchain {
        /// What was tried, and why it failed.
        tried: String,
        /// What to install.
        advice: String,
    },
    /// A wasm, compiled by this program or named by the user, is not a usable canister.
    #[error("{path}: {source}")]
    Wasm {
        /// The wasm file.
        path: PathBuf,
        /// What is wrong with the wasm.
        source: super::postprocess::WasmError,
    },
    /// A checked-in schema file is not a schema.
    #[error("{path}: {source}")]
    Schema {
        /// The file.
        path: PathBuf,
        /// What is wrong with the schema.
        source: stable_schema::SchemaError,
    },
    /// The Candid interface could not be read from the wasm.
    #[error("{path}: no Candid interface: {source}")]
    Interface {
        /// The wasm file.
        path: PathBuf,
        /// Why the interface cannot be read.
        source: super::interface::InterfaceError,
    },
}

impl BuildError {
    /// Returns a closure for `map_err` on file operations: "cannot {action} {path}: …".
    pub(crate) fn io<'p>(
        action: &'static str,
        path: &'p Path,
    ) -> impl FnOnce(std::io::Error) -> BuildError + 'p {
        move |source| BuildError::Io { action, path: path.to_path_buf(), source }
    }

    pub(crate) fn wasm(path: &Path, source: super::postprocess::WasmError) -> BuildError {
        BuildError::Wasm { path: path.to_path_buf(), source }
    }

    pub(crate) fn interface(path: &Path, source: super::interface::InterfaceError) -> BuildError {
        BuildError::Interface { path: path.to_path_buf(), source }
    }
}
