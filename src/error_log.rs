//! The latest errors that only an operator can act on: from timers and from damaged stored data.
//!
//! The canister's log holds a few kilobytes, and the lines of finished uploads displace everything else in it. Errors
//! stored here are not displaced, and survive upgrades. A repeated error is counted in the slot that it already has, so
//! that it does not displace other errors.
//!
//! In the memory of the counters, after the numbers:
//!
//! ```text
//! byte 8192..8200     errors so far, repeated ones included, big-endian
//! byte 8832..         32 slots of 640 bytes: u16 length, big-endian, and a record; length 0: free
//! ```

use minicbor::{Decode, Encode};

use crate::api::{RecentError, shortened};
use crate::session::Time;
use crate::stable::{Counters, Memories, codec, memory_ids};

/// Offset of the number of errors so far; the counters of uploads are below it.
const TOTAL_AT: u64 = 8_192;

/// Offset of the first slot. The total takes as much space as a slot.
const SLOTS_AT: u64 = TOTAL_AT + SLOT_BYTES as u64;

/// Length of a slot, bytes: enough for a source and a message of 256 bytes each.
const SLOT_BYTES: usize = 640;

const SLOTS: usize = 32;

/// Length of the number at the beginning of a slot that says how long the record is.
const LEN_BYTES: usize = 2;

/// One error, however often it occurred: the fields of [`RecentError`].
#[derive(Encode, Decode, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
struct Entry {
    #[n(0)]
    source: String,
    #[n(1)]
    message: String,
    #[n(2)]
    count: u64,
    #[n(3)]
    first_at: u64,
    #[n(4)]
    last_at: u64,
}

const VERSION: u8 = 1;

#[cfg(test)]
crate::stable::schema::described!(Entry, cbor VERSION);

impl Entry {
    /// Decodes a slot; `None` for a free slot, and for a damaged one, which counts as free and is overwritten.
    fn decode(slot: &[u8; SLOT_BYTES]) -> Option<Self> {
        let (len, record) = slot.split_first_chunk::<LEN_BYTES>()?;
        let record = record.get(..usize::from(u16::from_be_bytes(*len)))?;
        codec::decode(VERSION, record).ok()
    }

    /// Encodes a slot; `None` if the record is too long, which does not happen with truncated texts.
    fn encode(&self) -> Option<[u8; SLOT_BYTES]> {
        let record = codec::encode(VERSION, self);
        let mut slot = [0; SLOT_BYTES];
        let (len, rest) = slot.split_first_chunk_mut::<LEN_BYTES>()?;
        *len = u16::try_from(record.len()).ok()?.to_be_bytes();
        rest.get_mut(..record.len())?.copy_from_slice(&record);
        Some(slot)
    }
}

/// The latest errors, in stable memory.
pub struct ErrorLog {
    /// The memory of the counters, of which this log uses only the part from [`TOTAL_AT`] on.
    page: Counters,
}

impl ErrorLog {
    /// Opens the log in the memory of the counters.
    pub fn open(memories: &Memories) -> Self {
        Self { page: Counters::open(memories, memory_ids::UPLOAD_COUNTS) }
    }

    /// Counts and stores an error of `source`. A new error replaces the oldest one if every slot is taken. Does nothing
    /// if stable memory has no room for the page.
    pub fn store(&self, source: &str, message: &str, now: Time) {
        self.page.write(TOTAL_AT, &self.total().saturating_add(1).to_be_bytes());

        let (source, message) = (shortened(source), shortened(message));
        let now = now.as_nanos();
        let new = Entry { source, message, count: 0, first_at: now, last_at: now };
        let slots = self.slots();
        let is_same = |entry: &Entry| entry.source == new.source && entry.message == new.message;
        let same_slot = slots.iter().position(|slot| slot.as_ref().is_some_and(is_same));
        // A free slot counts as the oldest.
        let oldest_slot = || {
            let last_at = slots.iter().map(|slot| slot.as_ref().map(|entry| entry.last_at));
            last_at.enumerate().min_by_key(|(_, last_at)| *last_at).map(|(index, _)| index)
        };
        let Some(index) = same_slot.or_else(oldest_slot) else { return };
        let repeated = slots.get(index).cloned().flatten().filter(is_same);
        let mut entry = repeated.unwrap_or(new);
        entry.count = entry.count.saturating_add(1);
        entry.last_at = now;
        if let Some(slot) = entry.encode() {
            self.page.write(slot_offset(index), &slot);
        }
    }

