//! `launch PACKAGE ARGUMENTS…`: compiles a program of this workspace and runs it.
//!
//! `cargo run` alone would do, but its progress bar freezes while a large crate compiles, sometimes for half a minute.
//! Here the elapsed time is drawn next to the bar at least once a second; without a terminal, a line with the elapsed
//! time is printed after every five seconds without output.
//!
//! Exit codes: that of cargo or of the program; 2 if no package is named, 3 if cargo cannot be run.

mod segments;

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use segments::{Segment, Segments};

/// Columns that cargo's bar may use, so that the time fits on a terminal of 100 columns.
const BAR_WIDTH: &str = "85";
/// Maximum time after which the elapsed time is drawn again on a terminal.
const FRAME: Duration = Duration::from_secs(1);
/// Maximum time without output if there is no terminal.
const SILENCE: Duration = Duration::from_secs(5);
/// Escape code with which this program returns to the beginning of the line, and clears the line.
const CLEAR_LINE: &str = "\r\x1b[K";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(package) = arguments.next() else {
        eprintln!("error: no package is named; usage: launch PACKAGE [ARGUMENT]…");
        return ExitCode::from(2);
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(&cargo);
    build.arg("build").arg("--package").arg(&package);
    let outcome = compile(build).and_then(|status| {
        if !status.success() {
            return Ok(status);
        }
        let mut run = Command::new(&cargo);
        run.args(["run", "--quiet", "--package"]).arg(&package).arg("--").args(arguments);
        become_program(run)
    });
    match outcome {
        // A signal leaves no code.
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("error: cannot run {}: {error}", cargo.to_string_lossy());
            ExitCode::from(3)
        }
    }
}

/// Runs cargo in place of this process, so that signals reach cargo, and the exit code is cargo's. Returns only if
/// cargo cannot be run.
#[cfg(unix)]
fn become_program(mut run: Command) -> io::Result<ExitStatus> {
    use std::os::unix::process::CommandExt;
    Err(run.exec())
}

/// Runs cargo as a child process, and waits until it ends.
#[cfg(not(unix))]
fn become_program(mut run: Command) -> io::Result<ExitStatus> {
    run.status()
}

/// Runs `build`, and shows what it prints to standard error. The elapsed time is shown too: on a terminal always, next
/// to cargo's bar; otherwise only while the build prints nothing.
fn compile(mut build: Command) -> io::Result<ExitStatus> {
    let is_terminal = io::stderr().is_terminal();
    if is_terminal {
        // Cargo writes to a pipe, so by default it would use neither colors nor a progress bar.
        let [no_color, term_color] = ["NO_COLOR", "CARGO_TERM_COLOR"].map(std::env::var_os);
        if wants_colors(no_color.as_deref(), term_color.as_deref()) {
            build.env("CARGO_TERM_COLOR", "always");
        }
        build.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", BAR_WIDTH);
    }
    let mut child = build.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let (sender, segments) = channel();
    let reader = child.stderr.take().map(|stderr| {
        std::thread::spawn(move || {
            for segment in Segments::new(stderr) {
                if sender.send(segment).is_err() {
                    return;
                }
            }
        })
    });
    let start = Instant::now();
    let mut screen = Screen { is_terminal, bar: String::new(), is_bar_drawn: false };
    loop {
        match segments.recv_timeout(if is_terminal { FRAME } else { SILENCE }) {
            Ok(segment) => screen.show(segment, start.elapsed()),
            Err(RecvTimeoutError::Timeout) => screen.show_elapsed(start.elapsed()),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    screen.clear();
    if let Some(reader) = reader {
        // The result can be ignored: the thread only reads and sends, and never panics.
        let _ = reader.join();
    }
    child.wait()
}

/// Returns whether a build on a terminal is colored, by the values of `NO_COLOR` and `CARGO_TERM_COLOR`.
fn wants_colors(no_color: Option<&OsStr>, term_color: Option<&OsStr>) -> bool {
    match term_color {
        // As in cargo, this variable has precedence.
        Some(wanted) if wanted == "always" => true,
        Some(wanted) if wanted == "never" => false,
        _ => no_color.is_none_or(OsStr::is_empty),
    }
}

/// Standard error. Failed writes are ignored, so that the compilation continues if nobody reads standard error.
struct Screen {
    is_terminal: bool,
    /// The latest progress bar of cargo; empty before the first one.
    bar: String,
    /// Whether the cursor is in the line of the bar, which must then be cleared before anything else is printed.
    is_bar_drawn: bool,
}

impl Screen {
    fn show(&mut self, segment: Segment, elapsed: Duration) {
        match segment {
            Segment::Line(line) => {
                self.clear();
                let _ = writeln!(io::stderr(), "{line}");
            }
            Segment::Bar(bar) => self.bar = bar,
        }
        if self.is_terminal && !self.bar.is_empty() {
            self.draw(elapsed);
        }
    }

    /// Shows that the build is still running, although it has printed nothing for a while.
    fn show_elapsed(&mut self, elapsed: Duration) {
        if self.is_terminal {
            self.draw(elapsed);
        } else {
            let _ = writeln!(io::stderr(), "   Compiling: {}", format_time(elapsed));
        }
    }

    fn draw(&mut self, elapsed: Duration) {
        let _ = write!(io::stderr(), "{CLEAR_LINE}{} {}", self.bar, format_time(elapsed));
        self.is_bar_drawn = true;
    }

    /// Clears the bar and the time, if they are drawn.
    fn clear(&mut self) {
        if std::mem::take(&mut self.is_bar_drawn) {
            let _ = write!(io::stderr(), "{CLEAR_LINE}");
        }
    }
}

fn format_time(elapsed: Duration) -> String {
    match elapsed.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_are_not_forced_against_no_color_or_never() {
        let colors = |no_color: Option<&str>, term_color: Option<&str>| {
            wants_colors(no_color.map(OsStr::new), term_color.map(OsStr::new))
        };
        for (no_color, term_color, expected) in [
            (None, None, true),
            (Some(""), Some("auto"), true),
            (Some("1"), None, false),
            (Some("1"), Some("auto"), false),
            (None, Some("never"), false),
            (Some("1"), Some("always"), true),
        ] {
            assert_eq!(colors(no_color, term_color), expected, "{no_color:?}, {term_color:?}");
        }
    }

    #[test]
    fn a_time_is_in_minutes_from_the_first_minute_on() {
        assert_eq!(format_time(Duration::from_millis(59_999)), "59 s");
        assert_eq!(format_time(Duration::from_secs(60)), "1 min 00 s");
        assert_eq!(format_time(Duration::from_secs(754)), "12 min 34 s");
    }
}
