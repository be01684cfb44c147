//! A finished module, in the form in which it is installed.

use std::borrow::Cow;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{BuildError, check_is_upload_canister, features, gzip, unpack};

/// A canister's wasm, gzipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Cargo features according to the module's metadata; empty if the metadata name none.
    pub features: Vec<String>,
    /// The gzipped module.
    pub gz: Vec<u8>,
    /// Size of the module in bytes, unpacked.
    pub wasm_bytes: u64,
    /// SHA-256 of `gz`, in hex: the module hash, if `gz` is installed.
    pub sha256: String,
}

impl Module {
    /// Reads the file of a wasm, gzipped or not. Any canister but an upload canister is an error.
    pub fn read(path: &Path) -> Result<Module, BuildError> {
        let file = std::fs::read(path).map_err(BuildError::io("read", path))?;
        check_is_upload_canister(&file).map_err(|source| BuildError::wasm(path, source))?;
        Module::of(path, file)
    }

    /// Returns the module in `file`, the bytes of any canister's wasm, gzipped or not. Errors name `path`.
    pub fn of(path: &Path, file: Vec<u8>) -> Result<Module, BuildError> {
        let wasm = unpack(&file).map_err(|source| BuildError::wasm(path, source))?;
        let (wasm_bytes, features) = (wasm.len() as u64, features(&wasm));
        // A module that is not gzipped is compressed: otherwise it might not fit into an install message.
        let is_gzipped = matches!(wasm, Cow::Owned(_));
        let gz = if is_gzipped { file } else { gzip(&wasm).map_err(BuildError::io("compress", path))? };
        Ok(Module { features, wasm_bytes, sha256: hex::encode(Sha256::digest(&gz)), gz })
    }
}
