//! Migrations that count units when their turn comes, since clients make and remove them meanwhile.

use super::reels::*;
use super::*;

fn counted_as_they_go() -> (TestCanister, Reels) {
    let (mut world, reels) = reels();
    controls::finalize(&mut world.storage, world.now, false).unwrap();
    (world, Reels { counts_as_it_goes: true, ..reels })
}

/// Returns the numbers of source, converted and quarantined units.
fn counts(state: &MigrationState) -> [u64; 3] {
    [state.source, state.converted, state.quarantined]
}

#[test]
fn a_retried_unit_is_counted_once() {
    let (mut world, reels) = counted_as_they_go();
    assert_eq!(counts(&finish(&mut world, &reels)), [3, 2, 1]);
    control(&mut world, &reels).retry(None).unwrap();
    let state = finish(&mut world, &reels);
    assert_eq!((state.phase, counts(&state)), (Phase::Converted, [3, 2, 1]), "{}", state.note);

    reels.old.borrow_mut().insert(12, Reel::of(vec![9; 15]));
    control(&mut world, &reels).retry(Some(12)).unwrap();
    let state = finish(&mut world, &reels);
    assert_eq!((state.phase, counts(&state)), (Phase::Converted, [3, 3, 0]), "{}", state.note);
    assert_eq!(state.digest_before, state.digest_after);
}

#[test]
fn a_unit_removed_from_quarantine_by_its_client_is_not_missed() {
    let (mut world, reels) = counted_as_they_go();
    finish(&mut world, &reels);
    reels.old.borrow_mut().remove(&12);
    control(&mut world, &reels).retry(None).unwrap();
    let state = finish(&mut world, &reels);
    assert_eq!((state.phase, counts(&state)), (Phase::Converted, [2, 2, 0]), "{}", state.note);
}

#[test]
fn a_poison_unit_is_counted_and_abandoned() {
    let (mut world, reels) = counted_as_they_go();
    while state(&world).unit.is_none() {
        slice(&mut world, &reels);
    }
    let mut trapped = state(&world);
    trapped.pace.skip_next = true;
    world.storage.migration.set_state(NUMBER, &trapped);
    let state = finish(&mut world, &reels);
    assert_eq!((state.phase, counts(&state)), (Phase::Converted, [3, 1, 2]), "{}", state.note);
    assert!(world.storage.migration.quarantine.contains(NUMBER, 11));
    assert_eq!(*reels.abandoned.borrow(), [11]);
}

#[test]
fn a_unit_removed_by_its_client_is_abandoned() {
    let (mut world, reels) = counted_as_they_go();
    while state(&world).unit.is_none() {
        slice(&mut world, &reels);
    }
    reels.old.borrow_mut().remove(&11);
    let state = finish(&mut world, &reels);
    assert_eq!((state.phase, state.unit.as_ref(), counts(&state)), (Phase::Converted, None, [2, 1, 1]));
    assert_eq!(*reels.abandoned.borrow(), [11]);
}
