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

#[test]
fn a_touch_converts_all_slices_of_a_unit_and_counts_it_once() {
    let mut notes = sliced_notes();
    Engine::touch(&SLICED, &mut notes, 3, NOW).unwrap();
    assert_eq!(notes.new.get(&3), Ok(Some(convert_text("note number 1".into()))));
    ENGINE.run(&mut notes, UNLIMITED).unwrap();
    let after = state(&notes);
    assert_eq!((after.phase, after.source, after.already), (Phase::Converted, 4, 1), "{}", after.note);
}
