//! A host that has no room for the migration, with an error type of its own.

use super::*;

/// Notes whose host has no room for any unit.
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

/// Does the same as [`CountWords`], for the notes of a full host.
struct CountWordsOfFull;
impl Migration<Full> for CountWordsOfFull {
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

    fn restore(&self, full: &mut Full, key: u64, quarantined: QuarantineRecord) -> Result<(), Refusal> {
        Ok(ONLY.restore(&mut full.0, key, quarantined)?)
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

#[test]
fn a_host_without_room_stops_the_migration_with_the_reason() {
    let mut full = Full(Notes::<u64>::open(old_release(1..=4_u64)));
    let engine = Engine::new(&[&CountWordsOfFull]);
    engine.run(&mut full, UNLIMITED).unwrap();
    let state = full.0.ledger.state_of(1).unwrap();
    assert_eq!((state.phase, state.note.as_str(), full.0.old.len()), (Phase::Stuck, "no room", 4));
    let refused = engine.control(&mut full, NOW).unwrap().rollback().unwrap_err();
    assert!(refused.0.contains("it cannot be rolled back"), "{refused}");
}

/// While a unit is restored, it takes room in the old table and in quarantine, so room is checked first.
#[test]
fn a_host_without_room_restores_nothing_from_quarantine() {
    let mut full = Full(Notes::<u64>::open(old_release(1..=4_u64)));
    let engine = Engine::new(&[&CountWordsOfFull]);
    let record = CountWordsOfFull.take_out(&mut full, 4, "not text".into()).unwrap();
    full.0.ledger.quarantine.insert(1, 4, &record);
    full.0.ledger.set_state(1, &MigrationState { phase: Phase::Converted, ..MigrationState::default() });
    let before = full.0.ledger.state_of(1).unwrap();
    for key in [None, Some(4)] {
        let refused = engine.control(&mut full, NOW).unwrap().retry(key).unwrap_err();
        assert_eq!(refused.0, "no room");
        assert_eq!((full.0.ledger.state_of(1).unwrap(), full.0.old.len()), (before.clone(), 3));
        assert_eq!(full.0.ledger.quarantine.get(1, 4), Ok(Some(record.clone())));
    }
}
