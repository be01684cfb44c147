//! Leftovers: converted records that are still stored in layout 1. They are invisible. They are deleted all at once
//! after the verification, or one by one at the beginning of a rollback.

use super::*;
use crate::migrate::open_storage;

/// Returns a canister of the staged build that has counted all five records and converted `converted` of them.
fn staged_after_converting(converted: u64) -> (TestCanister, Vec<Begun>) {
    let (mut canister, sessions) = canister_in_layout_1();
    set_share(&mut canister.storage, 0);
    canister.path = TestCanister::staged().path;
    while canister.storage.migration.state().unwrap().converted < converted {
        one_step(&mut canister);
    }
    (canister, sessions)
}

fn one_step(canister: &mut TestCanister) {
    let _ = run(&mut canister.storage, canister.now, &OneStep, 0);
}

fn ids(sessions: &[Begun]) -> Vec<u64> {
    sessions.iter().map(|(id, ..)| *id).collect()
}

/// Returns the ids of the leftovers.
fn leftovers(canister: &TestCanister) -> Vec<u64> {
    canister.storage.sessions.legacy.leftovers(99)
}

#[test]
fn leftovers_are_invisible_and_cleared_after_verification() {
    let (mut canister, sessions) = staged_after_converting(2);
    for _ in 0..2 {
        let legacy = &canister.storage.sessions.legacy;
        assert_eq!(leftovers(&canister), ids(&sessions[..2]));
        assert_eq!((legacy.len(), legacy.activity_count()), (3, 3));
        assert_eq!(legacy.keys_after(None).collect::<Vec<_>>(), ids(&sessions[2..]));
        assert_eq!(legacy.raw_after(Some(1)).count(), 3);
        assert_eq!(legacy.first(99).unwrap().len(), 3);
        for (id, ..) in &sessions[..2] {
            assert!(!legacy.contains(id) && legacy.get_raw(id).is_none() && legacy.activity(id) == Ok(None));
        }
        canister.storage = open_storage(canister.raw.clone()).unwrap(); // the same after an upgrade
    }
    let listed = canister.service().list(None, 99).unwrap();
    assert_eq!(listed.len(), 5);
    assert_eq!(run_to_end(&mut canister).phase, Phase::Converted);
    assert_eq!((leftovers(&canister), canister.live_counts()[0]), (vec![], 0));
}

#[test]
fn leftovers_stay_while_another_session_is_in_layout_1() {
    let (mut canister, sessions) = staged_after_converting(2);
    let legacy = &mut canister.storage.sessions.legacy;
    assert_eq!(legacy.leftover_count(), 2);
    legacy.clear_leftovers();
    assert_eq!((legacy.leftover_count(), legacy.len()), (2, 3));
    assert!(sessions[2..].iter().all(|(id, ..)| legacy.contains(id)));
}

#[test]
fn leftovers_are_kept_while_the_migration_is_stuck() {
    let (mut canister, sessions) = staged_after_converting(2);
    canister.storage.sessions.legacy.remove(&sessions[3].0);
    assert_eq!(run_to_end(&mut canister).phase, Phase::Stuck);
    assert_eq!(leftovers(&canister).len(), 4);
}

/// If leftovers stayed during a rollback, a session that has ended since its conversion would exist again.
#[test]
fn a_rollback_drops_leftovers_first_and_revives_no_session() {
    let (mut canister, sessions) = staged_after_converting(3);
    let ended = sessions[1].0;
    canister.service().abort(ended).unwrap();
    controls::rollback(&mut canister.storage, canister.now).unwrap();
    let mut steps_with_leftovers = 0;
    while phase(&canister) != Phase::RolledBack {
        one_step(&mut canister);
        canister.storage = open_storage(canister.raw.clone()).unwrap();
        steps_with_leftovers += usize::from(!leftovers(&canister).is_empty());
        let legacy = &canister.storage.sessions.legacy;
        assert!(!legacy.contains(&ended));
        assert_eq!(legacy.activity_count(), legacy.len());
        let live = canister.storage.sessions.legacy.len() + canister.storage.sessions.sessions.len();
        assert_eq!(live, 4, "each session is in one place");
    }
    assert_eq!(steps_with_leftovers, 2, "each step drops one leftover");
    let (legacy, new) = (&canister.storage.sessions.legacy, &canister.storage.sessions.sessions);
    assert_eq!((legacy.len(), legacy.activity_count(), new.len(), leftovers(&canister)), (4, 4, 0, vec![]));
}

