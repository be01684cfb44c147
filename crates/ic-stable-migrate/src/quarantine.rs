//! Quarantine: units that could not be converted, in their original form.

use std::borrow::Borrow;
use std::ops::Bound;

use ic_stable_structures::Memory;
use minicbor::{Decode, Encode};
use serde_bytes::ByteBuf;

use crate::api::QuarantinedRecord;
use crate::key::{NumberedKey, StoredKey};
use crate::plan::FIRST_MIGRATION;
use crate::{Error, Key, Record, StableError, Table, codec};

/// A unit in quarantine.
///
/// ```
/// use ic_stable_migrate::{QuarantineRecord, Record};
///
/// // As `Migration::take_out` returns it: the reason for the quarantine, and the bytes as they were stored.
/// let record = QuarantineRecord::new("it does not decode".into(), vec![0xff; 10]);
/// assert_eq!(QuarantineRecord::decode(&record.encode()), Ok(record.clone()));
/// let shown = record.into_api(7_u64, 4);
/// assert_eq!((shown.session, shown.raw.len(), shown.raw_len), (7, 4, Some(10)));
/// ```
#[derive(Encode, Decode, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(all(test, feature = "_schema"), derive(stable_schema::StableSchema))]
pub struct QuarantineRecord {
    /// Why the unit could not be converted.
    #[n(0)]
    pub reason: String,
    /// The bytes of the unit as they were stored, or others from which the migration can restore and digest it.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub raw: Vec<u8>,
    /// A number that the canister stored separately for this unit, if there was one.
    #[n(2)]
    pub beside: Option<u64>,
    /// Whether indexes referred to the unit; absent if that is unknown, as in records of earlier builds. A migration
    /// that restores the unit may index it accordingly.
    #[n(3)]
    pub was_indexed: Option<bool>,
    /// Owner of the unit according to the indexes. Recorded only if the owner cannot be read from the bytes, and the
    /// unit was left in quarantine permanently.
    #[cbor(n(4), with = "codec::opt_bytes")]
    pub owner: Option<ByteBuf>,
}

impl QuarantineRecord {
    /// Creates a record of a reason and the unit's bytes.
    #[must_use]
    pub const fn new(reason: String, raw: Vec<u8>) -> Self {
        Self { reason, raw, beside: None, was_indexed: None, owner: None }
    }

    /// Converts the record of the unit `session` to the type of the endpoints, with at most `max` of its raw bytes, and
    /// with the beginning of a reason above 4 KiB.
    pub fn into_api<K>(self, session: K, max: usize) -> QuarantinedRecord<K> {
        let Self { mut reason, mut raw, .. } = self;
        let len = raw.len();
        raw.truncate(max);
        reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
        let raw_len = (raw.len() < len).then_some(len as u64);
        QuarantinedRecord { session, reason, raw: ByteBuf::from(raw), raw_len }
    }

    /// Returns the maximum number of bytes that the record takes in a reply if it is not truncated.
    #[must_use]
    pub(crate) const fn max_bytes_in_reply(&self) -> usize {
        self.raw.len().saturating_add(RECORD_OVERHEAD)
    }
}

/// Maximum number of bytes of a reason that a reply shows.
const LONGEST_REASON: usize = 4 * 1024;

/// Maximum number of bytes that a record takes in a reply in addition to its raw bytes: reason, and Candid's encoding.
const RECORD_OVERHEAD: usize = LONGEST_REASON + 64;

/// The first byte of every stored record.
pub(crate) const VERSION: u8 = 1;

impl Record for QuarantineRecord {
    const NAME: &'static str = "quarantined record";
    const FORMAT: Option<u8> = Some(VERSION);

