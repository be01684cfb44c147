//! The direct path: the upload service calls the session service and the sink directly. A session and its upload meta
//! are two records.

use candid::Principal;

use crate::api::{self, Error, Result};
use crate::migrate;
use crate::session::{PutOutcome, SessionError, SessionId, SessionService, SessionSpec, Time};
use crate::storage::Storage;
use crate::upload::{DirectStore, IdemKey, SessionTables, UploadMeta};

use super::{Chunk, Upload, UploadPath};

/// Stores sessions as split records, in layout 2 or 3. A session that is still a legacy record is converted on touch.
#[derive(Debug, Default)]
pub struct DirectPath;

impl UploadPath for DirectPath {
    fn for_new(&self, _: &Storage, _: IdemKey) -> Result<api::SessionPath> {
        Ok(api::SessionPath::Direct)
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
        // In layout 1, a legacy build could still be installed, and would not find the session.
        migrate::leave_layout_1(storage, now)?;
        session_service(&mut storage.sessions).begin_with_id(id, spec, &now)?;
        storage.sessions.metas.insert(id.0, &meta);
        Ok(())
    }

    fn load(
        &mut self,
        storage: &mut Storage,
        id: SessionId,
        asker: Option<Principal>,
        now: Time,
    ) -> Result<Option<Upload>> {
        if !migrate::touch(storage, id, asker, now)? {
            // The session is still a legacy record, or quarantined, and is not the asker's.
            return Ok(None);
        }
        let session = match session_service(&mut storage.sessions).session(id) {
            Err(SessionError::NotFound(_)) => return Ok(None),
            found => found?,
        };
        let meta = read_meta(&storage.sessions, id)?;
        Ok(Some(Upload { session, meta, path: api::SessionPath::Direct }))
    }

    fn put_chunk(
        &mut self,
        storage: &mut Storage,
        id: SessionId,
        upload: &Upload,
        chunk: Chunk<'_>,
        now: Time,
    ) -> Result<PutOutcome> {
        let Storage { sessions, blobs, .. } = storage;
        chunk.add_to(&mut session_service(sessions), blobs, id, &upload.session, now)
    }

    fn finish(&mut self, storage: &mut Storage, id: SessionId, upload: &Upload, now: Time) -> Result<()> {
        session_service(&mut storage.sessions).finish(id, &upload.session.owner, &now)?;
        storage.sessions.metas.remove(&id.0);
        Ok(())
    }

    fn abort(&mut self, storage: &mut Storage, id: SessionId, upload: &Upload) -> Result<()> {
        session_service(&mut storage.sessions).abort(id, &upload.session.owner)?;
        storage.sessions.metas.remove(&id.0);
        Ok(())
    }
}

/// Returns the session service over the table of sessions; upload metas are the business of this path.
fn session_service(tables: &mut SessionTables) -> SessionService<DirectStore<'_>> {
    SessionService::new(DirectStore { sessions: &mut tables.sessions, ids: &mut tables.ids })
}

fn read_meta(tables: &SessionTables, id: SessionId) -> Result<UploadMeta> {
    let missing = || Error::Internal(format!("session {id} has no upload meta"));
    tables.metas.get(&id.0)?.ok_or_else(missing)
}
