//! Input that [`Engine::check`] refuses, and similar input that it accepts; the check writes nothing. And damaged keys
//! in a list of quarantined units.

use ic_stable_structures::storable::Bound;
use ic_stable_structures::{Memory as _, StableBTreeMap, Storable};

use super::*;

const fn plan(number: u16, name: &'static str, from: u16, to: u16) -> Plan {
    Plan { number, name, from: Layout(from), to: Layout(to), classes: CLASSES, fields: &[] }
}

static SECOND: Plan = plan(2, "second", 2, 3);
static SECOND_AGAIN: Plan = plan(2, "second again", 3, 4);
static THIRD: Plan = plan(3, "third", 3, 4);
static THIRD_FROM_2: Plan = plan(3, "third from 2", 2, 4);
static BACKWARD: Plan = plan(2, "backward", 2, 1);
static LOST_A_CLASS: Plan = Plan { classes: &[CLASSES[0]], ..plan(1, "count words", 1, 2) };

/// Returns the contents of all memories.
fn read_all(memories: &Memories) -> Vec<Vec<u8>> {
    let read = |memory: &VectorMemory| {
        let mut bytes = vec![0; usize::try_from(memory.size() * 65_536).unwrap()];
        memory.read(0, &mut bytes);
        bytes
    };
    memories.0.iter().map(read).collect()
}

