//! Layout 1 as it was, frozen: the record of an upload session, twelve fields, Candid `(1 : nat16, record)`.
//!
//! Never change a type in this file.

use candid::de::IDLDeserialize;
use candid::{CandidType, Deserialize, Principal};

use super::asset::LegacyAssetMetadata;
use crate::blob::ChunkPrefix;
use crate::session::SessionId;
use crate::stable::codec;

/// A session and its upload in one record.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
pub struct LegacyUploadSession {
    /// Session id, the key of the record as well.
    pub session_id: u64,
    /// Capsule that the upload goes to.
    pub capsule_id: String,
    /// Who uploads.
    pub caller: Principal,
    /// When the session was begun, nanoseconds.
    pub created_at: u64,
    /// Number of chunks.
    pub expected_chunks: u32,
    /// Whether chunks may still arrive.
    pub status: LegacyStatus,
    /// The number of chunks again.
    pub chunk_count: u32,
    /// The client's metadata.
    pub asset_metadata: LegacyAssetMetadata,
    /// Id of the memory that finish will make.
    pub provisional_memory_id: String,
    /// Length of every chunk but the last, bytes.
    pub chunk_size: u64,
    /// The client's idempotency key.
    pub idem: String,
    /// Blob that the session became.
    pub blob_id: Option<u64>,
}

/// Whether chunks may still arrive.
#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegacyStatus {
    /// They may.
    Pending,
    /// The upload is committed.
    Committed {
        /// When, nanoseconds.
        completed_at: u64,
    },
}

/// Stored bytes are no record of layout 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A version that no release has written.
    #[error("record version {0}, expected {VERSION}")]
    Version(u16),
    /// Not Candid, or of another type; in words.
    #[error("the bytes are no record: {0}")]
    Bytes(String),
}

const VERSION: u16 = 1;

impl LegacyUploadSession {
    /// The record of stored bytes.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let unreadable = |error: candid::Error| DecodeError::Bytes(error.to_string());
        let mut values = IDLDeserialize::new(bytes).map_err(unreadable)?;
        // The version first: a record of another version has fields that this type does not know.
        let version: u16 = values.get_value().map_err(unreadable)?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let record = values.get_value().map_err(unreadable)?;
        values.done().map_err(unreadable)?;
        Ok(record)
    }

    /// The bytes as they were stored.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode_candid(VERSION, self)
    }

    /// Where the chunks of the session lie: they stay there.
    pub fn chunk_prefix(&self) -> ChunkPrefix {
        ChunkPrefix::of(&self.provisional_memory_id, SessionId(self.session_id))
    }
}
