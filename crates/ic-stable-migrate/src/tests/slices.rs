//! Units that take several messages: notes that are copied word by word.

use super::*;

static SLICED_PLAN: Plan = Plan { name: IN_SLICES, ..COUNT_WORDS };
const SLICED: CountWords = CountWords(&SLICED_PLAN);
const ENGINE: Engine<'static, Notes<u64>> = Engine::new(&[&SLICED]);

/// Returns four notes under the keys 2 to 5, of which the last is not text.
fn sliced_notes() -> Notes<u64> {
    Notes::open(old_release(2..=5_u64))
}

fn state(notes: &Notes<u64>) -> MigrationState {
    notes.ledger.state_of(1).unwrap()
}

/// Runs messages of one step until one of them leaves a unit unfinished.
fn run_until_begun(notes: &mut Notes<u64>) {
    while state(notes).unit.is_none() {
        assert_eq!(ENGINE.run(notes, STEP), Ok(RunOutcome::More));
    }
    assert_eq!(state(notes).unit, Some(UnitProgress { key: 2, progress: vec![0] }));
}

#[test]
fn a_touch_converts_all_slices_of_a_unit_and_counts_it_once() {
    let mut notes = sliced_notes();
    Engine::touch(&SLICED, &mut notes, 3, NOW).unwrap();
    assert_eq!(notes.new.get(&3), Ok(Some(convert_text("note number 1".into()))));
    ENGINE.run(&mut notes, UNLIMITED).unwrap();
    let after = state(&notes);
    assert_eq!((after.phase, after.source, after.already), (Phase::Converted, 4, 1), "{}", after.note);
}

#[test]
fn a_touch_completes_a_begun_unit_which_is_not_abandoned() {
    let mut notes = sliced_notes();
    run_until_begun(&mut notes);
    Engine::touch(&SLICED, &mut notes, 2, NOW).unwrap();
    assert_eq!(state(&notes).unit, None);
    ENGINE.run(&mut notes, UNLIMITED).unwrap();
    let after = state(&notes);
    assert_eq!((after.phase, after.source, after.already), (Phase::Converted, 4, 1), "{}", after.note);
    assert_eq!(notes.new.get(&2), Ok(Some(convert_text("note number 0".into()))));
}

#[test]
fn a_touch_that_fails_ends_the_begun_unit() {
    let mut notes = sliced_notes();
    run_until_begun(&mut notes);
    notes.old.insert(2, &CANNOT_CONVERT.to_owned());
    Engine::touch(&SLICED, &mut notes, 2, NOW).unwrap_err();
    assert_eq!((state(&notes).unit, state(&notes).source, notes.new.len()), (None, 4, 0));
    notes.old.insert(2, &"note number 0".into());
    ENGINE.run(&mut notes, UNLIMITED).unwrap();
    assert_eq!(state(&notes).phase, Phase::Converted, "{}", state(&notes).note);
}
