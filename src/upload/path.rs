//! Which layer keeps a session. The one place in the upload layer that knows of the cargo features.

use candid::Principal;

use crate::api::{self, AdminConfig, Result};
use crate::blob::Place;
use crate::session::{ByteSource, PutOutcome, Session, SessionId, SessionSpec, Time};
use crate::storage::Storage;

use super::{IdemKey, UploadMeta};

/// An upload in flight: the session and what it is about, whichever layer keeps them.
#[derive(Clone, Debug, PartialEq)]
pub struct Upload {
    /// Which chunks have arrived.
    pub session: Session,
    /// Where it goes, and as what.
    pub meta: UploadMeta,
    /// The layer that keeps it.
    pub path: api::SessionPath,
}

/// 2001-09-09: what the first public release has noted as the beginning of a session is no time in nanoseconds if it lies
/// before that.
const EARLIEST: u64 = 1_000_000_000_000_000_000;

impl Upload {
    /// When it was begun, as far as that is known.
    pub fn begun_at(&self) -> Time {
        let created_at = self.meta.created_at;
        if created_at < EARLIEST { self.session.session_meta.last_seen } else { Time::from_nanos(created_at) }
    }

    /// When it expires if nothing more happens: it has been idle too long then, or is too old.
    pub fn expires_at(&self, limits: &AdminConfig) -> Time {
        let idle = self.session.session_meta.last_seen.plus_seconds(limits.session_ttl_seconds);
        idle.min(self.begun_at().plus_seconds(limits.session_age_seconds()))
    }
}

/// A layer that keeps sessions. Both give the same answers; they differ in what is stored.
///
/// Every method checks first and changes afterwards.
pub trait UploadPath {
    /// The layer that a new session with this key would be begun on.
    fn of_new(&self, storage: &Storage, key: IdemKey) -> Result<api::SessionPath>;

    /// Begins a session under an allocated id, on the layer that [`Self::of_new`] has named.
    fn begin(
        &mut self,
        storage: &mut Storage,
        on: api::SessionPath,
        id: SessionId,
        spec: SessionSpec,
        meta: UploadMeta,
        now: Time,
    ) -> Result<()>;

    /// The upload, if there is one in flight. `asker` is who asks, where that may be a stranger: for a stranger nothing
    /// is changed.
    fn load(
        &mut self,
        storage: &mut Storage,
        id: SessionId,
        asker: Option<Principal>,
        now: Time,
    ) -> Result<Option<Upload>>;

    /// Takes a chunk.
    fn put_chunk(
        &mut self,
        storage: &mut Storage,
        id: SessionId,
        chunk: Chunk<'_>,
        now: Time,
    ) -> Result<PutOutcome>;

    /// Ends a complete session; its bytes stay where they are.
    fn finish(&mut self, storage: &mut Storage, id: SessionId, caller: &[u8], now: Time) -> Result<()>;

    /// Ends a session; its bytes are the caller's to give back.
    fn abort(&mut self, storage: &mut Storage, id: SessionId, caller: &[u8], now: Time) -> Result<()>;
}

/// A chunk on its way in.
pub struct Chunk<'a> {
    /// Who sends it.
    pub caller: &'a [u8],
    /// Its number.
    pub idx: u32,
    /// Its bytes.
    pub bytes: &'a mut dyn ByteSource,
    /// Where the bytes of its session lie.
    pub place: &'a Place,
    /// Length of every chunk of the session but the last, bytes.
    pub chunk_size: u32,
    /// Whether it may take the place of other bytes.
    pub replace: bool,
}

cfg_if::cfg_if! {
    if #[cfg(all(feature = "compat", feature = "direct"))] {
        pub(crate) mod compat;
        pub(crate) mod direct;
        mod staged;
        pub use staged::StagedPath as ActivePath;
    } else if #[cfg(feature = "compat")] {
        pub(crate) mod compat;
        pub use compat::CompatPath as ActivePath;
    } else if #[cfg(feature = "direct")] {
        pub(crate) mod direct;
        pub use direct::DirectPath as ActivePath;
    }
}
