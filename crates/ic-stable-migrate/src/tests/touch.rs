//! Units that a client's call converts before the engine reaches them.

use super::*;

#[test]
fn a_touched_unit_is_converted_at_once_and_counted_once() {
    for steps in 0..12 {
        let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
        let engine = Engine::new(&[&ONLY]);
        for _ in 0..steps {
            engine.run(&mut notes, STEP).unwrap();
        }
        if notes.old.contains(&3) {
            Engine::touch(&ONLY, &mut notes, 3, NOW).unwrap();
        }
        assert_eq!(notes.new.get(&3).unwrap().unwrap().words, 3);
        engine.run(&mut notes, UNLIMITED).unwrap();
        let state = notes.ledger.state_of(1).unwrap();
        assert_eq!((state.phase, state.source), (Phase::Converted, 4), "after {steps} steps: {}", state.note);
        assert_eq!((state.converted + state.already, state.quarantined), (3, 1), "after {steps} steps");
    }
}

#[test]
fn a_touched_unit_in_quarantine_is_counted_once() {
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    Engine::touch(&ONLY, &mut notes, 4, NOW).unwrap();
    let touched = notes.ledger.state_of(1).unwrap();
    assert_eq!((touched.phase, touched.quarantined), (Phase::Idle, 1));
    Engine::new(&[&ONLY]).run(&mut notes, UNLIMITED).unwrap();
    let state = notes.ledger.state_of(1).unwrap();
    assert_eq!((state.phase, state.source, state.quarantined), (Phase::Converted, 4, 1), "{}", state.note);
}

#[test]
fn a_touch_of_a_removed_unit_counts_nothing() {
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    Engine::touch(&ONLY, &mut notes, 99, NOW).unwrap();
    assert_eq!(notes.ledger.state_of(1).unwrap().source, 0);
    Engine::new(&[&ONLY]).run(&mut notes, UNLIMITED).unwrap();
    assert_eq!(notes.ledger.state_of(1).unwrap().phase, Phase::Converted);
}

/// A stored state would keep later migrations from beginning, also in builds without this one.
#[test]
fn a_touch_on_a_fresh_installation_stores_nothing() {
    let mut notes = Notes::<u64>::open(Memories::default());
    notes.set_layout(Layout(2));
    notes.new.insert(1, &convert_text("new".into()));
    Engine::touch(&ONLY, &mut notes, 1, NOW).unwrap();
    assert!(notes.ledger.numbers_with_state().is_empty());
}

#[test]
fn a_touched_unit_does_not_move_the_cursor() {
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    let engine = Engine::new(&[&ONLY]);
    while notes.ledger.state_of(1).unwrap().converted == 0 {
        engine.run(&mut notes, STEP).unwrap();
    }
    assert_eq!(notes.ledger.state_of(1).unwrap().cursor, Some(1));
    Engine::touch(&ONLY, &mut notes, 3, NOW).unwrap();
    let state = notes.ledger.state_of(1).unwrap();
    assert_eq!((state.cursor, state.already), (Some(1), 1));
}

#[test]
fn a_unit_created_before_a_retry_is_counted_once() {
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    let engine = Engine::new(&[&ONLY]);
    engine.run(&mut notes, UNLIMITED).unwrap();
    notes.old.insert(9, &"a note in the old layout".into());
    engine.control(&mut notes, NOW).unwrap().retry(None).unwrap();
    engine.run(&mut notes, UNLIMITED).unwrap();
    let state = notes.ledger.state_of(1).unwrap();
    assert_eq!((state.phase, state.source), (Phase::Converted, 5), "{}", state.note);
    assert_eq!((state.converted, state.quarantined), (4, 1));
}

#[test]
fn a_retried_unit_that_was_touched_is_counted_once() {
    for touched_again in [false, true] {
        let mut notes = Notes::<u64>::open(old_release(1..=3_u64));
        let engine = Engine::new(&[&ONLY]);
        engine.run(&mut notes, UNLIMITED).unwrap();
        notes.old.insert_raw(9, vec![0xff]);
        Engine::touch(&ONLY, &mut notes, 9, NOW).unwrap();
        for key in [9, 3] {
            engine.control(&mut notes, NOW).unwrap().retry(Some(key)).unwrap();
        }
        if touched_again {
            Engine::touch(&ONLY, &mut notes, 9, NOW).unwrap();
        }
        engine.run(&mut notes, UNLIMITED).unwrap();
        let state = notes.ledger.state_of(1).unwrap();
        assert_eq!((state.phase, state.source), (Phase::Converted, 4), "{}", state.note);
        assert_eq!(state.quarantined, 2);
    }
}

#[test]
fn a_touch_that_fails_in_the_new_layout_records_that_layout() {
    static NEXT: Plan = Plan { number: 2, from: Layout(2), to: Layout(3), ..COUNT_WORDS };
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    notes.old.insert(3, &CANNOT_CONVERT.to_owned());
    Engine::touch(&ONLY, &mut notes, 3, NOW).unwrap_err();
    assert_eq!((notes.layout(), notes.old.len(), notes.new.len()), (Ok(Layout(2)), 4, 0));
    let state = notes.ledger.state_of(1).unwrap();
    assert_eq!((state.plan, state.proven_since), (Some(COUNT_WORDS.digest()), Some(NOW.as_nanos())));
    assert_eq!((state.phase, state.source, state.imbalance()), (Phase::Idle, 0, None));
    let next = Engine::enter_layout(&CountWords(&NEXT), &mut notes, NOW);
    assert!(matches!(next, Err(Error::NotEntered { .. })), "the next migration does not wait: {next:?}");

    notes.old.insert(3, &"note number 3".into());
    Engine::new(&[&ONLY]).run(&mut notes, UNLIMITED).unwrap();
    let state = notes.ledger.state_of(1).unwrap();
    assert_eq!((state.phase, state.source), (Phase::Converted, 4), "{}", state.note);
}

#[test]
fn a_failed_change_of_layout_keeps_the_old_layout() {
    static BLOCKED: Plan = Plan { name: CANNOT_ENTER, ..COUNT_WORDS };
    let blocked = CountWords(&BLOCKED);
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    Engine::touch(&blocked, &mut notes, 3, NOW).unwrap_err();
    Engine::enter_layout(&blocked, &mut notes, NOW).unwrap_err();
    assert_eq!((notes.layout(), notes.ledger.state_of(1)), (Ok(Layout(1)), Ok(MigrationState::default())));
    Engine::new(&[&blocked as &dyn Migration<Notes<u64>>]).run(&mut notes, UNLIMITED).unwrap();
    let state = notes.ledger.state_of(1).unwrap();
    assert_eq!((state.phase, state.proven_since, notes.layout()), (Phase::Stuck, None, Ok(Layout(1))));

    let engine = Engine::new(&[&ONLY]);
    engine.control(&mut notes, NOW).unwrap().resume().unwrap();
    engine.run(&mut notes, UNLIMITED).unwrap();
    let events: Vec<_> = notes.ledger.journal(0).unwrap().into_iter().map(|entry| entry.event).collect();
    assert!(events.contains(&"layout 2".to_owned()), "{events:?}");
    assert_eq!(notes.ledger.state_of(1).unwrap().phase, Phase::Converted);
}
