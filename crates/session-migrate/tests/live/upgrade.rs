//! `upgrade` on a live network, as an operator runs it.

use candid::Principal;
use session_migrate::build::{Build, gzip, unpack};
use session_migrate::upgrade::{Event, Line, Listener, Step};
use upload_canister::api;

use super::driving::is_receipt;
use super::network::{Network, module, outcome_of};

#[test]
fn aborted_upgrade_rolls_back_once_the_module_is_installed() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let staged = network.module(Build::Staged);
    let plan = network.plan(Build::Staged, &staged);
    /// Ends the driver once the module is installed.
    struct Kill;
    impl Listener for Kill {
        fn after(&mut self, line: &Line) -> std::io::Result<()> {
            match is_receipt(&line.event, Step::Install) {
                true => Err(std::io::ErrorKind::Interrupted.into()),
                false => Ok(()),
            }
        }
    }
    assert!(network.drive(&plan, &staged, &mut Kill).is_err());
    assert_eq!(network.running_build(), "staged");
    let canister = network.canister.to_text();
    let (code, out) = network.run_upgrade("staged", &[]);
    assert!(code == 2 && out.contains("--resume or --abort"), "{code}: {out}");
    let (code, out) =
        outcome_of(&network.program_command(&["upgrade", &canister, "--abort"]).output().unwrap());
    assert!(code == 1 && out.contains("rolled back"), "{code}: {out}");
    assert_eq!(network.running_build(), "legacy");
    let (code, out) =
        outcome_of(&network.program_command(&["upgrade", &canister, "--resume"]).output().unwrap());
    assert!(code == 2 && out.contains("no unfinished upgrade"), "{code}: {out}");
    network.finish(upload);
}

#[test]
fn a_newer_module_of_a_build_leaves_its_migration_as_before() {
    let network = Network::with(Build::Staged);
    // A custom section named "note", of one byte, changes nothing but the module's hash.
    let wasm = [&unpack(&module(Build::Staged)).unwrap()[..], b"\0\x06\x04note\x01"].concat();
    let newer = network.path("newer.wasm.gz");
    std::fs::write(&newer, gzip(&wasm).unwrap()).unwrap();
    let (code, out) = network.run_upgrade("staged", &["--wasm", newer.to_str().unwrap()]);
    assert!(code == 0 && out.contains("the migration is as before"), "{code}: {out}");
    let (code, out) = network.run_upgrade("staged", &["--wasm", newer.to_str().unwrap()]);
    assert!(code == 0 && out.contains("is already running"), "{code}: {out}");
}

#[test]
fn refused_upgrades_name_every_reason_and_do_nothing() {
    let network = Network::with(Build::Legacy);
    let refused = |to: &str, more: &[&str], expected: &str| {
        let (code, out) = network.run_upgrade(to, more);
        assert!(code == 2 && out.contains(expected), "{to} {more:?}: {code}: {out}");
        assert_eq!(network.running_build(), "legacy");
        assert!(!network.journal().exists(), "no journal is left");
    };
    refused("direct", &[], "legacy to direct is not a step");
    refused("direct", &["--rehearse"], "rehearse before the upgrade to the staged build");
    refused("legacy", &[], "expected staged or direct");
    let legacy = network.path("legacy.wasm.gz");
    std::fs::write(&legacy, module(Build::Legacy)).unwrap();
    refused("staged", &["--wasm", legacy.to_str().unwrap()], "has the features");
    refused("staged", &["--wasm", legacy.to_str().unwrap(), "--dry-run"], "has the features");
    assert_eq!(network.snapshot_count(), 0);

    let _: api::MigrationStatus =
        network.client().update(Principal::anonymous(), "migration_pause", ()).unwrap();
    refused("staged", &[], "the migration is Paused");
    let _: api::MigrationStatus =
        network.client().update(Principal::anonymous(), "migration_resume", ()).unwrap();

    let snapshots: Vec<Vec<u8>> = (0..10)
        .map(|_| network.pic.take_canister_snapshot(network.canister, None, None).unwrap().id)
        .collect();
    refused("staged", &[], "the canister has 10 snapshots, at most 10");
    let replaced = ["--replace-snapshot", &hex::encode(&snapshots[3])];
    network.pic.set_controllers(network.canister, None, vec![Principal::anonymous()]).unwrap();
    refused("staged", &replaced, "may not upgrade it");
    assert_eq!(network.snapshot_count(), 10);
    network.pic.set_controllers(network.canister, None, vec![network.owner, Principal::anonymous()]).unwrap();
    let (code, out) = network.run_upgrade("staged", &replaced);
    assert_eq!(
        (code, network.running_build().as_str(), network.snapshot_count()),
        (0, "staged", 10),
        "{out}"
    );
    let (code, out) = network.run_upgrade("staged", &[]);
    assert!(code == 0 && out.contains("is already running"), "{code}: {out}");
}

