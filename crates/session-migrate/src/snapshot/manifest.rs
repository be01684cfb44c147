//! The manifest next to a snapshot folder: the origin of the snapshot, and the length and SHA-256 of each file. The
//! snapshot format itself records neither the origin nor checksums.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{METADATA, SnapshotError, WASM_MODULE};
use crate::temporary_next_to;

const FORMAT: u32 = 1;

/// How far a folder was compared with its manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verified {
    /// Not at all: there is no manifest.
    #[default]
    No,
    /// The length of each file, and the SHA-256 of metadata and module, are those in the manifest.
    Lengths,
    /// The SHA-256 of each file is that in the manifest.
    EveryByte,
}

/// The origin of a snapshot, and its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub format: u32,
    /// The program that wrote the manifest.
    pub tool: String,
    /// The canister.
    pub canister: String,
    /// Id of the snapshot, hex.
    pub snapshot: String,
    /// URL of the network.
    pub network: String,
    /// Root key of the network in DER, hex.
    pub root_key: String,
    /// SHA-256 of the module, hex; absent without a module.
    pub module_hash: Option<String>,
    /// When the snapshot was taken, nanoseconds.
    pub taken_at: u64,
    /// Every file of the folder.
    pub files: Vec<FileEntry>,
}

/// A file of a snapshot folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path of the file relative to the folder, with `/` as separator.
    pub path: String,
    /// Length of the file, bytes.
    pub bytes: u64,
    /// SHA-256 of the file, hex.
    pub sha256: String,
}

impl Manifest {
    pub(crate) fn new(canister: String, snapshot: String, network: String, root_key: String) -> Manifest {
        Manifest {
            format: FORMAT,
            tool: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
            canister,
            snapshot,
            network,
            root_key,
            module_hash: None,
            taken_at: 0,
            files: Vec::new(),
        }
    }

    /// Returns the path of a folder's manifest. It is next to the folder, not in it, so that the folder contains only
    /// the files of the snapshot format.
    pub fn path(folder: &Path) -> PathBuf {
        let folder = fs::canonicalize(folder)
            .or_else(|_| std::path::absolute(folder))
            .unwrap_or_else(|_| folder.to_path_buf());
        let mut name = folder.file_name().unwrap_or_default().to_owned();
        name.push(".manifest.json");
        folder.with_file_name(name)
    }

    /// Reads the manifest of a folder, if there is one.
    ///
    /// # Errors
    /// [`SnapshotError::Manifest`] if the manifest does not decode or has another format, [`SnapshotError::Io`] if
    /// the file cannot be read.
    pub fn next_to(folder: &Path) -> Result<Option<Manifest>, SnapshotError> {
        let path = Manifest::path(folder);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(SnapshotError::io("read", &path))?,
        };
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|error| SnapshotError::Manifest { path: path.clone(), why: error.to_string() })?;
        if manifest.format != FORMAT {
            let why = format!("it has format {}, this program supports {FORMAT}", manifest.format);
            return Err(SnapshotError::Manifest { path, why });
        }
        Ok(Some(manifest))
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<(), SnapshotError> {
        let path = Manifest::path(folder);
        write_json(&path, self).map_err(SnapshotError::io("write", &path))
    }

    /// Compares the length of each file, and the SHA-256 of metadata and module only; [`Manifest::verify`] compares
    /// everything.
    pub(super) fn check(&self, folder: &Path) -> Result<(), SnapshotError> {
        for entry in &self.files {
            let path = folder.join(&entry.path);
            let got = fs::metadata(&path).map_err(SnapshotError::io("read", &path))?.len();
            if got != entry.bytes {
                return Err(self.differs(folder, path, &format!("{got} bytes, expected {}", entry.bytes)));
            }
            if [METADATA, WASM_MODULE].contains(&entry.path.as_str()) {
                self.check_digest(folder, entry, &mut |_| ())?;
            }
        }
        Ok(())
    }

    /// Compares every byte of a folder that [`check_folder`](super::check_folder) has accepted. `on_read` gets the number
    /// of bytes of each read.
    ///
    /// # Errors
    /// [`SnapshotError::Differs`] for the first file that is not as listed, or the error of a file that cannot be read.
    pub fn verify(&self, folder: &Path, on_read: &mut dyn FnMut(u64)) -> Result<(), SnapshotError> {
        self.files.iter().try_for_each(|entry| self.check_digest(folder, entry, on_read))
    }

    /// Returns the number of bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|entry| entry.bytes).fold(0, u64::saturating_add)
    }

    fn check_digest(
        &self,
        folder: &Path,
        entry: &FileEntry,
        on_read: &mut dyn FnMut(u64),
    ) -> Result<(), SnapshotError> {
        let path = folder.join(&entry.path);
        let got = hex::encode(sha256_of(&path, u64::MAX, on_read)?.finalize());
        match got == entry.sha256 {
            true => Ok(()),
            false => Err(self.differs(folder, path, &format!("SHA-256 {got}, expected {}", entry.sha256))),
        }
    }

    fn differs(&self, folder: &Path, path: PathBuf, what: &str) -> SnapshotError {
        SnapshotError::Differs { path, manifest: Manifest::path(folder), what: what.to_owned() }
    }
}

/// Hashes up to `limit` bytes of a file; returns the hasher, which can take more bytes. `on_read` gets the number of
/// bytes of each read.
pub(crate) fn sha256_of(
    path: &Path,
    limit: u64,
    on_read: &mut dyn FnMut(u64),
) -> Result<Sha256, SnapshotError> {
    let mut file = File::open(path).map_err(SnapshotError::io("read", path))?.take(limit);
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(SnapshotError::io("read", path))? {
            0 => return Ok(hasher),
            len => {
                hasher.update(&buffer[..len]);
                on_read(len as u64);
            }
        }
    }
}

/// Writes a JSON file atomically.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> std::io::Result<()> {
    let mut file = temporary_next_to(path)?;
    serde_json::to_writer_pretty(&mut file, value)?;
    file.write_all(b"\n")?;
    file.as_file().sync_data()?;
    file.persist(path)?;
    Ok(())
}
