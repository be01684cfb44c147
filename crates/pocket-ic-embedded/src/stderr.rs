//! Prints lines on standard error, which may be closed or on a full disk: a line that cannot be written is lost,
//! whereas `eprintln!` would panic.

use std::fmt::Display;
use std::io::{self, Write};

/// Prints the text and a line end in a single write.
pub(crate) fn print_line(text: impl Display) {
    let line = format!("{text}\n");
    let _ = io::stderr().lock().write_all(line.as_bytes());
}
