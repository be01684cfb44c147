//! `upgrade` of a canister that somebody else changes in the meantime, or that runs out of cycles.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use candid::Principal;
use ic_agent::agent::EnvelopeContent;
use ic_agent::to_request_id;
use ic_management_canister_types::TakeCanisterSnapshotArgs;
use pocket_ic::CanisterSettings;
use session_migrate::build::Build;
use session_migrate::network::Ticket;
use session_migrate::upgrade::{Ending, Event, Line, Listener, Plan, Report, Silent, Step, UpgradeError};
use upload_canister::api;

use super::driving::{After, is_receipt, meanwhile};
use super::network::{Network, installed, outcome_of};

const CONTROLLER: Principal = Principal::anonymous();

impl Network {
    /// Upgrades to the staged build by the plan that `change_plan` returns, and calls `during` after each line of the
    /// journal.
    fn upgrade_while(
        &self,
        change_plan: impl Fn(&Plan) -> Plan,
        during: impl Fn(&Event),
    ) -> Result<Report, UpgradeError> {
        let staged = self.module(Build::Staged);
        let plan = change_plan(&self.plan(Build::Staged, &staged));
        let mut listener = After(|event: &Event| during(event));
        self.drive_at(&self.url, &plan, &staged, &mut listener, Duration::from_secs(5))
    }

    fn set_controllers(&self, controllers: &[Principal]) {
        self.pic.set_controllers(self.canister, Some(CONTROLLER), controllers.to_vec()).unwrap();
    }

    fn set_freezing_threshold(&self, seconds: u64) {
        let settings =
            CanisterSettings { freezing_threshold: Some(seconds.into()), ..CanisterSettings::default() };
        self.pic.update_canister_settings(self.canister, Some(CONTROLLER), settings).unwrap();
    }

    /// Freezes the canister: from now on, the balance is too low for any call.
    fn freeze(&self) {
        self.set_freezing_threshold(u64::MAX >> 1);
    }

    /// Sets the default threshold of 30 days.
    fn thaw(&self) {
        self.set_freezing_threshold(2_592_000);
    }
}

fn is_fact(event: &Event, wanted: &str) -> bool {
    matches!(event, Event::Known { fact, .. } if fact == wanted)
}

fn unchanged(plan: &Plan) -> Plan {
    plan.clone()
}

fn expect_not_installed(report: Result<Report, UpgradeError>) -> String {
    match report {
        Ok(Report { ending: Ending::NotInstalled { why }, .. }) => why,
        other => panic!("the upgrade did not end before the install: {other:?}"),
    }
}

fn expect_held(report: Result<Report, UpgradeError>) -> (String, String) {
    match report {
        Ok(Report { ending: Ending::Held { why, no_recovery }, .. }) => (why, no_recovery),
        other => panic!("the upgrade is not held: {other:?}"),
    }
}

#[test]
fn a_foreign_install_after_the_preflight_stops_the_upgrade() {
    let mut network = Network::with(Build::Legacy);
    let staged = network.module(Build::Staged);
    // Somebody else installs the same module again, or another one.
    for (build, expected) in
        [(Build::Legacy, "the same module again"), (Build::Direct, "has installed the module")]
    {
        network.canister = installed(&network.pic, network.owner, Build::Legacy);
        let plan = network.plan(Build::Staged, &staged);
        let mut foreign = After(|event: &Event| {
            if is_receipt(event, Step::Snapshot) {
                meanwhile(|| network.upgrade(build));
            }
        });
        let report = network.drive(&plan, &staged, &mut foreign).unwrap();
        let Ending::NotInstalled { why } = report.ending else { panic!("{report:?}") };
        assert!(why.contains(expected), "{why}");
        assert_eq!(network.running_build(), build.name());
    }
}

#[test]
fn foreign_install_after_the_install_stays_as_it_is() {
    let mut network = Network::with(Build::Legacy);
    for build in [Build::Direct, Build::Legacy] {
        network.canister = installed(&network.pic, network.owner, Build::Legacy);
        let foreign = |event: &Event| {
            if is_receipt(event, Step::Install) {
                let args = b"DIDL\0\0".to_vec();
                let module = super::network::module(build);
                // Reinstalled, so that it does not matter whether that module can read the stored data.
                meanwhile(|| network.pic.reinstall_canister(network.canister, module, args, None).unwrap());
            }
        };
        let (why, no_recovery) = expect_held(network.upgrade_while(unchanged, foreign));
        assert!(why.contains("somebody else has installed a module"), "{why}");
        assert!(no_recovery.contains("which stays as it is"), "{no_recovery}");
        assert_eq!(network.running_build(), build.name());
    }
}

#[test]
fn rollback_by_somebody_else_is_completed() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let report = network.upgrade_while(unchanged, |event| {
        if is_receipt(event, Step::Install) {
            meanwhile(|| drop(network.client().migration_rollback(CONTROLLER).unwrap()));
        }
    });
    let Ok(Report { ending: Ending::RolledBack { why }, .. }) = &report else { panic!("{report:?}") };
    assert!(why.contains("somebody has rolled the migration back"), "{why}");
    assert_eq!(network.running_build(), "legacy");
    network.finish(upload);
}

