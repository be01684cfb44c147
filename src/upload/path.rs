//! Session paths: which layer stores a session. The only module of the upload layer that depends on the cargo
//! features.

use candid::Principal;

use crate::api::{self, Result};
use crate::blob::{self, Place};
use crate::session::{ByteSource, PutOutcome, SessionId, SessionSpec, Time};
#[cfg(feature = "compat")]
use crate::stable::codec;
use crate::storage::Storage;

use super::{IdemKey, Upload, UploadMeta};

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
