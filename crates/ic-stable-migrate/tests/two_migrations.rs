//! Two consecutive migrations, written with only the public items of the crate. The units are todos with pairs as keys;
//! their record type changes twice. One todo does not decode.

use candid::Principal;
use ic_stable_migrate::{
    Advance, Build, ClassPlan, Classified, Control, Digest, Engine, Error, Fate, Host, Layout, Ledger,
    LedgerMemories, MessageBudget, Migration, MigrationState, Phase, Plan, QuarantineRecord, Record,
    Register, Reversal, Reverted, RunOutcome, StableError, Table, Time, Treatment, Unmetered, Work, codec,
    defer, digest_of_record, discard_progress,
};
use ic_stable_structures::VectorMemory;

type Key = (Principal, u64);

/// The record of layout 1; [`Ranked`] is that of layout 2, and [`Tagged`] that of layout 3.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
struct Todo {
    #[n(0)]
    text: String,
    #[n(1)]
    due: Option<u64>,
}

macro_rules! record {
    ($record:ty, $name:literal) => {
        impl Record for $record {
            const NAME: &'static str = $name;

            fn encode(&self) -> Vec<u8> {
                codec::encode(1, self)
            }

            fn decode(bytes: &[u8]) -> Result<Self, String> {
                codec::decode(1, bytes)
            }
        }
    };
}

record!(Todo, "todo");
record!(Ranked, "ranked todo");
record!(Tagged, "tagged todo");

#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
struct Ranked {
    #[n(0)]
    todo: Todo,
    #[n(1)]
    rank: u8,
}

#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
struct Tagged {
    #[n(0)]
    ranked: Ranked,
    #[n(1)]
    tags: Vec<String>,
}

#[derive(Clone, Default)]
struct Memories([VectorMemory; 7]);

struct Todos {
    layout: Register<Layout, VectorMemory>,
    plain: Table<Key, Todo, VectorMemory>,
    ranked: Table<Key, Ranked, VectorMemory>,
    tagged: Table<Key, Tagged, VectorMemory>,
    ledger: Ledger<Key, VectorMemory>,
}

impl Todos {
    fn open(Memories([layout, plain, ranked, tagged, states, journal, quarantine]): Memories) -> Self {
        let tables = LedgerMemories { states, journal, quarantine, first: None };
        Self {
            layout: Register::over(layout),
            plain: Table::over(plain),
            ranked: Table::over(ranked),
            tagged: Table::over(tagged),
            ledger: Ledger::open(tables, Build { name: "todos 3", features: &[] }),
        }
    }

    /// Returns the phases of both migrations.
    fn phases(&self) -> (Phase, Phase) {
        (self.ledger.state_of(1).unwrap().phase, self.ledger.state_of(2).unwrap().phase)
    }

    /// Returns the numbers of plain, ranked and tagged todos.
    fn table_lens(&self) -> (u64, u64, u64) {
        (self.plain.len(), self.ranked.len(), self.tagged.len())
    }
}

impl Host for Todos {
    type Memory = VectorMemory;
    type Key = Key;
    type Error = Error;

    fn layout(&self) -> Result<Layout, StableError> {
        Ok(self.layout.get()?.unwrap_or(Layout(1)))
    }

    fn set_layout(&mut self, layout: Layout) {
        self.layout.set(&layout);
    }

    fn ledger(&self) -> &Ledger<Key, VectorMemory> {
        &self.ledger
    }

    fn ledger_mut(&mut self) -> &mut Ledger<Key, VectorMemory> {
        &mut self.ledger
    }
}

const CLASSES: &[ClassPlan] = &[
    ClassPlan { name: "todo", treatment: Treatment::Convert, what: "it decodes" },
    ClassPlan { name: "damaged", treatment: Treatment::Quarantine, what: "it does not decode" },
];

static RANK: Plan =
    Plan { number: 1, name: "rank", from: Layout(1), to: Layout(2), classes: CLASSES, fields: &[] };
static TAG: Plan =
    Plan { number: 2, name: "tag", from: Layout(2), to: Layout(3), classes: CLASSES, fields: &[] };

/// A migration that moves todos from one table to another.
struct Move<Old: 'static, New: 'static> {
    plan: &'static Plan,
    source_mut: fn(&mut Todos) -> &mut Table<Key, Old, VectorMemory>,
    source: fn(&Todos) -> &Table<Key, Old, VectorMemory>,
    target_mut: fn(&mut Todos) -> &mut Table<Key, New, VectorMemory>,
    target: fn(&Todos) -> &Table<Key, New, VectorMemory>,
    convert: fn(Old) -> New,
    revert: fn(New) -> Old,
}