/// Returns the result of [`Engine::check`] with these plans.
fn check(memories: &Memories, plans: &[&'static Plan]) -> Result<(), Error> {
    let migrations: Vec<CountWords> = plans.iter().map(|plan| CountWords(plan)).collect();
    let list: Vec<&dyn Migration<Notes<u64>>> =
        migrations.iter().map(|migration| migration as &dyn Migration<Notes<u64>>).collect();
    let notes = Notes::<u64>::open(memories.clone());
    let before = read_all(memories);
    let result = Engine::new(&list).check(&notes);
    assert!(read_all(memories) == before, "the check has written");
    result
}

/// Returns the memories of a migration that is still converting, although it has handled all four notes: three are
/// converted, and one is quarantined.
fn converting() -> Memories {
    let memories = old_release(1..=4_u64);
    let mut notes = Notes::<u64>::open(memories.clone());
    for _ in 0..10 {
        Engine::new(&[&ONLY]).run(&mut notes, STEP).unwrap();
    }
    let state = notes.ledger.state_of(1).unwrap();
    assert_eq!((state.phase, state.quarantined), (Phase::Converting, 1));
    memories
}

#[test]
fn a_chain_with_a_fault_is_refused_by_name() {
    let memories = old_release(1..=4_u64);
    assert_eq!(check(&memories, &[&COUNT_WORDS, &SECOND, &THIRD]), Ok(()));
    assert_eq!(
        check(&memories, &[&COUNT_WORDS, &SECOND, &SECOND_AGAIN]),
        Err(Error::DuplicateNumber { number: 2, first: "second", second: "second again" })
    );
    assert_eq!(check(&memories, &[&COUNT_WORDS, &THIRD]), Err(Error::Gap { previous: 1, found: 3 }));
    assert_eq!(check(&memories, &[&SECOND, &COUNT_WORDS]), Err(Error::Gap { previous: 2, found: 1 }));
    assert_eq!(
        check(&memories, &[&COUNT_WORDS, &BACKWARD]),
        Err(Error::BackwardLayout { number: 2, from: Layout(2), to: Layout(1) })
    );
    assert_eq!(
        check(&memories, &[&COUNT_WORDS, &SECOND, &THIRD_FROM_2]),
        Err(Error::BrokenChain { number: 3, from: Layout(2), previous: Layout(3) })
    );
}

#[test]
fn a_layout_outside_of_the_chain_is_refused() {
    let memories = old_release(1..=4_u64);
    Notes::<u64>::open(memories.clone()).set_layout(Layout(7));
    assert_eq!(
        check(&memories, &[&COUNT_WORDS, &SECOND]),
        Err(Error::UnknownLayout { found: Layout(7), first: Layout(1), last: Layout(3) })
    );
}

#[test]
fn a_begun_migration_must_be_in_the_list_with_its_classes() {
    let memories = converting();
    assert_eq!(check(&memories, &[&COUNT_WORDS]), Ok(()));
    assert_eq!(
        check(&memories, &[&SECOND]),
        Err(Error::MissingMigration { number: 1, phase: Phase::Converting })
    );
    assert_eq!(
        check(&memories, &[&LOST_A_CLASS]),
        Err(Error::PlanShrunk { number: 1, class: "damaged".into() })
    );
    let later = MigrationState { phase: Phase::Stuck, ..MigrationState::default() };
    Notes::<u64>::open(memories.clone()).ledger.set_state(2, &later);
    assert_eq!(
        check(&memories, &[&COUNT_WORDS]),
        Err(Error::MissingMigration { number: 2, phase: Phase::Stuck })
    );
}

/// As on a fresh installation, in which calls have touched units of the old layout.
#[test]
fn an_idle_migration_with_counts_must_be_in_the_list() {
    let memories = old_release(1..=4_u64);
    let mut notes = Notes::<u64>::open(memories.clone());
    notes.set_layout(Layout(2));
    // What earlier releases stored for a unit that does not exist.
    let plan_only = MigrationState { plan: Some(COUNT_WORDS.digest()), ..MigrationState::default() };
    notes.ledger.set_state(1, &plan_only);
    assert_eq!(check(&memories, &[&SECOND]), Ok(()));
    Engine::touch(&ONLY, &mut notes, 1, NOW).unwrap();
    assert_eq!(check(&memories, &[&SECOND]), Err(Error::MissingMigration { number: 1, phase: Phase::Idle }));
    assert_eq!(check(&memories, &[&COUNT_WORDS, &SECOND]), Ok(()));
}

#[test]
fn a_finalized_migration_may_be_removed_from_the_list() {
    let memories = converting();
    let mut notes = Notes::<u64>::open(memories.clone());
    let engine = Engine::new(&[&ONLY]);
    engine.run(&mut notes, UNLIMITED).unwrap();
    assert_eq!(
        check(&memories, &[&SECOND]),
        Err(Error::MissingMigration { number: 1, phase: Phase::Converted })
    );
    engine.control(&mut notes, NOW).unwrap().finalize(true).unwrap();
    assert_eq!(check(&memories, &[&SECOND]), Ok(()));
    let second: [&dyn Migration<Notes<u64>>; 1] = [&CountWords(&SECOND)];
    let engine = Engine::new(&second);
    assert_eq!(engine.dry_run(&notes, UNLIMITED, None, None).map(|page| page.migration), Ok(2));
    let none: [&dyn Migration<Notes<u64>>; 0] = [];
    assert_eq!(
        Engine::new(&none).control(&mut notes, NOW).map(drop),
        Err(Error::UnknownMigration { number: 1 })
    );
}

/// A key or value of a stable map, as its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Raw(Vec<u8>);

impl Storable for Raw {
    const BOUND: Bound = Bound::Unbounded;

    fn to_bytes(&self) -> std::borrow::Cow<'_, [u8]> {
        (&self.0).into()
    }

    fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn from_bytes(bytes: std::borrow::Cow<'_, [u8]>) -> Self {
        Self(bytes.into_owned())
    }
}

/// Replaces the format, the first byte, of the record under a key.
fn reformat<K: Storable + Ord + Clone>(memory: &VectorMemory, key: K, format: u8) {
    let mut map: StableBTreeMap<K, Raw, VectorMemory> = StableBTreeMap::init(memory.clone());
    let mut raw = map.get(&key).unwrap();
    raw.0[0] = format;
    map.insert(key, raw);
}