#[test]
fn paused_migration_is_left_to_whoever_has_paused_it() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let control = |method| {
        let _: api::MigrationStatus = network.client().update(CONTROLLER, method, ()).unwrap();
    };
    let paused = network.upgrade_while(unchanged, |event| {
        if is_receipt(event, Step::Snapshot) {
            meanwhile(|| control("migration_pause"));
        }
    });
    assert!(matches!(paused, Err(UpgradeError::Paused { converted: 0, .. })), "{paused:?}");
    assert_eq!(network.running_build(), "staged");
    control("migration_resume");
    let report = network.upgrade_while(unchanged, |_| {}).unwrap();
    assert_eq!(report.ending, Ending::Upgraded { quarantined: 0 });
    network.finish(upload);
}

#[test]
fn a_caller_who_is_no_longer_a_controller_installs_nothing() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let why = expect_not_installed(network.upgrade_while(unchanged, |event| {
        if is_receipt(event, Step::Snapshot) {
            meanwhile(|| network.set_controllers(&[CONTROLLER]));
        }
    }));
    assert!(why.contains(&format!("{} may no longer upgrade it", network.owner)), "{why}");
    assert_eq!((network.running_build(), network.snapshot_count()), ("legacy".to_owned(), 1));
    network.finish(upload);
}

#[test]
fn canister_that_cannot_be_started_again_is_reported() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let stopping = |plan: &Plan| Plan { stop: true, ..plan.clone() };
    let why = expect_not_installed(network.upgrade_while(stopping, |event| {
        if is_receipt(event, Step::Stop) {
            meanwhile(|| network.set_controllers(&[CONTROLLER]));
        }
    }));
    assert!(why.contains("the canister is stopped, and could not be started"), "{why}");
    network.pic.start_canister(network.canister, Some(CONTROLLER)).unwrap();
    assert_eq!(network.running_build(), "legacy");
    network.finish(upload);
}

#[test]
fn upgrade_by_a_removed_controller_is_held_after_the_install() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let (why, no_recovery) = expect_held(network.upgrade_while(unchanged, |event| {
        if is_receipt(event, Step::Install) {
            meanwhile(|| network.set_controllers(&[CONTROLLER]));
        }
    }));
    assert!(why.contains("migration_verify"), "{why}");
    assert!(no_recovery.contains("CanisterInvalidController"), "{no_recovery}");
    assert_eq!(network.running_build(), "staged");
    network.finish(upload);
}

#[test]
fn snapshot_limit_reached_meanwhile_changes_nothing() {
    let network = Network::with(Build::Legacy);
    let why = expect_not_installed(network.upgrade_while(unchanged, |event| {
        if is_fact(event, "preflight") {
            let take = || network.pic.take_canister_snapshot(network.canister, Some(CONTROLLER), None);
            meanwhile(|| (0..10).for_each(|_| drop(take().unwrap())));
        }
    }));
    assert!(why.contains("snapshot"), "{why}");
    assert_eq!((network.running_build(), network.snapshot_count()), ("legacy".to_owned(), 10));
}

/// Ends the driver before its first effect.
struct BeforeEffects;

impl Listener for BeforeEffects {
    fn before(&mut self, event: &Event) -> std::io::Result<()> {
        match event {
            Event::Intent { .. } => Err(std::io::ErrorKind::Interrupted.into()),
            _ => Ok(()),
        }
    }
}

impl Network {
    /// Begins an upgrade without driving it, takes two snapshots as somebody else, and records in the journal that the
    /// upgrade has made a request for a snapshot, which expires now and is never sent. Returns the ids of both
    /// snapshots.
    fn lose_the_request_for_a_snapshot(&self, plan: &Plan) -> [Vec<u8>; 2] {
        let staged = self.module(Build::Staged);
        self.drive(plan, &staged, &mut BeforeEffects).unwrap_err();
        let take = || self.pic.take_canister_snapshot(self.canister, Some(CONTROLLER), None).unwrap().id;
        let taken = [take(), take()];
        let (method, nonce) = ("take_canister_snapshot".to_owned(), vec![7; 16]);
        let expiry = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let args = TakeCanisterSnapshotArgs {
            canister_id: self.canister,
            replace_snapshot: None,
            uninstall_code: None,
            sender_canister_version: None,
        };
        let request = EnvelopeContent::Call {
            nonce: Some(nonce.clone()),
            ingress_expiry: expiry,
            sender: self.owner,
            canister_id: Principal::management_canister(),
            method_name: method.clone(),
            arg: candid::encode_one(args).unwrap(),
            sender_info: None,
        };
        let request_id = hex::encode(to_request_id(&request).unwrap().as_slice());
        let ticket = Ticket { request_id, nonce: hex::encode(nonce), expiry };
        let event = Event::Intent { step: Step::Snapshot, method, ticket };
        let line = serde_json::to_string(&Line { at: "2026-11-30T00:00:00Z".into(), event }).unwrap();
        let mut journal = OpenOptions::new().append(true).open(self.journal()).unwrap();
        writeln!(journal, "{line}").unwrap();
        taken
    }
}

