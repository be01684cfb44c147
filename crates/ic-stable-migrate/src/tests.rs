//! Tests of the engine on a small host that stores notes. The migration moves each note's text to another table and
//! adds its word count. The key type is generic.

use ic_stable_structures::VectorMemory;

use super::*;

mod bad_input;
mod budget;
#[cfg(feature = "cdk")]
mod driver;
mod finalize;
#[cfg(feature = "cdk")]
pub mod ic;
mod imbalance;
mod in_place;
mod no_room;
mod runs;
#[cfg(feature = "_schema")]
mod schema;
mod slices;
mod stored;
mod touch;

/// What an upgrade keeps: a memory for each structure.
#[derive(Clone, Default)]
struct Memories([VectorMemory; 6]);

impl Memories {
    const fn states(&self) -> &VectorMemory {
        &self.0[3]
    }

    const fn journal(&self) -> &VectorMemory {
        &self.0[4]
    }

    const fn quarantine(&self) -> &VectorMemory {
        &self.0[5]
    }
}

/// The host: notes of layout 1 (`old`) and of layout 2 (`new`).
struct Notes<K: Key> {
    layout: Register<Layout, VectorMemory>,
    old: Table<K, String, VectorMemory>,
    new: Table<K, Counted, VectorMemory>,
    ledger: Ledger<K, VectorMemory>,
}

/// A note of layout 2.
#[derive(Clone, Debug, PartialEq)]
struct Counted {
    words: u64,
    text: String,
}

impl Record for Counted {
    const NAME: &'static str = "note";

    fn encode(&self) -> Vec<u8> {
        [&self.words.to_be_bytes(), self.text.as_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (words, text) = bytes.split_first_chunk().ok_or("too short")?;
        Ok(Self { words: u64::from_be_bytes(*words), text: String::decode(text)? })
    }
}

impl<K: Key> Notes<K> {
    fn open(Memories([layout, old, new, states, journal, quarantine]): Memories) -> Self {
        let tables = LedgerMemories { states, journal, quarantine, first: None };
        Self {
            layout: Register::over(layout),
            old: Table::over(old),
            new: Table::over(new),
            ledger: Ledger::open(tables, Build { name: "notes 2", features: &["words"] }),
        }
    }
}

impl<K: Key> Host for Notes<K> {
    type Memory = VectorMemory;
    type Key = K;
    type Error = Error;

    fn layout(&self) -> Result<Layout, StableError> {
        Ok(self.layout.get()?.unwrap_or(Layout(1)))
    }

    fn set_layout(&mut self, layout: Layout) {
        self.layout.set(&layout);
    }

    fn ledger(&self) -> &Ledger<K, VectorMemory> {
        &self.ledger
    }

