//! Lines on standard error. Nobody may read them, or the disk behind them may be full: that must never matter, so a line
//! that cannot be written is lost and nothing else. `eprintln!` would panic.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes one line, whole.
pub(crate) fn line(text: impl Display) {
    let line = format!("{text}\n");
    let _ = io::stderr().lock().write_all(line.as_bytes());
}
