//! The frozen record of layout 1: an upload session of twelve fields, Candid `(1 : nat16, record)`.
//!
//! Never change a type in this file.

use candid::de::IDLDeserialize;
use candid::{CandidType, Deserialize, Principal};

use super::asset::LegacyAssetMetadata;
use super::wire::{HEADER, Reader, Wire, after_header, record};
use crate::blob::ChunkPrefix;
use crate::bytes::is_same;
use crate::session::SessionId;

/// A session and its upload in one record.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
pub struct LegacyUploadSession {
    /// Session id; also the key of the record.
    pub session_id: u64,
    /// Capsule that gets the file.
    pub capsule_id: String,
    /// Principal that uploads the file.
    pub caller: Principal,
    /// When the session began, nanoseconds.
    pub created_at: u64,
    /// Number of chunks.
    pub expected_chunks: u32,
    /// Whether chunks may still arrive.
    pub status: LegacyStatus,
    /// Number of chunks, stored a second time.
    pub chunk_count: u32,
    /// The client's metadata.
    pub asset_metadata: LegacyAssetMetadata,
    /// Id of the memory that finish will create.
    pub provisional_memory_id: String,
    /// Length of every chunk but the last, bytes.
    pub chunk_size: u64,
    /// The client's idempotency key.
    pub idem: String,
    /// Blob to which the session was committed.
    pub blob_id: Option<u64>,
}

/// Whether chunks may still arrive.
#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegacyStatus {
    /// Chunks may still arrive.
    Pending,
    /// The upload is committed.
    Committed {
        /// Time of the commit, nanoseconds.
        completed_at: u64,
    },
}

record!(LegacyUploadSession {
    status,
    asset_metadata,
    session_id,
    capsule_id,
    expected_chunks,
    blob_id,
    idem,
    created_at,
    chunk_count,
    caller,
    provisional_memory_id,
    chunk_size,
});

impl Wire for LegacyStatus {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        match u8::read(reader)? {
            0 => Some(Self::Committed { completed_at: Wire::read(reader)? }),
            1 => Some(Self::Pending),
            _ => None,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Committed { completed_at } => {
                out.push(0);
                completed_at.write(out);
            }
            Self::Pending => out.push(1),
        }
    }
}

/// Stored bytes that are not a record of layout 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A version other than 1, which no release has written.
    #[error("record version {0}, expected {VERSION}")]
    Version(u16),
    /// Not Candid, or of another type; the reason as text.
    #[error("the bytes are not a record: {0}")]
    Bytes(String),
}

const VERSION: u16 = 1;

/// Capacity for the value of most records, bytes.
const USUAL_BYTES: usize = 512;

impl LegacyUploadSession {
    /// Decodes stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::read_after_header(bytes).map_or_else(|| Self::decode_by_library(bytes), Ok)
    }

    /// Returns the record, if the stored bytes are exactly what [`Self::encode`] writes; otherwise `None`, even if the
    /// library could decode them.
    pub(super) fn read_after_header(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(after_header(bytes)?);
        let version = u16::read(&mut reader)?;
        let record = Self::read(&mut reader)?;
        (version == VERSION && reader.is_at_end()).then_some(record)
    }

    /// Decodes any bytes that are Candid of this type.
    pub fn decode_by_library(bytes: &[u8]) -> Result<Self, DecodeError> {
        let to_decode_error = |error: candid::Error| DecodeError::Bytes(error.to_string());
        let mut values = IDLDeserialize::new(bytes).map_err(to_decode_error)?;
        // The version first: a record of another version has fields that this type does not have.
        let version: u16 = values.get_value().map_err(to_decode_error)?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let record = values.get_value().map_err(to_decode_error)?;
        values.done().map_err(to_decode_error)?;
        Ok(record)
    }

    /// Returns the bytes that layout 1 stores for the record.
    pub fn encode(&self) -> Vec<u8> {
        [HEADER, &self.encode_value()].concat()
    }

    /// Returns the BLAKE3 of a stored record without its `HEADER`, or of all its bytes if it has another header.
    pub fn digest_of_stored(bytes: &[u8]) -> [u8; 32] {
        blake3::hash(after_header(bytes).unwrap_or(bytes)).into()
    }

    /// Returns the [`Self::digest_of_stored`] of `stored` if these bytes, which another encoder may have written,
    /// decode to this record.
    pub fn digest_if_decoded_from(&self, stored: &[u8]) -> Option<[u8; 32]> {
        let value = self.encode_value();
        if after_header(stored).is_some_and(|stored| is_same(stored, &value)) {
            return Some(blake3::hash(&value).into());
        }
        let decoded = Self::decode(stored).ok()?;
        // Compared as bytes: a NaN is not equal to itself.
        (decoded.encode_value() == value).then(|| Self::digest_of_stored(stored))
    }

    fn encode_value(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(USUAL_BYTES);
        VERSION.write(&mut value);
        self.write(&mut value);
        value
    }

    /// Returns the prefix under which the chunks of the session are stored; the migration does not change it.
    pub fn chunk_prefix(&self) -> ChunkPrefix {
        ChunkPrefix::of(&self.provisional_memory_id, SessionId(self.session_id))
    }
}
