//! The record of a session in layout 1.

use candid::{CandidType, Deserialize, Principal};

use crate::api::{AssetMetadata, Error, Result};
use crate::blob::ChunkPrefix;
use crate::session::{SessionId, SessionSpec};
use crate::stable::{Record, codec};
use crate::upload::UploadMeta;

/// A session and its upload in one record of twelve fields, as the first public release declares them.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
pub struct UploadSessionMeta {
    /// Also the key of the record.
    pub session_id: u64,
    pub capsule_id: String,
    pub caller: Principal,
    /// Nanoseconds, or another unit in a record of the first public release.
    pub created_at: u64,
    pub expected_chunks: u32,
    pub status: LegacyStatus,
    /// The same as `expected_chunks`.
    pub chunk_count: u32,
    pub asset_metadata: AssetMetadata,
    pub provisional_memory_id: String,
    /// Length of every chunk but the last, bytes.
    pub chunk_size: u64,
    pub idem: String,
    /// Blob of a committed session. The first public release kept the records of committed sessions.
    pub blob_id: Option<u64>,
}

#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegacyStatus {
    Pending,
    Committed {
        /// Nanoseconds.
        completed_at: u64,
    },
}

impl UploadSessionMeta {
    pub fn new(id: SessionId, spec: &SessionSpec, meta: UploadMeta) -> Result<Self> {
        let caller = Principal::try_from_slice(&spec.owner).map_err(|e| Error::Internal(e.to_string()))?;
        let UploadMeta {
            capsule_id,
            provisional_memory_id,
            asset_metadata,
            blob_id,
            created_at,
            expected_chunks,
        } = meta;
        Ok(Self {
            session_id: id.0,
            capsule_id,
            caller,
            created_at,
            expected_chunks,
            status: LegacyStatus::Pending,
            chunk_count: expected_chunks,
            asset_metadata,
            provisional_memory_id,
            chunk_size: u64::from(spec.chunk_size),
            idem: spec.idem.clone(),
            blob_id,
        })
    }

    pub fn into_upload_meta(self) -> UploadMeta {
        UploadMeta {
            capsule_id: self.capsule_id,
            provisional_memory_id: self.provisional_memory_id,
            asset_metadata: self.asset_metadata,
            blob_id: self.blob_id,
            created_at: self.created_at,
            expected_chunks: self.expected_chunks,
        }
    }

    pub fn chunk_prefix(&self) -> ChunkPrefix {
        ChunkPrefix::of(&self.provisional_memory_id, SessionId(self.session_id))
    }
}

const VERSION: u16 = 1;

impl Record for UploadSessionMeta {
    const NAME: &'static str = "legacy session";

    fn encode(&self) -> Vec<u8> {
        codec::encode_candid(VERSION, self)
    }

    fn decode(bytes: &[u8]) -> std::result::Result<Self, String> {
        codec::decode_candid(VERSION, bytes)
    }
}

#[cfg(test)]
crate::stable::schema::described!(UploadSessionMeta, candid VERSION of UploadSessionMeta);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upload::tests::metadata;

    // `codec::encode_candid` caches the header, the type table, of a type: the first encoding fills the cache.
    #[test]
    fn a_session_of_layout_1_is_encoded_as_by_the_candid_library() {
        let spec = SessionSpec { chunk_size: 9, bytes_expected: 5, owner: vec![4], idem: "key".into() };
        let meta = UploadMeta {
            capsule_id: "capsule".into(),
            provisional_memory_id: "mem".into(),
            asset_metadata: metadata(5),
            blob_id: Some(3),
            created_at: 2,
            expected_chunks: 1,
        };
        let record = UploadSessionMeta::new(SessionId(1), &spec, meta).unwrap();
        let by_library = candid::encode_args((VERSION, &record)).unwrap();
        assert_eq!(record.encode(), by_library);
        assert_eq!(record.encode(), by_library, "encoding with the cached header");
        // Encoding another type in between must not change the result.
        codec::encode_candid(VERSION, &record.asset_metadata);
        codec::cache_candid_header::<UploadSessionMeta>().unwrap();
        assert_eq!(record.encode(), by_library, "encoding with the cached header, after another type");
    }
}
