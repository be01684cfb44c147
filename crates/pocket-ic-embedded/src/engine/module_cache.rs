//! Compiled modules on disk, shared by all processes of one user.
//!
//! The name of an entry covers everything that the machine code depends on: the module, the rules for
//! checking and rewriting modules, the version and configuration of the compiler, including metering, and the
//! features of the processor. So a module that has an entry has passed the checks of its code. An entry is
//! written to a temporary file and renamed, so that no reader sees an incomplete one; a process that needs
//! the module in the meantime compiles it, too, and the last entry wins.
//!
//! The machine code of an entry is executed, so only the user of the process may be able to write to the folder: a
//! folder or file that belongs to another user, or that others may write to, is refused. The digest in each entry
//! protects against damage, not against the user who owns the folder.
//!
//! The cache that is part of wasmtime is not used: it checks neither the owner nor a digest, and runs whatever it can
//! decompress.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use thiserror::Error;
use wasmtime::Module;

/// Maximum total size of the entries, in bytes; the least recently used are removed first.
const MAX_CACHE_BYTES: u64 = 2 << 30;
/// Age at which a temporary file counts as left by a killed process.
const MAX_TEMPORARY_AGE: Duration = Duration::from_secs(3600);

/// The first bytes of an entry. After them follow the key, the digest, a byte that says whether the code leaves
/// segments as they are, and the machine code. The last byte of this constant is the version of that order.
const MAGIC: &[u8; 8] = b"PICMOD\0\x01";
const HASH_BYTES: usize = 32;
/// What identifies an entry; in hex, its file name.
pub(super) type Key = [u8; HASH_BYTES];
const HEADER_BYTES: usize = MAGIC.len() + 2 * HASH_BYTES + 1;
/// Source code of the rules by which modules are checked and rewritten, in place of a version: other rules need other
/// entries. Even a changed comment in these files makes all existing entries useless, which does no harm.
const RULES: [&[u8]; 3] =
    [include_bytes!("validation.rs"), include_bytes!("module_info.rs"), include_bytes!("rewrite.rs")];
const ENTRY_EXTENSION: &str = "module";
const TEMPORARY_PREFIX: &str = ".new-";

/// A folder of compiled modules that is safe to use, and the limit on the total size of its entries.
#[derive(Clone, Debug)]
pub struct ModuleCache {
    folder: PathBuf,
    max_bytes: u64,
}

pub(super) struct CachedModule {
    pub(super) module: Module,
    /// See `ModuleInfo::keeps_segments`.
    pub(super) keeps_segments: bool,
}

/// Why a folder cannot be used: it cannot be accessed, or others may write to it.
#[derive(Debug, Error)]
pub enum ModuleCacheError {
    #[error("cannot keep compiled modules in {}: {source}", folder.display())]
    Io { folder: PathBuf, source: io::Error },
    #[error(
        "cannot keep compiled modules in {}: {reason}. Use a folder that only you may write to (chmod 700)",
        folder.display()
    )]
    Unsafe { folder: PathBuf, reason: String },
}

