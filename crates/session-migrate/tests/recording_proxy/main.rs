//! Recording through a proxy: clients notice nothing, and their calls replay to the same answers on another server.

mod agent;
mod agent_server;
mod agents;
mod calls;
mod certified;
mod command_line;
mod front_end;
mod passing;
mod slow_server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use reqwest::Url;
use session_migrate::proxy::{Options, Proxy};

fn proxy(server: &Url, out: &Path) -> Proxy {
    let options = Options {
        listen: ([127, 0, 0, 1], 0).into(),
        server: server.clone(),
        out: out.into(),
        canister: None,
    };
    Proxy::start(options).unwrap()
}

/// Returns a temporary folder, and a path in it for a trace.
fn scratch() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("recorded.trace");
    (folder, out)
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_session-migrate"));
    command.env_remove("POCKET_IC_BIN").env_remove("POCKET_IC_SERVER");
    command
}

/// Checks that the command line, on a server of its own, replays the trace without any difference: there are no rules
/// that would allow one.
fn assert_replays(trace: &Path) {
    let rules = trace.with_extension("toml");
    std::fs::write(&rules, "").unwrap();
    let replay = command().arg("replay").arg(trace).arg("--rules").arg(rules).output().unwrap();
    let Output { status, stdout, stderr } = replay;
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert_eq!(status.code(), Some(0), "{stdout} {stderr}");
}
