//! Messages of the engine that trap and are rolled back; and verifications that later writes or unsound records make
//! insufficient.

use super::*;
use crate::migrate::Watched;
use crate::migrate::open_storage;
use crate::migrations::split_sessions::{CLASSES, Class, LegacyUploadSession};
use crate::upload::UploadMeta;

/// The split sessions, the ids of the remaining legacy records, the counts, the digests before and after, the phase.
type FinalState =
    (Vec<(u64, Vec<u8>, UploadMeta)>, Vec<u64>, [u64; 4], MultisetDigest, MultisetDigest, Phase);

fn final_state(canister: &TestCanister) -> FinalState {
    let Storage { sessions, migration, .. } = &canister.storage;
    let state = migration.state().unwrap();
    let split = sessions.sessions.keys(..).map(|id| {
        let meta = sessions.metas.get(&id).unwrap().unwrap();
        (id, sessions.sessions.get_raw(&id).unwrap(), meta)
    });
    let counts = [state.source, state.converted + state.already, state.quarantined, state.expired];
    let digests = (state.digest_before, state.digest_after);
    (split.collect(), sessions.legacy.keys_after(None).collect(), counts, digests.0, digests.1, state.phase)
}

/// Runs a message and rolls back its changes, as the IC does when a message traps.
fn run_and_trap(canister: &mut TestCanister, message: impl FnOnce(&mut TestCanister)) {
    let before = canister.raw.borrow().clone();
    message(canister);
    *canister.raw.borrow_mut() = before;
    canister.storage = open_storage(canister.raw.clone()).unwrap();
}

/// Runs a message of one step.
fn one_step(canister: &mut TestCanister) -> RunOutcome {
    run(&mut canister.storage, canister.now, &OneStep, 0).unwrap()
}

#[test]
fn a_step_that_traps_leaves_no_trace_wherever_it_is() {
    let (mut uninterrupted, _) = canister_in_layout_1();
    upgrade(&mut uninterrupted);
    let mut steps = 0;
    while one_step(&mut uninterrupted) == RunOutcome::More {
        steps += 1;
    }
    let expected = final_state(&uninterrupted);
    assert!(steps > 12, "{steps} steps");
    for k in 0..=steps {
        let (mut canister, _) = canister_in_layout_1();
        upgrade(&mut canister);
        for _ in 0..k {
            one_step(&mut canister);
        }
        run_and_trap(&mut canister, |canister| {
            assert_eq!(one_step(canister), if k < steps { RunOutcome::More } else { RunOutcome::Done })
        });
        while one_step(&mut canister) == RunOutcome::More {}
        assert_eq!(final_state(&canister), expected, "step {k}");
    }
}

/// Runs a migration in which every message that converts one of the records traps. Returns the canister, the id of that
/// record, and the number of messages that trapped.
fn migrate_with_poison() -> (TestCanister, u64, u64) {
    let (canister, sessions) = canister_in_layout_1();
    migrate_with_poison_session(canister, sessions[2].0)
}

/// Like [`migrate_with_poison`], for the session `poison` of a given canister in layout 1.
fn migrate_with_poison_session(mut canister: TestCanister, poison: u64) -> (TestCanister, u64, u64) {
    upgrade(&mut canister);
    let mut seen = None;
    let mut trapped = 0;
    for _ in 0..100 {
        if ENGINE.watch(&mut canister.storage, canister.now, &mut seen).unwrap() == Watched::Quiet {
            continue;
        }
        let state = canister.storage.migration.state().unwrap();
        let before = canister.raw.borrow().clone();
        let outcome = run(&mut canister.storage, canister.now, &Unmetered, 0).unwrap();
        let converted = canister.storage.sessions.sessions.contains(&poison);
        if converted && !state.pace.skip_next {
            trapped += 1;
            *canister.raw.borrow_mut() = before;
            canister.storage = open_storage(canister.raw.clone()).unwrap();
        } else if outcome == RunOutcome::Done {
            break;
        }
    }
    (canister, poison, trapped)
}

#[test]
fn a_poison_record_is_quarantined_alone() {
    let (mut canister, poison, trapped) = migrate_with_poison();
    let state = canister.storage.migration.state().unwrap();
    assert_eq!((state.phase, state.converted, state.quarantined), (Phase::Converted, 4, 1), "{}", state.note);
    assert!(trapped > 5, "the limit was halved only {trapped} times");
    assert!(canister.storage.migration.quarantine.contains(1, poison));
    let class = CLASSES[Class::TrappedAlone.index()].name;
    assert!(state.classes.contains(&(class.to_owned(), 1)), "{:?}", state.classes);
    controls::retry(&mut canister.storage, canister.now, Some(poison)).unwrap();
    // The limit of units in a message is still that of the isolation, so that the retry takes several messages.
    while run(&mut canister.storage, canister.now, &Unmetered, 0) == Ok(RunOutcome::More) {}
    let state = canister.storage.migration.state().unwrap();
    assert_eq!((state.phase, state.converted, state.quarantined), (Phase::Converted, 5, 0));
    canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
    while !canister.service().sweep().unwrap() {}
    assert!(canister.storage.index.is_empty(), "the retried session expires like the other sessions");
    assert_eq!((canister.live_counts(), canister.storage.usage.account_count()), ([0; 5], 0));
}

