//! `upgrade` to a faulty module, or of a faulty canister.

use std::convert::Infallible;
use std::time::Duration;

use candid::Principal;
use session_migrate::build::{Build, Module, gzip, unpack};
use session_migrate::upgrade::{Ending, Event, OnFailure, Plan, Silent, Step};
use upload_canister::api::MigrationPhase;
use upload_canister::migrate::Phase;
use wasm_encoder::reencode::{self, Reencode};
use wasmparser::{ExternalKind, Parser, Payload};

use super::driving::{After, change_storage, forget_chunks, is_receipt, meanwhile};
use super::network::{CHUNK, Network};

/// Returns a module whose `post_upgrade` is its update `uploads_begin`. An upgrade to it traps, since `post_upgrade`
/// must not reply.
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
    with_wasm(module, &changed.finish())
}

/// Returns `module` with another wasm and its hash.
fn with_wasm(module: &Module, wasm: &[u8]) -> Module {
    let gz = gzip(wasm).unwrap();
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
    assert_eq!((network.running_build(), network.snapshot_count()), ("legacy".to_owned(), 1));
    network.finish(upload);
}

#[test]
fn upgrade_with_too_many_quarantined_records_is_rolled_back() {
    let network = Network::with(Build::Legacy);
    let mut uploads = vec![network.upload_in_flight("a.jpg")];
    network.damage_a_session();
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
    assert_eq!(network.running_build(), "legacy");
    assert_eq!(uploads.len(), 2);
    uploads.into_iter().for_each(|upload| network.finish(upload));
}

#[test]
fn migration_that_neither_verifies_nor_rolls_back_is_held() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let staged = network.module(Build::Staged);
    let plan = network.plan(Build::Staged, &staged);
    let session = upload.session().unwrap();
    let mut damaging = After(|event: &Event| {
        if is_receipt(event, Step::Install) {
            meanwhile(|| forget_chunks(&network, session));
        }
    });
    let report = network.drive(&plan, &staged, &mut damaging).unwrap();
    let Ending::Held { why, no_recovery } = &report.ending else { panic!("{report:?}") };
    assert!(why.contains("are not sound"), "{why}");
    assert!(no_recovery.contains("the migration is stuck"), "{no_recovery}");
    assert_eq!(network.running_build(), "staged");
}

#[test]
fn restore_is_the_last_resort_and_says_what_it_loses() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let staged = network.module(Build::Staged);
    let plan = Plan { on_failure: OnFailure::Restore, ..network.plan(Build::Staged, &staged) };
    let controller = Principal::anonymous();
    let mut breaking = After(|event: &Event| match event {
        event if is_receipt(event, Step::Snapshot) => {
            meanwhile(|| drop(network.upload_in_flight("lost.jpg")));
        }
        // The canister does not answer until the rollback has failed.
        event if is_receipt(event, Step::Install) => {
            meanwhile(|| network.pic.stop_canister(network.canister, Some(controller)).unwrap());
        }
        event if is_receipt(event, Step::Rollback) => {
            meanwhile(|| network.pic.start_canister(network.canister, Some(controller)).unwrap());
        }
        _ => {}
    });
    let report =
        network.drive_at(&network.url, &plan, &staged, &mut breaking, Duration::from_secs(2)).unwrap();
    let Ending::Restored { lost: Some(lost), .. } = &report.ending else { panic!("{report:?}") };
    assert_eq!((lost.sessions_begun, lost.bytes_stored), (1, CHUNK as u64), "{lost}");
    assert_eq!(network.running_build(), "legacy");
    assert_eq!(network.sessions().len(), 1, "the session begun after the snapshot is lost");
    network.finish(upload);
}

#[test]
fn stuck_migration_is_rolled_back() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let staged = network.module(Build::Staged);
    let plan = network.plan(Build::Staged, &staged);
    let get_stuck = || {
        let status = || network.client().migration_status().unwrap();
        while status().phase != MigrationPhase::Converted {
            std::thread::yield_now();
        }
        change_storage(&network, |storage| {
            let mut state = storage.migration.state().unwrap();
            state.phase = Phase::Stuck;
            state.note = "no room for a blob".into();
            storage.migration.set_state(storage.migration.current(), &state);
        });
        // The heap has a copy of the earlier state until the canister opens its memory again.
        network.upgrade(Build::Staged);
    };
    let mut stuck = After(|event: &Event| {
        if is_receipt(event, Step::Install) {
            meanwhile(get_stuck);
        }
    });
    let report = network.drive(&plan, &staged, &mut stuck).unwrap();
    let Ending::RolledBack { why } = &report.ending else { panic!("{report:?}") };
    assert_eq!(why, "the migration is stuck: no room for a blob");
    assert_eq!(network.running_build(), "legacy");
    network.finish(upload);
}

#[test]
fn module_that_answers_as_another_build_is_not_confirmed() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    // The legacy build again, but with the features of the staged build. A custom section changes the module hash.
    let legacy = network.module(Build::Legacy);
    let wasm = [&unpack(&legacy.gz).unwrap()[..], b"\x00\x05\x04note"].concat();
    let wrong = Module { features: network.module(Build::Staged).features, ..with_wasm(&legacy, &wasm) };
    let plan = Plan { on_failure: OnFailure::Restore, ..network.plan(Build::Staged, &wrong) };
    let report = network.drive(&plan, &wrong, &mut Silent).unwrap();
    let (Ending::RolledBack { why } | Ending::Restored { why, .. }) = &report.ending else {
        panic!("{report:?}")
    };
    assert!(why.contains("answered by the build `legacy`, expected staged"), "{why}");
    assert_eq!(report.before.unwrap().module_hash, legacy.sha256);
    assert_eq!(network.running_build(), "legacy");
    network.finish(upload);
}
