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

/// Returns the texts of the notes that are text.
fn old_texts(notes: &Notes<u64>) -> Vec<(u64, String)> {
    notes.old.range(..).flatten().collect()
}

/// Returns the notes after a whole migration and one slice of a rollback, and the texts that they had before.
fn begun_rollback() -> (Notes<u64>, Vec<(u64, String)>) {
    let mut notes = sliced_notes();
    let before = old_texts(&notes);
    ENGINE.run(&mut notes, UNLIMITED).unwrap();
    ENGINE.control(&mut notes, NOW).unwrap().rollback().unwrap();
    run_until_begun(&mut notes);
    (notes, before)
}

#[test]
fn a_rollback_abandons_a_partly_converted_unit() {
    let mut notes = sliced_notes();
    let before = old_texts(&notes);
    run_until_begun(&mut notes);
    ENGINE.control(&mut notes, NOW).unwrap().rollback().unwrap();
    assert_eq!((state(&notes).unit, notes.new.len()), (None, 0));
    assert_eq!(state(&notes).rollback, Some(Rollback { done: 0, left: 0 }));
    ENGINE.run(&mut notes, UNLIMITED).unwrap();
    assert_eq!((state(&notes).phase, old_texts(&notes)), (Phase::RolledBack, before));
}

#[test]
fn a_unit_created_in_a_rollback_waits_for_the_begun_one() {
    let (mut notes, mut before) = begun_rollback();
    Engine::enter_layout(&SLICED, &mut notes, NOW).unwrap();
    notes.new.insert(1, &convert_text("a lower key".into()));
    ENGINE.run(&mut notes, UNLIMITED).unwrap();
    before.insert(0, (1, "a lower key".into()));
    assert_eq!((state(&notes).phase, notes.new.len()), (Phase::RolledBack, 0));
    assert_eq!(old_texts(&notes), before);
}

#[test]
fn a_rollback_that_is_begun_again_continues_its_begun_unit() {
    let (mut notes, before) = begun_rollback();
    ENGINE.control(&mut notes, NOW).unwrap().pause().unwrap();
    ENGINE.control(&mut notes, NOW).unwrap().rollback().unwrap();
    ENGINE.run(&mut notes, UNLIMITED).unwrap();
    assert_eq!((state(&notes).phase, old_texts(&notes)), (Phase::RolledBack, before));
}

#[test]
fn a_unit_removed_between_slices_of_a_rollback_leaves_nothing() {
    let (mut notes, before) = begun_rollback();
    notes.new.remove(&2);
    ENGINE.run(&mut notes, UNLIMITED).unwrap();
    assert_eq!((state(&notes).phase, state(&notes).unit), (Phase::RolledBack, None));
    assert_eq!(old_texts(&notes), before[1..]);
}

#[test]
fn an_abandoned_rollback_completes_its_begun_unit() {
    let (mut notes, before) = begun_rollback();
    ENGINE.go_forward(&mut notes, NOW).unwrap();
    assert_eq!((state(&notes).unit, old_texts(&notes)), (None, before[..1].to_vec()));
    ENGINE.run(&mut notes, UNLIMITED).unwrap();
    assert_eq!(state(&notes).phase, Phase::Converted, "{}", state(&notes).note);
    assert_eq!(notes.new.get(&2), Ok(Some(convert_text(before[0].1.clone()))));
}

#[test]
fn a_begun_rollback_is_not_abandoned_without_its_reversal() {
    static ONE_WAY_PLAN: Plan = Plan { name: ONE_WAY, ..COUNT_WORDS };
    let (mut notes, _) = begun_rollback();
    let before = state(&notes);
    let one_way: [&dyn Migration<Notes<u64>>; 1] = [&CountWords(&ONE_WAY_PLAN)];
    let refused = Engine::new(&one_way).go_forward(&mut notes, NOW).unwrap_err();
    let why = "cannot stop rolling back the migration in phase RollingBack: unit 2 is partly converted back, and this \
               build has no rollback";
    assert_eq!((refused.to_string().as_str(), state(&notes)), (why, before));
}

#[test]
fn an_error_between_slices_of_a_rollback_keeps_the_progress() {
    let (mut notes, before) = begun_rollback();
    let note = notes.new.get_raw(&2).unwrap();
    notes.new.insert_raw(2, Vec::new());
    ENGINE.run(&mut notes, UNLIMITED).unwrap();
    assert_eq!(state(&notes).phase, Phase::Stuck);
    notes.new.insert_raw(2, note);
    ENGINE.control(&mut notes, NOW).unwrap().resume().unwrap();
    ENGINE.run(&mut notes, UNLIMITED).unwrap();
    assert_eq!((state(&notes).phase, old_texts(&notes)), (Phase::RolledBack, before));
}
