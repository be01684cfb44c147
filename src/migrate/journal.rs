//! The journal of the migrations: entry by entry, each carrying the hash of the one before.

use minicbor::{Decode, Encode};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use crate::api::JournalEntry;
use crate::session::Time;
use crate::stable::layout::Layout;
use crate::stable::{Record, codec};

use super::MigrationState;
use super::tables::FIRST_MIGRATION;
use crate::build_profile::{BUILD, FEATURES};

/// A stored entry. Its number is its key.
#[derive(Encode, Decode, Clone, Debug, PartialEq, Eq)]
pub struct JournalRecord {
    /// Time, in nanoseconds.
    #[n(0)]
    pub at: u64,
    /// The build that wrote it.
    #[n(1)]
    pub build: String,
    /// What happened.
    #[n(2)]
    pub event: String,
    /// Stable layout at that moment.
    #[n(3)]
    pub layout: u16,
    /// The state at that moment.
    #[n(4)]
    pub state: MigrationState,
    /// Hash of the entry before; zero for the first.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub previous: [u8; 32],
    /// Number of the migration; absent where there was only the first.
    #[n(6)]
    pub migration: Option<u16>,
    /// Cargo features of the build.
    #[cbor(n(7), default)]
    pub features: Vec<String>,
}

impl JournalRecord {
    /// Makes an entry of the running build that follows one with the hash `previous`.
    pub fn new(
        now: Time,
        event: &str,
        layout: Layout,
        migration: u16,
        state: &MigrationState,
        previous: [u8; 32],
    ) -> Self {
        Self {
            at: now.as_nanos(),
            build: BUILD.into(),
            event: event.into(),
            layout: layout.0,
            state: state.clone(),
            previous,
            migration: Some(migration),
            features: FEATURES.iter().map(|feature| (*feature).to_owned()).collect(),
        }
    }

    /// Returns the SHA-256 of an entry as it is stored, `previous` included.
    pub fn hash(stored: &[u8]) -> [u8; 32] {
        Sha256::digest(stored).into()
    }

    /// Converts to the interface's type; `index` is the number of the entry, `hash` that of its stored bytes.
    pub fn to_api(&self, index: u64, hash: [u8; 32]) -> JournalEntry {
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

const VERSION: u8 = 1;

impl Record for JournalRecord {
    const NAME: &'static str = "journal entry";

    fn encode(&self) -> Vec<u8> {
        codec::encode(VERSION, self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        codec::decode(VERSION, bytes)
    }
}
