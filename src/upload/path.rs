//! Session paths: the layers that store sessions, chosen by the cargo features.

use candid::Principal;

use crate::api::{self, Result};
use crate::blob::{self, BlobStore, Place, StableBlobSink};
use crate::session::{
    ByteSource, NewChunk, PutOutcome, Session, SessionId, SessionService, SessionSpec, SessionStore, Time,
};
#[cfg(feature = "compat")]
use crate::stable::codec;
use crate::storage::Storage;

use super::{IdemKey, Upload, UploadMeta};

/// Caches the Candid headers of the records that this build stores as Candid. Building their type tables takes half a
/// million instructions, for which otherwise the first client's call would pay.
///
/// # Errors
/// None: the types are static.
pub fn cache_candid_headers_of_records() -> std::result::Result<(), candid::Error> {
    #[cfg(feature = "compat")]
    codec::cache_candid_header::<compat::UploadSessionMeta>()?;
    blob::cache_candid_header_of_sha256_blobs()
}

/// A layer that stores sessions: the compat path, the direct path, or both in the staged build. All give the same
/// answers.
///
/// [`Self::load`] decides which path serves a session, and decodes its record. [`Self::put_chunk`], [`Self::finish`]
/// and [`Self::abort`] take the upload that [`Self::load`] returned in the same message.
pub trait UploadPath {
    /// Returns the path that a new session with this key begins on.
    fn for_new(&self, storage: &Storage, key: IdemKey) -> Result<api::SessionPath>;

    /// Begins a session under an allocated id, on the path that [`Self::for_new`] returned.
    fn begin(
        &mut self,
        storage: &mut Storage,
        path: api::SessionPath,
        id: SessionId,
        spec: SessionSpec,
        meta: UploadMeta,
        now: Time,
    ) -> Result<()>;

    /// Returns the upload; `None` if it is not in flight. May convert its session on touch: without an `asker`, any
    /// session; with one, only a session of the asker, since the call of a stranger must change nothing. A legacy
    /// record of someone else is `None` on the direct path then; all other sessions are returned, whoever owns them.
    fn load(
        &mut self,
        storage: &mut Storage,
        id: SessionId,
        asker: Option<Principal>,
        now: Time,
    ) -> Result<Option<Upload>>;

    /// Stores a chunk of an upload.
    fn put_chunk(
        &mut self,
        storage: &mut Storage,
        id: SessionId,
        upload: &Upload,
        chunk: Chunk<'_>,
        now: Time,
    ) -> Result<PutOutcome>;

    /// Removes the records of a complete upload; its bytes stay where they are, as those of a blob.
    fn finish(&mut self, storage: &mut Storage, id: SessionId, upload: &Upload, now: Time) -> Result<()>;

    /// Removes the records of an upload that ends without a file: aborted, expired or evicted. The calling code must
    /// release its bytes.
    fn abort(&mut self, storage: &mut Storage, id: SessionId, upload: &Upload) -> Result<()>;
}

/// A chunk being stored. Unlike [`NewChunk`], it says where the bytes of its session are.
pub struct Chunk<'a> {
    /// Number of the chunk.
    pub idx: u32,
    /// Bytes of the chunk.
    pub bytes: &'a mut dyn ByteSource,
    /// Where the bytes of the session are stored.
    pub place: &'a Place,
    /// Whether the chunk may replace different bytes that are stored.
    pub may_replace: bool,
}

impl Chunk<'_> {
    /// Adds the chunk to a session that is already loaded.
    fn add_to<S: SessionStore>(
        self,
        service: &mut SessionService<S>,
        blobs: &mut BlobStore,
        id: SessionId,
        session: &Session,
        now: Time,
    ) -> Result<PutOutcome> {
        let Chunk { idx, bytes, place, may_replace } = self;
        let mut sink = StableBlobSink::new(blobs, place, session.chunk_size);
        Ok(service.add_chunk(
            id,
            session.clone(),
            NewChunk { idx, bytes, replace: may_replace },
            &mut sink,
            &now,
        )?)
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
