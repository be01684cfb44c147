//! Units that are quarantined where they are: they are still listed as source units, and counted once.

use super::*;

static IN_PLACE_PLAN: Plan = Plan { name: IN_PLACE, ..COUNT_WORDS };
const LEFT_IN_PLACE: CountWords = CountWords(&IN_PLACE_PLAN);
const ENGINE: Engine<'static, Notes<u64>> = Engine::new(&[&LEFT_IN_PLACE]);

/// Runs the migration to its end, and checks how many units are counted and how many of them are quarantined.
fn assert_converted(notes: &mut Notes<u64>, source: u64, quarantined: u64) {
    ENGINE.run(notes, UNLIMITED).unwrap();
    let state = notes.ledger.state_of(1).unwrap();
    let counts = (state.source, state.quarantined);
    assert_eq!((state.phase, counts), (Phase::Converted, (source, quarantined)), "{}", state.note);
}

#[test]
fn a_touch_of_a_unit_quarantined_in_place_counts_nothing() {
    let mut notes = Notes::open(old_release(1..=4_u64));
    assert_converted(&mut notes, 4, 1);
    Engine::touch(&LEFT_IN_PLACE, &mut notes, 4, NOW).unwrap();
    assert_converted(&mut notes, 4, 1);
    ENGINE.control(&mut notes, NOW).unwrap().finalize(true).unwrap();
}

#[test]
fn a_unit_that_a_touch_quarantines_in_place_is_counted_once() {
    let mut notes = Notes::open(old_release(1..=4_u64));
    for _ in 0..2 {
        Engine::touch(&LEFT_IN_PLACE, &mut notes, 4, NOW).unwrap();
    }
    assert_eq!(notes.ledger.state_of(1).unwrap().quarantined, 1);
    assert_converted(&mut notes, 4, 1);
}

#[test]
fn a_unit_in_place_is_counted_once_after_an_abandoned_rollback() {
    let mut notes = Notes::open(old_release(1..=4_u64));
    assert_converted(&mut notes, 4, 1);
    ENGINE.control(&mut notes, NOW).unwrap().rollback().unwrap();
    ENGINE.run(&mut notes, STEP).unwrap();
    ENGINE.go_forward(&mut notes, NOW).unwrap();
    assert_converted(&mut notes, 2, 1);
}

#[test]
fn a_later_unit_below_the_last_counted_one_is_counted() {
    for key in [2, 9] {
        let mut notes = Notes::open(old_release([1, 3, 4, 5_u64]));
        assert_converted(&mut notes, 4, 1);
        notes.old.insert(key, &"written by something else".into());
        assert_converted(&mut notes, 5, 1);
    }
}

#[test]
fn a_later_unit_below_the_last_one_is_counted_by_a_touch() {
    let mut notes = Notes::open(old_release([1, 3, 4, 5_u64]));
    assert_converted(&mut notes, 4, 1);
    notes.old.insert(2, &"written by something else".into());
    Engine::touch(&LEFT_IN_PLACE, &mut notes, 2, NOW).unwrap();
    assert_converted(&mut notes, 5, 1);
    ENGINE.control(&mut notes, NOW).unwrap().finalize(true).unwrap();
}

#[test]
fn a_later_unit_below_the_last_one_is_counted_by_a_retry() {
    for key in [None, Some(5)] {
        let mut notes = Notes::open(old_release([1, 3, 4, 5_u64]));
        assert_converted(&mut notes, 4, 1);
        notes.old.insert(2, &"written by something else".into());
        ENGINE.control(&mut notes, NOW).unwrap().retry(key).unwrap();
        assert_converted(&mut notes, 5, 1);
    }
}
