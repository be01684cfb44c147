//! `upgrade` with everything that can go wrong on the way.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use candid::Principal;
use pocket_ic::common::rest::BlobCompression;
use session_migrate::build::{Build, Module, gzip, unpack};
use session_migrate::upgrade::{Ending, Event, Line, Listener, OnFailure, Plan, Silent, Step};
use upload_canister::session::ChunkSet;
use upload_canister::stable::layout::Layout;
use upload_canister::storage::Storage;
use upload_canister::upload::{RawRecord, SessionRecord};
use wasm_encoder::reencode::{self, Reencode};
use wasmparser::{ExternalKind, Parser, Payload};

use super::answers::Answers;
use super::driving::{After, is_receipt, meanwhile};
use super::network::{CHUNK, Network, installed};

/// Ends the driver at one of its moments: after each line, and before each receipt, when the effect is done and not
/// written down.
struct Killer {
    left: u32,
    at: Option<Event>,
}

impl Killer {
    fn moment(&mut self, event: &Event) -> std::io::Result<()> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.at.get_or_insert_with(|| event.clone());
                Err(std::io::ErrorKind::Interrupted.into())
            }
        }
    }
}

impl Listener for Killer {
    fn before(&mut self, event: &Event) -> std::io::Result<()> {
        if matches!(event, Event::Receipt { .. }) { self.moment(event) } else { Ok(()) }
    }

    fn after(&mut self, line: &Line) -> std::io::Result<()> {
        self.moment(&line.event)
    }
}

#[test]
fn driver_killed_at_any_moment_is_resumed_to_the_same_end() {
    let mut network = Network::with(Build::Legacy);
    let staged = network.module(Build::Staged);
    for moment in 0.. {
        if moment > 0 {
            network.canister = installed(&network.pic, network.owner, Build::Legacy);
        }
        let upload = network.upload_in_flight(&format!("{moment}.jpg"));
        let plan = Plan { stop: true, ..network.plan(Build::Staged, &staged) };
        let mut killer = Killer { left: moment, at: None };
        let first = network.drive(&plan, &staged, &mut killer);
        let last = match (first, killer.at) {
            (Ok(_), None) => {
                assert!(moment > 15, "it has more moments than {moment}");
                break;
            }
            // Nothing is left to resume.
            (Err(_), Some(Event::Ended { .. })) => None,
            (Err(_), Some(_)) => Some(network.drive(&plan, &staged, &mut Silent).unwrap()),
            (result, at) => panic!("{moment}: {result:?} at {at:?}"),
        };
        if let Some(report) = last {
            assert_eq!(report.ending, Ending::Upgraded { quarantined: 0 }, "{moment}");
        }
        assert_eq!((network.runs(), network.snapshots()), ("staged".to_owned(), 1), "{moment}");
        let intents = network.events().into_iter().filter(|event| matches!(event, Event::Intent { .. }));
        assert_eq!(intents.count(), 5, "{moment}: no effect was sent as a second request");
        network.finish(upload);
    }
}

#[test]
fn lost_answer_and_absent_network_change_nothing() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let staged = network.module(Build::Staged);
    let plan = network.plan(Build::Staged, &staged);
    let answers = Answers::in_front_of(&network.url, &["take_canister_snapshot", "install_code"], 6);
    let report =
        network.drive_at(&answers.url, &plan, &staged, &mut Silent, Duration::from_secs(60)).unwrap();
    assert_eq!(report.ending, Ending::Upgraded { quarantined: 0 });
    assert_eq!(answers.lost(), 2);
    assert!(answers.refused() >= 6);
    assert_eq!((network.runs(), network.snapshots()), ("staged".to_owned(), 1));
    network.finish(upload);
}

#[test]
fn foreign_install_between_preflight_and_install_stops_it() {
    let mut network = Network::with(Build::Legacy);
    let staged = network.module(Build::Staged);
    // The same module again, and another one.
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
        assert_eq!(network.runs(), build.name());
    }
}

/// A module whose `post_upgrade` is one of its updates, which may not reply there.
fn trapping(module: &Module) -> Module {
    struct Swapped {
        update: u32,
    }
    impl Reencode for Swapped {
        type Error = Infallible;

        fn parse_export(
            &mut self,
            exports: &mut wasm_encoder::ExportSection,
            export: wasmparser::Export<'_>,
        ) -> Result<(), reencode::Error> {
            if export.name == "canister_post_upgrade" {
                exports.export(export.name, wasm_encoder::ExportKind::Func, self.update);
                return Ok(());
            }
            reencode::utils::parse_export(self, exports, export)
        }
    }
    let wasm = unpack(&module.gz).unwrap();
    let update = Parser::new(0).parse_all(&wasm).find_map(|payload| match payload.unwrap() {
        Payload::ExportSection(section) => {
            let mut exports = section.into_iter().map(Result::unwrap);
            exports.find(|export| {
                export.kind == ExternalKind::Func && export.name == "canister_update uploads_begin"
            })
        }
        _ => None,
    });
    let mut changed = wasm_encoder::Module::new();
    let mut swapped = Swapped { update: update.unwrap().index };
    swapped.parse_core_module(&mut changed, Parser::new(0), &wasm).unwrap();
    let gz = gzip(&changed.finish()).unwrap();
    let sha256 = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&gz));
    Module { gz, sha256, ..module.clone() }
}