#[test]
fn dry_run_prints_the_calls_and_sends_none() {
    let network = Network::with(Build::Legacy);
    let (code, out) = network.run_upgrade("staged", &["--dry-run", "--json", "--stop", "--drop-snapshot"]);
    assert_eq!(code, 0, "{out}");
    assert!(!network.journal().exists());
    let calls = out.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let effects = [
        "take_canister_snapshot",
        "stop_canister",
        "install_code",
        "start_canister",
        "migration_verify",
        "delete_canister_snapshot",
    ];
    let name = |call: &serde_json::Value| call["call"].as_str()?.split_whitespace().nth(1).map(str::to_owned);
    let planned: Vec<String> = calls
        .filter(|call| call["when"] == "" || call["when"] == "the build changes")
        .filter_map(|call| name(&call))
        .filter(|name| effects.contains(&name.as_str()))
        .collect();
    assert_eq!(planned, effects);

    let (code, out) = network.run_upgrade("staged", &["--json", "--stop", "--drop-snapshot"]);
    assert_eq!(code, 0, "{out}");
    let sent: Vec<String> = network
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Intent { method, .. } => Some(method),
            _ => None,
        })
        .collect();
    assert_eq!(sent, planned);
    assert_eq!(network.snapshot_count(), 0);
    let report =
        out.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()).next_back();
    assert_eq!(report.unwrap()["report"]["ending"]["outcome"], "upgraded", "{out}");
}

#[test]
fn an_upgrade_that_is_not_begun_reports_no_earlier_facts() {
    let network = Network::with(Build::Legacy);
    let (code, out) = network.run_upgrade("staged", &[]);
    let has_facts =
        |out: &str| ["before: ", "snapshot: "].map(|start| out.lines().any(|line| line.starts_with(start)));
    assert_eq!((code, has_facts(&out)), (0, [true; 2]), "{out}");
    let lines = std::fs::read(network.journal()).unwrap();
    let legacy = network.path("legacy.wasm.gz");
    std::fs::write(&legacy, module(Build::Legacy)).unwrap();
    let nothing_to_do: &[&str] = &[];
    let refused: &[&str] = &["--wasm", legacy.to_str().unwrap()];
    for (more, code, expected) in [(nothing_to_do, 0, "is already running"), (refused, 2, "refused")] {
        let (exit_code, out) = network.run_upgrade("staged", more);
        assert!(exit_code == code && out.contains(expected), "{exit_code}: {out}");
        assert_eq!(has_facts(&out), [false; 2], "{out}");
        let (exit_code, out) = network.run_upgrade("staged", &[more, &["--json"]].concat());
        let printed = out.lines().find_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let report = printed.unwrap()["report"].clone();
        assert!(report["ending"].is_object(), "{out}");
        assert!(report["before"].is_null() && report["snapshot"].is_null(), "{out}");
        assert_eq!(exit_code, code, "{out}");
    }
    assert_eq!(std::fs::read(network.journal()).unwrap(), lines);
}

#[test]
fn upgrade_is_rehearsed_on_the_snapshot_first() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let (code, out) = network.run_upgrade("staged", &["--rehearse", "--json"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains(r#""fact":"rehearsed","value":"pass""#), "{out}");
    network.finish(upload);
}