    /// Returns the number of errors so far, including repeated ones.
    pub fn total(&self) -> u64 {
        let mut total = [0; 8];
        self.page.read(TOTAL_AT, &mut total);
        u64::from_be_bytes(total)
    }

    /// Returns the stored errors, latest first.
    pub fn recent(&self) -> Vec<RecentError> {
        let mut entries: Vec<Entry> = self.slots().into_iter().flatten().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.last_at));
        let to_api = |Entry { source, message, count, first_at, last_at }| RecentError {
            source,
            message,
            count,
            first_at,
            last_at,
        };
        entries.into_iter().map(to_api).collect()
    }

    /// Returns the entries of all slots, in the order of the slots; `None` for a free one.
    fn slots(&self) -> Vec<Option<Entry>> {
        let mut bytes = vec![[0; SLOT_BYTES]; SLOTS];
        self.page.read(SLOTS_AT, bytes.as_flattened_mut());
        bytes.iter().map(Entry::decode).collect()
    }

    /// Describes the stored structures, for the schema.
    #[cfg(test)]
    pub fn describe(&self, to: &mut crate::stable::schema::Description) {
        let entry = <Entry as crate::stable::schema::Described>::value();
        to.raw(memory_ids::numbers::UPLOAD_COUNTS, crate::stable::counters::VERSION, Some(entry));
    }
}

fn slot_offset(index: usize) -> u64 {
    SLOTS_AT.saturating_add((index as u64).saturating_mul(SLOT_BYTES as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stable::RawMemory;

    fn log_on(raw: &RawMemory) -> ErrorLog {
        ErrorLog::open(&Memories::init(raw.clone()))
    }

    fn at(seconds: u64) -> Time {
        Time::from_nanos(0).plus_seconds(seconds)
    }

    #[test]
    fn errors_are_kept_across_upgrades_latest_first() {
        let raw = RawMemory::default();
        log_on(&raw).store("sweep", "session 7: damaged", at(1));
        log_on(&raw).store("migration", "stuck", at(2));
        log_on(&raw).store("sweep", "session 7: damaged", at(9));
        let error = |source: &str, message: &str, count, first_at, last_at| RecentError {
            source: source.into(),
            message: message.into(),
            count,
            first_at,
            last_at,
        };
        let (first, last) = (at(1).as_nanos(), at(9).as_nanos());
        let stuck = at(2).as_nanos();
        assert_eq!(
            log_on(&raw).recent(),
            [
                error("sweep", "session 7: damaged", 2, first, last),
                error("migration", "stuck", 1, stuck, stuck)
            ]
        );
        assert_eq!(log_on(&raw).total(), 3);
    }

    #[test]
    fn a_new_error_replaces_the_oldest() {
        let log = log_on(&RawMemory::default());
        for n in 0..SLOTS as u64 {
            log.store("sweep", &n.to_string(), at(n));
        }
        log.store("sweep", "0", at(100));
        log.store("sweep", &"long ".repeat(10_000), at(101));
        let messages: Vec<String> = log.recent().into_iter().map(|error| error.message).collect();
        assert_eq!(messages.len(), SLOTS);
        assert!(messages[0].starts_with("long ") && messages[0].ends_with('…'), "{}", messages[0]);
        assert!(messages[1] == "0" && !messages.contains(&"1".to_owned()), "{messages:?}");
        assert_eq!(log.total(), SLOTS as u64 + 2);
    }

    #[test]
    fn a_damaged_slot_counts_as_free() {
        let raw = RawMemory::default();
        let log = log_on(&raw);
        log.store("sweep", "a", at(1));
        log.page.write(SLOTS_AT, &[0xff; SLOT_BYTES]);
        assert_eq!(log.recent(), []);
        log.store("sweep", "b", at(2));
        assert_eq!(log.recent().len(), 1);
    }
}
