//! Three consecutive migrations of units that take several messages, under any sequence of calls: a controller can
//! always finalize all of them, or roll back to the layout of the last finalized one, and no unit is lost or changed.

use std::collections::BTreeMap;

use ic_stable_migrate::{
    Advance, Build, ClassPlan, Classified, Control, Digest, Engine, Error, Fate, Host, Layout, Ledger,
    LedgerMemories, MessageBudget, Meter, Migration, Phase, Plan, QuarantineRecord, Register, Reversal,
    Reverted, RunOutcome, StableError, Table, Time, Treatment, Unmetered, Work, digest_of,
};
use ic_stable_structures::VectorMemory;
use proptest::prelude::*;

/// Words, with a table for each layout.
struct Words {
    layout: Register<Layout, VectorMemory>,
    tables: [Table<u64, String, VectorMemory>; 4],
    ledger: Ledger<u64, VectorMemory>,
}

impl Words {
    /// Returns words of the first layout. [`MoveWords`] quarantines some of them.
    fn of(keys: &[u64]) -> Self {
        let memory = VectorMemory::default;
        let ledger =
            LedgerMemories { states: memory(), journal: memory(), quarantine: memory(), first: None };
        let mut words = Self {
            layout: Register::over(memory()),
            tables: std::array::from_fn(|_| Table::over(memory())),
            ledger: Ledger::open(ledger, Build::default()),
        };
        keys.iter().for_each(|key| words.tables[0].insert(*key, &word(*key)));
        words
    }

    /// Returns the number of the table that has a partial copy of the begun unit, and the unit's key.
    fn partial_copy(&self) -> Result<Option<(usize, u64)>, Error> {
        for MoveWords(plan) in MIGRATIONS {
            let state = self.ledger.state_of(plan.number)?;
            let (from, to) = (usize::from(plan.number) - 1, usize::from(plan.number));
            let copied_to = if state.is_going_back() { from } else { to };
            if let Some(unit) = state.unit {
                return Ok(Some((copied_to, unit.key)));
            }
        }
        Ok(None)
    }

    /// Returns all units, in the tables and in quarantine. Checks that each unit is in only one of them, except for a
    /// partial copy of the begun one, and that no tables but those of the current layout and of the layout before it
    /// have units.
    fn checked_words(&self) -> Result<BTreeMap<u64, String>, TestCaseError> {
        let current = usize::from(self.layout()?.0 - 1);
        let partial = self.partial_copy()?;
        let mut found = BTreeMap::new();
        for (number, table) in self.tables.iter().enumerate() {
            prop_assert!(
                table.is_empty() || number == current || number + 1 == current,
                "table {number} in layout {}",
                current + 1
            );
            for entry in table.range(..) {
                let (key, word) = entry?;
                if partial != Some((number, key)) {
                    prop_assert!(found.insert(key, word).is_none(), "{key} is in two tables");
                }
            }
        }
        for MoveWords(plan) in MIGRATIONS {
            for key in self.ledger.quarantine.keys(plan.number, None, usize::MAX) {
                let record = self.ledger.quarantine.get(plan.number, key)?;
                let raw = record.map(|record| record.raw).unwrap_or_default();
                let word = String::from_utf8_lossy(&raw).into_owned();
                prop_assert!(found.insert(key, word).is_none(), "{key} is in quarantine and in a table");
            }
        }
        Ok(found)
    }

    /// Returns the phases of the three migrations.
    fn phases(&self) -> [Phase; 3] {
        [1, 2, 3].map(|number| self.ledger.state_of(number).unwrap().phase)
    }
}

/// Returns the word of a unit. Migration 1 cannot convert units with keys divisible by 5, migration 2 those divisible
/// by 7.
fn word(key: u64) -> String {
    match key {
        key if key.is_multiple_of(5) => "no 1".into(),
        key if key.is_multiple_of(7) => "no 2".into(),
        key => format!("word {key}"),
    }
}

impl Host for Words {
    type Memory = VectorMemory;
    type Key = u64;
    type Error = Error;

    fn layout(&self) -> Result<Layout, StableError> {
        Ok(self.layout.get()?.unwrap_or(Layout(1)))
    }

    fn set_layout(&mut self, layout: Layout) {
        self.layout.set(&layout);
    }

    fn ledger(&self) -> &Ledger<u64, VectorMemory> {
        &self.ledger
    }

    fn ledger_mut(&mut self) -> &mut Ledger<u64, VectorMemory> {
        &mut self.ledger
    }
}

const CLASSES: &[ClassPlan] = &[
    ClassPlan { name: "word", treatment: Treatment::Convert, what: "any other" },
    ClassPlan { name: "refused", treatment: Treatment::Quarantine, what: "it names the migration" },
];

