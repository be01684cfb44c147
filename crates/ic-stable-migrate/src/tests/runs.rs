//! Whole runs, under keys of every kind.

use candid::Principal;

use super::*;

fn texts<K: Key>(table: &Table<K, String, VectorMemory>) -> Vec<(K, Vec<u8>)> {
    table.raw_after(None).collect()
}

/// Converts, one step in each message and an upgrade after each; retries, rolls back with a later write kept,
/// converts again, finalizes.
fn there_and_back<K: Key>(keys: Vec<K>, later: K) {
    let memories = old_release(keys.clone());
    let only: [&dyn Migration<Notes<K>>; 1] = [&ONLY];
    let engine = Engine::new(&only);
    let before = texts(&Notes::<K>::open(memories.clone()).old);
    let damaged = keys.last().unwrap().clone();
    let total = keys.len() as u64;

    let mut messages = 0;
    loop {
        let mut notes = Notes::<K>::open(memories.clone());
        engine.check(&notes).unwrap();
        if engine.run(&mut notes, STEP).unwrap() == Progress::Done {
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
    assert_eq!(notes.ledger.quarantine.get(1, &damaged).unwrap().unwrap().raw, [0xff]);
    let listed = notes.ledger.quarantined(None);
    assert!(matches!(listed.as_slice(), [unit] if unit.session == damaged), "{listed:?}");

    engine.control(&mut notes, NOW).unwrap().retry(Some(damaged.clone())).unwrap();
    engine.run(&mut notes, WHOLE).unwrap();
    assert_eq!(notes.ledger.state_of(1).unwrap().quarantined, 1, "it is as damaged as before");
    let missing = engine.control(&mut notes, NOW).unwrap().retry(Some(later.clone())).unwrap_err();
    assert_eq!(missing, Error::NotQuarantined { key: format!("{later:?}") });

    notes.new.insert(later.clone(), &convert_text("a later write".into()));
    engine.control(&mut notes, NOW).unwrap().rollback().unwrap();
    engine.run(&mut notes, WHOLE).unwrap();
    assert_eq!((notes.layout(), notes.new.len()), (Ok(Layout(1)), 0));
    assert_eq!(notes.old.get(&later), Ok(Some("a later write".into())));
    notes.old.remove(&later);
    assert_eq!(texts(&notes.old), before, "every record is what it was, to the byte");

    engine.control(&mut notes, NOW).unwrap().resume().unwrap();
    engine.run(&mut notes, WHOLE).unwrap();
    let refused = engine.control(&mut notes, NOW).unwrap().finalize(false).unwrap_err();
    assert!(refused.to_string().contains("consent to leaving them"), "{refused}");
    engine.control(&mut notes, NOW).unwrap().finalize(true).unwrap();
    assert_eq!(notes.ledger.state_of(1).unwrap().phase, Phase::Finalized);
    engine.check(&notes).unwrap();
    let refused = engine.control(&mut notes, NOW).unwrap().rollback().unwrap_err();
    assert!(
        matches!(refused, Error::Refused { action: "roll back", phase: Phase::Finalized, .. }),
        "{refused:?}"
    );
    let journal = notes.ledger.journal(0).unwrap();
    assert!(journal.windows(2).all(|pair| pair[0].hash == pair[1].previous), "each has the hash of the last");
    let hashes: std::collections::BTreeSet<_> = journal.iter().map(|entry| &entry.hash).collect();
    assert_eq!(hashes.len(), journal.len(), "no two entries have the same");
    assert!(journal.iter().all(|entry| (entry.build.as_str(), entry.features.len()) == ("notes 2", 1)));
}

#[test]
fn numbers_as_keys_go_there_and_back() {
    there_and_back((1..=5).collect::<Vec<u64>>(), 9);
    there_and_back((1..=5).collect::<Vec<u32>>(), 9);
}

#[test]
fn texts_as_keys_go_there_and_back() {
    there_and_back(["", "a", "ab", "b"].map(str::to_owned).to_vec(), "aa".to_owned());
}

/// Their order is not that of their bytes.
#[test]
fn principals_as_keys_go_there_and_back() {
    let mut keys: Vec<_> = [&[1][..], &[1, 2, 3], &[2], &[0, 9]].map(Principal::from_slice).to_vec();
    keys.sort();
    there_and_back(keys, Principal::from_slice(&[1, 1]));
}

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
        engine.run(&mut notes, WHOLE).unwrap();
        let state = notes.ledger.state_of(1).unwrap();
        assert_eq!((state.phase, state.source), (Phase::Converted, 4), "after {steps} steps: {}", state.note);
        assert_eq!((state.converted + state.already, state.quarantined), (3, 1), "after {steps} steps");
    }
}