const FIRST: Move<Todo, Ranked> = Move {
    plan: &RANK,
    source_mut: |todos| &mut todos.plain,
    source: |todos| &todos.plain,
    target_mut: |todos| &mut todos.ranked,
    target: |todos| &todos.ranked,
    convert: |todo| Ranked { todo, rank: 0 },
    revert: |ranked| ranked.todo,
};
const SECOND: Move<Ranked, Tagged> = Move {
    plan: &TAG,
    source_mut: |todos| &mut todos.ranked,
    source: |todos| &todos.ranked,
    target_mut: |todos| &mut todos.tagged,
    target: |todos| &todos.tagged,
    convert: |ranked| Tagged { ranked, tags: Vec::new() },
    revert: |tagged| tagged.ranked,
};

const ENGINE: Engine<'static, Todos> = Engine::new(&[&FIRST, &SECOND]);

impl<Old: Record, New: Record> Migration<Todos> for Move<Old, New> {
    fn plan(&self) -> &'static Plan {
        self.plan
    }

    fn sources(&self, todos: &Todos, after: Option<Key>, limit: usize) -> Result<Vec<Key>, Error> {
        Ok((self.source)(todos).keys_after(after.as_ref()).take(limit).collect())
    }

    fn digest(&self, todos: &Todos, key: Key) -> Result<Option<Digest>, Error> {
        Ok((self.source)(todos).get_raw(&key).map(|raw| digest_of_record::<Old>(&raw)))
    }

    fn digest_of_quarantined(&self, raw: &[u8]) -> Digest {
        digest_of_record::<Old>(raw)
    }

    fn classify(&self, todos: &Todos, key: Key, _: Time) -> Result<Classified, Error> {
        let damage = (self.source)(todos).get(&key).err();
        Ok(Classified { class: usize::from(damage.is_some()), reason: damage.map(|why| why.reason) })
    }

    fn convert(&self, todos: &mut Todos, key: Key, _: &mut Work<'_>) -> Result<Advance, Error> {
        let Some(raw) = (self.source)(todos).get_raw(&key) else { return Ok(Advance::Gone) };
        let old = match Old::decode(&raw) {
            Ok(old) => old,
            Err(reason) => {
                let fate = Fate::Quarantined(self.take_out(todos, key, reason)?);
                return Ok(Advance::Done { class: 1, fate });
            }
        };
        (self.target_mut)(todos).insert(key, &(self.convert)(old));
        let back = (self.target)(todos).get(&key)?.map(|new| (self.revert)(new).encode()).unwrap_or_default();
        (self.source_mut)(todos).remove(&key);
        Ok(Advance::Done { class: 0, fate: Fate::Converted(digest_of_record::<Old>(&back)) })
    }

    fn restore(&self, todos: &mut Todos, key: Key, record: QuarantineRecord) -> Result<(), Error> {
        (self.source_mut)(todos).insert_raw(key, record.raw);
        Ok(())
    }

    fn take_out(&self, todos: &mut Todos, key: Key, reason: String) -> Result<QuarantineRecord, Error> {
        Ok(QuarantineRecord::new(reason, (self.source_mut)(todos).take_raw(&key).unwrap_or_default()))
    }

    fn targets(&self, todos: &Todos, after: Option<Key>, limit: usize) -> Vec<Key> {
        (self.target)(todos).keys_after(after.as_ref()).take(limit).collect()
    }

    fn check(&self, todos: &Todos, key: Key) -> Result<Option<String>, Error> {
        Ok((self.target)(todos).get(&key).err().map(|damage| damage.to_string()))
    }

    fn reversal(&self) -> Option<&dyn Reversal<Todos>> {
        Some(self)
    }
}

impl<Old: Record, New: Record> Reversal<Todos> for Move<Old, New> {
    fn allowed(&self) -> Result<(), String> {
        Ok(())
    }

    fn left(&self, todos: &Todos) -> u64 {
        (self.target)(todos).len()
    }

    fn revert(&self, todos: &mut Todos, key: Key, _: &mut Work<'_>) -> Result<Reverted, Error> {
        if let Some(new) = (self.target_mut)(todos).take(&key)? {
            (self.source_mut)(todos).insert(key, &(self.revert)(new));
        }
        Ok(Reverted::Done)
    }
}

const NOW: Time = Time::from_nanos(1_800_000_000_000_000_000);
/// A message that does everything, since its meter always reads zero.
const UNLIMITED: MessageBudget<'static> = MessageBudget { now: NOW, meter: &Unmetered, budget: 0 };

