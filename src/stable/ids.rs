//! Ids that are never reused, even after a snapshot is loaded.
//!
//! Loading a snapshot resets stable memory, including any plain counter. The canister version is never reset: the IC
//! increments it with every message that changes memory and with every load. No two committed messages have the same
//! version, so an id that contains the version is new:
//!
//! ```text
//! bit 52..64   generation: 0 at first; incremented when a message has issued all 1,024 ids of its version, or after
//!              the snapshot of another canister, whose version was higher, is loaded
//! bit 10..52   canister version of the message that issued the id
//! bit  0..10   position among the ids that this message has issued, from 0
//! ```
//!
//! Ids ascend, and each is above all ids in the loaded state. Only the last id is stored, in the format of the plain
//! counter of earlier builds.

use ic_stable_structures::memory_manager::MemoryId;

use super::StableError;
use super::{Memories, Register};

/// Bits for the position among the ids of a message.
const POSITION_BITS: u32 = 10;

const POSITION_MASK: u64 = (1 << POSITION_BITS) - 1;

/// Bits below the generation: for the canister version and that position.
const VERSIONED_BITS: u32 = 52;

/// Number of ids that one message can issue without a new generation.
pub const PER_MESSAGE: usize = 1 << POSITION_BITS;

/// A source of ids that are never reused.
pub struct Ids {
    last: Register<u64>,
    /// The function that returns the canister version in the current message. `None` outside of the IC, where no
    /// snapshots are loaded: then ids count up from 1.
    version: Option<fn() -> u64>,
}

impl Ids {
    /// Opens the register at `id`; an empty memory stays empty until the first id is stored.
    pub fn open(memories: &Memories, id: MemoryId) -> Self {
        Self { last: Register::open(memories, id), version: None }
    }

    /// From now on, every id contains the canister version that `version` returns.
    pub fn include_version(&mut self, version: fn() -> u64) {
        self.version = Some(version);
    }

    /// Returns the last id that was issued; 0 before the first.
    pub fn last(&self) -> Result<u64, StableError> {
        Ok(self.last.get()?.unwrap_or(0))
    }

    /// Replaces the stored last id, even by a lower one: from now on, issues ids above `last`.
    pub fn continue_after(&mut self, last: u64) {
        self.last.set(&last);
    }

    /// Issues an id, at least 1.
    ///
    /// # Errors
    /// The register does not decode, or no id is left, or the canister version does not fit into its bits.
    pub fn issue(&mut self) -> Result<u64, StableError> {
        let last = self.last()?;
        let next = match self.version {
            Some(version) => next_id(last, version()),
            None => last.checked_add(1),
        };
        let next = next.ok_or_else(|| StableError {
            name: "counter",
            key: "(register)".into(),
            reason: format!("no number is left after {last}"),
        })?;
        self.last.set(&next);
        Ok(next)
    }

    /// Describes the register in the memory `id`, for the schema.
    #[cfg(test)]
    pub fn describe(&self, id: u8, to: &mut super::schema::Description) {
        to.register(id, &self.last);
    }
}