const fn plan(number: u16, name: &'static str) -> Plan {
    Plan { number, name, from: Layout(number), to: Layout(number + 1), classes: CLASSES, fields: &[] }
}

static PLANS: [Plan; 3] = [plan(1, "first"), plan(2, "second"), plan(3, "third")];

/// Number of bytes of a word that a slice copies.
const SLICE: usize = 3;

/// Moves words to the next table, slice by slice.
#[derive(Clone, Copy)]
struct MoveWords(&'static Plan);

const MIGRATIONS: [MoveWords; 3] = [MoveWords(&PLANS[0]), MoveWords(&PLANS[1]), MoveWords(&PLANS[2])];

const ENGINE: Engine<'static, Words> = Engine::new(&[&MIGRATIONS[0], &MIGRATIONS[1], &MIGRATIONS[2]]);

impl MoveWords {
    fn tables<'a>(&self, words: &'a mut Words) -> [&'a mut Table<u64, String, VectorMemory>; 2] {
        let to = usize::from(self.0.number);
        words.tables.get_disjoint_mut([to - 1, to]).unwrap()
    }

    const fn sources_in<'a>(&self, words: &'a Words) -> &'a Table<u64, String, VectorMemory> {
        &words.tables[self.0.number as usize - 1]
    }

    const fn targets_in<'a>(&self, words: &'a Words) -> &'a Table<u64, String, VectorMemory> {
        &words.tables[self.0.number as usize]
    }

    /// Copies the next slices of a word, until the copy is whole or the message has no budget left; for some units,
    /// only one slice. Returns whether the copy is whole.
    fn copy_slices(key: u64, word: &str, copy: &mut String, work: &mut Work<'_>) -> bool {
        let mut copied = work.progress.first().map_or(0, |copied| usize::from(*copied));
        while copied < word.len() {
            let end = word.len().min(copied + SLICE);
            copy.push_str(&word[copied..end]);
            copied = end;
            if work.is_used_up() || key.is_multiple_of(3) {
                break;
            }
        }
        work.progress = vec![u8::try_from(copied).unwrap()];
        copied >= word.len()
    }

    /// Returns whether this migration cannot convert the word.
    fn refuses(&self, word: &str) -> bool {
        word == format!("no {}", self.0.number)
    }
}

impl Migration<Words> for MoveWords {
    fn plan(&self) -> &'static Plan {
        self.0
    }

    fn sources(&self, words: &Words, after: Option<u64>, limit: usize) -> Result<Vec<u64>, Error> {
        Ok(self.sources_in(words).keys_after(after.as_ref()).take(limit).collect())
    }

    fn digest(&self, words: &Words, key: u64) -> Result<Option<Digest>, Error> {
        Ok(self.sources_in(words).get_raw(&key).map(|raw| digest_of(&raw)))
    }

    fn classify(&self, words: &Words, key: u64, _: Time) -> Result<Classified, Error> {
        let refused = self.sources_in(words).get(&key)?.is_some_and(|word| self.refuses(&word));
        Ok(Classified { class: usize::from(refused), reason: None })
    }

    fn convert(&self, words: &mut Words, key: u64, work: &mut Work<'_>) -> Result<Advance, Error> {
        let Some(word) = self.sources_in(words).get(&key)? else { return Ok(Advance::Gone) };
        if self.refuses(&word) {
            let fate = Fate::Quarantined(self.take_out(words, key, word)?);
            return Ok(Advance::Done { class: 1, fate });
        }
        let [old, new] = self.tables(words);
        let mut copy = new.get(&key)?.unwrap_or_default();
        let is_whole = Self::copy_slices(key, &word, &mut copy, work);
        new.insert(key, &copy);
        if !is_whole {
            return Ok(Advance::More);
        }
        old.remove(&key);
        let back = new.get_raw(&key).unwrap_or_default();
        Ok(Advance::Done { class: 0, fate: Fate::Converted(digest_of(&back)) })
    }

    fn restore(&self, words: &mut Words, key: u64, quarantined: QuarantineRecord) -> Result<(), Error> {
        self.tables(words)[0].insert_raw(key, quarantined.raw);
        Ok(())
    }

    fn take_out(&self, words: &mut Words, key: u64, reason: String) -> Result<QuarantineRecord, Error> {
        Ok(QuarantineRecord::new(reason, self.tables(words)[0].take_raw(&key).unwrap_or_default()))
    }

    fn abandon(&self, words: &mut Words, key: u64, _: Vec<u8>) {
        self.tables(words)[1].remove(&key);
    }

    fn targets(&self, words: &Words, after: Option<u64>, limit: usize) -> Vec<u64> {
        self.targets_in(words).keys_after(after.as_ref()).take(limit).collect()
    }

    fn check(&self, words: &Words, key: u64) -> Result<Option<String>, Error> {
        Ok(self.targets_in(words).get(&key)?.filter(|word| self.refuses(word)))
    }

    fn reversal(&self) -> Option<&dyn Reversal<Words>> {
        Some(self)
    }
}