#[test]
fn a_poison_record_does_not_stop_the_sweep() {
    let (mut canister, poison, _) = migrate_with_poison();
    canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
    while !canister.service().sweep().unwrap() {}
    assert!(canister.storage.index.is_empty(), "everything else has expired");
    assert!(canister.storage.migration.quarantine.contains(1, poison));
}

/// Decoding may be what trapped, and then finalizing would trap, too.
#[test]
fn finalize_does_not_decode_a_poison_record_by_the_library() {
    let (mut canister, poison, _) = migrate_with_poison();
    let mut record = canister.storage.migration.quarantine.get(1, poison).unwrap().unwrap();
    let legacy = LegacyUploadSession::decode(&record.raw).unwrap();
    // With a third argument, only the library decodes it.
    record.raw = candid::encode_args((1_u16, &legacy, 0_u8)).unwrap();
    assert_eq!(LegacyUploadSession::decode(&record.raw), Ok(legacy));
    canister.storage.migration.quarantine.insert(1, poison, &record);
    let (total, id) = (canister.storage.usage.total(), SessionId(poison));
    let in_flight = canister.storage.usage.in_flight(person(OWNER)).unwrap();
    assert!(canister.storage.index.contains(id, person(OWNER)));
    controls::finalize(&mut canister.storage, canister.now, true).unwrap();
    assert!(!canister.storage.index.contains(id, person(OWNER)), "it no longer counts against its owner");
    assert!(canister.storage.usage.in_flight(person(OWNER)).unwrap() < in_flight);
    assert_eq!(canister.storage.usage.total(), total, "its bytes are unknown, as if it did not decode");
}

#[test]
fn a_retried_poison_record_without_index_gets_its_key() {
    let (mut canister, sessions) = canister_in_layout_1();
    let (id, file, _) = &sessions[2];
    forget(&mut canister, *id, file, "2");
    let (mut canister, poison, _) = migrate_with_poison_session(canister, *id);
    controls::retry(&mut canister.storage, canister.now, Some(poison)).unwrap();
    assert!(
        !canister.storage.index.contains(SessionId(*id), person(OWNER)),
        "the restored session is in no index, as before"
    );
    while run(&mut canister.storage, canister.now, &Unmetered, 0) == Ok(RunOutcome::More) {}
    assert_eq!(canister.storage.migration.state().unwrap().converted, 5);
    assert_eq!(canister.begin(file.len(), "2"), *id, "the idempotency key leads to the session");
}

#[test]
fn the_engine_is_stuck_when_every_attempt_traps_and_can_resume() {
    let (mut canister, _) = canister_in_layout_1();
    upgrade(&mut canister);
    let mut seen = None;
    let mut attempts = 0;
    while phase(&canister) != Phase::Stuck {
        if ENGINE.watch(&mut canister.storage, canister.now, &mut seen).unwrap() == Watched::Run {
            attempts += 1;
            run_and_trap(&mut canister, |canister| {
                drop(run(&mut canister.storage, canister.now, &Unmetered, 0))
            });
        }
        assert!(attempts < 30, "the engine does not get stuck");
    }
    let state = canister.storage.migration.state().unwrap();
    assert!(state.note.contains("trapped"), "{}", state.note);
    controls::resume(&mut canister.storage, canister.now).unwrap();
    // The first message is still limited to one record.
    while run(&mut canister.storage, canister.now, &Unmetered, 0) == Ok(RunOutcome::More) {}
    let state = canister.storage.migration.state().unwrap();
    assert_eq!((state.phase, state.quarantined), (Phase::Converted, 0), "{}", state.note);
}

/// Lets `times` messages of the engine trap, each of them scheduled by the watchdog.
fn trap_engine_times(canister: &mut TestCanister, times: u32) {
    let mut seen = None;
    for _ in 0..times {
        while ENGINE.watch(&mut canister.storage, canister.now, &mut seen).unwrap() != Watched::Run {
            assert_ne!(phase(canister), Phase::Stuck);
        }
        run_and_trap(canister, |canister| drop(run(&mut canister.storage, canister.now, &Unmetered, 0)));
    }
}

