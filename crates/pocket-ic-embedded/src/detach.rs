//! Detaches the server from the standard streams of the client that starts it.

use rustix::fd::BorrowedFd;
use rustix::fs::{FileType, fstat, stat};
use rustix::stdio::{stderr, stdin, stdout};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Detaches from standard input and output, and from standard error if `POCKET_IC_MUTE_SERVER` is set and not empty.
///
/// If these streams are pipes of the client, the programs that read from the pipes (`python tests.py | cat`) would wait
/// until the server exits, long after the tests. The program therefore executes itself again, with `/dev/null` in their
/// place: there is no safe way to replace the open files of a running process. If the execution fails, the program
/// continues with the inherited streams.
pub(crate) fn from_client() {
    let mute = std::env::var_os("POCKET_IC_MUTE_SERVER").is_some_and(|value| !value.is_empty());
    let inherited = |stream| is_null(stream) == Some(false);
    // False in the program that was executed again: its streams are `/dev/null`. A closed stream needs no replacement.
    let is_attached = inherited(stdin()) || inherited(stdout()) || (mute && inherited(stderr()));
    if !is_attached {
        return;
    }
    let mut args = std::env::args_os();
    let (Ok(program), Some(name)) = (std::env::current_exe(), args.next()) else { return };
    let mut detached = Command::new(program);
    detached.arg0(name).args(args).stdin(Stdio::null()).stdout(Stdio::null());
    if mute {
        detached.stderr(Stdio::null());
    }
    let _ = detached.exec();
}

/// Returns whether this stream is `/dev/null`; `None` if the stream is not open, or there is no `/dev/null`.
fn is_null(stream: BorrowedFd<'_>) -> Option<bool> {
    let open = fstat(stream).ok()?;
    let null = stat("/dev/null").ok()?;
    Some(FileType::from_raw_mode(open.st_mode).is_char_device() && open.st_rdev == null.st_rdev)
}