impl Reversal<Words> for MoveWords {
    fn allowed(&self) -> Result<(), String> {
        Ok(())
    }

    fn left(&self, words: &Words) -> u64 {
        self.targets_in(words).len()
    }

    fn revert(&self, words: &mut Words, key: u64, work: &mut Work<'_>) -> Result<Reverted, Error> {
        let [old, new] = self.tables(words);
        // The client may have removed the unit since the last slice, or replaced it.
        let Some(word) = new.get(&key)? else {
            old.remove(&key);
            return Ok(Reverted::Done);
        };
        let mut copy = old.get(&key)?.unwrap_or_default();
        if !word.starts_with(&copy) {
            copy.clear();
            work.progress.clear();
        }
        let is_whole = Self::copy_slices(key, &word, &mut copy, work);
        old.insert(key, &copy);
        if !is_whole {
            return Ok(Reverted::More);
        }
        new.remove(&key);
        Ok(Reverted::Done)
    }
}

/// A meter with which a message of budget 0 ends after one step.
struct OneStep;

impl Meter for OneStep {
    fn used(&self) -> u64 {
        1
    }
}

const NOW: Time = Time::from_nanos(1_800_000_000_000_000_000);
/// A message that does everything, since its meter always reads zero.
const UNLIMITED: MessageBudget<'static> = MessageBudget { now: NOW, meter: &Unmetered, budget: 0 };
/// A message that ends after one step.
const STEP: MessageBudget<'static> = MessageBudget { now: NOW, meter: &OneStep, budget: 0 };

/// A call of a controller: a method of [`Control`], with its argument.
#[derive(Clone, Copy, Debug)]
enum Order {
    Pause,
    Resume,
    Rollback,
    Verify,
    Retry(Option<u64>),
    Finalize(bool),
}