impl ModuleCache {
    /// Uses this folder; creates it if it is missing, accessible only to its owner.
    ///
    /// # Errors
    /// If the folder cannot be created, is not a folder, belongs to another user, or others may write to it.
    pub fn open(folder: &Path) -> Result<Self, ModuleCacheError> {
        let failed = |source| ModuleCacheError::Io { folder: folder.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        // An absolute path, so that a process that changes its working folder keeps the cache.
        let folder = fs::canonicalize(folder).map_err(failed)?;
        let metadata = fs::metadata(&folder).map_err(failed)?;
        match other_writers(&metadata) {
            None => Ok(Self { folder, max_bytes: MAX_CACHE_BYTES }),
            Some(reason) => Err(ModuleCacheError::Unsafe { folder, reason }),
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    #[cfg(test)]
    pub(super) fn with_max_bytes(self, max_bytes: u64) -> Self {
        Self { max_bytes, ..self }
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(hex::encode(key)).with_extension(ENTRY_EXTENSION)
    }

    /// Returns the module of an entry; `None` if the entry is missing, failed_validation or damaged, or if others may have
    /// written it.
    pub(super) fn load(&self, engine: &wasmtime::Engine, key: &Key) -> Option<CachedModule> {
        let mut file = OpenOptions::new()
            .read(true)
            // Do not follow a link, and do not block on a pipe without a writer.
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(self.path(key))
            .ok()?;
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || metadata.len() > self.max_bytes || other_writers(&metadata).is_some() {
            return None;
        }
        let mut entry = Vec::with_capacity(usize::try_from(metadata.len()).ok()?);
        file.read_to_end(&mut entry).ok()?;
        let (keeps_segments, code) = parse_entry(&entry, key)?;
        // SAFETY: the file belongs to this user, nobody else may write to it, and its digest is right: these
        // are the bytes that `Engine::precompile_module` returned to a process of this user for exactly the
        // same compiler.
        let module = unsafe { Module::deserialize(engine, code) }.ok()?;
        // `evict` takes the time of modification for that of the last use. If the time cannot be set, an entry in use
        // may be removed.
        let _ = file.set_modified(SystemTime::now());
        Some(CachedModule { module, keeps_segments })
    }

    /// Stores machine code for other processes. If it cannot be stored, they compile the module themselves.
    pub(super) fn store(&self, key: &Key, keeps_segments: bool, code: &[u8]) {
        let _ = self.write(key, keeps_segments, code);
    }

    fn write(&self, key: &Key, keeps_segments: bool, code: &[u8]) -> io::Result<()> {
        if (HEADER_BYTES + code.len()) as u64 > self.max_bytes {
            return Ok(());
        }
        let mut file = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(&self.folder)?;
        write_entry(&mut file, key, keeps_segments, code)?;
        file.persist(self.path(key))?;
        self.evict()
    }

    /// Removes the least recently used entries, so that the remaining ones are within the limit, and the temporary
    /// files of killed processes.
    fn evict(&self) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // Another process may have removed the entry.
            let Ok(metadata) = entry.metadata() else { continue };
            let used = metadata.modified()?;
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
                if used.elapsed().is_ok_and(|age| age > MAX_TEMPORARY_AGE) {
                    let _ = fs::remove_file(entry.path());
                }
            } else if entry.path().extension() == Some(OsStr::new(ENTRY_EXTENSION)) {
                entries.push((used, metadata.len(), entry.path()));
            }
        }
        entries.sort_by(|(a, ..), (b, ..)| b.cmp(a));
        let mut bytes = 0;
        for (_, len, path) in entries {
            bytes += len;
            if bytes > self.max_bytes {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }
}

fn write_entry(file: &mut NamedTempFile, key: &Key, keeps_segments: bool, code: &[u8]) -> io::Result<()> {
    let file: &mut File = file.as_file_mut();
    let flag = u8::from(keeps_segments);
    file.write_all(MAGIC)?;
    file.write_all(key)?;
    file.write_all(&digest(key, flag, code))?;
    file.write_all(&[flag])?;
    file.write_all(code)
}

/// Returns `keeps_segments` and the machine code of an entry; `None` if the entry is damaged or for another key.
fn parse_entry<'a>(entry: &'a [u8], key: &Key) -> Option<(bool, &'a [u8])> {
    let entry = entry.strip_prefix(MAGIC)?.strip_prefix(key)?;
    let (expected, entry) = entry.split_first_chunk::<HASH_BYTES>()?;
    let (flag, code) = entry.split_first()?;
    (digest(key, *flag, code) == *expected).then_some((*flag != 0, code))
}

fn digest(key: &Key, flag: u8, code: &[u8]) -> [u8; HASH_BYTES] {
    Sha256::new().chain_update(key).chain_update([flag]).chain_update(code).finalize().into()
}

/// Returns a text that says who other than the user of this process may write to a file or folder; `None` if nobody
/// may.
fn other_writers(metadata: &Metadata) -> Option<String> {
    // SAFETY: `geteuid` has no preconditions and never fails.
    let user = unsafe { libc::geteuid() };
    other_writers_by_mode(metadata.uid(), metadata.mode(), user)
}

/// [`other_writers`] for this owner, this mode and this user of the process.
fn other_writers_by_mode(owner: u32, mode: u32, user: u32) -> Option<String> {
    const GROUP_OR_OTHERS_WRITE: u32 = 0o022;
    if owner != user {
        return Some(format!("it belongs to user {owner}, and this is user {user}"));
    }
    (mode & GROUP_OR_OTHERS_WRITE != 0).then(|| format!("others may write to it (mode {:o})", mode & 0o7777))
}

/// A digest of what machine code depends on in addition to the wasm: version and configuration of the compiler, the
/// target processor, and the rules by which modules are checked and rewritten.
pub(super) struct Compiler([u8; HASH_BYTES]);

impl Compiler {
    pub(super) fn of(engine: &wasmtime::Engine) -> Self {
        let mut hasher = Sha256Hasher::default();
        RULES.hash(&mut hasher);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self(hasher.0.finalize().into())
    }

