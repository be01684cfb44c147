//! Whole runs with keys of every kind; and dry runs, deferral, rollback and a change of plan.

use candid::Principal;

use super::*;

/// Returns the stored bytes of all notes, those that are not text included.
fn texts<K: Key>(table: &Table<K, String, VectorMemory>) -> Vec<(K, Vec<u8>)> {
    table.raw_after(None).collect()
}

/// Converts with one step per message and an upgrade after each message. Then retries the damaged note, rolls back
/// without losing a later write, converts again, and finalizes.
fn migrate_and_roll_back<K: Key>(keys: Vec<K>, later_key: K) {
    let memories = old_release(keys.clone());
    let only: [&dyn Migration<Notes<K>>; 1] = [&ONLY];
    let engine = Engine::new(&only);
    let before = texts(&Notes::<K>::open(memories.clone()).old);
    let damaged_key = keys.last().unwrap().clone();
    let total = keys.len() as u64;

    let mut messages = 0;
    loop {
        let mut notes = Notes::<K>::open(memories.clone());
        engine.check(&notes).unwrap();
        if engine.run(&mut notes, STEP).unwrap() == RunOutcome::Done {
            break;
        }
        messages += 1;
    }
    assert!(messages > 2 * total, "{messages} messages");
    let mut notes = Notes::<K>::open(memories.clone());
    let state = notes.ledger.state_of(1).unwrap();
    assert_eq!(
        (state.phase, state.source, state.converted, state.quarantined),
        (Phase::Converted, total, total - 1, 1)
    );
    assert_eq!((state.imbalance(), state.digest_before), (None, state.digest_after));
    assert_eq!(notes.layout(), Ok(Layout(2)));
    assert_eq!(notes.ledger.quarantine.get(1, &damaged_key).unwrap().unwrap().raw, [0xff]);
    let listed = notes.ledger.quarantined(None);
    assert!(matches!(listed.as_slice(), [unit] if unit.session == damaged_key), "{listed:?}");

    engine.control(&mut notes, NOW).unwrap().retry(Some(damaged_key.clone())).unwrap();
    engine.run(&mut notes, UNLIMITED).unwrap();
    assert_eq!(notes.ledger.state_of(1).unwrap().quarantined, 1, "the note is as damaged as before");
    let missing = engine.control(&mut notes, NOW).unwrap().retry(Some(later_key.clone())).unwrap_err();
    assert_eq!(missing, Error::NotQuarantined { key: format!("{later_key:?}") });

    notes.new.insert(later_key.clone(), &convert_text("a later write".into()));
    engine.control(&mut notes, NOW).unwrap().rollback().unwrap();
    engine.run(&mut notes, UNLIMITED).unwrap();
    assert_eq!((notes.layout(), notes.new.len()), (Ok(Layout(1)), 0));
    assert_eq!(notes.old.get(&later_key), Ok(Some("a later write".into())));
    notes.old.remove(&later_key);
    assert_eq!(texts(&notes.old), before, "every record is what it was, to the byte");

    engine.control(&mut notes, NOW).unwrap().resume().unwrap();
    engine.run(&mut notes, UNLIMITED).unwrap();
    let refused = engine.control(&mut notes, NOW).unwrap().finalize(false).unwrap_err();
    assert!(refused.to_string().contains("finalize with `true`"), "{refused}");
    engine.control(&mut notes, NOW).unwrap().finalize(true).unwrap();
    assert_eq!(notes.ledger.state_of(1).unwrap().phase, Phase::Finalized);
    engine.check(&notes).unwrap();
    let refused = engine.control(&mut notes, NOW).unwrap().rollback().unwrap_err();
    assert!(
        matches!(refused, Error::Refused { action: "roll back", phase: Phase::Finalized, .. }),
        "{refused:?}"
    );
    let journal = notes.ledger.journal(0).unwrap();
    assert!(
        journal.windows(2).all(|pair| pair[0].hash == pair[1].previous),
        "each entry has the hash of the previous one"
    );
    let hashes: std::collections::BTreeSet<_> = journal.iter().map(|entry| &entry.hash).collect();
    assert_eq!(hashes.len(), journal.len(), "no two entries have the same hash");
    assert!(journal.iter().all(|entry| (entry.build.as_str(), entry.features.len()) == ("notes 2", 1)));
}

#[test]
fn numbers_as_keys_migrate_and_roll_back() {
    migrate_and_roll_back((1..=5).collect::<Vec<u64>>(), 9);
    migrate_and_roll_back((1..=5).collect::<Vec<u32>>(), 9);
}

#[test]
fn texts_as_keys_migrate_and_roll_back() {
    migrate_and_roll_back(["", "a", "ab", "b"].map(str::to_owned).to_vec(), "aa".to_owned());
}

/// Principals as keys are in another order than their stored bytes, by which the quarantine is ordered.
#[test]
fn principals_as_keys_migrate_and_roll_back() {
    let mut keys: Vec<_> = [&[1][..], &[1, 2, 3], &[2], &[0, 9]].map(Principal::from_slice).to_vec();
    keys.sort();
    migrate_and_roll_back(keys, Principal::from_slice(&[1, 1]));
}

