//! Session paths: which layer stores a session. The only module of the upload layer that depends on the cargo
//! features.

use candid::Principal;

use crate::api::{self, AdminConfig, Result};
use crate::blob::{self, Place};
use crate::session::{ByteSource, PutOutcome, Session, SessionId, SessionSpec, Time};
#[cfg(feature = "compat")]
use crate::stable::codec;
use crate::storage::Storage;

use super::{IdemKey, UploadMeta};

/// An upload in flight: the session and its meta, whichever layer stores them.
#[derive(Clone, Debug, PartialEq)]
pub struct Upload {
    /// Which chunks have arrived.
    pub session: Session,
    /// Its destination and metadata.
    pub meta: UploadMeta,
    /// The layer that stores it.
    pub path: api::SessionPath,
}

/// 2001-09-09 in nanoseconds. A smaller value is one that the first public release recorded in another unit.
const EARLIEST_NANOS: u64 = 1_000_000_000_000_000_000;

impl Upload {
    /// Returns when it began, if that is known.
    pub fn begun_at(&self) -> Time {
        let created_at = self.meta.created_at;
        if created_at < EARLIEST_NANOS {
            self.session.session_meta.last_seen
        } else {
            Time::from_nanos(created_at)
        }
    }

    /// Returns when it expires if nothing else happens: idle too long, or too old.
    pub fn expires_at(&self, limits: &AdminConfig) -> Time {
        let idle = self.session.session_meta.last_seen.plus_seconds(limits.session_ttl_seconds);
        idle.min(self.begun_at().plus_seconds(limits.session_age_seconds()))
    }
}

/// Caches the Candid headers of the records that this build stores as Candid. Making their type tables takes half a
/// million instructions, which no client's call should have to pay.
///
/// # Errors
/// None: the types are static.
pub fn cache_record_headers() -> std::result::Result<(), candid::Error> {
    #[cfg(feature = "compat")]
    codec::cache_candid_header::<compat::UploadSessionMeta>()?;
    blob::cache_mapped_header()
}

/// A layer that stores sessions. Both give the same answers; they differ in what they store.
///
/// Every method checks first and changes afterwards.
pub trait UploadPath {
    /// Returns the layer that a new session with this key begins on.
    fn for_new(&self, storage: &Storage, key: IdemKey) -> Result<api::SessionPath>;

    /// Begins a session under an allocated id, on the layer that [`Self::for_new`] returned.
    fn begin(
        &mut self,
        storage: &mut Storage,
        on: api::SessionPath,
        id: SessionId,
        spec: SessionSpec,
        meta: UploadMeta,
        now: Time,
    ) -> Result<()>;

    /// Returns the upload, if there is one in flight. `asker` is the caller if it is not known yet whether the session
    /// is theirs: a stranger's call must not convert it.
    fn load(
        &mut self,
        storage: &mut Storage,
        id: SessionId,
        asker: Option<Principal>,
        now: Time,
    ) -> Result<Option<Upload>>;

    /// Stores a chunk.
    fn put_chunk(
        &mut self,
        storage: &mut Storage,
        id: SessionId,
        chunk: Chunk<'_>,
        now: Time,
    ) -> Result<PutOutcome>;

    /// Ends a complete session; its bytes stay where they are.
    fn finish(&mut self, storage: &mut Storage, id: SessionId, caller: &[u8], now: Time) -> Result<()>;

    /// Ends a session; the caller must release its bytes.
    fn abort(&mut self, storage: &mut Storage, id: SessionId, caller: &[u8], now: Time) -> Result<()>;
}

/// A chunk being stored.
pub struct Chunk<'a> {
    /// Its sender.
    pub caller: &'a [u8],
    /// Its number.
    pub idx: u32,
    /// Its bytes.
    pub bytes: &'a mut dyn ByteSource,
    /// Where the bytes of its session are stored.
    pub place: &'a Place,
    /// Length of every chunk of the session but the last, bytes.
    pub chunk_size: u32,
    /// Whether it may replace different bytes.
    pub replace: bool,
}

/// Returns `Ok(())` if bytes are the record of a session in layout 1, otherwise what is wrong with them.
pub fn check_legacy_record(bytes: &[u8]) -> std::result::Result<(), String> {
    cfg_if::cfg_if! {
        if #[cfg(feature = "direct")] {
            use crate::migrations::split_sessions::LegacyUploadSession;
            LegacyUploadSession::decode(bytes).map(drop).map_err(|error| error.to_string())
        } else {
            <compat::UploadSessionMeta as crate::stable::Record>::decode(bytes).map(drop)
        }
    }
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
