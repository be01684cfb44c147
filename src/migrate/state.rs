//! Where the migration stands, in stable memory.

use minicbor::{Decode, Encode};
use serde_bytes::ByteBuf;

use crate::api::{MigrationPhase, MigrationStatus};
use crate::stable::layout::Layout;
use crate::stable::{Record, codec};

use super::MultisetDigest;

/// Phase of a migration. The numbers are stored.
#[derive(Encode, Decode, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cbor(index_only)]
pub enum Phase {
    /// Nothing to do, or not begun.
    #[default]
    #[n(0)]
    Idle,
    /// Counting and digesting legacy records.
    #[n(1)]
    Validating,
    /// Converting them.
    #[n(2)]
    Converting,
    /// Comparing counts and digests.
    #[n(3)]
    Verifying,
    /// Everything is converted and proven.
    #[n(4)]
    Converted,
    /// Proven once more, and rollback is closed for good.
    #[n(5)]
    Finalized,
    /// Stopped by a controller; `resume_to` says where.
    #[n(6)]
    Paused,
    /// Counts or digests disagree; `note` says how. Nothing more is converted.
    #[n(7)]
    Stuck,
    /// Converting back.
    #[n(8)]
    RollingBack,
    /// Everything is layout 1 again.
    #[n(9)]
    RolledBack,
}

/// The state of the migration.
#[derive(Encode, Decode, Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrationState {
    /// Phase.
    #[n(0)]
    pub phase: Phase,
    /// Session id that was treated last.
    #[n(1)]
    pub cursor: Option<u64>,
    /// Every legacy record up to this session id is in `source` and `digest_before`.
    #[n(2)]
    pub validated_through: Option<u64>,
    /// Legacy records there were.
    #[n(3)]
    pub source: u64,
    /// Of these: converted by the engine.
    #[n(4)]
    pub converted: u64,
    /// Of these: converted when their client touched them.
    #[n(5)]
    pub already: u64,
    /// Of these: in quarantine.
    #[n(6)]
    pub quarantined: u64,
    /// Of these: expired and released.
    #[n(7)]
    pub expired: u64,
    /// Digest of all legacy records, before.
    #[n(8)]
    pub digest_before: MultisetDigest,
    /// Digest of what they became, projected back.
    #[n(9)]
    pub digest_after: MultisetDigest,
    /// Instructions used so far.
    #[n(10)]
    pub instructions: u64,
    /// Why it is stuck, or empty.
    #[n(11)]
    pub note: String,
    /// The phase that a controller interrupted.
    #[n(12)]
    pub resume_to: Option<Phase>,
}

impl MigrationState {
    /// Nothing, when every record is accounted for and the digests agree; else what is wrong, in words.
    pub fn imbalance(&self) -> Option<String> {
        let Self { source, converted, already, quarantined, expired, .. } = self;
        let counted =
            [converted, already, quarantined, expired].into_iter().copied().fold(0, u64::saturating_add);
        if *source != counted {
            return Some(format!(
                "source {source} is not converted {converted} + already {already} + quarantined {quarantined} + \
                 expired {expired} = {counted}"
            ));
        }
        (self.digest_before != self.digest_after)
            .then(|| "the digest of what the records became is not the digest of what they were".into())
    }

    /// Whether layout 1 is where things go: then nothing is converted, and new sessions are legacy records.
    pub fn is_going_back(&self) -> bool {
        let phase = self.resume_to.unwrap_or(self.phase);
        matches!(phase, Phase::RollingBack | Phase::RolledBack)
    }

    /// As the interface shows it.
    pub fn to_api(&self, layout: Layout, journal_entries: u64) -> MigrationStatus {
        MigrationStatus {
            layout: layout.0,
            phase: match self.phase {
                Phase::Idle => MigrationPhase::Idle,
                Phase::Validating => MigrationPhase::Validating,
                Phase::Converting => MigrationPhase::Converting,
                Phase::Verifying => MigrationPhase::Verifying,
                Phase::Converted => MigrationPhase::Converted,
                Phase::Finalized => MigrationPhase::Finalized,
                Phase::Paused => MigrationPhase::Paused,
                Phase::Stuck => MigrationPhase::Stuck,
                Phase::RollingBack => MigrationPhase::RollingBack,
                Phase::RolledBack => MigrationPhase::RolledBack,
            },
            cursor: self.cursor,
            source: self.source,
            converted: self.converted,
            already: self.already,
            quarantined: self.quarantined,
            expired: self.expired,
            digest_before: ByteBuf::from(self.digest_before.to_bytes()),
            digest_after: ByteBuf::from(self.digest_after.to_bytes()),
            instructions: self.instructions,
            journal_entries,
            note: self.note.clone(),
        }
    }
}

const VERSION: u8 = 1;

impl Record for MigrationState {
    const NAME: &'static str = "migration state";

    fn encode(&self) -> Vec<u8> {
        codec::encode(VERSION, self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        codec::decode(VERSION, bytes)
    }
}