/// Returns the memories of the first release: two owners with three todos each. One of the six todos is damaged.
fn first_release() -> Memories {
    let memories = Memories::default();
    let mut todos = Todos::open(memories.clone());
    for owner in [Principal::anonymous(), Principal::management_canister()] {
        for number in 0..3 {
            todos.plain.insert((owner, number), &Todo { text: format!("todo {number}"), due: None });
        }
    }
    todos.plain.insert_raw(DAMAGED, vec![1, 0xff]);
    memories
}

/// Key of the todo that does not decode.
const DAMAGED: Key = (Principal::anonymous(), 1);
/// Key of a todo that decodes.
const SOUND: Key = (Principal::anonymous(), 2);

/// Upgrades, and runs the migrations as far as they go.
fn upgraded(memories: &Memories) -> Todos {
    let mut todos = Todos::open(memories.clone());
    ENGINE.check(&todos).unwrap();
    assert_eq!(ENGINE.run(&mut todos, UNLIMITED), Ok(RunOutcome::Done));
    todos
}

#[test]
fn the_second_migration_begins_when_the_first_is_finalized() {
    let memories = first_release();
    let mut todos = upgraded(&memories);
    assert_eq!((todos.phases(), todos.table_lens()), ((Phase::Converted, Phase::Idle), (0, 5, 0)));
    let forecast = Engine::dry_run_of(&SECOND, &todos, UNLIMITED, None, None).unwrap();
    assert_eq!(
        forecast.waits_for.as_deref(),
        Some("migration 1 is in phase Converted, and must be finalized first")
    );
    assert_eq!(forecast.units, 5);
    Engine::touch(&SECOND, &mut todos, SOUND, NOW).unwrap();
    assert_eq!(
        (todos.table_lens(), todos.layout()),
        ((0, 5, 0), Ok(Layout(2))),
        "a touch does not begin migration 2, either"
    );

    ENGINE.control(&mut todos, NOW).unwrap().finalize(true).unwrap();
    let todos = upgraded(&memories);
    assert_eq!((todos.phases(), todos.table_lens()), ((Phase::Finalized, Phase::Converted), (0, 0, 5)));
    let state = todos.ledger.state_of(2).unwrap();
    assert_eq!((state.source, state.converted, state.digest_before), (5, 5, state.digest_after));
    let [record] = &todos.ledger.quarantined(None)[..] else {
        panic!("{:?}", todos.ledger.quarantined(None))
    };
    assert_eq!(
        (record.session, record.raw.as_slice()),
        (DAMAGED, [1, 0xff].as_slice()),
        "the damaged todo is still in the quarantine of migration 1"
    );
}

#[test]
fn migration_2_enters_no_layout_before_migration_1_is_final() {
    let memories = first_release();
    let mut todos = Todos::open(memories.clone());
    let refusal = |todos: &mut Todos| Engine::enter_layout(&SECOND, todos, NOW).unwrap_err().to_string();
    assert_eq!(
        refusal(&mut todos),
        "no unit may be written in layout 3, to which migration 2 leads: stable memory is in layout 1, and the \
         migrations that lead to layout 2 must be finalized first; write it in the layout before that"
    );
    let mut todos = upgraded(&memories);
    assert_eq!(
        refusal(&mut todos),
        "no unit may be written in layout 3, to which migration 2 leads: migration 1 is in phase Converted, and must \
         be finalized first; write it in the layout before that"
    );
    assert_eq!((todos.layout(), todos.phases()), (Ok(Layout(2)), (Phase::Converted, Phase::Idle)));
    assert_eq!(todos.ledger.current(), 1);
    ENGINE.control(&mut todos, NOW).unwrap().finalize(true).unwrap();
    Engine::enter_layout(&SECOND, &mut todos, NOW).unwrap();
    Engine::enter_layout(&FIRST, &mut todos, NOW).expect("layout 3 is later than that of migration 1");
    assert_eq!((todos.layout(), todos.ledger.current()), (Ok(Layout(3)), 2));
}

#[test]
fn a_layout_is_not_entered_after_a_rollback_or_deferral() {
    let memories = first_release();
    let mut todos = upgraded(&memories);
    ENGINE.control(&mut todos, NOW).unwrap().rollback().unwrap();
    Engine::enter_layout(&FIRST, &mut todos, NOW)
        .expect("a rollback finds what is written before it is complete");
    let mut todos = upgraded(&memories);
    let assert_refused = |todos: &mut Todos, why: &str| {
        Engine::touch(&FIRST, todos, SOUND, NOW).unwrap();
        let refused = Engine::enter_layout(&FIRST, todos, NOW).unwrap_err();
        assert!(
            matches!(&refused, Error::NotEntered { number: 1, .. }) && refused.to_string().contains(why),
            "{refused}"
        );
        assert_eq!((todos.layout(), todos.table_lens()), (Ok(Layout(1)), (6, 0, 0)));
    };
    assert_refused(&mut todos, "rolled back");
    discard_progress(&mut todos, NOW).unwrap();
    defer(&mut todos, NOW).unwrap();
    assert_refused(&mut todos, "deferred");
}