#[test]
fn a_record_of_a_newer_format_is_refused() {
    let newer = |name, key: &str| Err(Error::NewerFormat { name, key: key.into(), found: 2, known: 1 });
    let memories = converting();
    reformat(memories.states(), 1_u16, 2);
    assert_eq!(check(&memories, &[&COUNT_WORDS]), newer("migration state", "1"));

    let memories = converting();
    let last = Notes::<u64>::open(memories.clone()).ledger.journal(0).unwrap().last().unwrap().index;
    reformat(memories.journal(), last, 2);
    assert_eq!(check(&memories, &[&COUNT_WORDS]), newer("journal entry", &last.to_string()));

    let memories = converting();
    reformat(memories.quarantine(), (1_u16, 4_u64), 2);
    assert_eq!(
        check(&memories, &[&COUNT_WORDS]),
        Ok(()),
        "a quarantined record of a newer format stops no upgrade"
    );
}

#[test]
fn a_damaged_state_is_refused() {
    let memories = converting();
    reformat(memories.states(), 1_u16, 0);
    let refused = check(&memories, &[&COUNT_WORDS]).unwrap_err();
    assert!(matches!(&refused, Error::Stable(damage) if damage.key == "1"), "{refused:?}");
    let notes = Notes::<u64>::open(memories);
    notes.ledger.state_of(1).unwrap_err();
}

#[test]
fn a_key_that_does_not_decode_is_refused() {
    let memories = old_release(["a", "b"].map(str::to_owned));
    let mut notes = Notes::<String>::open(memories.clone());
    let engine = Engine::new(&[&ONLY]);
    engine.run(&mut notes, UNLIMITED).unwrap();
    assert_eq!(engine.check(&notes), Ok(()));
    let mut quarantine: StableBTreeMap<Raw, Raw, VectorMemory> =
        StableBTreeMap::init(memories.quarantine().clone());
    let record = quarantine.get(&Raw([&[0, 1], b"b".as_slice()].concat())).unwrap();
    quarantine.insert(Raw(vec![0, 1, 0xff]), record);
    let notes = Notes::<String>::open(memories);
    let refused = engine.check(&notes).unwrap_err();
    assert!(matches!(&refused, Error::DamagedKey { key, .. } if key == "ff"), "{refused:?}");
    assert_eq!(notes.ledger.quarantine.len(1), 2, "the damaged key is counted");
    assert_eq!(
        notes.ledger.quarantine.keys(1, None, 9),
        ["b"],
        "a damaged key does not keep the others from being listed"
    );
    assert_eq!(notes.ledger.quarantined(None).len(), 1);
}

/// Stores a record in quarantine under a key that consists of these bytes.
fn quarantine_raw(memories: &Memories, key: &[u8]) {
    let mut map: StableBTreeMap<Raw, Raw, VectorMemory> = StableBTreeMap::init(memories.quarantine().clone());
    map.insert(Raw(key.to_vec()), Raw(QuarantineRecord::new("damaged".into(), vec![0xff]).encode()));
}

#[test]
fn a_key_without_the_number_of_a_migration_is_refused() {
    for (stored, hex) in [(&[][..], ""), (&[5], "05")] {
        let memories = old_release(["a", "b"].map(str::to_owned));
        quarantine_raw(&memories, stored);
        let notes = Notes::<String>::open(memories);
        let refused = Engine::new(&[&ONLY]).check(&notes).unwrap_err();
        assert!(matches!(&refused, Error::DamagedKey { key, .. } if key == hex), "{refused:?}");
    }
}

#[test]
fn damaged_keys_take_no_place_in_a_page_of_the_quarantine() {
    let memories = Memories::default();
    drop(Notes::<String>::open(memories.clone()));
    for n in 0..60 {
        quarantine_raw(&memories, &[0, 1, 0x80, n]);
    }
    let mut notes = Notes::<String>::open(memories);
    let record = QuarantineRecord::new("damaged".into(), vec![0xff]);
    notes.ledger.quarantine.insert(1, "ä".to_owned(), &record);
    let listed: Vec<_> = notes.ledger.quarantined(None).into_iter().map(|unit| unit.session).collect();
    assert_eq!((listed, notes.ledger.quarantine.len(1)), (vec!["ä".to_owned()], 61));
}
