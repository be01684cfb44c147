//! Receipts of ended sessions, for clients that did not get the reply.
//!
//! ```text
//! id 17   u64 -> Receipt          session to its outcome
//! id 28   (u64, u64) -> ()        (expiry in nanoseconds, session)
//! ```

use candid::Principal;
use minicbor::{Decode, Encode};

use crate::api::{Error, HashAlgorithm, StorageBackend, UploadFinishResult};
use crate::blob::{BlobId, ContentDigest};
use crate::session::{SessionId, Time};
use crate::stable::{Memories, StableError, Table, codec, memory_ids};

use super::Event;

/// The outcome of a session, with its owner, idempotency key and fingerprint.
#[derive(Encode, Decode, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct Receipt {
    /// Owner of the session.
    #[cbor(n(0), with = "codec::principal")]
    pub owner: Principal,
    /// The idempotency key, hashed.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub idem_key: [u8; 32],
    /// The fingerprint: the parameters of begin, hashed.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub fingerprint: [u8; 32],
    /// When the receipt expires, nanoseconds.
    #[n(3)]
    pub expires_at: u64,
    /// How the session ended.
    #[n(4)]
    pub outcome: Outcome,
}

/// How a session ended.
#[derive(Encode, Decode, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub enum Outcome {
    /// The upload was committed.
    #[n(0)]
    Finished(#[n(0)] Finished),
    /// The owner aborted the session.
    #[n(1)]
    Aborted,
    /// The session was idle too long or too old.
    #[n(2)]
    Expired,
    /// The session was evicted before it expired, since the room that it had reserved but not filled was needed. (An
    /// expired session that is evicted counts as expired.)
    #[n(3)]
    Evicted,
}

impl Outcome {
    /// Returns the event that is counted for this outcome.
    pub const fn event(&self) -> Event {
        match self {
            Self::Finished(_) => Event::Finished,
            Self::Aborted => Event::Aborted,
            Self::Expired => Event::Expired,
            Self::Evicted => Event::Evicted,
        }
    }

    /// Returns the error, a conflict, for a call about a session that has ended with this outcome.
    pub fn conflict(&self, id: SessionId) -> Error {
        let detail = match self {
            Self::Finished(_) => "is finished",
            Self::Aborted => "was aborted",
            Self::Expired => "has expired; begin the upload again",
            Self::Evicted => {
                "was evicted, since the room that it had reserved but not filled was needed; begin the upload again"
            }
        };
        Error::conflict("session", id, detail)
    }
}

/// A committed upload.
#[derive(Encode, Decode, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct Finished {
    /// Id of the memory that was created in the capsule.
    #[n(0)]
    pub memory_id: String,
    /// The blob that holds the bytes.
    #[n(1)]
    pub blob_id: u64,
    /// Size, bytes.
    #[n(2)]
    pub size: u64,
    /// Digest of the stored bytes.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub checksum: [u8; 32],
    /// When the upload was committed, nanoseconds.
    #[n(4)]
    pub finished_at: u64,
    /// Hash function that verified the upload; `None` for SHA-256.
    #[n(5)]
    pub algorithm: Option<HashAlgorithm>,
}

impl Finished {
    /// Returns the answer of finish, which is the same for the first call and for repeated calls.
    pub fn to_api(&self) -> UploadFinishResult {
        let locator = BlobId(self.blob_id).to_string();
        let digest = ContentDigest { algorithm: self.algorithm.unwrap_or_default(), bytes: self.checksum };
        UploadFinishResult {
            memory_id: self.memory_id.clone(),
            storage_location: format!("icp://blob/{locator}"),
            blob_id: locator,
            remote_id: None,
            size: self.size,
            checksum_sha256: digest.as_sha256(),
            checksum_blake3: digest.as_blake3(),
            storage_backend: StorageBackend::Icp,
            uploaded_at: self.finished_at,
            expires_at: None,
        }
    }
}

const VERSION: u8 = 1;

codec::cbor_record!(Receipt, "receipt", format VERSION);

#[cfg(test)]
crate::stable::schema::described!(Receipt, cbor VERSION);

/// The receipts, by session and by expiry.
pub struct Receipts {
    by_session: Table<u64, Receipt>,
    by_expiry: Table<(u64, u64), ()>,
}

impl Receipts {
    /// Opens the receipts, or creates an empty set.
    pub fn open(memories: &Memories) -> Self {
        Self {
            by_session: Table::open(memories, memory_ids::RECEIPTS),
            by_expiry: Table::open(memories, memory_ids::RECEIPT_BY_EXPIRY),
        }
    }

    /// Returns the stored receipt of a session without checking whether it has expired; `UploadService::receipt` does.
    pub fn get(&self, id: SessionId) -> Result<Option<Receipt>, StableError> {
        self.by_session.get(&id.0)
    }

    /// Iterates over the sessions that have a receipt, in order of id.
    pub fn sessions(&self) -> impl Iterator<Item = u64> + '_ {
        self.by_session.keys(..)
    }

    /// Returns the number of receipts.
    pub fn len(&self) -> u64 {
        self.by_session.len()
    }

    /// Returns whether there is no receipt.
    pub fn is_empty(&self) -> bool {
        self.by_session.is_empty()
    }

    /// Stores a receipt.
    pub fn insert(&mut self, id: SessionId, receipt: &Receipt) {
        self.by_session.insert(id.0, receipt);
        self.by_expiry.insert((receipt.expires_at, id.0), &());
    }

    /// Stores raw bytes in place of a receipt, without changing the index by expiry.
    #[cfg(test)]
    pub fn insert_raw(&mut self, id: SessionId, bytes: Vec<u8>) {
        self.by_session.insert_raw(id.0, bytes);
    }

    /// Drops up to `limit` entries of the expiry index that have expired at `now`, with their receipts, and returns,
    /// for each entry, the session and the dropped receipt: an error if the receipt was damaged, `None` if there was
    /// none.
    pub fn drop_expired(
        &mut self,
        now: Time,
        limit: usize,
    ) -> Vec<(SessionId, Result<Option<Receipt>, StableError>)> {
        let keys: Vec<_> = self.by_expiry.keys(..=(now.as_nanos(), u64::MAX)).take(limit).collect();
        let mut dropped = Vec::with_capacity(keys.len());
        for key in keys {
            let receipt = self.by_session.get(&key.1);
            self.by_session.remove(&key.1);
            self.by_expiry.remove(&key);
            dropped.push((SessionId(key.1), receipt));
        }
        dropped
    }

    /// Describes the stored tables.
    #[cfg(test)]
    pub fn describe(&self, to: &mut crate::stable::schema::Description) {
        to.table(memory_ids::numbers::RECEIPTS, &self.by_session);
        to.table(memory_ids::numbers::RECEIPT_BY_EXPIRY, &self.by_expiry);
    }
}
