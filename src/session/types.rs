//! The types of a session: its parameters, its status, and the session itself.

use super::chunk_set::range_len;
use super::{ChunkSet, Chunking, SessionError, SessionId, Time};

/// Parameters of a new session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSpec {
    /// Length of every chunk but the last, bytes.
    pub chunk_size: u32,
    /// Size of the object, bytes.
    pub bytes_expected: u64,
    /// The owner, as opaque bytes: the only one who may add chunks, finish or abort.
    pub owner: Vec<u8>,
    /// The owner's idempotency key.
    pub idem: String,
}

/// Whether a session still accepts chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionStatus {
    /// Chunks may arrive.
    Pending,
    /// The object was accepted.
    Committed {
        /// Time of the commit.
        completed_at: Time,
    },
}

/// A session's idempotency key, last activity and status. Not the upload meta, which the upload service keeps
/// separately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionMeta {
    /// The owner's idempotency key.
    pub idem: String,
    /// Time of the last activity.
    pub last_seen: Time,
    /// Whether the session still accepts chunks.
    pub status: SessionStatus,
}

/// A session: an object of known size, divided into chunks, and which of its chunks have arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The owner, as opaque bytes: the only one who may add chunks, finish or abort.
    pub owner: Vec<u8>,
    /// Length of every chunk but the last, bytes.
    pub chunk_size: u32,
    /// Size of the object, bytes.
    pub bytes_expected: u64,
    /// Number of bytes that have arrived: [`Self::bytes_of_received`], kept up to date by each chunk.
    pub bytes_received: u64,
    /// Numbers of the chunks that have arrived.
    pub received_idxs: ChunkSet,
    /// Idempotency key, last activity and status.
    pub session_meta: SessionMeta,
}

impl Session {
    /// Returns how the object is divided into chunks.
    #[inline]
    pub const fn chunking(&self) -> Chunking {
        Chunking::new(self.bytes_expected, self.chunk_size as u64)
    }

    /// Returns the number of chunks of the object; zero for an empty one.
    ///
    /// Saturates at `u32::MAX`, which [`super::SessionService::begin`] refuses.
    pub fn chunk_count(&self) -> u32 {
        self.chunking().count()
    }

    /// Returns whether the session has had no activity for at least `ttl_seconds`; `false` if `now` is before the
    /// last activity.
    pub fn is_idle_for(&self, ttl_seconds: u64, now: Time) -> bool {
        self.session_meta.last_seen.plus_seconds(ttl_seconds) <= now
    }

    /// Returns the length of chunk `idx` in bytes; `None` if the object has no such chunk.
    pub fn chunk_len(&self, idx: u32) -> Option<u64> {
        self.chunking().range(idx).map(|(_, len)| len)
    }

    /// Returns the offset of chunk `idx` in the object, bytes.
    pub fn offset(&self, idx: u32) -> u64 {
        self.chunking().offset(idx)
    }

    /// Checks that every chunk has arrived.
    ///
    /// # Errors
    /// [`SessionError::Incomplete`] with `id` and the missing chunks.
    pub fn check_complete(&self, id: SessionId) -> Result<(), SessionError> {
        let chunks = self.chunk_count();
        if self.received_idxs.contains_all_below(chunks) {
            return Ok(());
        }
        let ranges: Vec<(u32, u32)> = self.received_idxs.missing_below(chunks).collect();
        let missing = ranges.iter().map(|(first, last)| range_len(*first, *last)).sum();
        Err(SessionError::Incomplete { id, chunks, missing, ranges })
    }

    /// Returns the number of bytes that have not arrived.
    pub const fn bytes_missing(&self) -> u64 {
        self.bytes_expected.saturating_sub(self.bytes_received)
    }

    /// Computes `bytes_received` from `received_idxs`, for a session built from a record that does not store the count.
    pub fn bytes_of_received(&self) -> u64 {
        self.chunking().len_of(&self.received_idxs)
    }
}
