//! The toolkit around the upload canister: builds its wasms, rehearses the staged upgrade on real bytes, and performs
//! the upgrade on a live network.
//!
//! The command-line program `session-migrate` is a thin layer over this library.

pub mod ab;
pub mod adopt;
pub mod build;
pub mod check;
pub mod client;
pub mod compare;
pub mod costs;
pub mod inspect;
pub mod network;
mod output;
pub mod page;
pub mod plan;
pub mod progress;
pub mod provenance;
pub mod proxy;
pub mod rehearse;
pub mod replay;
pub mod server;
mod shorten;
pub mod snapshot;
mod temporary;
pub mod trace;
pub mod transfer;
pub mod upgrade;
pub mod upload;
mod utc;
mod verdict;
pub mod workload;

use std::path::Path;

use tempfile::NamedTempFile;

pub use output::{OutputFile, is_same_output};
pub use shorten::{shorten, shorten_both, shorten_dumps};
pub use temporary::remove_temporaries_on_signals;
pub use verdict::Verdict;

/// Returns the folder of a file, `.` for a bare file name. The file need not exist.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Creates a temporary file next to `path`. The caller writes it and renames it to `path`, so that a reader of `path`
/// never sees half a file. If it is dropped before that, it is deleted. The permissions follow the umask, as for any
/// new file. The renaming replaces whatever is at `path`; for a path that the user chooses, use [`OutputFile`].
///
/// # Errors
/// If `path` is a folder, or no file can be created next to it.
pub fn temporary_next_to(path: &Path) -> std::io::Result<NamedTempFile> {
    if path.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let file = builder.prefix(".partial-").tempfile_in(folder_of(path))?;
    temporary::register(file.path());
    Ok(file)
}

/// Returns the text of a panic in one line, for callers of the PocketIC client, which panics if its server fails.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("unknown failure").replace('\n', " ")
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_temporary_file_has_the_permissions_of_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let (usual, path) = (folder.path().join("usual"), folder.path().join("report"));
        std::fs::write(&usual, "").unwrap();
        temporary_next_to(&path).unwrap().persist(&path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&usual));
    }
}
