//! Quarantine: units that could not be converted, as they were.

use minicbor::{Decode, Encode};
use serde_bytes::ByteBuf;

use crate::api::QuarantinedRecord;
use crate::stable::{Memories, Record, StableError, Table, codec, memory_ids};

use super::tables::FIRST_MIGRATION;

/// A unit in quarantine.
#[derive(Encode, Decode, Clone, Debug, PartialEq, Eq)]
pub struct QuarantineRecord {
    /// Why it could not be converted.
    #[n(0)]
    pub reason: String,
    /// The bytes as they were stored.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub raw: Vec<u8>,
    /// A number that was stored beside these bytes, if there was one.
    #[n(2)]
    pub beside: Option<u64>,
    /// Whether indexes referred to it; absent if that is not known, as in records of earlier builds.
    #[n(3)]
    pub was_indexed: Option<bool>,
    /// Its owner according to the indexes, if the bytes do not tell and it was left here for good.
    #[cbor(n(4), with = "codec::opt_bytes")]
    pub owner: Option<ByteBuf>,
}

impl QuarantineRecord {
    /// Makes a record of which nothing is kept but these bytes.
    pub const fn new(reason: String, raw: Vec<u8>) -> Self {
        Self { reason, raw, beside: None, was_indexed: None, owner: None }
    }

    /// Converts to the interface's type, with at most `most` of its bytes.
    pub fn into_api(self, session: u64, most: usize) -> QuarantinedRecord {
        let Self { mut reason, mut raw, .. } = self;
        let len = raw.len();
        raw.truncate(most);
        reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
        let raw_len = (raw.len() < len).then_some(len as u64);
        QuarantinedRecord { session, reason, raw: ByteBuf::from(raw), raw_len }
    }

    /// Returns the bytes that it takes in a reply if it is not truncated.
    pub const fn bytes_in_answer(&self) -> usize {
        self.raw.len().saturating_add(AROUND_A_RECORD)
    }
}

/// Bytes of a reason that are shown.
const LONGEST_REASON: usize = 4 * 1024;

/// Bytes of a record in a reply beside its raw bytes: the longest reason, and Candid.
const AROUND_A_RECORD: usize = LONGEST_REASON + 64;

const VERSION: u8 = 1;

impl Record for QuarantineRecord {
    const NAME: &'static str = "quarantined record";

    fn encode(&self) -> Vec<u8> {
        codec::encode(VERSION, self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        codec::decode(VERSION, bytes)
    }
}

/// The quarantines of all migrations. The first migration's has a memory of its own, since it was there
/// first.
pub struct Quarantine {
    first: Table<u64, QuarantineRecord>,
    later: Table<(u16, u64), QuarantineRecord>,
}

impl Quarantine {
    /// Opens the tables, or makes empty ones.
    pub fn open(memories: &Memories) -> Self {
        Self {
            first: Table::open(memories, memory_ids::MIGRATION_QUARANTINE),
            later: Table::open(memories, memory_ids::MIGRATION_QUARANTINES),
        }
    }

    /// Returns a quarantined unit.
    pub fn get(&self, migration: u16, key: u64) -> Result<Option<QuarantineRecord>, StableError> {
        match migration {
            FIRST_MIGRATION => self.first.get(&key),
            _ => self.later.get(&(migration, key)),
        }
    }

    /// Returns the stored bytes of a record, whatever they are.
    pub fn get_raw(&self, migration: u16, key: u64) -> Option<Vec<u8>> {
        match migration {
            FIRST_MIGRATION => self.first.get_raw(&key),
            _ => self.later.get_raw(&(migration, key)),
        }
    }

    /// Returns a quarantined unit; for a record that does not decode, its bytes and what is wrong with them.
    pub fn get_or_damaged(&self, migration: u16, key: u64) -> Option<QuarantineRecord> {
        match self.get(migration, key) {
            Ok(record) => record,
            Err(damage) => {
                self.get_raw(migration, key).map(|raw| QuarantineRecord::new(damage.to_string(), raw))
            }
        }
    }

    /// Lists up to `limit` quarantined units of a migration whose records decode, ascending.
    pub fn sound_keys(&self, migration: u16, limit: usize) -> Vec<u64> {
        let is_sound = |key: &u64| self.get(migration, *key).is_ok();
        self.keys(migration, None, usize::MAX).into_iter().filter(is_sound).take(limit).collect()
    }

    /// Returns the number of quarantined units of a migration.
    pub fn len(&self, migration: u16) -> u64 {
        match migration {
            FIRST_MIGRATION => self.first.len(),
            _ => self.later.keys((migration, 0)..=(migration, u64::MAX)).count() as u64,
        }
    }

    /// Returns whether a unit is quarantined.
    pub fn contains(&self, migration: u16, key: u64) -> bool {
        match migration {
            FIRST_MIGRATION => self.first.contains(&key),
            _ => self.later.contains(&(migration, key)),
        }
    }

    /// Quarantines a unit.
    pub fn insert(&mut self, migration: u16, key: u64, record: &QuarantineRecord) {
        match migration {
            FIRST_MIGRATION => self.first.insert(key, record),
            _ => self.later.insert((migration, key), record),
        }
    }

    /// Removes a unit from quarantine. Returns `false` if it was not there.
    pub fn remove(&mut self, migration: u16, key: u64) -> bool {
        match migration {
            FIRST_MIGRATION => self.first.remove(&key),
            _ => self.later.remove(&(migration, key)),
        }
    }

    /// Lists up to `limit` quarantined units of a migration above `after`, ascending.
    pub fn keys(&self, migration: u16, after: Option<u64>, limit: usize) -> Vec<u64> {
        let from = after.map_or(0, |key| key.saturating_add(1));
        if after == Some(u64::MAX) {
            return Vec::new();
        }
        match migration {
            FIRST_MIGRATION => self.first.keys(from..).take(limit).collect(),
            _ => {
                let range = (migration, from)..=(migration, u64::MAX);
                self.later.keys(range).take(limit).map(|(_, key)| key).collect()
            }
        }
    }

    /// Returns whether no migration has anything in quarantine.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty() && self.later.is_empty()
    }
}
