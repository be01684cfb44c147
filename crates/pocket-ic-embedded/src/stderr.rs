//! Lines on standard error. It may be closed, or on a full disk: that must never matter, so a line
//! that cannot be written is lost and nothing else. `eprintln!` would panic.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes one complete line.
pub(crate) fn line(text: impl Display) {
    let line = format!("{text}\n");
    let _ = io::stderr().lock().write_all(line.as_bytes());
}
