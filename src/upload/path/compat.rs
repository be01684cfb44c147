//! The compat path: the upload service reaches the session service and the sink through [`SessionCompat`].

mod legacy_meta;
mod session_compat;

use candid::Principal;

use crate::api::{self, Result};
use crate::session::{PutOutcome, SessionId, SessionSpec, Time};
use crate::storage::Storage;
use crate::upload::{IdemKey, UploadMeta};

use super::{Chunk, Upload, UploadPath};
pub(crate) use legacy_meta::UploadSessionMeta;
use session_compat::SessionCompat;

/// Stores sessions in layout 1, as `UploadSessionMeta` records.
#[derive(Debug, Default)]
pub struct CompatPath {
    compat: SessionCompat,
}

impl CompatPath {
    /// Drops the heap copy of a session that the direct path serves; the session itself stays.
    pub fn forget(&mut self, id: SessionId) -> Result<()> {
        self.compat.forget_cached(id)
    }

    /// Returns a session of layout 1, without its upload meta; `None` if no visible record has this id.
    #[cfg(test)]
    pub fn read(&mut self, storage: &Storage, id: SessionId) -> Result<Option<crate::session::Session>> {
        Ok(self.compat.get(storage, id)?.map(|(session, _)| session))
    }
}

impl UploadPath for CompatPath {
    fn for_new(&self, _: &Storage, _: IdemKey) -> Result<api::SessionPath> {
        Ok(api::SessionPath::Compat)
    }

    fn begin(
        &mut self,
        storage: &mut Storage,
        _: api::SessionPath,
        id: SessionId,
        spec: SessionSpec,
        meta: UploadMeta,
        now: Time,
    ) -> Result<()> {
        self.compat.create(storage, UploadSessionMeta::new(id, &spec, meta)?, spec, now)
    }

    fn load(
        &mut self,
        storage: &mut Storage,
        id: SessionId,
        _: Option<Principal>,
        _: Time,
    ) -> Result<Option<Upload>> {
        let loaded = self.compat.get(storage, id)?;
        Ok(loaded.map(|(session, meta)| Upload {
            session,
            meta: meta.into_upload_meta(),
            path: api::SessionPath::Compat,
        }))
    }

    fn put_chunk(
        &mut self,
        storage: &mut Storage,
        id: SessionId,
        upload: &Upload,
        chunk: Chunk<'_>,
        now: Time,
    ) -> Result<PutOutcome> {
        self.compat.put_chunk(storage, id, &upload.session, chunk, now)
    }

    fn finish(&mut self, storage: &mut Storage, id: SessionId, upload: &Upload, now: Time) -> Result<()> {
        self.compat.finish(storage, id, &upload.session.owner, now)
    }

    fn abort(&mut self, storage: &mut Storage, id: SessionId, upload: &Upload) -> Result<()> {
        self.compat.abort(storage, id, &upload.session.owner)
    }
}
