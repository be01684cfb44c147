//! Rollback: everything is converted back to layout 1, including later writes; after finalization, a rollback is
//! refused.

use super::*;

#[test]
fn a_rollback_includes_everything_that_came_since() {
    let (mut canister, sessions) = staged_canister();
    let (id, new_file, _) = &sessions[0];
    canister.put(*id, new_file, 1).unwrap();
    let since = canister.begin(10, "since");
    let before: Vec<_> = canister.service().list(None, 99).unwrap();
    controls::rollback(&mut canister.storage, canister.now).unwrap();
    run_to_end(&mut canister);
    assert_eq!(
        (phase(&canister), canister.storage.layout.get()),
        (Phase::RolledBack, Ok(Some(Layout::LEGACY)))
    );
    assert_eq!((canister.storage.sessions.legacy.len(), canister.storage.sessions.sessions.len()), (6, 0));

    let legacy = TestCanister::compat();
    canister.restart(legacy.path);
    discard_progress(&mut canister.storage, canister.now).unwrap();
    set_share(&mut canister.storage, 100); // the fixed share of the legacy build
    let mut after = canister.service().list(None, 99).unwrap();
    for status in &mut after {
        assert_eq!(status.path, crate::api::SessionPath::Compat);
        status.path = crate::api::SessionPath::Direct;
    }
    assert_eq!(after, before, "nothing but the path has changed");
    canister.put(since, &file(10), 0).unwrap();
    canister.finish(since, &file(10)).unwrap();

    upgrade(&mut canister);
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.source, state.converted), (Phase::Converted, 5, 5), "{}", state.note);
    for (id, file, _) in sessions {
        for idx in 0..file.chunks(CHUNK).len() {
            canister.put(id, &file, idx).unwrap();
        }
        canister.finish(id, &file).unwrap();
    }
}

#[test]
fn clients_continue_in_the_middle_of_a_rollback() {
    for steps in 0..8 {
        let (mut canister, sessions) = staged_canister();
        controls::rollback(&mut canister.storage, canister.now).unwrap();
        for _ in 0..steps {
            let _ = run(&mut canister.storage, canister.now, &OneStep, 0);
        }
        let begun = canister.begin(10, "in the middle");
        assert!(canister.storage.sessions.legacy.contains(&begun), "new sessions are legacy records");
        for (id, file, _) in &sessions {
            canister.put(*id, file, 0).unwrap();
        }
        run_to_end(&mut canister);
        assert_eq!((phase(&canister), canister.storage.sessions.legacy.len()), (Phase::RolledBack, 6));
        for (id, file, _) in sessions {
            for idx in 0..file.chunks(CHUNK).len() {
                canister.put(id, &file, idx).unwrap();
            }
            canister.finish(id, &file).unwrap();
        }
    }
}

#[test]
fn a_rollback_can_be_paused_and_the_migration_run_again() {
    let (mut canister, _) = staged_canister();
    controls::rollback(&mut canister.storage, canister.now).unwrap();
    let _ = run(&mut canister.storage, canister.now, &OneStep, 0);
    controls::pause(&mut canister.storage, canister.now).unwrap();
    let begun = canister.begin(10, "while paused");
    assert!(
        canister.storage.sessions.legacy.contains(&begun),
        "new sessions are legacy records during a rollback"
    );
    controls::resume(&mut canister.storage, canister.now).unwrap();
    run_to_end(&mut canister);
    controls::resume(&mut canister.storage, canister.now).unwrap();
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.source, state.converted), (Phase::Converted, 6, 6));
}

#[test]
fn what_was_in_quarantine_is_rolled_back_as_it_was() {
    let (mut canister, damaged) = staged_with_one_in_quarantine();
    controls::rollback(&mut canister.storage, canister.now).unwrap();
    run_to_end(&mut canister);
    assert_eq!(canister.storage.sessions.legacy.get_raw(&damaged.0), Some(b"rubbish".to_vec()));
    assert!(canister.storage.migration.quarantine.is_empty());
}

#[test]
fn a_session_that_layout_1_cannot_hold_stops_the_rollback() {
    let (mut canister, sessions) = staged_canister();
    let id = sessions[2].0;
    let mut meta = canister.storage.sessions.metas.get(&id).unwrap().unwrap();
    meta.expected_chunks += 1;
    canister.storage.sessions.metas.insert(id, &meta);
    controls::rollback(&mut canister.storage, canister.now).unwrap();
    let state = run_to_end(&mut canister);
    assert_eq!(state.phase, Phase::Stuck);
    assert!(state.note.contains(&format!("session {id}")), "{}", state.note);
    assert_eq!(canister.storage.sessions.metas.get(&id), Ok(Some(meta)));
    assert_eq!(canister.storage.layout.get(), Ok(Some(Layout::SPLIT)), "the legacy build must still refuse");
}

