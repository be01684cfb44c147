//! The toolkit around the upload canister: builds its wasms and rehearses the staged upgrade on real bytes.
//!
//! The command-line program `session-migrate` is a thin shell over this library.

pub mod ab;
pub mod build;
pub mod client;
pub mod compare;
pub mod costs;
pub mod page;
pub mod proxy;
pub mod rehearse;
pub mod replay;
pub mod server;
pub mod trace;
mod verdict;
pub mod workload;

use std::path::Path;

pub use verdict::Verdict;

/// The folder that a file is in or will be in.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// What a panic said: the PocketIC client panics when its server fails.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("unknown failure").replace('\n', " ")
}
