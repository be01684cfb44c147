//! Conversion of a record of layout 1 to layout 2 and back, field by field.

use candid::Principal;

use super::legacy::{LegacyStatus, LegacyUploadSession};
use crate::session::{ChunkSet, Session, SessionId, SessionMeta, SessionStatus, Time};
use crate::stable::Record as _;
use crate::upload::UploadMeta;

/// A legacy record after conversion.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// The session's half.
    pub session: Session,
    /// The upload's half.
    pub meta: UploadMeta,
}

impl Split {
    /// Returns whether each half is the same in `self` and `other`. The metadata are compared as bytes: a NaN is not
    /// equal to itself.
    pub fn is_same(&self, other: &Self) -> bool {
        self.session == other.session && self.meta.encode() == other.meta.encode()
    }
}

/// Why a record cannot be represented in layout 2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unconvertible {
    /// The record is stored under another session's key.
    #[error("the record under key {key} names session {session_id}")]
    ForeignKey {
        /// Key of the record.
        key: SessionId,
        /// Session that the record names.
        session_id: u64,
    },
    /// The two chunk counts of one record disagree.
    #[error("expected_chunks is {expected_chunks}, chunk_count is {chunk_count}")]
    CountsDisagree {
        /// First count.
        expected_chunks: u32,
        /// Second count.
        chunk_count: u32,
    },
    /// The declared size does not result in the declared number of chunks.
    #[error(
        "{bytes} bytes in chunks of {chunk_size} are {implied} chunks, expected_chunks is {expected_chunks}"
    )]
    SizeDisagrees {
        /// Declared size, bytes.
        bytes: u64,
        /// Chunk size, bytes.
        chunk_size: u32,
        /// Number of chunks that follows from the two sizes.
        implied: u32,
        /// Number of chunks according to the record.
        expected_chunks: u32,
    },
    /// A chunk size that is impossible.
    #[error("chunk_size is {0}, expected 1 to {max}", max = u32::MAX)]
    ChunkSize(u64),
    /// Chunks are stored beyond the end of the file.
    #[error("chunk {idx} is stored, the file has {chunks} chunks")]
    ExtraChunks {
        /// The last stored chunk.
        idx: u32,
        /// Number of chunks of the file.
        chunks: u32,
    },
    /// The owner of a session of layout 2 is not a principal; only [`revert`] returns this.
    #[error("the owner {0:02x?} is not a principal")]
    Owner(Vec<u8>),
}

/// The place of each field of layout 1 in layout 2.
pub const FIELDS: &[(&str, &str)] = &[
    ("session_id", "key of both records"),
    ("capsule_id", "UploadMeta.capsule_id"),
    ("caller", "Session.owner"),
    ("created_at", "UploadMeta.created_at"),
    ("expected_chunks", "UploadMeta.expected_chunks"),
    ("status", "Session.session_meta.status"),
    ("chunk_count", "dropped: equal to expected_chunks"),
    ("asset_metadata", "UploadMeta.asset_metadata, Session.bytes_expected"),
    ("provisional_memory_id", "UploadMeta.provisional_memory_id"),
    ("chunk_size", "Session.chunk_size"),
    ("idem", "Session.session_meta.idem"),
    ("blob_id", "UploadMeta.blob_id"),
];

/// Converts the record under the key `id`. `stored` are the chunks that are actually stored; `last_seen` is the time of
/// the last activity. `None`, which only tests pass, means `created_at` in nanoseconds; `examine` handles other units.
///
/// # Errors
/// See [`Unconvertible`]; such a record is quarantined.
pub fn convert(
    id: SessionId,
    legacy: LegacyUploadSession,
    stored: ChunkSet,
    last_seen: Option<Time>,
) -> Result<Split, Unconvertible> {
    // No `..` here: a new field must be mapped explicitly.
    let LegacyUploadSession {
        session_id,
        capsule_id,
        caller,
        created_at,
        expected_chunks,
        status,
        chunk_count, // dropped: the same number as expected_chunks, checked below
        asset_metadata,
        provisional_memory_id,
        chunk_size,
        idem,
        blob_id,
    } = legacy;
    if session_id != id.0 {
        return Err(Unconvertible::ForeignKey { key: id, session_id });
    }
    let size = u32::try_from(chunk_size).ok().filter(|size| *size > 0);
    let chunk_size = size.ok_or(Unconvertible::ChunkSize(chunk_size))?;
    if chunk_count != expected_chunks {
        return Err(Unconvertible::CountsDisagree { expected_chunks, chunk_count });
    }
    let asset_metadata: crate::api::AssetMetadata = asset_metadata.into();
    let bytes_expected = asset_metadata.base().bytes;
    let mut session = Session {
        owner: caller.as_slice().to_vec(),
        chunk_size,
        bytes_expected,
        bytes_received: 0,
        received_idxs: stored,
        session_meta: SessionMeta {
            idem,
            last_seen: last_seen.unwrap_or(Time::from_nanos(created_at)),
            status: match status {
                LegacyStatus::Pending => SessionStatus::Pending,
                LegacyStatus::Committed { completed_at } => {
                    SessionStatus::Committed { completed_at: Time::from_nanos(completed_at) }
                }
            },
        },
    };
    let implied = session.chunk_count();
    if implied != expected_chunks {
        let bytes = bytes_expected;
        return Err(Unconvertible::SizeDisagrees { bytes, chunk_size, implied, expected_chunks });
    }
    if let Some((_, idx)) = session.received_idxs.ranges().last().filter(|(_, last)| *last >= implied) {
        return Err(Unconvertible::ExtraChunks { idx, chunks: implied });
    }
    session.bytes_received = session.bytes_of_received();
    let meta = UploadMeta {
        capsule_id,
        provisional_memory_id,
        asset_metadata,
        blob_id,
        created_at,
        expected_chunks,
    };
    Ok(Split { session, meta })
}

/// Rebuilds the legacy record: the inverse of [`convert`], field by field. The last activity is not in it: the caller
/// must store that separately.
///
/// # Errors
/// [`Unconvertible::Owner`].
pub fn revert(id: SessionId, split: Split) -> Result<LegacyUploadSession, Unconvertible> {
    // No `..` here, either.
    let Split { session, meta } = split;
    let Session {
        owner,
        chunk_size,
        bytes_expected: _, // in the asset metadata
        bytes_received: _, // derived from the stored chunks
        received_idxs: _,  // the chunks are stored themselves
        session_meta: SessionMeta { idem, last_seen: _ /* stored in a separate table */, status },
    } = session;
    let UploadMeta {
        capsule_id,
        provisional_memory_id,
        asset_metadata,
        blob_id,
        created_at,
        expected_chunks,
    } = meta;
    Ok(LegacyUploadSession {
        session_id: id.0,
        capsule_id,
        caller: Principal::try_from_slice(&owner).map_err(|_| Unconvertible::Owner(owner))?,
        created_at,
        expected_chunks,
        status: match status {
            SessionStatus::Pending => LegacyStatus::Pending,
            SessionStatus::Committed { completed_at } => {
                LegacyStatus::Committed { completed_at: completed_at.as_nanos() }
            }
        },
        chunk_count: expected_chunks,
        asset_metadata: asset_metadata.into(),
        provisional_memory_id,
        chunk_size: u64::from(chunk_size),
        idem,
        blob_id,
    })
}