#[test]
fn the_second_deferred_early_waits_when_the_first_is_final() {
    let memories = first_release();
    let mut todos = upgraded(&memories);
    ENGINE.defer(&mut todos, NOW).unwrap();
    assert_eq!((todos.phases(), todos.ledger.current()), ((Phase::Converted, Phase::Paused), 1));
    let refused = Control::of(&SECOND, &mut todos, NOW).unwrap().rollback().unwrap_err();
    assert!(refused.to_string().contains("migration 1 is in phase Converted"), "{refused}");
    ENGINE.control(&mut todos, NOW).unwrap().finalize(true).unwrap();
    let mut todos = upgraded(&memories);
    assert_eq!((todos.phases(), todos.table_lens()), ((Phase::Finalized, Phase::Paused), (0, 5, 0)));
    let forecast = ENGINE.dry_run(&todos, UNLIMITED, None, None).unwrap();
    assert_eq!((forecast.migration, forecast.units), (2, 5));
    ENGINE.control(&mut todos, NOW).unwrap().resume().unwrap();
    assert_eq!(upgraded(&memories).phases(), (Phase::Finalized, Phase::Converted));
}

#[test]
fn the_first_migration_that_has_not_begun_is_deferred() {
    let assert_deferred = |todos: &mut Todos, number| {
        for _ in 0..2 {
            ENGINE.defer(todos, NOW).unwrap();
            let deferred = [1, 2].map(|number| todos.ledger.state_of(number).unwrap().is_deferred());
            assert_eq!(deferred, [number == 1, number == 2]);
        }
    };
    let mut todos = Todos::open(first_release());
    assert_deferred(&mut todos, 1);
    let mut fresh = Todos::open(Memories::default());
    fresh.set_layout(Layout(2));
    assert_deferred(&mut fresh, 2);
    let memories = first_release();
    ENGINE.control(&mut upgraded(&memories), NOW).unwrap().finalize(true).unwrap();
    assert_deferred(&mut Todos::open(memories), 2);

    let mut newest = Todos::open(Memories::default());
    newest.set_layout(Layout(3));
    let refused = ENGINE.defer(&mut newest, NOW).unwrap_err();
    assert!(matches!(&refused, Error::Refused { action: "defer", .. }), "{refused}");
}

#[test]
fn a_touch_in_the_layout_of_another_migration_changes_nothing() {
    let memories = first_release();
    let mut todos = Todos::open(memories.clone());
    Engine::touch(&SECOND, &mut todos, SOUND, NOW).unwrap();
    assert_eq!(todos.ledger.status(Layout(1)).unwrap().migration, 1);
    assert_eq!(upgraded(&memories).phases(), (Phase::Converted, Phase::Idle));
    ENGINE.control(&mut Todos::open(memories.clone()), NOW).unwrap().finalize(true).unwrap();
    let mut todos = upgraded(&memories);
    ENGINE.control(&mut todos, NOW).unwrap().finalize(true).unwrap();
    Engine::touch(&FIRST, &mut todos, SOUND, NOW).unwrap();
    assert_eq!((todos.phases(), todos.table_lens()), ((Phase::Finalized, Phase::Finalized), (0, 0, 5)));
}

#[test]
fn the_second_waits_for_a_first_begun_only_by_touches() {
    let memories = first_release();
    let mut todos = Todos::open(memories.clone());
    Engine::touch(&FIRST, &mut todos, SOUND, NOW).unwrap();
    Engine::touch(&SECOND, &mut todos, SOUND, NOW).unwrap();
    assert_eq!((todos.layout(), todos.table_lens()), (Ok(Layout(2)), (5, 1, 0)));
    assert!(matches!(Engine::enter_layout(&SECOND, &mut todos, NOW), Err(Error::NotEntered { .. })));
    assert_eq!(upgraded(&memories).phases(), (Phase::Converted, Phase::Idle));
}

