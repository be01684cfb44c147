//! The upload meta, the upload's half of a session.

use minicbor::{Decode, Encode};

use crate::api::AssetMetadata;
use crate::stable::codec;

/// The upload's half of a session: capsule, metadata and memory. (The session's half is `SessionRecord`.) Layouts 2 and
/// 3 store it in a table of its own, keyed by session id.
#[derive(Encode, Decode, Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct UploadMeta {
    /// Capsule that gets the file.
    #[n(0)]
    pub capsule_id: String,
    /// Id of the memory that finish will create. Unique, except that sessions of the first public release may have an
    /// empty one or share one.
    #[n(1)]
    pub provisional_memory_id: String,
    /// The client's metadata; `base.bytes` is the size of the file.
    #[n(2)]
    pub asset_metadata: AssetMetadata,
    /// Blob that a session of the first public release became; absent in new sessions.
    #[n(3)]
    pub blob_id: Option<u64>,
    /// When the session began: nanoseconds, or another unit in a session of the first public release; see
    /// `Upload::begun_at`.
    #[n(4)]
    pub created_at: u64,
    /// Number of chunks that the client declared at begin.
    #[n(5)]
    pub expected_chunks: u32,
}

const VERSION: u8 = 1;

codec::cbor_record!(UploadMeta, "upload meta", format VERSION);

#[cfg(test)]
crate::stable::schema::described!(UploadMeta, cbor VERSION);
