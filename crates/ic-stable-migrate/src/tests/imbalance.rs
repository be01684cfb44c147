//! Counts and digests that do not reconcile, since something has removed or changed a counted unit without a touch.

use super::*;

static WITHOUT_ROLLBACK: Plan = Plan { name: ONE_WAY, ..COUNT_WORDS };

/// Returns notes of which the engine has counted all four, and converted none.
fn counted_notes(migration: &CountWords) -> Notes<u64> {
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    while notes.ledger.state_of(1).unwrap().phase != Phase::Converting {
        Engine::new(&[migration as &dyn Migration<Notes<u64>>]).run(&mut notes, STEP).unwrap();
    }
    notes
}

/// Returns notes of which two are converted, and one is quarantined. The engine is stuck: note 2 is missing.
fn stuck_notes(migration: &CountWords) -> Notes<u64> {
    let mut notes = counted_notes(migration);
    notes.old.remove(&2);
    run(migration, &mut notes);
    assert_eq!(notes.ledger.state_of(1).unwrap().phase, Phase::Stuck);
    notes
}

fn run(migration: &CountWords, notes: &mut Notes<u64>) {
    Engine::new(&[migration as &dyn Migration<Notes<u64>>]).run(notes, UNLIMITED).unwrap();
}

fn control<'a>(migration: &'a CountWords, notes: &'a mut Notes<u64>) -> Control<'a, Notes<u64>> {
    Control::of(migration, notes, NOW).unwrap()
}

#[test]
fn a_missing_unit_that_exists_again_is_converted_by_a_resume() {
    let mut notes = stuck_notes(&ONLY);
    let resume = |notes: &mut Notes<u64>| {
        control(&ONLY, notes).resume().unwrap();
        run(&ONLY, notes);
        notes.ledger.state_of(1).unwrap()
    };
    assert_eq!(resume(&mut notes).phase, Phase::Stuck);
    notes.old.insert(2, &"note number 1".into());
    let state = resume(&mut notes);
    assert_eq!((state.phase, state.source, state.converted), (Phase::Converted, 4, 3), "{}", state.note);
}

#[test]
fn a_recount_continues_without_the_missing_units() {
    let mut notes = stuck_notes(&ONLY);
    control(&ONLY, &mut notes).recount().unwrap();
    run(&ONLY, &mut notes);
    let state = notes.ledger.state_of(1).unwrap();
    assert_eq!((state.phase, state.source, state.quarantined), (Phase::Converted, 1, 1), "{}", state.note);
    let journal = notes.ledger.journal(0).unwrap();
    let accepted = journal.iter().find(|entry| entry.event == "imbalance accepted").unwrap();
    assert_eq!((accepted.status.source, accepted.status.converted), (4, 2));
    // What was converted before is no longer counted, but must be sound.
    notes.new.insert(1, &Counted { words: 9, text: "two words".into() });
    let refused = control(&ONLY, &mut notes).finalize(true).unwrap_err();
    assert!(refused.to_string().contains("note 1 has another number of words"), "{refused}");
}

#[test]
fn only_an_imbalance_can_be_accepted() {
    let mut notes = counted_notes(&ONLY);
    notes.old.insert(1, &CANNOT_CONVERT.to_owned());
    run(&ONLY, &mut notes);
    let state = notes.ledger.state_of(1).unwrap();
    assert!(state.phase == Phase::Stuck && state.imbalance().is_some(), "{state:?}");
    let refused = control(&ONLY, &mut notes).recount().unwrap_err();
    assert!(matches!(&refused, Error::Refused { action: "recount", .. }), "{refused}");
}

#[test]
fn a_refusal_after_an_imbalance_says_what_helps() {
    for (migration, what) in [(&ONLY, "roll it back"), (&CountWords(&WITHOUT_ROLLBACK), "`Control::recount`")]
    {
        let mut notes = stuck_notes(migration);
        let refused = control(migration, &mut notes).finalize(true).unwrap_err();
        assert!(refused.to_string().contains(what), "{refused}");
    }
}

#[test]
fn the_note_of_an_imbalance_has_its_number_and_cause() {
    let state = stuck_notes(&ONLY).ledger.state_of(1).unwrap();
    assert!(
        state.note.contains("nor quarantined: 1; a call must touch a unit before it removes it"),
        "{}",
        state.note
    );
    let extra = MigrationState { source: 1, ..state };
    assert!(extra.explained_imbalance().unwrap().ends_with("not counted: 2"));

    let mut notes = counted_notes(&ONLY);
    notes.old.insert(2, &"changed".into());
    run(&ONLY, &mut notes);
    let note = notes.ledger.state_of(1).unwrap().note;
    assert!(
        note.contains("digest") && note.ends_with("a call must touch a unit before it changes it"),
        "{note}"
    );
}
