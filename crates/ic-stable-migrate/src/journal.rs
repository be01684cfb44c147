//! The journal of the migrations: each entry contains the hash of the previous one.

use minicbor::{Decode, Encode};
use serde_bytes::ByteBuf;

use crate::api::JournalEntry;
use crate::plan::FIRST_MIGRATION;
use crate::{Digest, Key, Layout, MigrationState, Record, Time, codec, digest_of};

/// The build that wrote an entry, as recorded in the journal.
///
/// ```
/// use ic_stable_migrate::Build;
///
/// const BUILD: Build = Build { name: concat!("bank ", env!("CARGO_PKG_VERSION")), features: &["direct"] };
/// assert!(BUILD.name.starts_with("bank "));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Build {
    /// Name of the build, such as its version.
    pub name: &'static str,
    /// Its cargo features.
    pub features: &'static [&'static str],
}

/// A stored journal entry. Its key is its number.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # fn main() -> Result<(), Error> {
/// // A tool reads the journal from a snapshot of stable memory, and recomputes the chain of hashes.
/// let stable = DefaultMemoryImpl::default();
/// let mut bank = Bank::open(stable.clone());
/// ENGINE.run(&mut bank, MESSAGE)?;
/// let memory = MemoryManager::init(stable).get(MemoryId::new(4));
/// let journal: Table<u64, JournalRecord, Memory> = Table::over(memory);
/// let mut previous = [0; 32];
/// for index in journal.keys(..) {
///     let stored = journal.get_raw(&index).unwrap_or_default();
///     let entry = JournalRecord::<u64>::decode(&stored).unwrap();
///     assert_eq!(entry.previous, previous);
///     previous = JournalRecord::<u64>::hash(&stored);
///     assert_eq!(entry.to_api(index, previous).build, "bank 2.0");
/// }
/// assert_eq!(journal.len(), 5);
/// # Ok(())
/// # }
/// ```
#[derive(Encode, Decode, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(all(test, feature = "_schema"), derive(stable_schema::StableSchema))]
pub struct JournalRecord<K: Key = u64> {
    /// Time, in nanoseconds.
    #[n(0)]
    pub at: u64,
    /// The build that wrote the entry.
    #[n(1)]
    pub build: String,
    /// What happened.
    #[n(2)]
    pub event: String,
    /// Stable layout at that time.
    #[n(3)]
    pub layout: u16,
    /// State of the migration at that time.
    #[cbor(n(4), bound = "K: Key")]
    pub state: MigrationState<K>,
    /// Hash of the entry before; 32 zero bytes for the first.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub previous: Digest,
    /// Number of the migration; absent in entries written when there was only migration 1, which they are about.
    #[n(6)]
    pub migration: Option<u16>,
    /// Cargo features of the build.
    #[cbor(n(7), default)]
    pub features: Vec<String>,
}

impl<K: Key> JournalRecord<K> {
    pub(crate) fn new(
        build: Build,
        now: Time,
        event: &str,
        layout: Layout,
        migration: u16,
        state: &MigrationState<K>,
        previous: Digest,
    ) -> Self {
        Self {
            at: now.as_nanos(),
            build: build.name.into(),
            event: event.into(),
            layout: layout.0,
            state: state.clone(),
            previous,
            migration: Some(migration),
            features: build.features.iter().map(|feature| (*feature).to_owned()).collect(),
        }
    }

    /// Returns the SHA-256 of an entry as it is stored, including `previous`.
    #[must_use]
    pub fn hash(stored: &[u8]) -> Digest {
        digest_of(stored)
    }

    /// Converts the entry to the type of the endpoints; `index` is its number, `hash` the hash of its stored bytes.
    pub fn to_api(&self, index: u64, hash: Digest) -> JournalEntry<K> {
        let migration = self.migration.unwrap_or(FIRST_MIGRATION);
        JournalEntry {
            index,
            at: self.at,
            build: self.build.clone(),
            features: self.features.clone(),
            event: self.event.clone(),
            plan: self.state.plan.map(ByteBuf::from),
            status: self.state.to_api(migration, Layout(self.layout), index),
            previous: ByteBuf::from(self.previous),
            hash: ByteBuf::from(hash),
        }
    }
}

/// The first byte of every stored entry.
pub(crate) const VERSION: u8 = 1;

impl<K: Key> Record for JournalRecord<K> {
    const NAME: &'static str = "journal entry";
    const FORMAT: Option<u8> = Some(VERSION);

    fn encode(&self) -> Vec<u8> {
        codec::encode(VERSION, self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        codec::decode(VERSION, bytes)
    }
}