#[test]
fn the_controls_of_the_second_are_refused_before_its_layout() {
    let memories = first_release();
    let mut todos = Todos::open(memories.clone());
    let assert_refused = |todos: &mut Todos, control: fn(Control<'_, Todos>) -> Result<(), Error>| {
        let refused = control(Control::of(&SECOND, todos, NOW).unwrap()).unwrap_err();
        assert!(matches!(&refused, Error::Refused { phase: Phase::Idle, .. }), "{refused}");
    };
    assert_refused(&mut todos, |control| control.finalize(true));
    let mut todos = upgraded(&memories);
    assert_refused(&mut todos, |control| control.finalize(true));
    assert_refused(&mut todos, |control| control.rollback());
    assert_eq!((todos.phases(), todos.layout()), ((Phase::Converted, Phase::Idle), Ok(Layout(2))));
}

#[test]
fn the_first_unsettled_migration_is_the_current_one() {
    let memories = first_release();
    let mut todos = upgraded(&memories);
    // An earlier release of the engine could leave this state: the second migration was begun by a client, and rolled
    // back.
    let begun = MigrationState { phase: Phase::RolledBack, ..MigrationState::default() };
    todos.ledger.set_state(2, &begun);
    assert_eq!(todos.ledger.status(Layout(2)).unwrap().migration, 1);
    ENGINE.control(&mut todos, NOW).unwrap().finalize(true).unwrap();
    assert_eq!(todos.ledger.current(), 2);
    ENGINE.control(&mut todos, NOW).unwrap().resume().unwrap();
    assert_eq!(upgraded(&memories).phases(), (Phase::Finalized, Phase::Converted));
}

#[test]
fn the_first_can_be_rolled_back_with_its_damaged_record() {
    let memories = first_release();
    let mut todos = upgraded(&memories);
    todos.ranked.insert(
        (Principal::anonymous(), 9),
        &Ranked { todo: Todo { text: "new".into(), due: Some(1) }, rank: 3 },
    );
    ENGINE.control(&mut todos, NOW).unwrap().rollback().unwrap();
    let todos = upgraded(&memories);
    assert_eq!((todos.phases(), todos.table_lens()), ((Phase::RolledBack, Phase::Idle), (7, 0, 0)));
    assert_eq!(todos.layout(), Ok(Layout(1)));
    assert_eq!(todos.plain.get_raw(&DAMAGED), Some(vec![1, 0xff]));
    assert_eq!(todos.plain.get(&(Principal::anonymous(), 9)).unwrap().unwrap().due, Some(1));
    let mut todos = Todos::open(memories.clone());
    ENGINE.control(&mut todos, NOW).unwrap().resume().unwrap();
    assert_eq!(upgraded(&memories).table_lens(), (0, 6, 0), "all sound todos are converted again");
}

#[test]
fn the_second_is_rolled_back_to_the_layout_of_the_first() {
    let memories = first_release();
    let mut todos = upgraded(&memories);
    ENGINE.control(&mut todos, NOW).unwrap().finalize(true).unwrap();
    let mut todos = upgraded(&memories);
    let refused = Control::of(&FIRST, &mut todos, NOW).unwrap().rollback().unwrap_err();
    assert!(matches!(&refused, Error::Refused { phase: Phase::Finalized, .. }), "{refused}");
    ENGINE.control(&mut todos, NOW).unwrap().rollback().unwrap();
    let todos = upgraded(&memories);
    assert_eq!((todos.phases(), todos.table_lens()), ((Phase::Finalized, Phase::RolledBack), (0, 5, 0)));
    assert_eq!(todos.layout(), Ok(Layout(2)));
}

#[test]
fn a_rollback_past_a_later_layout_is_refused() {
    let mut todos = Todos::open(Memories::default());
    todos.set_layout(Layout(3));
    todos.tagged.insert(SOUND, &(SECOND.convert)((FIRST.convert)(Todo { text: "new".into(), due: None })));
    let refused = ENGINE.control(&mut todos, NOW).unwrap().rollback().unwrap_err();
    let message = "cannot roll back the migration in phase Idle: stable memory is in layout 3: roll back the migration that \
                leads there";
    assert_eq!(refused.to_string(), message);
    assert_eq!(todos.layout(), Ok(Layout(3)));
}

#[test]
fn an_earlier_encoding_of_a_record_changes_no_digest() {
    let memories = first_release();
    let mut todos = Todos::open(memories.clone());
    // The same todo, with its missing date written as null instead of omitted.
    let stored = todos.plain.get_raw(&SOUND).unwrap();
    let other = [&[1, 0x82], &stored[2..], &[0xf6]].concat();
    assert_eq!(Todo::decode(&other), Todo::decode(&stored));
    assert_ne!(other, stored);
    todos.plain.insert_raw(SOUND, other);
    let todos = upgraded(&memories);
    assert_eq!((todos.phases().0, todos.table_lens()), (Phase::Converted, (0, 5, 0)));
}