#[test]
fn a_dry_run_counts_every_class_and_writes_nothing() {
    let notes = Notes::<u64>::open(old_release(1..=5_u64));
    let page = Engine::new(&[&ONLY]).dry_run(&notes, UNLIMITED, None, None).unwrap();
    let classes: Vec<_> = page
        .classes
        .iter()
        .map(|class| (class.class.as_str(), class.count, class.examples.clone()))
        .collect();
    assert_eq!(classes, [("note", 4, vec![1, 2, 3]), ("damaged", 1, vec![5])]);
    assert_eq!((page.units, page.next, notes.ledger.state_of(1).unwrap().source), (5, None, 0));
    assert_eq!(
        page.estimated_instructions, page.instructions,
        "by default, a conversion costs nothing beyond the digest"
    );
}

#[test]
fn a_page_of_a_dry_run_has_at_least_one_unit() {
    let notes = Notes::<u64>::open(old_release(1..=5_u64));
    let page = Engine::new(&[&ONLY]).dry_run(&notes, UNLIMITED, None, Some(0)).unwrap();
    assert_eq!((page.units, page.next), (1, Some(1)));
}

#[test]
fn a_deferred_migration_waits_until_it_is_resumed() {
    let memories = old_release(1..=4_u64);
    let mut notes = Notes::<u64>::open(memories.clone());
    defer(&mut notes, NOW).unwrap();
    let wrong = defer(&mut notes, NOW).unwrap_err();
    assert_eq!(wrong, Error::WrongPhase { expected: Phase::Idle, found: Phase::Paused });
    let mut notes = Notes::<u64>::open(memories);
    let engine = Engine::new(&[&ONLY]);
    engine.check(&notes).unwrap();
    engine.run(&mut notes, UNLIMITED).unwrap();
    assert_eq!((notes.layout(), notes.new.len()), (Ok(Layout(1)), 0));
    engine.control(&mut notes, NOW).unwrap().resume().unwrap();
    engine.run(&mut notes, UNLIMITED).unwrap();
    assert_eq!(notes.new.len(), 3);
}

#[test]
fn a_migration_begun_by_a_client_is_not_deferred() {
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    Engine::enter_layout(&ONLY, &mut notes, NOW).unwrap();
    let before = notes.ledger.state_of(1).unwrap();
    let refused = defer(&mut notes, NOW).unwrap_err();
    assert!(matches!(refused, Error::Refused { action: "defer", phase: Phase::Idle, .. }), "{refused}");
    assert_eq!(notes.ledger.state_of(1).unwrap(), before);
}

/// A released migration begins from scratch, so one that has converted units must not be released.
#[test]
fn a_migration_paused_after_its_start_is_not_released() {
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    let engine = Engine::new(&[&ONLY]);
    engine.run(&mut notes, UNLIMITED).unwrap();
    engine.control(&mut notes, NOW).unwrap().rollback().unwrap();
    engine.control(&mut notes, NOW).unwrap().pause().unwrap();
    let before = notes.ledger.state_of(1).unwrap();
    let refused = release(&mut notes, NOW).unwrap_err();
    assert!(matches!(refused, Error::Refused { action: "release", phase: Phase::Paused, .. }), "{refused}");
    assert_eq!(notes.ledger.state_of(1).unwrap(), before);
}

#[test]
fn a_rollback_reports_how_many_units_are_left() {
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    let engine = Engine::new(&[&ONLY]);
    engine.run(&mut notes, UNLIMITED).unwrap();
    engine.control(&mut notes, NOW).unwrap().rollback().unwrap();
    let mut left = Vec::new();
    while engine.run(&mut notes, STEP) == Ok(RunOutcome::More) {
        left.extend(notes.ledger.state_of(1).unwrap().rollback.map(|rollback| rollback.left));
    }
    left.dedup();
    assert_eq!(left, [3, 2, 1, 0]);
}

#[test]
fn only_a_plan_that_changes_during_a_run_is_journaled() {
    static OTHER: Plan = Plan { fields: &[("text", "body")], ..COUNT_WORDS };
    let count_changes = |notes: &Notes<u64>| {
        let journal = notes.ledger.journal(0).unwrap();
        journal.iter().filter(|entry| entry.event == "plan changed").count()
    };
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    for _ in 0..4 {
        Engine::new(&[&ONLY]).run(&mut notes, STEP).unwrap();
    }
    assert_eq!(count_changes(&notes), 0);
    for _ in 0..2 {
        Engine::new(&[&CountWords(&OTHER)]).run(&mut notes, STEP).unwrap();
        assert_eq!(count_changes(&notes), 1);
    }
    let state = notes.ledger.state_of(1).unwrap();
    assert_eq!((state.plan, state.name.as_str()), (Some(OTHER.digest()), "count words"));
}