/// Returns the lowest id above `last` that a message at this canister version may issue; `None` if there is none.
fn next_id(last: u64, version: u64) -> Option<u64> {
    let first = version.checked_mul(PER_MESSAGE as u64).filter(|first| first >> VERSIONED_BITS == 0)?;
    let generation = last >> VERSIONED_BITS << VERSIONED_BITS;
    let first_of_message = generation | first;
    let end_of_message = first_of_message | POSITION_MASK;
    if last < first_of_message {
        Some(first_of_message)
    } else if last < end_of_message {
        last.checked_add(1)
    } else {
        generation.checked_add(1 << VERSIONED_BITS).map(|generation| generation | first)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::stable::{RawMemory, memory_ids};

    thread_local! {
        static VERSION: Cell<u64> = const { Cell::new(0) };
    }

    fn ids_on(raw: RawMemory) -> Ids {
        let mut ids = Ids::open(&Memories::init(raw), memory_ids::SESSION_COUNTER);
        ids.include_version(|| VERSION.get());
        ids
    }

    fn copy(raw: &RawMemory) -> RawMemory {
        RawMemory::new(std::cell::RefCell::new(raw.borrow().clone()))
    }

    #[derive(Clone, Debug)]
    enum Event {
        /// A message that takes this many ids.
        Message(u16),
        /// Messages that take no id.
        OtherMessages(u64),
        TakeSnapshot,
        /// The canister's own snapshot, or a snapshot of another canister.
        LoadSnapshot(prop::sample::Index),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            6 => (1..20_u16).prop_map(Event::Message),
            // More than `PER_MESSAGE`.
            1 => Just(Event::Message(2_500)),
            2 => (0..1_000_u64).prop_map(Event::OtherMessages),
            2 => Just(Event::TakeSnapshot),
            2 => any::<prop::sample::Index>().prop_map(Event::LoadSnapshot),
        ]
    }

    /// Returns the snapshot of another canister whose last id is `last`.
    fn foreign_snapshot(last: u64) -> RawMemory {
        let raw = RawMemory::default();
        ids_on(raw.clone()).continue_after(last);
        raw
    }

    proptest! {
        #[test]
        fn no_number_is_issued_again_after_a_snapshot_is_loaded(
            events in prop::collection::vec(event(), 1..60),
            foreign_last in prop::collection::vec(0..(3_u64 << VERSIONED_BITS), 0..3),
        ) {
            let mut raw = RawMemory::default();
            let mut ids = ids_on(raw.clone());
            VERSION.set(1);
            let mut snapshots: Vec<RawMemory> = foreign_last.into_iter().map(foreign_snapshot).collect();
            snapshots.push(copy(&raw));
            let mut issued = BTreeSet::new();
            for event in events {
                match event {
                    Event::Message(numbers) => {
                        for _ in 0..numbers {
                            let last = ids.last().unwrap();
                            let next = ids.issue().unwrap();
                            prop_assert!(next > last, "{next} is not above {last}");
                            prop_assert!(issued.insert(next), "{next} was issued before");
                        }
                    }
                    Event::OtherMessages(messages) => VERSION.set(VERSION.get() + messages),
                    Event::TakeSnapshot => snapshots.push(copy(&raw)),
                    Event::LoadSnapshot(which) => {
                        raw = copy(which.get(&snapshots));
                        ids = ids_on(raw.clone());
                    }
                }
                // Every message increments the version, and so does a load.
                VERSION.set(VERSION.get() + 1);
            }
        }
    }

    /// The last assertion is about a foreign history: generation 1.
    #[test]
    fn a_canister_of_its_own_history_has_numbers_of_generation_0() {
        let mut ids = ids_on(RawMemory::default());
        VERSION.set(3);
        assert_eq!((ids.issue(), ids.issue()), (Ok(3 << 10), Ok((3 << 10) + 1)));
        VERSION.set(9);
        assert_eq!(ids.issue(), Ok(9 << 10));
        ids.continue_after(20);
        assert_eq!(ids.issue(), Ok(9 << 10), "ids continue above the counter of an earlier build");
        ids.continue_after(1 << 40);
        assert_eq!(
            ids.issue(),
            Ok((1 << 52) + (9 << 10)),
            "ids continue above the counter of a busier canister"
        );
    }

    #[test]
    fn a_message_uses_no_number_of_the_next_one() {
        let mut ids = ids_on(RawMemory::default());
        VERSION.set(3);
        let last_of_message = (0..PER_MESSAGE).map(|_| ids.issue().unwrap()).last();
        assert_eq!(last_of_message, Some((4 << 10) - 1));
        assert_eq!(ids.issue(), Ok((1 << 52) + (3 << 10)));
    }

    #[test]
    fn a_canister_out_of_numbers_reports_it() {
        let mut ids = ids_on(RawMemory::default());
        VERSION.set(1 << 42);
        assert!(ids.issue().unwrap_err().reason.contains("no number is left after 0"));
        VERSION.set(7);
        ids.continue_after(u64::MAX);
        assert!(ids.issue().unwrap_err().reason.contains("no number is left after 18446744073709551615"));
        assert_eq!(ids.last(), Ok(u64::MAX));
    }
}
