//! What the engine keeps in stable memory (states, quarantines, journal, layout header), and what phases and errors
//! mean.

use candid::Principal;

use super::*;

#[test]
fn an_old_build_that_takes_over_discards_all_but_a_final_state() {
    let phase_after = |before: Phase| {
        let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
        notes.ledger.set_state(1, &MigrationState { phase: before, ..MigrationState::default() });
        discard_progress(&mut notes, NOW).unwrap();
        let entries = notes.ledger.journal(0).unwrap().len();
        (notes.ledger.state_of(1).unwrap().phase, entries)
    };
    assert_eq!(phase_after(Phase::Finalized), (Phase::Finalized, 0));
    assert_eq!(phase_after(Phase::Idle), (Phase::Idle, 0));
    for discarded in [Phase::Validating, Phase::Stuck, Phase::RolledBack] {
        assert_eq!(phase_after(discarded), (Phase::Idle, 1), "{discarded:?}");
    }
}

#[test]
fn a_paused_or_stuck_run_keeps_its_phase_and_direction() {
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

/// All migrations share one key type. A later release that changed it must not be refused for a number.
#[test]
fn a_finalized_state_has_no_keys() {
    let mut notes = Notes::<u64>::open(old_release(1..=4_u64));
    let engine = Engine::new(&[&ONLY]);
    engine.run(&mut notes, UNLIMITED).unwrap();
    let with_other_keys =
        |notes: &Notes<u64>| MigrationState::<String>::decode(&notes.ledger.state_of(1).unwrap().encode());
    let refused = with_other_keys(&notes).unwrap_err();
    assert!(refused.contains("4 is not a key of this type; if the type of the keys"), "{refused}");
    engine.control(&mut notes, NOW).unwrap().finalize(true).unwrap();
    assert_eq!(with_other_keys(&notes).map(|state| state.phase), Ok(Phase::Finalized));
}

#[test]
fn each_migration_has_its_own_quarantine() {
    let [states, journal, quarantine, first_state, first_quarantine] = <[VectorMemory; 5]>::default();
    let first = Some(FirstMemories { state: first_state, quarantine: first_quarantine });
    let build = Build { name: "notes 2", features: &[] };
    let mut ledger = Ledger::<u64, _>::open(LedgerMemories { states, journal, quarantine, first }, build);
    let record = QuarantineRecord::new("damaged".into(), vec![1]);
    let units = [(1, 10), (2, 20), (3, 30)];
    units.iter().for_each(|(migration, key)| ledger.quarantine.insert(*migration, *key, &record));
    [2, 3].iter().for_each(|later| ledger.set_state(*later, &MigrationState::default()));
    assert_eq!(ledger.numbers_with_state(), [2, 3]);
    for (migration, key) in units {
        assert_eq!(ledger.quarantine.keys(migration, None, 9), [key]);
        assert!(ledger.quarantine.keys(migration, Some(key), 9).is_empty());
        assert_eq!(ledger.quarantine.len(migration), 1);
        for (other, other_key) in units {
            assert_eq!(ledger.quarantine.contains(migration, other_key), migration == other);
        }
    }
    assert_eq!(ledger.current(), 2, "neither has begun");
    let listed: Vec<_> = ledger.quarantined(None).into_iter().map(|unit| unit.session).collect();
    assert_eq!(listed, [10, 20, 30]);
    assert!(ledger.quarantine.remove(2, 20) && !ledger.quarantine.remove(2, 10));
    assert_eq!((ledger.quarantine.len(2), ledger.quarantine.len(1)), (0, 1));
    ledger.set_state(1, &MigrationState::default());
    assert_eq!(ledger.numbers_with_state(), [1, 2, 3]);
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
fn units_that_trap_are_counted_in_a_quarantined_class() {
    static LATER: Plan = Plan { classes: &[CLASSES[0], CLASSES[0], CLASSES[1]], ..COUNT_WORDS };
    for migration in [ONLY, CountWords(&LATER)] {
        let class = Migration::<Notes<u64>>::trapped_class(&migration);
        assert_eq!(migration.0.classes[class].treatment, Treatment::Quarantine);
    }
}

#[test]
fn a_refused_endpoint_says_why() {
    let caller = Principal::anonymous();
    let unauthorized = api::EndpointError::Unauthorized { caller };
    assert_eq!(unauthorized.to_string(), format!("{caller} is not a controller"));
    assert_eq!(api::EndpointError::Refused("it is paused".into()).to_string(), "it is paused");
}

/// A note may contain text of the host, of any length, and every journal entry has the note of its time.
#[test]
fn a_page_of_the_journal_fits_a_reply_whatever_the_notes() {
    let mut notes = Notes::<u64>::open(Memories::default());
    let state = MigrationState { note: "ä".repeat(100_000), ..MigrationState::default() };
    notes.ledger.set_state(1, &state);
    (0..60).for_each(|_| notes.ledger.record(NOW, "verifying", Layout(2), 1, &state));
    let page = notes.ledger.journal(0).unwrap();
    let reply = candid::encode_one(Ok::<_, ()>(&page)).unwrap().len();
    assert!(page.len() == 50 && reply < 1_000_000, "{} entries, {reply} bytes", page.len());
    let status = notes.ledger.status(Layout(2)).unwrap();
    assert!(status.note.len() > 4_000 && state.note.starts_with(&status.note), "{} bytes", status.note.len());
    assert_eq!(notes.ledger.state_of(1).unwrap(), state, "the stored note is not truncated");
}
