//! Provenance of a report: when it was created, by which program, from which source tree, on which server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use crate::progress::Phase;
use crate::server::Server;
use crate::utc::utc;

/// The origin of a report, so that it can be filed as evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// When the work began, in UTC.
    pub began: String,
    /// The command line, without the folder of the program.
    pub command: Vec<String>,
    /// This program and its version.
    pub tool: String,
    /// The commit of the source tree; `None` if git does not report it.
    pub commit: Option<String>,
    /// Whether tracked files differ from that commit; untracked files do not count. `None` if git does not report it.
    pub dirty: Option<bool>,
    /// Name and version of the server; empty if no server was used.
    pub server: String,
}

impl Provenance {
    /// Captures the provenance before the work begins, since the tree may change during the work.
    pub fn now() -> Provenance {
        let tree = source_tree();
        let mut command: Vec<String> =
            std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        if let Some(program) = command.first_mut()
            && let Some(name) = Path::new(&*program).file_name()
        {
            *program = name.to_string_lossy().into_owned();
        }
        Provenance {
            began: utc(SystemTime::now()),
            command,
            tool: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
            commit: git_output(&tree, &["rev-parse", "HEAD"]),
            dirty: git_output(&tree, &["status", "--porcelain", "--untracked-files=no"])
                .map(|value| !value.is_empty()),
            server: String::new(),
        }
    }

    /// Adds the server.
    pub fn on(self, server: &Server) -> Provenance {
        Provenance { server: server.version.clone(), ..self }
    }

    /// Describes the source tree: the commit, and whether the tree was modified.
    pub fn tree(&self) -> String {
        match (&self.commit, self.dirty) {
            (None, _) => "unknown, no git checkout".into(),
            (Some(commit), Some(true)) => format!("{commit}, with changes"),
            (Some(commit), _) => commit.clone(),
        }
    }

    pub(crate) fn markup(&self, phases: &[Phase]) -> Markup {
        let Provenance { began, command, tool, server, .. } = self;
        html! {
            h2 { "How this report was made" }
            .wide {
                table {
                    @for (what, value) in [
                        ("began", began),
                        ("command", &command.join(" ")),
                        ("program", tool),
                        ("source tree", &self.tree()),
                        ("server", server),
                    ] {
                        tr { td { (what) } td { code { (value) } } }
                    }
                }
            }
            @if !phases.is_empty() {
                .wide {
                    table {
                        tr { th { "phase" } th { "began" } th.number { "seconds" } }
                        @for Phase { name, began, seconds } in phases {
                            tr { td { (name) } td { (began) } td.number { (format!("{seconds:.1}")) } }
                        }
                    }
                }
            }
        }
    }
}

/// Returns the tree that this program was built from.
pub(crate) fn source_tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns git's output, which may be empty; `None` if git fails, or the tree is not the root of a checkout.
fn git_output(tree: &Path, arguments: &[&str]) -> Option<String> {
    // If the tree was unpacked inside another repository, git would report that repository's commit.
    if !tree.join(".git").exists() {
        return None;
    }
    let output = Command::new("git").arg("-C").arg(tree).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns how long `cargo run` took before it started this program: the age of the process, since `cargo run` becomes
/// this program (`exec`). So it must be called before any work. `None` if cargo did not start the program, or the age
/// is unknown.
pub fn time_spent_compiling() -> Option<Duration> {
    if std::env::var_os("CARGO_PKG_NAME")? != env!("CARGO_PKG_NAME") {
        return None;
    }
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    process_age(&stat, &uptime)
}

/// Linux reports the start of a process in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

fn process_age(stat: &str, uptime: &str) -> Option<Duration> {
    // The name of the program, in parentheses, may itself contain parentheses and blanks.
    let (_, after_name) = stat.rsplit_once(')')?;
    // The start is field 22 of the line; the name is field 2.
    let started: f64 = after_name.split_whitespace().nth(19)?.parse().ok()?;
    let now: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(now - started / TICKS_PER_SECOND).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_as_old_as_the_kernel_says() {
        let stat = "7 (a) b) R 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 49125 3133440 393";
        assert_eq!(process_age(stat, "500.25 220.09\n"), Some(Duration::from_secs(9)));
        assert_eq!(process_age(stat, "400.00 1.0"), None, "a process that starts in the future has no age");
        assert_eq!(process_age("7 (a) R", "500.25"), None);
    }

    #[test]
    fn the_command_line_is_kept_without_the_folder_of_the_program() {
        let made = Provenance::now();
        assert!(!made.command[0].contains('/') && made.began.ends_with('Z'), "{made:?}");
        assert_eq!(made.tool, format!("session-migrate {}", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn a_folder_without_a_history_has_no_commit() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(git_output(folder.path(), &["rev-parse", "HEAD"]), None);
    }
}
