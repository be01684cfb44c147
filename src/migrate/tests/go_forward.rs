//! A build without the compat path that finds a rollback in progress converts again; a build with it continues the
//! rollback.

use super::*;

/// Returns the canister of [`staged_with_one_in_quarantine`] after `steps` steps of a rollback.
fn rolled_back_by(steps: u32) -> TestCanister {
    let (mut canister, _) = staged_with_one_in_quarantine();
    controls::rollback(&mut canister.storage, canister.now).unwrap();
    for _ in 0..steps {
        let _ = run(&mut canister.storage, canister.now, &OneStep, 0);
    }
    canister
}

#[test]
fn go_forward_changes_nothing_in_a_build_that_serves_layout_1() {
    let mut canister = rolled_back_by(2);
    let before = canister.storage.migration.state().unwrap();
    controls::go_forward(&mut canister.storage, canister.now, true).unwrap();
    assert_eq!(canister.storage.migration.state().unwrap(), before);
}

#[test]
fn rolled_back_records_convert_again_and_quarantine_is_counted() {
    // Four steps roll back the sessions, and the fifth the quarantined record.
    for steps in 0..5 {
        let mut canister = rolled_back_by(steps);
        let messages_before = canister.storage.migration.state().unwrap().pace.messages;
        controls::go_forward(&mut canister.storage, canister.now, false).unwrap();
        let state = canister.storage.migration.state().unwrap();
        assert_eq!((state.source, state.quarantined), (1, 1), "{steps} steps");
        assert_eq!(state.digest_before, state.digest_after);
        assert_ne!(state.digest_before, MultisetDigest::default());
        assert_eq!((state.pace.messages, state.pace.limit), (messages_before, 0));
        let entry = canister.storage.migration.journal(0).unwrap().pop().unwrap();
        assert_eq!((entry.event.as_str(), entry.status.quarantined), ("rollback abandoned", 1));

        let state = run_to_end(&mut canister);
        let counts = (state.source, state.converted, state.quarantined);
        assert_eq!((state.phase, counts), (Phase::Converted, (1 + u64::from(steps), u64::from(steps), 1)));
        controls::retry(&mut canister.storage, canister.now, None).unwrap();
        let state = run_to_end(&mut canister);
        assert_eq!((state.phase, state.quarantined), (Phase::Converted, 1), "{}", state.note);
    }
}

/// Sessions that an abandoned rollback had not reached are not converted again, so finalizing must check them.
#[test]
fn an_unsound_record_is_not_forgotten() {
    let mut canister = rolled_back_by(1);
    let id = canister.storage.sessions.sessions.keys(..).next_back().unwrap();
    let mut meta = canister.storage.sessions.metas.get(&id).unwrap().unwrap();
    meta.expected_chunks += 1;
    canister.storage.sessions.metas.insert(id, &meta);
    canister.now = canister.now.plus_seconds(1);
    controls::go_forward(&mut canister.storage, canister.now, false).unwrap();
    assert_eq!(run_to_end(&mut canister).phase, Phase::Converted);
    let refused = controls::finalize(&mut canister.storage, canister.now, true).unwrap_err().to_string();
    assert!(refused.contains(&format!("session {id}")), "{refused}");
}