#[test]
fn a_direct_build_resumes_from_a_rollback_dropping_leftovers() {
    let (mut canister, _) = staged_after_converting(3);
    controls::rollback(&mut canister.storage, canister.now).unwrap();
    one_step(&mut canister);
    assert_eq!(leftovers(&canister).len(), 2);
    controls::go_forward(&mut canister.storage, canister.now, false).unwrap();
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.source, state.converted), (Phase::Converted, 2, 2), "{}", state.note);
    assert_eq!((canister.storage.sessions.sessions.len(), canister.live_counts()[0]), (5, 0));
}

#[test]
fn leftovers_of_an_abandoned_rollback_are_cleared_without_work() {
    let (mut canister, _) = staged_after_converting(5);
    controls::rollback(&mut canister.storage, canister.now).unwrap();
    one_step(&mut canister);
    assert_eq!(leftovers(&canister).len(), 4);
    controls::go_forward(&mut canister.storage, canister.now, false).unwrap();
    assert_eq!(run_to_end(&mut canister).phase, Phase::Converted);
    assert_eq!((leftovers(&canister), canister.live_counts()[0]), (vec![], 0));
    controls::finalize(&mut canister.storage, canister.now, false).unwrap();
}

#[test]
fn retry_is_refused_until_leftovers_are_cleared() {
    let (mut canister, sessions) = canister_in_layout_1();
    let rubbish = sessions[0].0;
    canister.storage.sessions.legacy.insert(rubbish, &RawRecord(b"rubbish".to_vec()));
    upgrade(&mut canister);
    while leftovers(&canister).is_empty() {
        one_step(&mut canister);
    }
    let refused = controls::retry(&mut canister.storage, canister.now, Some(rubbish)).unwrap_err();
    assert!(
        matches!(refused, Error::Conflict { ref detail, .. } if detail.contains("retry it afterwards")),
        "{refused}"
    );
    assert_eq!(run_to_end(&mut canister).phase, Phase::Converted);
    let record = canister.storage.migration.quarantine.get(1, rubbish).unwrap().unwrap();
    assert_eq!(record.beside, Some(canister.now.as_nanos()), "the last activity is stored with the record");
    controls::retry(&mut canister.storage, canister.now, Some(rubbish)).unwrap();
    assert_eq!(canister.storage.sessions.legacy.activity(&rubbish), Ok(Some(canister.now)));
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.quarantined), (Phase::Converted, 1));
}

/// A record may have an id that was never issued: the counter of the legacy build may have been lost.
#[test]
fn no_session_gets_the_id_of_a_leftover() {
    // Steps at which records are being counted, converted and verified.
    for steps in [1, 3, 6, 8, 11, 14] {
        let (mut canister, sessions) = canister_in_layout_1();
        canister.storage.sessions.ids.continue_after(sessions[3].0);
        upgrade(&mut canister);
        for _ in 0..steps {
            one_step(&mut canister);
        }
        let new = canister.begin(10, "new");
        assert!(new > sessions[4].0, "{new}");
        let state = run_to_end(&mut canister);
        assert_eq!((state.phase, state.source), (Phase::Converted, 5), "{}", state.note);

        canister.path = TestCanister::compat().path;
        set_share(&mut canister.storage, 100);
        let by_the_compat_path = canister.begin(10, "by the compat path");
        assert!(canister.storage.sessions.legacy.contains(&by_the_compat_path));
        upgrade(&mut canister);
        let state = run_to_end(&mut canister);
        assert_eq!((state.phase, state.source), (Phase::Converted, 6), "{}", state.note);
        assert_eq!(canister.storage.sessions.sessions.len(), 7);
    }
}

#[test]
fn a_damaged_key_uses_up_no_ids() {
    let (mut canister, _) = canister_in_layout_1();
    canister.storage.sessions.legacy.insert(u64::MAX, &RawRecord(b"rubbish".to_vec()));
    upgrade(&mut canister);
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.converted, state.quarantined), (Phase::Converted, 5, 1), "{}", state.note);
    assert!(canister.begin(10, "new") < 100);
}
