//! Tests of the engine with the migration in `reels.rs` as the second one, which counts its units ahead.

use super::reels::*;
use super::*;
use crate::api::Result;
use crate::migrate::controls::Control;

#[test]
fn a_second_migration_waits_for_the_first() {
    let (mut canister, reels) = reels();
    assert_eq!(run_message(&mut canister, &reels), RunOutcome::Done);
    assert_eq!(state(&canister), MigrationState::default());
    controls::finalize(&mut canister.storage, canister.now, false).unwrap();
    let first = canister.storage.migration.state().unwrap();
    assert_eq!(finish(&mut canister, &reels).phase, Phase::Converted);
    assert_eq!(canister.storage.migration.state().unwrap(), first, "the state of migration 1 is unchanged");
    assert_eq!(canister.storage.layout.get(), Ok(Some(EXTENTS)));
}

#[test]
fn a_large_unit_resumes_after_every_message_and_upgrade() {
    let (mut canister, reels) = reels();
    let before = reels.old.borrow().clone();
    controls::finalize(&mut canister.storage, canister.now, false).unwrap();
    let state = finish(&mut canister, &reels);
    assert_eq!(reels.slices.get(), 1 + 5 + 2, "no slice was done twice");
    assert_eq!((state.source, state.converted, state.quarantined), (3, 2, 1));
    assert_eq!(state.classes, [("whole".to_owned(), 2), ("torn".to_owned(), 1)]);
    assert_eq!((state.digest_before, state.unit), (state.digest_after, None));
    let new = reels.new.borrow();
    assert!(new.iter().all(|(key, reel)| before[key] == *reel));
    assert_eq!(
        reels.old.borrow().keys().copied().collect::<Vec<_>>(),
        [12],
        "the torn reel stays where it is"
    );
    let status = canister.storage.migration.status(EXTENTS).unwrap();
    assert_eq!((status.migration, status.name.as_str(), status.layout), (NUMBER, "reels", 3));
    let journal = canister.storage.migration.journal(0).unwrap();
    let last = journal.last().unwrap();
    assert_eq!((last.status.migration, last.event.as_str()), (NUMBER, "converted"));
    assert_eq!(last.plan.as_ref().unwrap().as_slice(), PLAN.digest());
}

#[test]
fn a_large_unit_survives_pause_resume_and_retry() {
    let (mut canister, reels) = reels();
    controls::finalize(&mut canister.storage, canister.now, false).unwrap();
    while state(&canister).unit.is_none() {
        run_message(&mut canister, &reels);
    }
    control(&mut canister, &reels).pause().unwrap();
    let slices = reels.slices.get();
    assert_eq!(finish(&mut canister, &reels).phase, Phase::Paused);
    assert_eq!(reels.slices.get(), slices);
    control(&mut canister, &reels).resume().unwrap();
    assert_eq!(finish(&mut canister, &reels).quarantined, 1);

    // Nobody has repaired the torn reel.
    control(&mut canister, &reels).retry(None).unwrap();
    let state = finish(&mut canister, &reels);
    assert_eq!((state.phase, state.converted, state.quarantined), (Phase::Converted, 2, 1), "{}", state.note);
}

#[test]
fn a_migration_without_reversal_refuses_rollback() {
    let (mut canister, reels) = reels();
    controls::finalize(&mut canister.storage, canister.now, false).unwrap();
    finish(&mut canister, &reels);
    assert!(
        control(&mut canister, &reels).rollback().unwrap_err().to_string().contains("cannot be rolled back")
    );
}

#[test]
fn a_unit_that_never_ends_is_noticed() {
    let (mut canister, reels) = reels();
    reels.old.borrow_mut().insert(13, Reel::of(vec![1; 200_000]));
    controls::finalize(&mut canister.storage, canister.now, false).unwrap();
    let message = MessageBudget { now: canister.now.into(), meter: &Unmetered, budget: 0 };
    Engine::new(&[&reels]).run(&mut canister.storage, message).unwrap();
    let state = state(&canister);
    assert_eq!((state.phase, state.resume_to), (Phase::Stuck, Some(Phase::Converting)));
    // The default of `max_steps` allows 10,000, and 8 for each unit.
    assert!(state.note.contains("10033 steps for 4 records, expected at most 10032"), "{}", state.note);
}

#[test]
fn verifying_very_many_units_is_not_endless() {
    let (mut canister, reels) = reels();
    controls::finalize(&mut canister.storage, canister.now, false).unwrap();
    finish(&mut canister, &reels);
    reels.new.borrow_mut().extend((100..12_100).map(|key| (key, Reel::of(vec![1]))));
    let controls: [fn(Control<'_>) -> Result<()>; 2] =
        [|control| control.verify(), |control| control.retry(None)];
    for run_control in controls {
        run_control(control(&mut canister, &reels)).unwrap();
        let message = MessageBudget { now: canister.now.into(), meter: &Unmetered, budget: 0 };
        Engine::new(&[&reels]).run(&mut canister.storage, message).unwrap();
        let state = state(&canister);
        assert_eq!((state.phase, state.note.as_str()), (Phase::Converted, ""));
    }
}

#[test]
fn a_dry_run_prices_each_unit_that_is_still_to_be_converted() {
    let (mut canister, reels) = reels();
    let page = |canister: &TestCanister, reels: &Reels, after, limit| {
        let message = MessageBudget { now: canister.now.into(), meter: &Unmetered, budget: 0 };
        Engine::dry_run_of(reels, &canister.storage, message, after, limit).unwrap()
    };
    let all = page(&canister, &reels, None, None);
    assert_eq!((all.migration, all.name.as_str()), (NUMBER, "reels"));
    assert_eq!((all.units, all.estimated_instructions, all.next), (3, 3 + 45 + 15, None));
    let first = page(&canister, &reels, None, Some(1));
    assert_eq!((first.units, first.estimated_instructions, first.next), (1, 3, Some(10)));

    controls::finalize(&mut canister.storage, canister.now, false).unwrap();
    finish(&mut canister, &reels);
    let left = page(&canister, &reels, None, None);
    assert_eq!(
        (left.units, left.estimated_instructions, left.next),
        (0, 0, None),
        "the torn reel is quarantined"
    );
}

#[test]
fn a_unit_quarantined_in_place_does_not_block_finalize() {
    let (mut canister, reels) = reels();
    controls::finalize(&mut canister.storage, canister.now, false).unwrap();
    assert_eq!(finish(&mut canister, &reels).quarantined, 1);
    let refused = control(&mut canister, &reels).finalize(false).unwrap_err().to_string();
    assert!(refused.contains("finalize with `true`"), "{refused}");
    control(&mut canister, &reels).finalize(true).unwrap();
    assert_eq!(state(&canister).phase, Phase::Finalized);
}
