//! Detaches the server from what it inherits from the client that starts it.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Detaches from standard input and output, and from standard error if `POCKET_IC_MUTE_SERVER` is set.
///
/// If they are pipes of the client, their readers (`python tests.py | cat`) would wait until the server
/// exits, long after the tests. The program executes itself again, since there is no safe way to replace open
/// files; if that fails, it continues without the change.
pub(crate) fn from_client() {
    let mute = std::env::var_os("POCKET_IC_MUTE_SERVER").is_some_and(|value| !value.is_empty());
    let inherited = |descriptor| is_null(descriptor) == Some(false);
    let holds_any = inherited(0) || inherited(1) || (mute && inherited(2));
    if !holds_any {
        return;
    }
    let mut words = std::env::args_os();
    let (Ok(program), Some(name)) = (std::env::current_exe(), words.next()) else { return };
    let mut again = Command::new(program);
    again.arg0(name).args(words).stdin(Stdio::null()).stdout(Stdio::null());
    if mute {
        again.stderr(Stdio::null());
    }
    let _ = again.exec();
}

/// Returns whether this descriptor is `/dev/null`; `None` if that is unknown, or it is not open.
fn is_null(descriptor: u8) -> Option<bool> {
    let open = fs::metadata(format!("/dev/fd/{descriptor}")).ok()?;
    let null = fs::metadata("/dev/null").ok()?;
    Some(open.file_type().is_char_device() && open.rdev() == null.rdev())
}
