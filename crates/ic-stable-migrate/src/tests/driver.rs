//! The driver on a simulated IC: a unit that traps rolls back the message of the engine, and neither an upgrade nor a
//! control.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::*;
use crate::api::{MigrationPhase, MigrationStatus};
use crate::cdk::Driver;

/// A message has room for some ten notes: the driver reserves 500,000 instructions of its budget.
const DRIVER: Driver<Notes<u64>> = Driver::new(&[&ONLY], with_notes).with_budget(500_040);

/// Time after which the engine has isolated a unit that traps, or is stuck.
const AN_HOUR: Duration = Duration::from_secs(60 * 60);

thread_local!(static NOTES: RefCell<Option<Notes<u64>>> = const { RefCell::new(None) });

fn with_notes(f: &mut dyn FnMut(&mut Notes<u64>)) {
    NOTES.with_borrow_mut(|notes| notes.as_mut().map(f));
}

/// A canister with this stable memory, whose heap is in [`NOTES`] and in the timers of [`ic`].
struct Canister(Memories);

impl Canister {
    /// Returns the old release with 20 notes: that under key 20 is not text, and `trapping` traps.
    fn with_notes(trapping: Option<u64>) -> Self {
        let memories = old_release(1..=20_u64);
        if let Some(key) = trapping {
            Notes::open(memories.clone()).old.insert(key, &TRAPS.to_owned());
        }
        Self(memories)
    }

    /// Runs a message. If it traps, stable memory is rolled back.
    fn message<T>(&self, run: impl FnOnce() -> T) -> std::thread::Result<T> {
        let before = self.0.0.each_ref().map(|memory| memory.borrow().clone());
        let outcome = catch_unwind(AssertUnwindSafe(run));
        if outcome.is_err() {
            for (memory, bytes) in self.0.0.iter().zip(before) {
                *memory.borrow_mut() = bytes;
            }
            self.open();
        }
        outcome
    }

    fn open(&self) {
        NOTES.set(Some(Notes::open(self.0.clone())));
    }

    #[track_caller]
    fn upgrade(&self) {
        ic::drop_timers();
        self.open();
        self.message(|| DRIVER.post_upgrade()).expect("the upgrade is accepted");
    }

    #[track_caller]
    fn control(
        &self,
        control: impl FnOnce(Control<'_, Notes<u64>>) -> Result<(), Error>,
    ) -> MigrationStatus<u64> {
        self.message(|| DRIVER.control(control)).expect("the call does not trap").unwrap()
    }

    fn pass(&self, time: Duration) {
        ic::pass(time, |run| drop(self.message(run)));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Notes<u64>) -> T) -> T {
        NOTES.with_borrow_mut(|notes| change(notes.as_mut().unwrap()))
    }

    fn state(&self) -> MigrationState<u64> {
        self.change(|notes| notes.ledger.state_of(1).unwrap())
    }

    /// Checks that all notes are converted but the one that traps and the one that is not text.
    fn assert_converted(&self) {
        let state = self.state();
        assert_eq!(
            (state.phase, state.converted, state.quarantined),
            (Phase::Converted, 18, 2),
            "{}",
            state.note
        );
    }
}

#[test]
fn a_unit_that_traps_has_no_upgrade_refused() {
    let canister = Canister::with_notes(Some(3));
    for _ in 0..12 {
        canister.upgrade();
        canister.pass(Duration::from_secs(5 * 60));
    }
    canister.assert_converted();
}

#[test]
fn a_unit_that_traps_has_no_pause_or_resume_rejected() {
    let canister = Canister::with_notes(Some(3));
    canister.open();
    canister.change(|notes| defer(notes, NOW).unwrap());
    canister.upgrade();
    let resumed = canister.control(|control| control.resume());
    assert_eq!((resumed.phase, resumed.messages), (MigrationPhase::Idle, 0), "the engine has not run");
    canister.pass(Duration::from_secs(3 * 60));
    let limit = canister.state().pace.limit;
    assert!(limit > 0, "messages have trapped");
    canister.control(|control| control.pause());
    canister.control(|control| control.resume());
    assert_eq!(canister.state().pace.limit, limit);
    canister.pass(AN_HOUR);
    canister.assert_converted();
}

#[test]
fn a_unit_that_traps_has_no_rollback_rejected() {
    let canister = Canister::with_notes(None);
    canister.upgrade();
    canister.pass(Duration::from_secs(1));
    canister.change(|notes| notes.new.insert(9, &convert_text(TRAPS.into())));
    let begun = canister.control(|control| control.rollback());
    assert_eq!((begun.phase, begun.rollback_done), (MigrationPhase::RollingBack, Some(0)));
    canister.pass(AN_HOUR);
    let stuck = canister.state();
    assert!(stuck.phase == Phase::Stuck && stuck.note.contains("a step of RollingBack"), "{stuck:?}");
    assert_eq!(stuck.rollback.map(|rollback| rollback.done), Some(8), "the units before it are rolled back");
    canister.change(|notes| notes.new.remove(&9));
    assert_eq!(canister.control(|control| control.resume()).phase, MigrationPhase::RollingBack);
    canister.pass(AN_HOUR);
    assert_eq!(canister.state().phase, Phase::RolledBack);
}
