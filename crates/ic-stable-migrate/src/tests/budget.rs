//! The number of units that a message handles, also after a trap; and the counts of steps, messages and instructions.

use super::*;

#[test]
fn work_is_used_up_when_it_exceeds_its_budget() {
    let is_used_up = |budget| Work { now: NOW, meter: &OneStep, budget, progress: vec![] }.is_used_up();
    assert_eq!([0, 1, 2].map(is_used_up), [true, false, false]);
}

#[test]
fn the_watch_halves_the_limit_if_no_message_commits() {
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    let engine = Engine::new(&[&ONLY]);
    let mut seen = None;
    engine.run(&mut notes, STEP).unwrap();
    assert_eq!(engine.watch(&mut notes, NOW, &mut seen), Ok(Watched::Quiet), "the message may still run");
    assert_eq!(engine.watch(&mut notes, NOW, &mut seen), Ok(Watched::Run), "the message has not committed");
    assert_eq!(notes.ledger.state_of(1).unwrap().pace.limit, 512);
}

/// The messages handle one unit each, so a larger limit would repeat what has trapped.
#[test]
fn a_poison_unit_among_expensive_ones_is_soon_tried_alone() {
    let mut notes = Notes::<u64>::open(old_release(1..=40_u64));
    let engine = Engine::new(&[&ONLY]);
    while notes.ledger.state_of(1).unwrap().converted < 3 {
        engine.run(&mut notes, STEP).unwrap();
    }
    // No further message commits.
    let mut seen = Some(notes.ledger.state_of(1).unwrap().pace.messages);
    let mut limits = Vec::new();
    while !notes.ledger.state_of(1).unwrap().pace.skip_next {
        assert_eq!(engine.watch(&mut notes, NOW, &mut seen), Ok(Watched::Run));
        limits.push(notes.ledger.state_of(1).unwrap().pace.limit);
    }
    assert_eq!(limits, [1, 1]);
}

#[test]
fn a_message_after_a_trap_ends_at_its_limit_of_units() {
    let mut notes = Notes::<u64>::open(old_release(1..=40_u64));
    let engine = Engine::new(&[&ONLY]);
    engine.run(&mut notes, STEP).unwrap();
    let mut before = notes.ledger.state_of(1).unwrap();
    before.pace.limit = 8;
    notes.ledger.set_state(1, &before);
    assert_eq!(engine.run(&mut notes, UNLIMITED), Ok(RunOutcome::More));
    let after = notes.ledger.state_of(1).unwrap();
    assert_eq!((after.pace.steps - before.pace.steps, after.pace.limit), (8, 16));
}

#[test]
fn a_resume_keeps_the_limit_and_tries_the_unit_again() {
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    let engine = Engine::new(&[&ONLY]);
    while notes.ledger.state_of(1).unwrap().converted == 0 {
        engine.run(&mut notes, STEP).unwrap();
    }
    let mut trapped = notes.ledger.state_of(1).unwrap();
    trapped.pace = Pace { limit: 1, skip_next: true, attempts: 11, ..trapped.pace };
    notes.ledger.set_state(1, &trapped);
    engine.control(&mut notes, NOW).unwrap().pause().unwrap();
    engine.control(&mut notes, NOW).unwrap().resume().unwrap();
    assert_eq!(engine.run(&mut notes, UNLIMITED), Ok(RunOutcome::More), "the message ends after one unit");
    let state = notes.ledger.state_of(1).unwrap();
    assert_eq!((state.converted, state.quarantined), (2, 0));
}

#[test]
fn a_run_after_a_rollback_keeps_counting_its_cost() {
    /// A meter on which each reading counts as one instruction.
    struct Ticking(std::cell::Cell<u64>);
    impl Meter for Ticking {
        fn used(&self) -> u64 {
            self.0.set(self.0.get() + 1);
            self.0.get()
        }
    }
    let meter = Ticking(Default::default());
    let message = MessageBudget { now: NOW, meter: &meter, budget: 1_000_000 };
    let engine = Engine::new(&[&ONLY]);
    for is_resumed in [true, false] {
        let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
        engine.run(&mut notes, message).unwrap();
        engine.control(&mut notes, NOW).unwrap().rollback().unwrap();
        engine.run(&mut notes, message).unwrap();
        let before = notes.ledger.state_of(1).unwrap();
        assert!(before.instructions > 0 && before.pace.messages > 1, "{before:?}");
        if is_resumed {
            engine.control(&mut notes, NOW).unwrap().resume().unwrap();
        } else {
            engine.go_forward(&mut notes, NOW).unwrap();
        }
        let after = notes.ledger.state_of(1).unwrap();
        assert_eq!((after.instructions, after.pace.messages), (before.instructions, before.pace.messages));
        assert_eq!((after.source, after.pace.steps), (0, 0));
    }
}

#[test]
fn batches_grow_while_the_message_has_room() {
    let mut notes = Notes::<u64>::open(old_release(1..=500_u64));
    Engine::new(&[&ONLY]).run(&mut notes, UNLIMITED).unwrap();
    let after = notes.ledger.state_of(1).unwrap();
    assert!(after.pace.units() > MigrationState::<u64>::default().pace.units(), "{after:?}");
}

#[test]
fn a_batch_uses_what_is_left_and_has_at_least_one_unit() {
    for (each, left, units) in [(10, 9, 1), (5, 10, 2), (5, 9, 1)] {
        let mut pace = Pace::default();
        pace.fit_batch(each, left);
        assert_eq!(pace.units(), units, "{each} instructions each, {left} left");
    }
}
