//! Both paths in one build. A controller sets the share of new sessions that begin on the compat path.

use candid::Principal;

use crate::api::{Result, SessionPath};
use crate::migrate;
use crate::session::{PutOutcome, SessionId, SessionSpec, Time};
use crate::storage::Storage;
use crate::upload::{IdemKey, UploadMeta};

use super::compat::CompatPath;
use super::direct::DirectPath;
use super::{Chunk, Upload, UploadPath};

/// The compat path and the direct path, side by side.
#[derive(Debug, Default)]
pub struct StagedPath {
    compat: CompatPath,
    direct: DirectPath,
}

impl StagedPath {
    /// Returns the path that serves an existing session. A legacy record is served by the compat path while the compat
    /// share is above 0, and by the direct path, which converts it, once the share is 0. All other sessions are served
    /// by the direct path.
    fn path_serving(&mut self, storage: &Storage, id: SessionId) -> Result<&mut dyn UploadPath> {
        let is_on_compat = migrate::compat_share(storage)? > 0 && storage.sessions.legacy.contains(&id.0);
        if is_on_compat {
            return Ok(&mut self.compat);
        }
        // The direct path may change the session, which makes the heap copy of the compat path stale.
        self.compat.forget(id)?;
        Ok(&mut self.direct)
    }

    /// Returns the path from which an upload was loaded in this message; [`Self::path_serving`] chose it.
    fn path_of(&mut self, upload: &Upload) -> &mut dyn UploadPath {
        match upload.path {
            SessionPath::Compat => &mut self.compat,
            SessionPath::Direct => &mut self.direct,
        }
    }
}

impl UploadPath for StagedPath {
    fn for_new(&self, storage: &Storage, key: IdemKey) -> Result<SessionPath> {
        Ok(key.path(migrate::compat_share(storage)?))
    }

    fn begin(
        &mut self,
        storage: &mut Storage,
        path: SessionPath,
        id: SessionId,
        spec: SessionSpec,
        meta: UploadMeta,
        now: Time,
    ) -> Result<()> {
        match path {
            SessionPath::Compat => self.compat.begin(storage, path, id, spec, meta, now),
            SessionPath::Direct => self.direct.begin(storage, path, id, spec, meta, now),
        }
    }

    fn load(
        &mut self,
        storage: &mut Storage,
        id: SessionId,
        asker: Option<Principal>,
        now: Time,
    ) -> Result<Option<Upload>> {
        self.path_serving(storage, id)?.load(storage, id, asker, now)
    }

    fn put_chunk(
        &mut self,
        storage: &mut Storage,
        id: SessionId,
        upload: &Upload,
        chunk: Chunk<'_>,
        now: Time,
    ) -> Result<PutOutcome> {
        self.path_of(upload).put_chunk(storage, id, upload, chunk, now)
    }

    fn finish(&mut self, storage: &mut Storage, id: SessionId, upload: &Upload, now: Time) -> Result<()> {
        self.path_of(upload).finish(storage, id, upload, now)
    }

    fn abort(&mut self, storage: &mut Storage, id: SessionId, upload: &Upload) -> Result<()> {
        self.path_of(upload).abort(storage, id, upload)
    }
}
