//! Which layer keeps a session. The one place in the upload layer that knows of the cargo features.

use candid::Principal;

use crate::api::{self, Result};
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

/// A layer that keeps sessions. Both give the same answers; they differ in what is stored.
///
/// Every method checks first and changes afterwards.
pub trait UploadPath {
    /// The layer that a new session with this key would be begun on.
    ///
    /// # Errors
    /// Damaged settings.
    fn of_new(&self, storage: &Storage, key: IdemKey) -> Result<api::SessionPath>;

    /// Begins a session under an allocated id, on the layer that [`Self::of_new`] has named.
    ///
    /// # Errors
    /// What the session service refuses.
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
    /// is changed, and what is wrong with somebody else's record is not told.
    ///
    /// # Errors
    /// A damaged record.
    fn load(
        &mut self,
        storage: &mut Storage,
        id: SessionId,
        asker: Option<Principal>,
        now: Time,
    ) -> Result<Option<Upload>>;

    /// Takes a chunk.
    ///
    /// # Errors
    /// What the session service refuses.
    fn put_chunk(
        &mut self,
        storage: &mut Storage,
        id: SessionId,
        chunk: Chunk<'_>,
        now: Time,
    ) -> Result<PutOutcome>;

    /// Ends a complete session; its bytes stay where they are.
    ///
    /// # Errors
    /// What the session service refuses.
    fn finish(&mut self, storage: &mut Storage, id: SessionId, caller: &[u8], now: Time) -> Result<()>;

    /// Ends a session; its bytes are the caller's to give back.
    ///
    /// # Errors
    /// What the session service refuses.
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