/// Messages that count records trap, even with a single record. The first record to be converted is not to blame: it is
/// converted if counting then succeeds, and the migration becomes stuck if not.
#[test]
fn a_record_is_quarantined_only_for_its_own_traps() {
    let (mut canister, _) = canister_in_layout_1();
    upgrade(&mut canister);
    one_step(&mut canister);
    assert_eq!(phase(&canister), Phase::Validating);
    trap_engine_times(&mut canister, 10);
    while run(&mut canister.storage, canister.now, &Unmetered, 0) == Ok(RunOutcome::More) {}
    let state = canister.storage.migration.state().unwrap();
    assert_eq!((state.phase, state.converted, state.quarantined), (Phase::Converted, 5, 0), "{}", state.note);

    let (mut canister, _) = canister_in_layout_1();
    upgrade(&mut canister);
    one_step(&mut canister);
    trap_engine_times(&mut canister, 10);
    let mut seen = Some(canister.storage.migration.state().unwrap().pace.messages);
    while phase(&canister) != Phase::Stuck {
        assert_eq!(ENGINE.watch(&mut canister.storage, canister.now, &mut seen), Ok(Watched::Quiet));
    }
    let note = canister.storage.migration.state().unwrap().note;
    assert!(note.contains("Validating") && note.contains("trapped"), "{note}");
}

#[test]
fn finalizing_checks_writes_since_the_verification() {
    let (mut canister, sessions) = staged_canister();
    let (id, file, _) = &sessions[3];
    canister.now = canister.now.plus_seconds(1);
    canister.put(*id, file, 0).unwrap();
    let meta = canister.storage.sessions.metas.get(id).unwrap().unwrap();
    let broken = UploadMeta { expected_chunks: meta.expected_chunks + 1, ..meta.clone() };
    canister.storage.sessions.metas.insert(*id, &broken);
    let refused = controls::finalize(&mut canister.storage, canister.now, false).unwrap_err().to_string();
    assert!(refused.contains(&format!("session {id}")), "{refused}");

    controls::verify(&mut canister.storage, canister.now).unwrap();
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.proven_since), (Phase::Converted, None));
    assert!(state.note.contains("1 of 5 records are not sound") && state.note.contains(&id.to_string()));
    let refused = controls::finalize(&mut canister.storage, canister.now, false).unwrap_err().to_string();
    assert!(refused.contains(&format!("session {id}")), "{refused}");

    canister.storage.sessions.metas.insert(*id, &meta);
    controls::verify(&mut canister.storage, canister.now).unwrap();
    let state = run_to_end(&mut canister);
    assert_eq!((state.proven_since, state.note.as_str()), (Some(canister.now.as_nanos()), ""));
    controls::finalize(&mut canister.storage, canister.now, false).unwrap();
}

#[test]
fn an_unsound_record_stays_noted_while_the_compat_path_is_used() {
    let (mut canister, sessions) = staged_canister();
    let id = sessions[3].0;
    let meta = canister.storage.sessions.metas.get(&id).unwrap().unwrap();
    let broken = UploadMeta { expected_chunks: meta.expected_chunks + 1, ..meta.clone() };
    canister.storage.sessions.metas.insert(id, &broken);
    controls::verify(&mut canister.storage, canister.now).unwrap();
    assert_eq!(run_to_end(&mut canister).proven_since, None);

    canister.now = canister.now.plus_seconds(1);
    set_share(&mut canister.storage, 100);
    canister.begin(10, "by the compat path");
    set_share(&mut canister.storage, 0);
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.source, state.proven_since), (Phase::Converted, 6, None));
    let refused = controls::finalize(&mut canister.storage, canister.now, false).unwrap_err().to_string();
    assert!(refused.contains(&format!("session {id}")), "{refused}");
    canister.storage.sessions.metas.insert(id, &meta);
    controls::finalize(&mut canister.storage, canister.now, false).unwrap();
}

#[test]
fn a_verification_goes_stale_with_many_writes() {
    let (mut canister, _) = staged_canister();
    let now = canister.now.plus_seconds(1);
    // One more than finalizing itself checks (`MAX_RECHECKED` of the engine).
    for n in 0..1_001 {
        let owner = candid::Principal::self_authenticating([n as u8]);
        let id = SessionId(1_000_000 + n);
        canister.storage.index.insert_without_key(id, owner, now);
    }
    let refused = controls::finalize(&mut canister.storage, now, false).unwrap_err().to_string();
    assert!(refused.contains("stale") && refused.contains("verify again"), "{refused}");
    controls::verify(&mut canister.storage, now.plus_seconds(1)).unwrap();
    run_to_end(&mut canister);
    controls::finalize(&mut canister.storage, now.plus_seconds(1), false).unwrap();
}