impl Order {
    /// Makes the call.
    fn give(self, control: Control<'_, Words>) -> Result<(), Error> {
        match self {
            Self::Pause => control.pause(),
            Self::Resume => control.resume(),
            Self::Rollback => control.rollback(),
            Self::Verify => control.verify(),
            Self::Retry(key) => control.retry(key),
            Self::Finalize(leave) => control.finalize(leave),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum EngineCall {
    Run,
    OneStep,
    /// A client touches a unit of one of [`MIGRATIONS`].
    Touch(usize, u64),
    /// A client touches the unit that the engine has begun.
    TouchBegun,
    /// A client's new unit, with a word that has this end, in the newest layout that the engine allows.
    Write(u64, char),
    /// A client removes a unit.
    Remove(u64),
    /// A controller's order, for the current migration (`None`) or for one of [`MIGRATIONS`].
    Order(Option<usize>, Order),
    GoForward,
    Defer,
}

fn calls() -> impl Strategy<Value = Vec<EngineCall>> {
    let key = 1..12_u64;
    let order = prop_oneof![
        2 => Just(Order::Pause),
        3 => Just(Order::Resume),
        2 => Just(Order::Rollback),
        1 => Just(Order::Verify),
        1 => prop::option::of(key.clone()).prop_map(Order::Retry),
        4 => any::<bool>().prop_map(Order::Finalize),
    ];
    let call = prop_oneof![
        3 => Just(EngineCall::Run),
        6 => Just(EngineCall::OneStep),
        4 => (0..MIGRATIONS.len(), key.clone()).prop_map(|(migration, key)| EngineCall::Touch(migration, key)),
        2 => Just(EngineCall::TouchBegun),
        3 => (key.clone(), prop::char::range('a', 'c')).prop_map(|(key, end)| EngineCall::Write(key, end)),
        2 => key.prop_map(EngineCall::Remove),
        6 => (prop::option::weighted(0.3, 0..MIGRATIONS.len()), order).prop_map(|(migration, order)| EngineCall::Order(migration, order)),
        1 => Just(EngineCall::GoForward),
        1 => Just(EngineCall::Defer),
    ];
    prop::collection::vec(call, 0..60)
}

/// Makes a call, and changes `expected` as a client's call changes the units. Only a controller's order, a deferral,
/// and a new unit in a layout that is not entered, may be refused.
fn make_call(
    words: &mut Words,
    expected: &mut BTreeMap<u64, String>,
    call: EngineCall,
) -> Result<(), TestCaseError> {
    match call {
        EngineCall::Run => drop(ENGINE.run(words, UNLIMITED)?),
        EngineCall::OneStep => drop(ENGINE.run(words, STEP)?),
        EngineCall::Touch(migration, key) => Engine::touch(&MIGRATIONS[migration], words, key, NOW)?,
        EngineCall::TouchBegun => {
            for migration in &MIGRATIONS {
                if let Some(unit) = words.ledger.state_of(migration.0.number)?.unit {
                    Engine::touch(migration, words, unit.key, NOW)?;
                }
            }
        }
        EngineCall::Write(key, _) if expected.contains_key(&key) => {}
        EngineCall::Write(key, end) => {
            let mut table = 0;
            for migration in MIGRATIONS.iter().rev() {
                match Engine::enter_layout(migration, words, NOW) {
                    Ok(()) => {
                        table = usize::from(migration.0.number);
                        break;
                    }
                    Err(Error::NotEntered { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            // Every migration can convert this word: a client writes only sound units.
            let word = format!("word {key} {end}");
            words.tables[table].insert(key, &word);
            expected.insert(key, word);
        }
        EngineCall::Remove(key) if !expected.contains_key(&key) => {}
        EngineCall::Remove(key) => {
            for migration in &MIGRATIONS {
                Engine::touch(migration, words, key, NOW)?;
            }
            // No table has a quarantined unit. In a rollback, the target is the whole copy.
            if let Some(table) = words.tables.iter_mut().rfind(|table| table.contains(&key)) {
                table.remove(&key);
                expected.remove(&key);
            }
        }
        EngineCall::Order(migration, order) => {
            let control = match migration {
                Some(migration) => Control::of(&MIGRATIONS[migration], words, NOW)?,
                None => ENGINE.control(words, NOW)?,
            };
            match order.give(control) {
                Ok(()) | Err(Error::Refused { .. } | Error::NotQuarantined { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        EngineCall::GoForward => ENGINE.go_forward(words, NOW)?,
        EngineCall::Defer => match ENGINE.defer(words, NOW) {
            Ok(()) | Err(Error::Refused { .. }) => {}
            Err(error) => return Err(error.into()),
        },
    }
    Ok(())
}

/// Number of calls of a controller, each followed by a whole run, that suffice in any state of three migrations.
const ENOUGH_CALLS: usize = 20;

/// Finalizes all migrations, with only the controls of the current migration.
fn finalize_all(words: &mut Words) -> Result<(), TestCaseError> {
    for _ in 0..ENOUGH_CALLS {
        while ENGINE.run(words, UNLIMITED)? == RunOutcome::More {}
        let phase = words.ledger.status(words.layout()?)?.phase;
        let control = ENGINE.control(words, NOW)?;
        use ic_stable_migrate::api::MigrationPhase::{Converted, Finalized, Idle, Paused, RolledBack, Stuck};
        match phase {
            Paused | Stuck | RolledBack => control.resume()?,
            Converted | Idle => control.finalize(true)?,
            Finalized if words.phases() == [Phase::Finalized; 3] => return Ok(()),
            _ => {}
        }
    }
    Err(TestCaseError::fail(format!("not final: {:?}", words.phases())))
}

/// Rolls back everything that is not finalized, with only the controls of the current migration.
fn roll_back_all(words: &mut Words) -> Result<(), TestCaseError> {
    for _ in 0..ENOUGH_CALLS {
        let phase = words.ledger.state_of(words.ledger.current())?.phase;
        let control = ENGINE.control(words, NOW)?;
        match phase {
            Phase::RolledBack | Phase::Finalized => return Ok(()),
            Phase::Paused | Phase::Stuck => control.resume()?,
            Phase::RollingBack => {}
            _ => control.rollback()?,
        }
        while ENGINE.run(words, UNLIMITED)? == RunOutcome::More {}
    }
    Err(TestCaseError::fail(format!("not rolled back: {:?}", words.phases())))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn any_sequence_of_calls_leaves_a_way_forward_and_back(
        keys in prop::collection::btree_set(1..12_u64, 0..6),
        calls in calls(),
        forward: bool,
    ) {
        let mut words = Words::of(&keys.iter().copied().collect::<Vec<_>>());
        let mut expected = words.checked_words()?;
        for call in calls {
            make_call(&mut words, &mut expected, call)?;
            prop_assert_eq!(words.checked_words()?, expected.clone(), "after {:?}", call);
        }
        if forward {
            finalize_all(&mut words)?;
            prop_assert_eq!(words.layout(), Ok(Layout(4)));
            prop_assert!(words.tables[..3].iter().all(Table::is_empty));
        } else {
            let finalized = words.phases().into_iter().take_while(|phase| *phase == Phase::Finalized).count();
            roll_back_all(&mut words)?;
            for number in finalized + 1..=MIGRATIONS.len() {
                let state = words.ledger.state_of(number as u16)?;
                prop_assert!(state.is_deferred() || matches!(state.phase, Phase::Idle | Phase::RolledBack));
            }
            prop_assert_eq!(usize::from(words.layout()?.0), finalized + 1);
        }
        prop_assert_eq!(words.partial_copy()?, None);
        prop_assert_eq!(words.checked_words()?, expected);
    }
}