    fn encode(&self) -> Vec<u8> {
        codec::encode(VERSION, self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        codec::decode(VERSION, bytes)
    }
}

/// The quarantines of all migrations; migration 1 may have a memory of its own. Units are listed in the order of the
/// stored bytes of their keys.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # fn main() -> Result<(), Error> {
/// let mut bank = Bank::of([(7, 100)]);
/// let quarantine = &mut bank.ledger.quarantine;
/// assert!(quarantine.is_empty());
/// quarantine.insert(1, 7, &QuarantineRecord::new("its conversion trapped".into(), vec![1, 2]));
///
/// // A client's call about the unit.
/// assert!(quarantine.contains(1, 7));
/// let record = quarantine.get(1, 7)?.expect("unit 7 is quarantined");
/// assert_eq!((record.reason.as_str(), record.raw.as_slice()), ("its conversion trapped", [1, 2].as_slice()));
/// // The same, if the record may be damaged.
/// assert_eq!(quarantine.get_or_damaged(1, 7), Some(record));
/// assert!(quarantine.get_raw(1, 7).is_some());
///
/// // Each migration has its own: migration 2 has nothing in quarantine.
/// assert_eq!((quarantine.len(1), quarantine.keys(1, None, 10), quarantine.len(2)), (1, vec![7], 0));
/// assert!(quarantine.remove(1, 7));
/// # Ok(())
/// # }
/// ```
pub struct Quarantine<K: Key, M: Memory> {
    /// The quarantine of migration 1, if it has a memory of its own.
    first: Option<Table<StoredKey<K>, QuarantineRecord, M>>,
    /// The quarantines of the other migrations; of all migrations if `first` is `None`.
    by_number: Table<NumberedKey<K>, QuarantineRecord, M>,
}

/// Calls `$method`, with the stored key of a unit, on the table that holds the migration's quarantine.
macro_rules! call {
    ($first:expr, $by_number:expr, $migration:ident, $key:ident, $method:ident) => {{
        let key = StoredKey::of($key.borrow());
        match $first {
            Some(first) if $migration == FIRST_MIGRATION => first.$method(&key),
            _ => $by_number.$method(&NumberedKey::new($migration, key)),
        }
    }};
}

impl<K: Key, M: Memory + Clone> Quarantine<K, M> {
    pub(crate) fn open(first: Option<M>, by_number: M) -> Self {
        Self { first: first.map(Table::over), by_number: Table::over(by_number) }
    }

    /// Returns the record of a quarantined unit; `None` if the unit is not quarantined.
    ///
    /// # Errors
    /// If the record does not decode.
    pub fn get(&self, migration: u16, key: impl Borrow<K>) -> Result<Option<QuarantineRecord>, StableError> {
        call!(&self.first, self.by_number, migration, key, get)
    }

    /// Returns the stored bytes of a unit's quarantine record; `None` if the unit is not quarantined.
    pub fn get_raw(&self, migration: u16, key: impl Borrow<K>) -> Option<Vec<u8>> {
        call!(&self.first, self.by_number, migration, key, get_raw)
    }

    /// Returns the record of a quarantined unit. If the record does not decode, returns one with its stored bytes, and
    /// with the error as the reason. `None` if the unit is not quarantined.
    pub fn get_or_damaged(&self, migration: u16, key: impl Borrow<K>) -> Option<QuarantineRecord> {
        let key = key.borrow();
        match self.get(migration, key) {
            Ok(record) => record,
            Err(damage) => {
                self.get_raw(migration, key).map(|raw| QuarantineRecord::new(damage.to_string(), raw))
            }
        }
    }

    /// Lists up to `limit` quarantined units of a migration whose records decode.
    pub(crate) fn sound_keys(&self, migration: u16, limit: usize) -> Vec<K> {
        let is_sound = |key: &K| self.get(migration, key).is_ok();
        let keys = self.stored_keys(migration, None).filter_map(|stored| stored.decode().ok());
        keys.filter(is_sound).take(limit).collect()
    }

    /// Returns the number of quarantined units of a migration, those with damaged keys included.
    pub fn len(&self, migration: u16) -> u64 {
        match &self.first {
            Some(first) if migration == FIRST_MIGRATION => first.len(),
            _ => self.stored_keys(migration, None).count() as u64,
        }
    }