#[test]
fn a_touch_of_a_unit_that_is_gone_counts_nothing() {
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    Engine::touch(&ONLY, &mut notes, 99, NOW).unwrap();
    assert_eq!(notes.ledger.state_of(1).unwrap().source, 0);
    Engine::new(&[&ONLY]).run(&mut notes, WHOLE).unwrap();
    assert_eq!(notes.ledger.state_of(1).unwrap().phase, Phase::Converted);
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
fn a_source_unit_that_appears_later_prevents_finalization() {
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    let engine = Engine::new(&[&ONLY]);
    engine.run(&mut notes, WHOLE).unwrap();
    notes.old.insert(9, &"written by somebody else".into());
    let refused = engine.control(&mut notes, NOW).unwrap().finalize(true).unwrap_err();
    assert!(refused.to_string().contains("unit 9 is neither converted nor quarantined"), "{refused}");
}

#[test]
fn an_old_build_that_takes_over_discards_all_but_a_final_state() {
    let phase_after = |before: Phase| {
        let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
        notes.ledger.set_state(1, &MigrationState { phase: before, ..MigrationState::default() });
        taken_over(&mut notes, NOW).unwrap();
        let told = notes.ledger.journal(0).unwrap().len();
        (notes.ledger.state_of(1).unwrap().phase, told)
    };
    assert_eq!(phase_after(Phase::Finalized), (Phase::Finalized, 0));
    assert_eq!(phase_after(Phase::Idle), (Phase::Idle, 0));
    for discarded in [Phase::Validating, Phase::Stuck, Phase::RolledBack] {
        assert_eq!(phase_after(discarded), (Phase::Idle, 1), "{discarded:?}");
    }
}

#[test]
fn a_pause_remembers_the_direction_of_the_run() {
    let state = |phase, resume_to| MigrationState::<u64> { phase, resume_to, ..MigrationState::default() };
    for (state, phase, is_going_back) in [
        (state(Phase::Converting, None), Phase::Converting, false),
        (state(Phase::Paused, Some(Phase::Converting)), Phase::Converting, false),
        (state(Phase::Stuck, Some(Phase::RollingBack)), Phase::RollingBack, true),
        (state(Phase::RollingBack, None), Phase::RollingBack, true),
        (state(Phase::RolledBack, None), Phase::RolledBack, true),
    ] {
        assert_eq!((state.interrupted_phase(), state.is_going_back()), (phase, is_going_back));
    }
}

#[test]
fn work_is_used_up_when_it_exceeds_its_budget() {
    let is_used_up = |budget| Work { now: NOW, meter: &OneStep, budget, progress: vec![] }.is_used_up();
    assert_eq!([0, 1, 2].map(is_used_up), [true, false, false]);
}

#[test]
fn a_dry_run_counts_every_class_and_writes_nothing() {
    let notes = Notes::<u64>::open(old_release(1..=5_u64));
    let page = Engine::new(&[&ONLY]).dry_run(&notes, WHOLE, None, None).unwrap();
    let classes: Vec<_> = page
        .classes
        .iter()
        .map(|class| (class.class.as_str(), class.count, class.examples.clone()))
        .collect();
    assert_eq!(classes, [("note", 4, vec![1, 2, 3]), ("damaged", 1, vec![5])]);
    assert_eq!((page.units, page.next, notes.ledger.state_of(1).unwrap().source), (5, None, 0));
}

#[test]
fn a_changed_target_is_found_before_finalization() {
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    let engine = Engine::new(&[&ONLY]);
    engine.run(&mut notes, WHOLE).unwrap();
    notes.new.insert(2, &Counted { words: 9, text: "two words".into() });
    engine.control(&mut notes, NOW).unwrap().verify().unwrap();
    engine.run(&mut notes, WHOLE).unwrap();
    let state = notes.ledger.state_of(1).unwrap();
    assert!(state.note.contains("1 of 3 records are not sound"), "{}", state.note);
    let refused = engine.control(&mut notes, NOW).unwrap().finalize(true).unwrap_err();
    assert!(refused.to_string().contains("note 2 has another number of words"), "{refused}");
}

#[test]
fn the_watch_halves_the_batch_of_a_message_that_traps() {
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    let engine = Engine::new(&[&ONLY]);
    let mut seen = None;
    engine.run(&mut notes, STEP).unwrap();
    assert_eq!(engine.watch(&mut notes, NOW, &mut seen), Ok(Watched::Quiet), "the message may still run");
    assert_eq!(engine.watch(&mut notes, NOW, &mut seen), Ok(Watched::Run), "it has not committed");
    assert_eq!(notes.ledger.state_of(1).unwrap().pace.limit, 512);
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
    engine.run(&mut notes, WHOLE).unwrap();
    assert_eq!((notes.layout(), notes.new.len()), (Ok(Layout(1)), 0));
    engine.control(&mut notes, NOW).unwrap().resume().unwrap();
    engine.run(&mut notes, WHOLE).unwrap();
    assert_eq!(notes.new.len(), 3);
}

#[test]
fn a_message_after_a_trap_ends_at_its_limit_of_units() {
    let mut notes = Notes::<u64>::open(old_release(1..=40_u64));
    let engine = Engine::new(&[&ONLY]);
    engine.run(&mut notes, STEP).unwrap();
    let mut before = notes.ledger.state_of(1).unwrap();
    before.pace.limit = 8;
    notes.ledger.set_state(1, &before);
    assert_eq!(engine.run(&mut notes, WHOLE), Ok(Progress::More));
    let after = notes.ledger.state_of(1).unwrap();
    assert_eq!((after.pace.steps - before.pace.steps, after.pace.limit), (8, 16));
}

#[test]
fn a_run_after_a_rollback_keeps_counting_its_cost() {
    /// Every look at it takes an instruction.
    struct Ticking(std::cell::Cell<u64>);
    impl Meter for Ticking {
        fn used(&self) -> u64 {
            self.0.set(self.0.get() + 1);
            self.0.get()
        }
    }
    let meter = Ticking(Default::default());
    let message = Message { now: NOW, meter: &meter, budget: 1_000_000 };
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    let engine = Engine::new(&[&ONLY]);
    engine.run(&mut notes, message).unwrap();
    engine.control(&mut notes, NOW).unwrap().rollback().unwrap();
    engine.run(&mut notes, message).unwrap();
    let before = notes.ledger.state_of(1).unwrap();
    assert!(before.instructions > 0 && before.pace.messages > 1, "{before:?}");
    engine.control(&mut notes, NOW).unwrap().resume().unwrap();
    let after = notes.ledger.state_of(1).unwrap();
    assert_eq!((after.instructions, after.pace.messages), (before.instructions, before.pace.messages));
    assert_eq!((after.source, after.pace.steps), (0, 0));
}

#[test]
fn a_rollback_says_how_many_units_are_left() {
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    let engine = Engine::new(&[&ONLY]);
    engine.run(&mut notes, WHOLE).unwrap();
    engine.control(&mut notes, NOW).unwrap().rollback().unwrap();
    let mut left = Vec::new();
    while engine.run(&mut notes, STEP) == Ok(Progress::More) {
        left.extend(notes.ledger.state_of(1).unwrap().rollback.map(|rollback| rollback.left));
    }
    left.dedup();
    assert_eq!(left, [3, 2, 1, 0]);
}

#[test]
fn a_unit_that_traps_is_of_a_class_that_is_quarantined() {
    assert_eq!(CLASSES[Migration::<Notes<u64>>::trapped_class(&ONLY)].treatment, Treatment::Quarantine);
}

#[test]
fn only_a_plan_that_changes_during_a_run_is_journaled() {
    static OTHER: Plan = Plan { fields: &[("text", "body")], ..COUNT_WORDS };
    let changes = |notes: &Notes<u64>| {
        let journal = notes.ledger.journal(0).unwrap();
        journal.iter().filter(|entry| entry.event == "plan changed").count()
    };
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    for _ in 0..4 {
        Engine::new(&[&ONLY]).run(&mut notes, STEP).unwrap();
    }
    assert_eq!(changes(&notes), 0);
    for _ in 0..2 {
        Engine::new(&[&CountWords(&OTHER)]).run(&mut notes, STEP).unwrap();
        assert_eq!(changes(&notes), 1);
    }
    let state = notes.ledger.state_of(1).unwrap();
    assert_eq!((state.plan, state.name.as_str()), (Some(OTHER.digest()), "count words"));
}

#[test]
fn a_migration_without_any_source_can_be_finalized_at_once() {
    let engine = Engine::new(&[&ONLY]);
    let mut fresh = Notes::<u64>::open(Memories::default());
    fresh.set_layout(Layout(2));
    engine.control(&mut fresh, NOW).unwrap().finalize(false).unwrap();
    assert_eq!(fresh.ledger.state_of(1).unwrap().phase, Phase::Finalized);
    let mut waiting = Notes::<u64>::open(old_release(1..=4_u64));
    let refused = engine.control(&mut waiting, NOW).unwrap().finalize(false).unwrap_err();
    assert!(refused.to_string().contains("not everything is converted"), "{refused}");
}

#[test]
fn only_a_pause_before_the_beginning_is_a_deferral() {
    let state = |phase, resume_to| MigrationState::<u64> { phase, resume_to, ..MigrationState::default() };
    assert!(state(Phase::Paused, Some(Phase::Idle)).is_deferred());
    for (phase, resume_to) in [
        (Phase::Idle, None),
        (Phase::Paused, None),
        (Phase::Paused, Some(Phase::Converting)),
        (Phase::Stuck, Some(Phase::Idle)),
        (Phase::Converted, None),
    ] {
        assert!(!state(phase, resume_to).is_deferred(), "{phase:?} {resume_to:?}");
    }
}

#[test]
fn each_migration_has_its_own_quarantine() {
    let [states, journal, quarantine, state, first] = <[VectorMemory; 5]>::default();
    let first = Some(FirstMemories { state, quarantine: first });
    let build = Build { name: "notes 2", features: &[] };
    let mut ledger = Ledger::<u64, _>::open(LedgerMemories { states, journal, quarantine, first }, build);
    let kept = QuarantineRecord::new("damaged".into(), vec![1]);
    let units = [(1, 10), (2, 20), (3, 30)];
    units.iter().for_each(|(migration, key)| ledger.quarantine.insert(*migration, *key, &kept));
    [2, 3].iter().for_each(|later| ledger.set_state(*later, &MigrationState::default()));
    for (migration, key) in units {
        assert_eq!(ledger.quarantine.keys(migration, None, 9), [key]);
        assert!(ledger.quarantine.keys(migration, Some(key), 9).is_empty());
        assert_eq!(ledger.quarantine.len(migration), 1);
        for (other, of_other) in units {
            assert_eq!(ledger.quarantine.contains(migration, of_other), migration == other);
        }
    }
    assert_eq!(ledger.current(), 3);
    let listed: Vec<_> = ledger.quarantined(None).into_iter().map(|unit| unit.session).collect();
    assert_eq!(listed, [10, 20, 30]);
    assert!(ledger.quarantine.remove(2, 20) && !ledger.quarantine.remove(2, 10));
    assert_eq!((ledger.quarantine.len(2), ledger.quarantine.len(1)), (0, 1));
}

#[test]
fn a_layout_header_is_read_back_and_damage_is_named() {
    let mut register = Register::over(VectorMemory::default());
    assert!(register.raw().is_empty());
    register.set(&Layout(258));
    assert_eq!(register.raw(), b"LAY\x01\x01\x02");
    assert_eq!(Layout::decode(b"LAY\x01\x01\x02"), Ok(Layout(258)));
    assert_eq!(Layout::decode(b"LAY\x02\x01\x02"), Err("header version 2, expected 1".into()));
    let foreign = Layout::decode(b"BTR\x02").unwrap_err();
    assert!(foreign.contains("expected the magic"), "{foreign}");
}

#[test]
fn a_refused_endpoint_says_why() {
    let caller = Principal::anonymous();
    let unauthorized = api::EndpointError::Unauthorized { caller };
    assert_eq!(unauthorized.to_string(), format!("{caller} is not a controller"));
    assert_eq!(api::EndpointError::Refused("it is paused".into()).to_string(), "it is paused");
}

#[test]
fn a_host_without_room_stops_the_migration_with_the_reason() {
    struct Full(Notes<u64>);
    impl Host for Full {
        type Memory = VectorMemory;
        type Key = u64;
        type Error = Refusal;

        fn layout(&self) -> Result<Layout, StableError> {
            self.0.layout()
        }

        fn set_layout(&mut self, layout: Layout) {
            self.0.set_layout(layout);
        }

        fn ledger(&self) -> &Ledger<u64, VectorMemory> {
            &self.0.ledger
        }

        fn ledger_mut(&mut self) -> &mut Ledger<u64, VectorMemory> {
            &mut self.0.ledger
        }

        fn check_room(&self) -> Result<(), Refusal> {
            Err(Refusal("no room".into()))
        }
    }

    /// An error type of the host's own.
    #[derive(Debug)]
    struct Refusal(String);

    impl std::fmt::Display for Refusal {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(&self.0)
        }
    }

    impl From<Error> for Refusal {
        fn from(error: Error) -> Self {
            Self(error.to_string())
        }
    }

    impl From<StableError> for Refusal {
        fn from(error: StableError) -> Self {
            Self(error.to_string())
        }
    }

    struct Wrapped;
    impl Migration<Full> for Wrapped {
        fn plan(&self) -> &'static Plan {
            &COUNT_WORDS
        }

        fn sources(&self, full: &Full, last: Option<u64>, limit: usize) -> Result<Vec<u64>, Refusal> {
            Ok(ONLY.sources(&full.0, last, limit)?)
        }

        fn digest(&self, full: &Full, key: u64) -> Result<Option<Digest>, Refusal> {
            Ok(ONLY.digest(&full.0, key)?)
        }

        fn classify(&self, full: &Full, key: u64, now: Time) -> Result<Classified, Refusal> {
            Ok(ONLY.classify(&full.0, key, now)?)
        }

        fn convert(&self, full: &mut Full, key: u64, work: &mut Work<'_>) -> Result<Advance, Refusal> {
            Ok(ONLY.convert(&mut full.0, key, work)?)
        }

        fn restore(&self, full: &mut Full, key: u64, kept: QuarantineRecord) -> Result<(), Refusal> {
            Ok(ONLY.restore(&mut full.0, key, kept)?)
        }

        fn take_out(&self, full: &mut Full, key: u64, reason: String) -> Result<QuarantineRecord, Refusal> {
            Ok(ONLY.take_out(&mut full.0, key, reason)?)
        }

        fn targets(&self, full: &Full, last: Option<u64>, limit: usize) -> Vec<u64> {
            ONLY.targets(&full.0, last, limit)
        }

        fn check(&self, full: &Full, key: u64) -> Result<Option<String>, Refusal> {
            Ok(ONLY.check(&full.0, key)?)
        }
    }

    let mut full = Full(Notes::<u64>::open(old_release(1..=4_u64)));
    let engine = Engine::new(&[&Wrapped]);
    engine.run(&mut full, WHOLE).unwrap();
    let state = full.0.ledger.state_of(1).unwrap();
    assert_eq!((state.phase, state.note.as_str(), full.0.old.len()), (Phase::Stuck, "no room", 4));
    let refused = engine.control(&mut full, NOW).unwrap().rollback().unwrap_err();
    assert!(refused.0.contains("it cannot be rolled back"), "{refused}");
}

