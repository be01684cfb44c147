//! Temporary files and folders, which are removed even if a signal ends the program.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use libc::c_int;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

/// The signals with which users and machines end a program.
const SIGNALS: [c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Number of paths from which on [`REGISTERED`] is pruned of those that no longer exist.
const PRUNED_FROM: usize = 64;

/// Number of attempts to remove a folder into which another thread may still be writing.
const ATTEMPTS: u32 = 5;

/// Paths of temporary files and folders. Some no longer exist; since the names are random, nothing else has taken their
/// place.
static REGISTERED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Creates a temporary folder, which is removed when it is dropped.
pub(crate) fn folder() -> io::Result<TempDir> {
    let folder = tempfile::tempdir()?;
    register(folder.path());
    Ok(folder)
}

/// Registers a temporary file or folder, which a signal removes if it still exists.
pub(crate) fn register(path: &Path) {
    let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    if registered.len() >= PRUNED_FROM {
        registered.retain(|path| path.exists());
    }
    registered.push(path.to_path_buf());
}

/// From now on, SIGINT, SIGTERM and SIGHUP remove all temporary files before they end the program. Signals that the
/// program was started to ignore are still ignored, for example under `nohup`.
pub fn remove_temporaries_on_signals() {
    // If there is no thread, signals end the program as usual, and leave the files.
    let _ = std::thread::Builder::new().name("signals".into()).spawn(|| {
        if let Ok(number) = wait_for_signal() {
            remove_all();
            end_by(number);
        }
    });
}

fn wait_for_signal() -> io::Result<c_int> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(first_signal())
}

async fn first_signal() -> io::Result<c_int> {
    let mut handled = Vec::new();
    for number in SIGNALS {
        if !is_ignored(number) {
            handled.push((number, signal(SignalKind::from_raw(number))?));
        }
    }
    let arrived = std::future::poll_fn(|context| {
        for (number, signal) in &mut handled {
            if signal.poll_recv(context).is_ready() {
                return Poll::Ready(*number);
            }
        }
        Poll::Pending
    });
    Ok(arrived.await)
}

fn remove_all() {
    let registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    for path in registered.iter() {
        let _ = (0..ATTEMPTS).any(|_| remove(path).is_ok());
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

fn is_ignored(number: c_int) -> bool {
    // SAFETY: all zeros are a valid `sigaction`; without a new action, the function only writes the current one.
    unsafe {
        let mut current: libc::sigaction = std::mem::zeroed();
        libc::sigaction(number, std::ptr::null(), &raw mut current) == 0
            && current.sa_sigaction == libc::SIG_IGN
    }
}

/// Ends the program as the signal does by default, so that a shell knows what has ended it.
fn end_by(number: c_int) -> ! {
    // SAFETY: the default action replaces a handler, and calls nothing.
    unsafe {
        libc::signal(number, libc::SIG_DFL);
        libc::raise(number);
    }
    std::process::exit(128 + number)
}