    /// Returns the key of a module: `wasm` is unpacked, but not yet rewritten.
    pub(super) fn key(&self, wasm: &[u8]) -> Key {
        Sha256::new().chain_update(self.0).chain_update(wasm).finalize().into()
    }
}

/// Feeds SHA-256 with a value that only implements [`Hash`].
#[derive(Default)]
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    // The trait requires it; nothing here calls it.
    fn finish(&self) -> u64 {
        let digest: [u8; HASH_BYTES] = self.0.clone().finalize().into();
        digest.first_chunk().map_or(0, |head| u64::from_le_bytes(*head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_is_created_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let cache = ModuleCache::open(&dir.path().join("a/b")).unwrap();
        assert_eq!(fs::metadata(cache.folder()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for mode in [0o770, 0o707, 0o1777, 0o720, 0o702] {
            fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
            let error = ModuleCache::open(dir.path()).unwrap_err().to_string();
            assert!(error.contains("others may write to it") && error.contains("chmod 700"), "{error}");
        }
        for mode in [0o700, 0o755] {
            fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
            ModuleCache::open(dir.path()).unwrap();
        }
    }

    #[test]
    fn folders_and_files_of_another_user_are_refused() {
        assert_eq!(other_writers_by_mode(1000, 0o700, 1000), None);
        assert_eq!(
            other_writers_by_mode(0, 0o700, 1000).unwrap(),
            "it belongs to user 0, and this is user 1000"
        );
        assert!(
            other_writers_by_mode(1000, 0o700, 0).is_some(),
            "root does not run what other users have written"
        );
    }

    #[test]
    fn a_file_as_the_cache_folder_is_refused() {
        let file = NamedTempFile::new().unwrap();
        let error = ModuleCache::open(file.path()).unwrap_err();
        assert!(matches!(error, ModuleCacheError::Io { .. }), "{error}");
    }

    #[test]
    fn an_entry_is_used_only_if_complete_and_for_its_key() {
        let (key, other) = ([1; HASH_BYTES], [2; HASH_BYTES]);
        let mut file = NamedTempFile::new().unwrap();
        write_entry(&mut file, &key, true, b"machine code").unwrap();
        let entry = fs::read(file.path()).unwrap();
        assert_eq!(parse_entry(&entry, &key), Some((true, &b"machine code"[..])));
        assert_eq!(parse_entry(&entry, &other), None);
        for len in 0..entry.len() {
            assert_eq!(parse_entry(&entry[..len], &key), None, "the first {len} bytes are refused");
        }
        for byte in 0..entry.len() {
            let mut damaged = entry.clone();
            damaged[byte] ^= 1;
            assert_eq!(parse_entry(&damaged, &key), None, "an entry whose byte {byte} is damaged is refused");
        }
        assert_eq!(
            parse_entry(&[&entry[..], b"\0"].concat(), &key),
            None,
            "an entry with a byte too many is refused"
        );
    }

    #[test]
    fn compilers_that_meter_differently_have_different_keys() {
        let key_with = |costs| {
            let mut config = wasmtime::Config::new();
            config.consume_fuel(true).operator_cost(costs);
            Compiler::of(&wasmtime::Engine::new(&config).unwrap()).key(b"wasm")
        };
        let costs = wasmtime::OperatorCost::new();
        let mut changed = costs.clone();
        changed.I32Add += 1;
        assert_eq!(key_with(costs.clone()), key_with(costs.clone()));
        assert_ne!(key_with(costs), key_with(changed));
    }
}
