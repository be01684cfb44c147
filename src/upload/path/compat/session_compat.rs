//! The compatibility layer between the upload service and the session service.
//!
//! Layout 1 stores no `Session`: only the stored chunks show which chunks have arrived. This layer builds a session
//! from its record and its stored chunks on first use, and caches it on the heap. An upgrade empties the cache and
//! loses nothing. A session that the direct path serves is dropped from the cache.

use crate::api::{Error, Result};
use crate::session::{
    HeapStore, PutOutcome, Session, SessionId, SessionMeta, SessionService, SessionSpec, SessionStatus,
    SessionStore, Time,
};
use crate::stable::{Record, StableError};
use crate::storage::Storage;
use crate::upload::RawRecord;
use crate::upload::path::Chunk;

use super::legacy_meta::{LegacyStatus, UploadSessionMeta};

/// The session service over a heap cache of the sessions of layout 1.
#[derive(Debug, Default)]
pub struct SessionCompat {
    service: SessionService<HeapStore>,
}

impl SessionCompat {
    /// Begins a session: caches it, and stores its record and its last activity.
    pub fn create(
        &mut self,
        storage: &mut Storage,
        meta: UploadSessionMeta,
        spec: SessionSpec,
        now: Time,
    ) -> Result<()> {
        let id = SessionId(meta.session_id);
        if storage.sessions.legacy.contains(&id.0) {
            return Err(Error::conflict("session", id, "already exists"));
        }
        self.service.begin_with_id(id, spec, &now)?;
        storage.sessions.legacy.insert(id.0, &RawRecord(meta.encode()));
        storage.sessions.legacy.record_activity(id.0, now);
        Ok(())
    }

    /// Returns a session and its record, from the cache if it is there, and caches it otherwise; `None` if no visible
    /// record has this id.
    pub fn get(&mut self, storage: &Storage, id: SessionId) -> Result<Option<(Session, UploadSessionMeta)>> {
        let Some(raw) = storage.sessions.legacy.get_raw(&id.0) else {
            self.forget_cached(id)?;
            return Ok(None);
        };
        let meta = UploadSessionMeta::decode(&raw).map_err(|reason| StableError {
            name: UploadSessionMeta::NAME,
            key: id.to_string(),
            reason,
        })?;
        if let Ok(session) = self.service.session(id) {
            return Ok(Some((session, meta)));
        }
        let session = rebuild_session(storage, id, &meta)?;
        let store = self.service.store_mut();
        store.put(id, &session).map_err(|e| Error::Internal(e.to_string()))?;
        Ok(Some((session, meta)))
    }

    /// Removes a session from the cache only.
    pub fn forget_cached(&mut self, id: SessionId) -> Result<()> {
        self.service.store_mut().remove(id).map_err(|e| Error::Internal(e.to_string()))
    }

    /// Stores a chunk of a session that [`Self::get`] has returned.
    pub fn put_chunk(
        &mut self,
        storage: &mut Storage,
        id: SessionId,
        session: &Session,
        chunk: Chunk<'_>,
        now: Time,
    ) -> Result<PutOutcome> {
        let outcome = chunk.add_to(&mut self.service, &mut storage.blobs, id, session, now)?;
        if outcome != PutOutcome::AlreadyThere {
            storage.sessions.legacy.record_activity(id.0, now);
        }
        Ok(outcome)
    }

    /// Ends a complete session, which must be in the cache, and removes its record. `caller` must be its owner.
    pub fn finish(&mut self, storage: &mut Storage, id: SessionId, caller: &[u8], now: Time) -> Result<()> {
        self.service.finish(id, caller, &now)?;
        remove_record(storage, id);
        Ok(())
    }

    /// Ends a session, which must be in the cache, complete or not, and removes its record. `caller` must be its owner.
    pub fn abort(&mut self, storage: &mut Storage, id: SessionId, caller: &[u8]) -> Result<()> {
        self.service.abort(id, caller)?;
        remove_record(storage, id);
        Ok(())
    }
}

fn remove_record(storage: &mut Storage, id: SessionId) {
    storage.sessions.legacy.remove(&id.0);
}

/// Builds the session of a legacy record. Its received chunks are those in the chunk map; without a recorded last
/// activity, the time of its creation counts as such.
fn rebuild_session(storage: &Storage, id: SessionId, meta: &UploadSessionMeta) -> Result<Session> {
    let chunk_size = u32::try_from(meta.chunk_size).map_err(|_| StableError {
        name: UploadSessionMeta::NAME,
        key: id.to_string(),
        reason: format!("chunk_size {} is beyond {}", meta.chunk_size, u32::MAX),
    })?;
    let last_seen = storage.sessions.legacy.activity(&id.0)?.unwrap_or(Time::from_nanos(meta.created_at));
    let mut session = Session {
        owner: meta.caller.as_slice().to_vec(),
        chunk_size,
        bytes_expected: meta.asset_metadata.base().bytes,
        bytes_received: 0,
        received_idxs: storage.blobs.stored_chunks(meta.chunk_prefix()),
        session_meta: SessionMeta {
            idem: meta.idem.clone(),
            last_seen,
            status: match meta.status {
                LegacyStatus::Pending => SessionStatus::Pending,
                LegacyStatus::Committed { completed_at } => {
                    SessionStatus::Committed { completed_at: Time::from_nanos(completed_at) }
                }
            },
        },
    };
    session.bytes_received = session.bytes_of_received();
    Ok(session)
}
