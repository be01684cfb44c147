//! What prevents finalization: units that are not converted, and target units that are not sound.

use candid::Principal;

use super::*;

#[test]
fn a_source_unit_that_appears_later_prevents_finalization() {
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    let engine = Engine::new(&[&ONLY]);
    engine.run(&mut notes, UNLIMITED).unwrap();
    notes.old.insert(9, &"written by something else".into());
    let refused = engine.control(&mut notes, NOW).unwrap().finalize(true).unwrap_err();
    assert!(refused.to_string().contains("unit 9 is neither converted nor quarantined"), "{refused}");
}

#[test]
fn a_changed_target_is_found_before_finalization() {
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    let engine = Engine::new(&[&ONLY]);
    engine.run(&mut notes, UNLIMITED).unwrap();
    notes.new.insert(2, &Counted { words: 9, text: "two words".into() });
    engine.control(&mut notes, NOW).unwrap().verify().unwrap();
    engine.run(&mut notes, UNLIMITED).unwrap();
    let state = notes.ledger.state_of(1).unwrap();
    assert!(state.note.contains("1 of 3 records are not sound"), "{}", state.note);
    let refused = engine.control(&mut notes, NOW).unwrap().finalize(true).unwrap_err();
    assert!(refused.to_string().contains("note 2 has another number of words"), "{refused}");
}

#[test]
fn a_migration_without_any_source_can_be_finalized_at_once() {
    let engine = Engine::new(&[&ONLY]);
    let mut fresh = Notes::<u64>::open(Memories::default());
    fresh.set_layout(Layout(2));
    engine.run(&mut fresh, UNLIMITED).unwrap();
    assert_eq!(fresh.ledger.state_of(1).unwrap().phase, Phase::Idle, "nothing has begun");
    engine.control(&mut fresh, NOW).unwrap().finalize(false).unwrap();
    assert_eq!(fresh.ledger.state_of(1).unwrap().phase, Phase::Finalized);
    let mut waiting = Notes::<u64>::open(old_release(1..=4_u64));
    let refused = engine.control(&mut waiting, NOW).unwrap().finalize(false).unwrap_err();
    assert!(refused.to_string().ends_with("it has not begun; wait for Converted"), "{refused}");
}

#[test]
fn a_migration_begun_by_a_new_unit_becomes_converted() {
    let engine = Engine::new(&[&ONLY]);
    let mut notes = Notes::<u64>::open(Memories::default());
    Engine::enter_layout(&ONLY, &mut notes, NOW).unwrap();
    notes.new.insert(1, &convert_text("a new note".into()));
    engine.run(&mut notes, UNLIMITED).unwrap();
    assert_eq!(notes.ledger.state_of(1).unwrap().phase, Phase::Converted);
    engine.control(&mut notes, NOW).unwrap().finalize(false).unwrap();
}

#[test]
fn a_changed_target_of_a_touch_is_found_before_finalization() {
    let mut notes = Notes::<u64>::open(Memories::default());
    notes.set_layout(Layout(2));
    notes.old.insert(2, &"two words".into());
    Engine::touch(&ONLY, &mut notes, 2, NOW).unwrap();
    let state = notes.ledger.state_of(1).unwrap();
    assert_eq!((state.phase, state.source, state.already), (Phase::Idle, 1, 1));
    notes.new.insert(2, &Counted { words: 9, text: "two words".into() });
    let engine = Engine::new(&[&ONLY]);
    let refused = engine.control(&mut notes, NOW).unwrap().finalize(false).unwrap_err();
    assert!(refused.to_string().contains("note 2 has another number of words"), "{refused}");
    notes.new.insert(2, &convert_text("two words".into()));
    engine.control(&mut notes, NOW).unwrap().finalize(false).unwrap();
}

/// Returns notes after a migration, with a source under each of these keys. All but the last are quarantined in place:
/// each is in the old table and in quarantine. The last is only in the old table, as if it had appeared afterwards.
fn notes_quarantined_in_place<K: Key>(keys: Vec<K>) -> Notes<K> {
    let mut notes = Notes::<K>::open(old_release(keys.clone()));
    let last = keys.last().unwrap();
    // Not text, so the migration would quarantine it.
    notes.old.remove(last);
    Engine::new(&[&ONLY as &dyn Migration<Notes<K>>]).run(&mut notes, UNLIMITED).unwrap();
    for key in &keys {
        notes.old.insert(key.clone(), &"stays".to_owned());
        if key != last {
            let quarantined = QuarantineRecord::new("stays in place".into(), b"stays".to_vec());
            notes.ledger.quarantine.insert(1, key, &quarantined);
        }
    }
    notes
}

/// Checks that finalization is refused while the last of these keys is a source unit, and succeeds once it is removed.
fn assert_last_prevents_finalization<K: Key>(keys: Vec<K>) {
    let last = keys.last().unwrap().clone();
    let mut notes = notes_quarantined_in_place(keys);
    let only: [&dyn Migration<Notes<K>>; 1] = [&ONLY];
    let engine = Engine::new(&only);
    let refused = engine.control(&mut notes, NOW).unwrap().finalize(true).unwrap_err();
    let message = format!("unit {last:?} is neither converted nor quarantined");
    assert!(refused.to_string().contains(&message), "{refused}");
    assert_eq!(notes.ledger.state_of(1).unwrap().phase, Phase::Converted);
    notes.old.remove(&last);
    engine.control(&mut notes, NOW).unwrap().finalize(true).unwrap();
}

#[test]
fn finalize_finds_a_source_after_any_number_in_quarantine() {
    assert_last_prevents_finalization((1..=2_500_u64).collect());
}

/// Principals as keys are in another order than their stored bytes, by which the quarantine is ordered.
#[test]
fn finalize_finds_a_source_in_any_order_of_the_keys() {
    let mut keys: Vec<_> = (0..300_u16)
        .map(|n| Principal::from_slice(&n.to_le_bytes()[..if n < 256 { 1 } else { 2 }]))
        .collect();
    keys.sort();
    assert_last_prevents_finalization(keys);
}
