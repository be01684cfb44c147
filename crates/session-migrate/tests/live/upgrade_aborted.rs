//! `upgrade` that is interrupted, and aborted by a later process.

use session_migrate::build::Build;
use session_migrate::upgrade::{Event, Line, Listener, Step};

use super::driving::is_receipt;
use super::network::{Network, installed, outcome_of};

/// Ends the driver after the first event for which the function returns `true`.
struct EndAfter(fn(&Event) -> bool);

impl Listener for EndAfter {
    fn after(&mut self, line: &Line) -> std::io::Result<()> {
        match (self.0)(&line.event) {
            true => Err(std::io::ErrorKind::Interrupted.into()),
            false => Ok(()),
        }
    }
}

#[test]
fn a_journal_of_another_canister_is_neither_resumed_nor_aborted() {
    let network = Network::with(Build::Legacy);
    let staged = network.module(Build::Staged);
    let plan = network.plan(Build::Staged, &staged);
    let mut installs = EndAfter(|event| is_receipt(event, Step::Install));
    network.drive(&plan, &staged, &mut installs).unwrap_err();
    let started = network.canister.to_text();
    let other = installed(&network.pic, network.owner, Build::Legacy).to_text();
    let journal = network.journal();
    let run = |canister: &str, option: &str| {
        let args = ["upgrade", canister, option, "--journal", journal.to_str().unwrap()];
        outcome_of(&network.program_command(&args).output().unwrap())
    };
    let lines = std::fs::read(&journal).unwrap();
    for option in ["--resume", "--abort"] {
        let (code, out) = run(&other, option);
        let expected = format!("the upgrade was started with the canister {started}, got {other}");
        assert!(code == 2 && out.contains(&expected), "{option}: {code}: {out}");
        assert_eq!(std::fs::read(&journal).unwrap(), lines, "{option}");
        assert_eq!(network.running_build(), "staged", "{option}");
    }
    let (code, out) = run(&started, "--abort");
    let is_named = out.lines().any(|line| line == format!("canister: {started}"));
    assert!(code == 1 && is_named && out.contains("rolled back"), "{code}: {out}");
    assert_eq!(network.running_build(), "legacy");
}