/// Returns notes of which all but the last are quarantined in place, as a migration may do whose units stay.
fn all_but_the_last_in_place<K: Key>(keys: Vec<K>) -> Notes<K> {
    let mut notes = Notes::<K>::open(old_release(keys.clone()));
    let last = keys.last().unwrap();
    notes.old.remove(last);
    Engine::new(&[&ONLY as &dyn Migration<Notes<K>>]).run(&mut notes, WHOLE).unwrap();
    for key in &keys {
        notes.old.insert(key.clone(), &"stays".to_owned());
        if key != last {
            let kept = QuarantineRecord::new("stays in place".into(), b"stays".to_vec());
            notes.ledger.quarantine.insert(1, key, &kept);
        }
    }
    notes
}

/// Finalizes, with `last` still a source unit, and again without it.
fn the_last_is_found<K: Key>(keys: Vec<K>) {
    let last = keys.last().unwrap().clone();
    let mut notes = all_but_the_last_in_place(keys);
    let only: [&dyn Migration<Notes<K>>; 1] = [&ONLY];
    let engine = Engine::new(&only);
    let refused = engine.control(&mut notes, NOW).unwrap().finalize(true).unwrap_err();
    let said = format!("unit {last:?} is neither converted nor quarantined");
    assert!(refused.to_string().contains(&said), "{refused}");
    assert_eq!(notes.ledger.state_of(1).unwrap().phase, Phase::Converted);
    notes.old.remove(&last);
    engine.control(&mut notes, NOW).unwrap().finalize(true).unwrap();
}

#[test]
fn finalize_finds_a_leftover_after_any_number_in_quarantine() {
    the_last_is_found((1..=2_500_u64).collect());
}

/// Principals are not in the order of their stored bytes.
#[test]
fn finalize_finds_a_leftover_in_any_order_of_the_keys() {
    let mut keys: Vec<_> = (0..300_u16)
        .map(|n| Principal::from_slice(&n.to_le_bytes()[..if n < 256 { 1 } else { 2 }]))
        .collect();
    keys.sort();
    the_last_is_found(keys);
}
