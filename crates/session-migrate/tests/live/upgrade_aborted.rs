//! `upgrade` that is interrupted, and aborted by a later process.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ic_management_canister_types::{CanisterInstallMode, InstallCodeArgs};
use session_migrate::build::{Build, Module};
use session_migrate::network::{self, RequestOutcome, Retry, RootKey, Target, Ticket, read_identity};
use session_migrate::progress::Progress;
use session_migrate::upgrade::{Ending, Event, Line, Listener, Plan, Step};

use super::driving::{After, is_receipt, meanwhile};
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

impl Network {
    /// Begins an upgrade with `--stop`, and ends its driver after the first event for which `is_last` returns `true`.
    fn end_with_the_canister_stopped(&self, staged: &Module, is_last: fn(&Event) -> bool) {
        let plan = Plan { stop: true, ..self.plan(Build::Staged, staged) };
        self.drive(&plan, staged, &mut EndAfter(is_last)).unwrap_err();
    }

    /// Records in the journal a request for the installation that is never sent, and expires in two seconds.
    fn record_unsent_install(&self) {
        let expires_at = SystemTime::now() + Duration::from_secs(2);
        let expiry = expires_at.duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let ticket = Ticket { request_id: "07".repeat(32), nonce: String::new(), expiry };
        let event = Event::Intent { step: Step::Install, method: "install_code".into(), ticket };
        let line = serde_json::to_string(&Line { at: "2026-11-30T00:00:00Z".into(), event }).unwrap();
        let mut journal = OpenOptions::new().append(true).open(self.journal()).unwrap();
        writeln!(journal, "{line}").unwrap();
    }

    /// Sends the request for the installation that is in the journal, and waits until it is executed.
    fn send_recorded_install(&self, module: &Module) {
        let recorded = self.events().into_iter().find_map(|event| match event {
            Event::Intent { step: Step::Install, ticket, .. } => Some(ticket),
            _ => None,
        });
        let args = InstallCodeArgs {
            mode: CanisterInstallMode::Upgrade(None),
            canister_id: self.canister,
            wasm_module: module.gz.clone(),
            arg: b"DIDL\0\0".to_vec(),
            sender_canister_version: None,
        };
        let target = Target::management("install_code", self.canister, (args,)).unwrap();
        let key = RootKey::Der(hex::decode(&self.root_key).unwrap());
        let identity = read_identity(&self.pem()).unwrap();
        let progress = Progress::hidden();
        let outcome = tokio::runtime::Runtime::new().unwrap().block_on(async {
            let network = network::Network::connect(&self.url, &key, identity).await.unwrap();
            let call = network.prepare_again(target, &recorded.unwrap()).unwrap();
            network.settle(&call, Retry::new(Duration::from_secs(30), &progress)).await.unwrap()
        });
        assert!(matches!(outcome, RequestOutcome::Replied { .. }), "{outcome:?}");
    }
}

#[test]
fn abort_starts_the_canister_before_it_waits_for_the_install() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let staged = network.module(Build::Staged);
    network.end_with_the_canister_stopped(&staged, |event| is_receipt(event, Step::Stop));
    network.record_unsent_install();
    let mut serving = After(|event: &Event| {
        if is_receipt(event, Step::Start) {
            meanwhile(|| assert_eq!(network.running_build(), "legacy"));
        }
    });
    let report = network.abort(&mut serving).unwrap();
    assert_eq!(report.ending, Ending::NotInstalled { why: "it was aborted".into() });
    let events = network.events();
    let position = |is_wanted: fn(&Event) -> bool| events.iter().position(is_wanted).unwrap();
    let started = position(|event| is_receipt(event, Step::Start));
    let lost = position(|event| matches!(event, Event::Lost { step: Step::Install }));
    assert!(started < lost, "{events:?}");
    network.finish(upload);
}

#[test]
fn install_that_arrives_after_the_start_is_rolled_back() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let staged = network.module(Build::Staged);
    let is_recorded = |event: &Event| matches!(event, Event::Intent { step: Step::Install, .. });
    network.end_with_the_canister_stopped(&staged, is_recorded);
    let mut late = After(|event: &Event| {
        if is_receipt(event, Step::Start) {
            meanwhile(|| network.send_recorded_install(&staged));
        }
    });
    let report = network.abort(&mut late).unwrap();
    assert_eq!(report.ending, Ending::RolledBack { why: "it was aborted".into() });
    assert_eq!(network.running_build(), "legacy");
    network.finish(upload);
}