#[test]
fn snapshots_of_others_are_not_taken_for_the_one_of_the_upgrade() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let staged = network.module(Build::Staged);
    let plan = network.plan(Build::Staged, &staged);
    let [first, second] = network.lose_the_request_for_a_snapshot(&plan);
    let error = network.drive(&plan, &staged, &mut Silent).unwrap_err().to_string();
    for id in [&first, &second] {
        assert!(error.contains(&hex::encode(id)), "{error}");
    }
    assert_eq!((network.running_build(), network.snapshot_count()), ("legacy".to_owned(), 2));
    network.pic.delete_canister_snapshot(network.canister, None, first).unwrap();
    let report = network.drive(&plan, &staged, &mut Silent).unwrap();
    assert_eq!(
        (report.ending, report.snapshot),
        (Ending::Upgraded { quarantined: 0 }, Some(hex::encode(second)))
    );
    network.finish(upload);
}

#[test]
fn an_upgrade_with_several_new_snapshots_can_be_aborted() {
    let network = Network::with(Build::Legacy);
    let plan = network.plan(Build::Staged, &network.module(Build::Staged));
    network.lose_the_request_for_a_snapshot(&plan);
    let canister = network.canister.to_text();
    let (_, out) = outcome_of(&network.program_command(&["upgrade", &canister, "--abort"]).output().unwrap());
    assert!(out.contains("it was aborted"), "{out}");
    assert_eq!((network.running_build(), network.snapshot_count()), ("legacy".to_owned(), 2));
}

#[test]
fn a_deleted_snapshot_cannot_be_restored() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    network.damage_a_session();
    let strict = |plan: &Plan| Plan { max_quarantined: Some(0), ..plan.clone() };
    let (why, no_recovery) = expect_held(network.upgrade_while(strict, |event| {
        if is_receipt(event, Step::Install) {
            meanwhile(|| {
                for snapshot in network.pic.list_canister_snapshots(network.canister, None).unwrap() {
                    network.pic.delete_canister_snapshot(network.canister, None, snapshot.id).unwrap();
                }
            });
        }
    }));
    assert!(why.contains("1 records are in quarantine"), "{why}");
    assert!(no_recovery.contains("the previous module cannot be read from snapshot"), "{no_recovery}");
    assert_eq!(network.running_build(), "staged");
    network.finish(upload);
}

#[test]
fn frozen_canister_is_not_upgraded() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let why = expect_not_installed(network.upgrade_while(unchanged, |event| {
        if is_receipt(event, Step::Snapshot) {
            meanwhile(|| network.freeze());
        }
    }));
    assert!(why.contains("out of cycles"), "{why}");
    let (code, out) = network.run_upgrade("staged", &[]);
    assert!(code == 2 && out.contains("out of cycles"), "{code}: {out}");
    network.thaw();
    assert_eq!(network.running_build(), "legacy");
    network.finish(upload);
}

#[test]
fn canister_that_freezes_after_the_install_is_resumed() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    for step in [Step::Install, Step::Verify] {
        let error = network.upgrade_while(unchanged, |event| {
            // The canister freezes after the installation, or just before the verification is sent.
            let freezes = match step {
                Step::Install => is_receipt(event, Step::Install),
                _ => matches!(event, Event::Intent { step: Step::Verify, .. }),
            };
            if freezes {
                meanwhile(|| network.freeze());
            }
        });
        let error = error.unwrap_err().to_string();
        assert!(error.contains("out of cycles") && error.contains("top it up, then --resume"), "{error}");
        network.thaw();
    }
    let report = network.upgrade_while(unchanged, |_| {}).unwrap();
    assert_eq!(report.ending, Ending::Upgraded { quarantined: 0 });
    network.finish(upload);
}

#[test]
fn a_canister_frozen_in_a_rollback_is_resumed() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    network.damage_a_session();
    let strict = |plan: &Plan| Plan { max_quarantined: Some(0), ..plan.clone() };
    for step in [Step::Rollback, Step::InstallBefore] {
        let error = network.upgrade_while(strict, |event| {
            if matches!(event, Event::Intent { step: sent, .. } if *sent == step) {
                meanwhile(|| network.freeze());
            }
        });
        let error = error.unwrap_err().to_string();
        assert!(error.contains("out of cycles") && error.contains("top it up, then --resume"), "{error}");
        network.thaw();
    }
    let report = network.upgrade_while(strict, |_| {}).unwrap();
    assert!(matches!(report.ending, Ending::RolledBack { .. }), "{report:?}");
    assert_eq!(network.running_build(), "legacy");
    network.finish(upload);
}
