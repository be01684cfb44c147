//! Units that could not be converted, as they were.

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
    /// Whether indexes led to it; nothing where that is not known, as of what earlier builds have put aside.
    #[n(3)]
    pub was_indexed: Option<bool>,
}

impl QuarantineRecord {
    /// A unit of which nothing is to be kept but these bytes.
    pub const fn new(reason: String, raw: Vec<u8>) -> Self {
        Self { reason, raw, beside: None, was_indexed: None }
    }

    /// As the interface shows it.
    pub fn into_api(self, session: u64) -> QuarantinedRecord {
        QuarantinedRecord { session, reason: self.reason, raw: ByteBuf::from(self.raw) }
    }
}

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

/// The quarantines of all migrations. The first one's has a memory of its own, since it was there first.
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

    /// A unit in quarantine.
    ///
    /// # Errors
    /// A damaged record.
    pub fn get(&self, migration: u16, key: u64) -> Result<Option<QuarantineRecord>, StableError> {
        match migration {
            FIRST_MIGRATION => self.first.get(&key),
            _ => self.later.get(&(migration, key)),
        }
    }

    /// Whether a unit is in quarantine.
    pub fn contains(&self, migration: u16, key: u64) -> bool {
        match migration {
            FIRST_MIGRATION => self.first.contains(&key),
            _ => self.later.contains(&(migration, key)),
        }
    }

    /// Puts a unit into quarantine.
    pub fn insert(&mut self, migration: u16, key: u64, record: &QuarantineRecord) {
        match migration {
            FIRST_MIGRATION => self.first.insert(key, record),
            _ => self.later.insert((migration, key), record),
        }
    }

    /// Takes a unit out of quarantine. False when it was not there.
    pub fn remove(&mut self, migration: u16, key: u64) -> bool {
        match migration {
            FIRST_MIGRATION => self.first.remove(&key),
            _ => self.later.remove(&(migration, key)),
        }
    }

    /// Up to `limit` units of a migration in quarantine above `after`, ascending.
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

    /// Whether no migration has anything in quarantine.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty() && self.later.is_empty()
    }
}