#[test]
fn module_that_traps_in_post_upgrade_changes_nothing() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let wrong = trapping(&network.module(Build::Staged));
    let plan = Plan { stop: true, ..network.plan(Build::Staged, &wrong) };
    let report = network.drive(&plan, &wrong, &mut Silent).unwrap();
    assert!(matches!(report.ending, Ending::NotInstalled { .. }), "{report:?}");
    assert_eq!((network.runs(), network.snapshots()), ("legacy".to_owned(), 1));
    network.finish(upload);
}

/// Changes the stable memory of the canister directly.
fn change_storage(network: &Network, change: impl FnOnce(&mut Storage)) {
    let raw = Rc::new(RefCell::new(network.pic.get_stable_memory(network.canister)));
    let mut storage = Storage::open_accepting(raw.clone(), &[Layout::LEGACY, Layout::SPLIT]).unwrap();
    change(&mut storage);
    drop(storage);
    network.pic.set_stable_memory(network.canister, raw.take(), BlobCompression::NoCompression);
}

#[test]
fn too_many_quarantined_records_are_rolled_back() {
    let network = Network::with(Build::Legacy);
    let mut uploads: Vec<_> =
        ["a.jpg", "b.jpg", "c.jpg"].iter().map(|name| network.upload_in_flight(name)).collect();
    let damaged = uploads.remove(1).session().unwrap();
    change_storage(&network, |storage| storage.sessions.legacy.insert(damaged, &RawRecord(vec![0xff; 8])));
    let staged = network.module(Build::Staged);
    let plan = Plan { max_quarantined: Some(0), ..network.plan(Build::Staged, &staged) };
    let mut writing = After(|event: &Event| {
        if is_receipt(event, Step::Install) {
            meanwhile(|| uploads.push(network.upload_in_flight("later.jpg")));
        }
    });
    let report = network.drive(&plan, &staged, &mut writing).unwrap();
    let Ending::RolledBack { why } = &report.ending else { panic!("{report:?}") };
    assert!(why.contains("1 records are in quarantine"), "{why}");
    assert_eq!(network.runs(), "legacy");
    assert_eq!(uploads.len(), 3);
    uploads.into_iter().for_each(|upload| network.finish(upload));
}

#[test]
fn migration_that_neither_verifies_nor_rolls_back_is_held() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let staged = network.module(Build::Staged);
    let plan = network.plan(Build::Staged, &staged);
    // The session loses all that it knows of its chunks, so that layout 1 would not be as it was.
    let damage = |storage: &mut Storage| {
        let id = upload.session().unwrap();
        let mut session = storage.sessions.sessions.get(&id).unwrap().unwrap().into_session().unwrap();
        session.received_idxs = ChunkSet::default();
        storage.sessions.sessions.insert(id, &SessionRecord::from(&session));
    };
    let mut damaging = After(|event: &Event| {
        if is_receipt(event, Step::Install) {
            meanwhile(|| change_storage(&network, damage));
        }
    });
    let report = network.drive(&plan, &staged, &mut damaging).unwrap();
    let Ending::Held { why, no_recovery } = &report.ending else { panic!("{report:?}") };
    assert!(why.contains("are not sound"), "{why}");
    assert!(no_recovery.contains("the migration is stuck"), "{no_recovery}");
    assert_eq!(network.runs(), "staged");
}

#[test]
fn restore_is_the_last_resort_and_says_what_it_loses() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let staged = network.module(Build::Staged);
    let plan = Plan { on_failure: OnFailure::Restore, ..network.plan(Build::Staged, &staged) };
    let controller = Principal::anonymous();
    let mut break_it = After(|event: &Event| match event {
        event if is_receipt(event, Step::Snapshot) => {
            meanwhile(|| drop(network.upload_in_flight("lost.jpg")));
        }
        // It does not answer any more, until the rollback has failed.
        event if is_receipt(event, Step::Install) => {
            meanwhile(|| network.pic.stop_canister(network.canister, Some(controller)).unwrap());
        }
        event if is_receipt(event, Step::Rollback) => {
            meanwhile(|| network.pic.start_canister(network.canister, Some(controller)).unwrap());
        }
        _ => {}
    });
    let report =
        network.drive_at(&network.url, &plan, &staged, &mut break_it, Duration::from_secs(2)).unwrap();
    let Ending::Restored { lost: Some(lost), .. } = &report.ending else { panic!("{report:?}") };
    assert_eq!((lost.sessions_begun, lost.bytes_stored), (1, CHUNK as u64), "{lost}");
    assert_eq!(network.runs(), "legacy");
    assert_eq!(network.sessions().len(), 1, "the later one is lost");
    network.finish(upload);
}