    fn ledger_mut(&mut self) -> &mut Ledger<K, VectorMemory> {
        &mut self.ledger
    }
}

const CLASSES: &[ClassPlan] = &[
    ClassPlan { name: "note", treatment: Treatment::Convert, what: "a text" },
    ClassPlan { name: "damaged", treatment: Treatment::Quarantine, what: "not a text" },
];

const COUNT_WORDS: Plan = Plan {
    number: 1,
    name: "count words",
    from: Layout(1),
    to: Layout(2),
    classes: CLASSES,
    fields: &[("text", "text"), ("", "words, derived")],
};

/// Migration from [`Notes::old`] to [`Notes::new`] under the given plan.
struct CountWords(&'static Plan);

/// Most of these tests give the engine this one migration.
const ONLY: CountWords = CountWords(&COUNT_WORDS);

/// Name of a plan for which [`CountWords::layout_entered`] fails.
const CANNOT_ENTER: &str = "cannot enter";

/// Name of a plan with which [`CountWords::convert`] copies one word per slice, whatever its budget.
const IN_SLICES: &str = "in slices";

/// Name of a plan with which [`CountWords`] has no rollback.
const ONE_WAY: &str = "one way";

/// Name of a plan with which [`CountWords`] leaves quarantined notes where they are.
const IN_PLACE: &str = "in place";

/// Text of a note for which [`CountWords::convert`] fails.
const CANNOT_CONVERT: &str = "cannot convert";

/// Text of a note that traps when it is converted, and when it is converted back.
const TRAPS: &str = "traps";

/// The error with which [`CountWords`] fails when a test asks it to; no table is really damaged.
fn damaged_table() -> StableError {
    StableError { name: "table", key: "1".into(), reason: "damaged".into() }
}

fn convert_text(text: String) -> Counted {
    Counted { words: text.split_whitespace().count() as u64, text }
}

/// Returns `copy` with the next word of `text`. The progress has one byte for each word that is copied already.
fn copy_word(text: &str, copy: Option<String>, work: &mut Work<'_>) -> String {
    let word = text.split_whitespace().nth(work.progress.len()).unwrap_or_default();
    work.progress.push(0);
    [copy.as_deref(), Some(word)].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Returns whether [`copy_word`] has copied all words of `text`.
fn is_copied(text: &str, work: &Work<'_>) -> bool {
    work.progress.len() >= text.split_whitespace().count()
}

impl<K: Key> Migration<Notes<K>> for CountWords {
    fn plan(&self) -> &'static Plan {
        self.0
    }

    fn layout_entered(&self, _: &mut Notes<K>) -> Result<(), StableError> {
        if self.0.name == CANNOT_ENTER { Err(damaged_table()) } else { Ok(()) }
    }

    fn sources(&self, notes: &Notes<K>, last: Option<K>, limit: usize) -> Result<Vec<K>, Error> {
        Ok(notes.old.keys(after(last)).take(limit).collect())
    }

    fn digest(&self, notes: &Notes<K>, key: K) -> Result<Option<Digest>, Error> {
        Ok(notes.old.get_raw(&key).map(|raw| digest_of(&raw)))
    }

    fn classify(&self, notes: &Notes<K>, key: K, _: Time) -> Result<Classified, Error> {
        let damage = notes.old.get(&key).err();
        Ok(Classified { class: usize::from(damage.is_some()), reason: damage.map(|why| why.to_string()) })
    }

    fn convert(&self, notes: &mut Notes<K>, key: K, work: &mut Work<'_>) -> Result<Advance, Error> {
        let Some(raw) = notes.old.get_raw(&key) else { return Ok(Advance::Gone) };
        match String::decode(&raw) {
            Ok(text) if text == CANNOT_CONVERT => {
                self.abandon(notes, key, Vec::new());
                Err(damaged_table().into())
            }
            Ok(text) if text == TRAPS => panic!("{text}"),
            Ok(text) => {
                let mut target = text.clone();
                if self.0.name == IN_SLICES {
                    target = copy_word(&text, notes.new.get(&key)?.map(|note| note.text), work);
                }
                notes.new.insert(key.clone(), &convert_text(target));
                if self.0.name == IN_SLICES && !is_copied(&text, work) {
                    return Ok(Advance::More);
                }
                let back = notes.new.get(&key)?.map(|note| note.text).unwrap_or_default();
                notes.old.remove(&key);
                Ok(Advance::Done { class: 0, fate: Fate::Converted(digest_of(back.as_bytes())) })
            }
            Err(why) => {
                let fate = Fate::Quarantined(self.take_out(notes, key, why)?);
                Ok(Advance::Done { class: 1, fate })
            }
        }
    }

    fn restore(&self, notes: &mut Notes<K>, key: K, quarantined: QuarantineRecord) -> Result<(), Error> {
        notes.old.insert_raw(key, quarantined.raw);
        Ok(())
    }

    fn take_out(&self, notes: &mut Notes<K>, key: K, reason: String) -> Result<QuarantineRecord, Error> {
        let raw = notes.old.get_raw(&key).unwrap_or_default();
        if self.0.name != IN_PLACE {
            notes.old.remove(&key);
        }
        Ok(QuarantineRecord::new(reason, raw))
    }

    fn abandon(&self, notes: &mut Notes<K>, key: K, _: Vec<u8>) {
        notes.new.remove(&key);
    }

    fn targets(&self, notes: &Notes<K>, last: Option<K>, limit: usize) -> Vec<K> {
        notes.new.keys(after(last)).take(limit).collect()
    }

    fn check(&self, notes: &Notes<K>, key: K) -> Result<Option<String>, Error> {
        let sound = notes.new.get(&key)?.is_none_or(|note| convert_text(note.text.clone()) == note);
        Ok((!sound).then(|| format!("note {key:?} has another number of words")))
    }

    fn reversal(&self) -> Option<&dyn Reversal<Notes<K>>> {
        (self.0.name != ONE_WAY).then_some(self as &dyn Reversal<Notes<K>>)
    }
}

impl<K: Key> Reversal<Notes<K>> for CountWords {
    fn allowed(&self) -> Result<(), String> {
        Ok(())
    }

    fn left(&self, notes: &Notes<K>) -> u64 {
        notes.new.len()
    }

    fn revert(&self, notes: &mut Notes<K>, key: K, work: &mut Work<'_>) -> Result<Reverted, Error> {
        let Some(Counted { text, .. }) = notes.new.get(&key)? else {
            notes.old.remove(&key);
            return Ok(Reverted::Done);
        };
        assert_ne!(text, TRAPS);
        if self.0.name == IN_SLICES {
            let source = copy_word(&text, notes.old.get(&key)?, work);
            notes.old.insert(key.clone(), &source);
            if !is_copied(&text, work) {
                return Ok(Reverted::More);
            }
        } else {
            notes.old.insert(key.clone(), &text);
        }
        notes.new.remove(&key);
        Ok(Reverted::Done)
    }
}

const NOW: Time = Time::from_nanos(1_800_000_000_000_000_000);

/// A meter with which a message of budget 0 ends after one step.
struct OneStep;

impl Meter for OneStep {
    fn used(&self) -> u64 {
        1
    }
}

/// A message that does everything, since its meter always reads zero.
const UNLIMITED: MessageBudget<'static> = MessageBudget { now: NOW, meter: &Unmetered, budget: 0 };
/// A message that ends after one step.
const STEP: MessageBudget<'static> = MessageBudget { now: NOW, meter: &OneStep, budget: 0 };

/// Returns the memories of an old release with notes under these keys; the note under the last key is not text.
fn old_release<K: Key>(keys: impl IntoIterator<Item = K>) -> Memories {
    let memories = Memories::default();
    let mut notes = Notes::open(memories.clone());
    let mut last = None;
    for (number, key) in keys.into_iter().enumerate() {
        notes.old.insert(key.clone(), &format!("note number {number}"));
        last = Some(key);
    }
    notes.old.insert_raw(last.unwrap(), vec![0xff]);
    memories
}