    /// Returns whether this migration has nothing in quarantine; [`Self::is_empty`] is about all migrations.
    pub(crate) fn is_empty_of(&self, migration: u16) -> bool {
        self.stored_keys(migration, None).next().is_none()
    }

    /// Returns whether a unit is quarantined.
    pub fn contains(&self, migration: u16, key: impl Borrow<K>) -> bool {
        call!(&self.first, self.by_number, migration, key, contains)
    }

    /// Returns the first of these units that is not quarantined, at the cost of [`Table::first_absent`].
    pub(crate) fn first_absent(&self, migration: u16, keys: &[K]) -> Option<K> {
        let stored = || keys.iter().map(StoredKey::of);
        let absent = match &self.first {
            Some(first) if migration == FIRST_MIGRATION => first.first_absent(stored()),
            _ => self.by_number.first_absent(stored().map(|key| NumberedKey::new(migration, key))),
        };
        absent.and_then(|place| keys.get(place).cloned())
    }

    /// Stores the record of a quarantined unit, replacing any previous one.
    pub fn insert(&mut self, migration: u16, key: impl Borrow<K>, record: &QuarantineRecord) {
        let key = StoredKey::of(key.borrow());
        match &mut self.first {
            Some(first) if migration == FIRST_MIGRATION => first.insert(key, record),
            _ => self.by_number.insert(NumberedKey::new(migration, key), record),
        }
    }

    /// Removes a unit from quarantine. Returns `false` if it was not in quarantine.
    pub fn remove(&mut self, migration: u16, key: impl Borrow<K>) -> bool {
        call!(&mut self.first, self.by_number, migration, key, remove)
    }

    /// Lists up to `limit` quarantined units of a migration after the unit `after`. Damaged keys are left out; units
    /// whose records are damaged are not.
    pub fn keys(&self, migration: u16, after: Option<K>, limit: usize) -> Vec<K> {
        let after = after.map(|key| StoredKey::of(&key));
        self.stored_keys(migration, after).filter_map(|stored| stored.decode().ok()).take(limit).collect()
    }

    /// Returns whether no migration has anything in quarantine.
    pub fn is_empty(&self) -> bool {
        self.first.as_ref().is_none_or(Table::is_empty) && self.by_number.is_empty()
    }

    /// Iterates over the keys of a migration's quarantine above `after`, damaged ones included.
    pub(crate) fn stored_keys(
        &self,
        migration: u16,
        after: Option<StoredKey<K>>,
    ) -> Box<dyn Iterator<Item = StoredKey<K>> + '_> {
        match &self.first {
            Some(first) if migration == FIRST_MIGRATION => Box::new(first.keys_after(after.as_ref())),
            _ => {
                let start = match after {
                    Some(key) => Bound::Excluded(NumberedKey::new(migration, key)),
                    None => Bound::Included(NumberedKey::new(migration, StoredKey::lowest())),
                };
                let keys = self.by_number.keys((start, Bound::Unbounded));
                Box::new(
                    keys.take_while(move |numbered| numbered.is_of(migration)).map(|numbered| numbered.key),
                )
            }
        }
    }

    /// Returns [`Error::DamagedKey`] if there is a damaged key among the first `limit` keys of each table.
    pub(crate) fn check_keys(&self, limit: usize) -> Result<(), Error> {
        let damaged = |stored: &StoredKey<K>, reason| Error::DamagedKey { key: stored.hex(), reason };
        for stored in self.first.iter().flat_map(|first| first.keys(..).take(limit)) {
            stored.decode().map_err(|reason| damaged(&stored, reason))?;
        }
        for numbered in self.by_number.keys(..).take(limit) {
            numbered.decode().map_err(|reason| damaged(&numbered.key, reason))?;
        }
        Ok(())
    }
}