#[test]
fn rollback_is_refused_after_finalize() {
    let (mut canister, _) = canister_in_layout_1();
    upgrade(&mut canister);
    assert!(
        controls::finalize(&mut canister.storage, canister.now, false).is_err(),
        "nothing is converted yet"
    );
    run_to_end(&mut canister);
    set_share(&mut canister.storage, 1);
    assert!(
        controls::finalize(&mut canister.storage, canister.now, false).is_err(),
        "the compat path is in use"
    );
    set_share(&mut canister.storage, 0);
    controls::finalize(&mut canister.storage, canister.now, false).unwrap();
    assert_eq!(run_to_end(&mut canister).phase, Phase::Finalized);
    let back = controls::rollback(&mut canister.storage, canister.now).unwrap_err();
    assert!(matches!(back, Error::Conflict { ref detail, .. } if detail.contains("finalized")), "{back}");
    assert!(controls::check_share(&canister.storage, 1).is_err());
    assert_eq!(controls::check_share(&canister.storage, 0), Ok(()));
}

#[test]
fn the_status_tells_how_far_a_rollback_is() {
    let (mut canister, id) = staged_with_one_in_quarantine();
    assert_eq!(canister.storage.migration.status(Layout::SPLIT).unwrap().rollback_left, None);
    controls::rollback(&mut canister.storage, canister.now).unwrap();
    let mut before = (0, 5);
    loop {
        let status = canister.storage.migration.status(Layout::SPLIT).unwrap();
        let now = (status.rollback_done.unwrap(), status.rollback_left.unwrap());
        assert!(now.0 >= before.0 && now.1 <= before.1 && now.0 + now.1 == 5, "{before:?}, then {now:?}");
        before = now;
        if run(&mut canister.storage, canister.now, &OneStep, 0) == Ok(RunOutcome::Done) {
            break;
        }
    }
    let status = canister.storage.migration.status(Layout::LEGACY).unwrap();
    assert_eq!(
        (status.phase, status.rollback_done, status.rollback_left),
        (MigrationPhase::RolledBack, Some(5), Some(0))
    );
    assert!(canister.storage.sessions.legacy.contains(&id.0));
}

#[test]
fn what_is_refused_says_what_to_do_in_this_phase() {
    let (mut canister, _) = staged_canister();
    let now = canister.now;
    let refusal_text = |refused: Result<(), Error>| refused.unwrap_err().to_string();
    controls::rollback(&mut canister.storage, now).unwrap();
    let refusal_by_legacy = |canister: &TestCanister| {
        let refused = Storage::open_accepting(canister.raw.clone(), &[Layout::LEGACY]);
        refused.err().expect("the legacy build opens layout 2").to_string()
    };
    let refused = refusal_by_legacy(&canister);
    assert!(refused.contains("the rollback is in progress") && !refused.contains("roll the"), "{refused}");
    let refused = refusal_text(controls::finalize(&mut canister.storage, now, false));
    assert!(refused.contains("being rolled back"), "{refused}");
    assert!(
        refusal_text(controls::rollback(&mut canister.storage, now)).contains("being rolled back already")
    );
    controls::pause(&mut canister.storage, now).unwrap();
    assert!(refusal_by_legacy(&canister).contains("resume it"), "{}", refusal_by_legacy(&canister));
    assert!(refusal_text(controls::pause(&mut canister.storage, now)).contains("paused already"));
    controls::resume(&mut canister.storage, now).unwrap();
    run_to_end(&mut canister);
    assert!(Storage::open_accepting(canister.raw.clone(), &[Layout::LEGACY]).is_ok());
    assert!(refusal_text(controls::rollback(&mut canister.storage, now)).contains("rolled back already"));
    controls::resume(&mut canister.storage, now).unwrap();
    run_to_end(&mut canister);
    controls::finalize(&mut canister.storage, now, false).unwrap();
    for refused in [
        refusal_text(controls::finalize(&mut canister.storage, now, false)),
        refusal_text(controls::verify(&mut canister.storage, now)),
        refusal_text(controls::retry(&mut canister.storage, now, None)),
    ] {
        assert!(refused.contains("finalized already"), "{refused}");
    }
}

#[test]
fn discarding_progress_of_an_idle_or_final_run_does_nothing() {
    let (mut canister, _) = canister_in_layout_1();
    discard_progress(&mut canister.storage, canister.now).unwrap();
    assert_eq!(canister.storage.migration.journal(0).unwrap(), []);
    let (mut canister, _) = staged_canister();
    controls::finalize(&mut canister.storage, canister.now, false).unwrap();
    let before =
        (canister.storage.migration.state().unwrap(), canister.storage.migration.journal(0).unwrap());
    discard_progress(&mut canister.storage, canister.now).unwrap();
    assert_eq!(
        (canister.storage.migration.state().unwrap(), canister.storage.migration.journal(0).unwrap()),
        before
    );
}
