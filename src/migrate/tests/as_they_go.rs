//! A migration that counts each unit when it reaches it, since clients create and remove units in the meantime: the
//! reels with `counts_as_it_goes`. In `second.rs`, they are counted ahead.

use super::reels::*;
use super::*;

fn reels_counted_as_they_go() -> (TestCanister, Reels) {
    let (mut canister, reels) = reels();
    controls::finalize(&mut canister.storage, canister.now, false).unwrap();
    (canister, Reels { counts_as_it_goes: true, ..reels })
}

/// Returns how many units were counted, converted and quarantined.
fn counts(state: &MigrationState) -> [u64; 3] {
    [state.source, state.converted, state.quarantined]
}

#[test]
fn a_retried_unit_is_counted_once() {
    let (mut canister, reels) = reels_counted_as_they_go();
    assert_eq!(counts(&finish(&mut canister, &reels)), [3, 2, 1]);
    control(&mut canister, &reels).retry(None).unwrap();
    let state = finish(&mut canister, &reels);
    assert_eq!((state.phase, counts(&state)), (Phase::Converted, [3, 2, 1]), "{}", state.note);

    // Repairs the torn reel.
    reels.old.borrow_mut().insert(12, Reel::of(vec![9; 15]));
    control(&mut canister, &reels).retry(Some(12)).unwrap();
    let state = finish(&mut canister, &reels);
    assert_eq!((state.phase, counts(&state)), (Phase::Converted, [3, 3, 0]), "{}", state.note);
    assert_eq!(state.digest_before, state.digest_after);
}

#[test]
fn a_unit_removed_from_quarantine_by_its_client_is_not_missed() {
    let (mut canister, reels) = reels_counted_as_they_go();
    finish(&mut canister, &reels);
    reels.old.borrow_mut().remove(&12);
    control(&mut canister, &reels).retry(None).unwrap();
    let state = finish(&mut canister, &reels);
    assert_eq!((state.phase, counts(&state)), (Phase::Converted, [2, 2, 0]), "{}", state.note);
}

#[test]
fn a_poison_unit_is_counted_and_abandoned() {
    let (mut canister, reels) = reels_counted_as_they_go();
    while state(&canister).unit.is_none() {
        run_message(&mut canister, &reels);
    }
    let mut trapped = state(&canister);
    trapped.pace.skip_next = true;
    canister.storage.migration.set_state(NUMBER, &trapped);
    let state = finish(&mut canister, &reels);
    assert_eq!((state.phase, counts(&state)), (Phase::Converted, [3, 1, 2]), "{}", state.note);
    assert!(canister.storage.migration.quarantine.contains(NUMBER, 11));
    assert_eq!(*reels.abandoned.borrow(), [11]);
}

#[test]
fn a_unit_removed_by_its_client_is_abandoned() {
    let (mut canister, reels) = reels_counted_as_they_go();
    while state(&canister).unit.is_none() {
        run_message(&mut canister, &reels);
    }
    reels.old.borrow_mut().remove(&11);
    let state = finish(&mut canister, &reels);
    assert_eq!((state.phase, state.unit.as_ref(), counts(&state)), (Phase::Converted, None, [2, 1, 1]));
    assert_eq!(*reels.abandoned.borrow(), [11]);
}
