//! Runs programs, and watches how much memory they take.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::BenchError;

/// Interval at which the peak memory of a process is read. The system reports the maximum so far, so only an increase
/// at the very end can be missed.
const PEAK_INTERVAL: Duration = Duration::from_millis(5);

/// The run of a program that has succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ProgramRun {
    pub seconds: f64,
    /// Its peak memory; `None` if the system does not report it.
    pub peak_bytes: Option<u64>,
}

impl std::fmt::Display for ProgramRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} s", self.seconds)?;
        match self.peak_bytes {
            Some(peak) => write!(f, ", at most {:.0} MB", peak as f64 / 1e6),
            None => Ok(()),
        }
    }
}

/// Compiles the toolkit's program, and returns its path, which is next to this program. This program must therefore be
/// of the same profile, `dev`.
pub(super) fn build_toolkit() -> Result<PathBuf, BenchError> {
    let this_program = std::env::current_exe().map_err(BenchError::file("find", "this program"))?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    run(cargo.args(["build", "--quiet", "--package", "session-migrate", "--package", "upload-bench"]))?;
    Ok(this_program.with_file_name("session-migrate"))
}

/// Returns a command as it would be typed.
pub(super) fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Runs a program, and discards its output. If it fails, the error has the last line of what it wrote to standard
/// error.
pub(super) fn run(command: &mut Command) -> Result<ProgramRun, BenchError> {
    let failed = |detail: String| BenchError::Program { command: command_line(command), detail };
    let errors = tempfile::NamedTempFile::new().map_err(|error| failed(error.to_string()))?;
    let stderr = errors.reopen().map_err(|error| failed(error.to_string()))?;
    let (began, mut peak_bytes) = (Instant::now(), None);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().map_err(|error| {
            BenchError::Program { command: command_line(command), detail: error.to_string() }
        })?;
    // The same again, since `spawn` needs the command mutably.
    let failed = |detail: String| BenchError::Program { command: command_line(command), detail };
    let status = loop {
        peak_bytes = peak_of(&child).max(peak_bytes);
        match child.try_wait().map_err(|error| failed(error.to_string()))? {
            Some(status) => break status,
            None => std::thread::sleep(PEAK_INTERVAL),
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    if !status.success() {
        let error_text = std::fs::read_to_string(errors.path()).unwrap_or_default();
        let last = error_text.lines().rev().find(|line| !line.is_empty()).unwrap_or_default();
        return Err(failed(format!("{status}: {last}")));
    }
    Ok(ProgramRun { seconds, peak_bytes })
}

/// Runs a program that writes its report to a file; also returns the report.
pub(super) fn run_to_json(
    command: &mut Command,
    report: &Path,
) -> Result<(ProgramRun, serde_json::Value), BenchError> {
    let ran = run(command)?;
    let text = std::fs::read(report).map_err(BenchError::file("read", report))?;
    let value = serde_json::from_slice(&text).map_err(BenchError::file("read", report))?;
    Ok((ran, value))
}

/// Returns the load average of the last minute; `None` if the system does not report it.
pub(super) fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

fn peak_of(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(kib.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_program_is_an_error_with_its_output() {
        let ran = run(Command::new("sleep").arg("0.05")).unwrap();
        assert!(ran.seconds >= 0.05);
        assert!(ran.peak_bytes.is_none_or(|peak| peak > 0));
        let error = run(Command::new("sh").args(["-c", "echo said >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("said") && error.contains('3') && error.contains("sh -c"), "{error}");
    }
}
