//! The record of a committed blob, and its id.
//!
//! ```text
//! id 7   u64 blob id -> Candid (1 : nat16, record { size; checksum; created_at; pmid_hash })
//! ```
//! As the first public release stores it.

use candid::{CandidType, Deserialize};
use serde_bytes::ByteBuf;

use crate::session::Time;
use crate::stable::Record;

/// Names a committed blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlobId(pub u64);

impl BlobId {
    /// The id in a locator `blob_<number>`.
    pub fn from_locator(locator: &str) -> Option<Self> {
        let digits = locator.strip_prefix("blob_")?;
        // `parse` would also take a sign, and one blob must have one name.
        let canonical = digits == "0" || digits.bytes().next().is_some_and(|b| (b'1'..=b'9').contains(&b));
        if canonical { digits.parse().ok().map(Self) } else { None }
    }
}

impl std::fmt::Display for BlobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "blob_{}", self.0)
    }
}

/// A committed blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRecord {
    /// Size, bytes.
    pub size: u64,
    /// SHA-256 over the stored bytes.
    pub checksum: [u8; 32],
    /// When it was committed.
    pub created_at: Time,
    /// First half of the key of its chunks.
    pub prefix: [u8; 32],
}

const VERSION: u16 = 1;

#[derive(CandidType, Deserialize)]
struct Stored {
    size: u64,
    checksum: ByteBuf,
    created_at: u64,
    pmid_hash: ByteBuf,
}

impl Record for BlobRecord {
    const NAME: &'static str = "blob";

    fn encode(&self) -> Vec<u8> {
        let stored = Stored {
            size: self.size,
            checksum: ByteBuf::from(self.checksum),
            created_at: self.created_at.as_nanos(),
            pmid_hash: ByteBuf::from(self.prefix),
        };
        crate::stable::codec::encode_candid(VERSION, &stored)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let stored: Stored = crate::stable::codec::decode_candid(VERSION, bytes)?;
        Ok(Self {
            size: stored.size,
            checksum: digest(&stored.checksum, "checksum")?,
            created_at: Time::from_nanos(stored.created_at),
            prefix: digest(&stored.pmid_hash, "pmid_hash")?,
        })
    }
}

fn digest(bytes: &[u8], field: &str) -> Result<[u8; 32], String> {
    bytes.try_into().map_err(|_| format!("{field}: {} bytes, expected 32", bytes.len()))
}
