//! The rules of a session: begin, put, check that it is complete, finish, abort, expire.

use super::{
    ByteSink, ByteSource, ChunkSet, Chunking, Clock, Session, SessionError, SessionId, SessionMeta,
    SessionSpec, SessionStatus, SessionStore, Time,
};

/// Outcome of [`SessionService::put_chunk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// The chunk is new and stored.
    Stored,
    /// The chunk had arrived before with different bytes, which were replaced.
    Replaced,
    /// The same bytes were already stored; nothing changed.
    AlreadyThere,
}

/// A chunk being added to a session.
pub struct NewChunk<'a> {
    /// Number of the chunk.
    pub idx: u32,
    /// Bytes of the chunk.
    pub bytes: &'a mut dyn ByteSource,
    /// Whether the bytes may replace different ones that are stored; if not, these are
    /// [`SessionError::DifferentBytes`].
    pub replace: bool,
}

/// Sessions and their rules, over any store.
///
/// If a method other than [`Self::tick_ttl`] returns an error, all stored sessions are as before; bytes may
/// nevertheless have reached the sink.
#[derive(Debug, Default)]
pub struct SessionService<S> {
    store: S,
}

impl<S: SessionStore> SessionService<S> {
    /// Creates the service over `store`.
    pub const fn new(store: S) -> Self {
        Self { store }
    }

    /// Begins a session under a new id.
    ///
    /// # Errors
    /// Errors of [`Self::begin_with_id`], or an error of the store if no id can be issued.
    pub fn begin(&mut self, spec: SessionSpec, clock: &dyn Clock) -> Result<SessionId, SessionError> {
        check_spec(&spec)?;
        let id = self.store.allocate_id()?;
        self.begin_with_id(id, spec, clock)?;
        Ok(id)
    }

    /// Begins a session under an id that the calling code has allocated, rather than the store.
    ///
    /// # Errors
    /// [`SessionError::ZeroChunkSize`], [`SessionError::TooManyChunks`], [`SessionError::AlreadyExists`], or an error
    /// of the store.
    pub fn begin_with_id(
        &mut self,
        id: SessionId,
        spec: SessionSpec,
        clock: &dyn Clock,
    ) -> Result<(), SessionError> {
        check_spec(&spec)?;
        if self.store.get(id)?.is_some() {
            return Err(SessionError::AlreadyExists(id));
        }
        let SessionSpec { chunk_size, bytes_expected, owner, idem } = spec;
        let session = Session {
            owner,
            chunk_size,
            bytes_expected,
            bytes_received: 0,
            received_idxs: ChunkSet::new(),
            session_meta: SessionMeta { idem, last_seen: clock.now(), status: SessionStatus::Pending },
        };
        Ok(self.store.put(id, &session)?)
    }

    /// Accepts chunk `idx` from `caller`; chunks may arrive in any order. A repeated chunk with the same bytes changes
    /// nothing, not even the time of the last activity: repeating chunks must not keep a session alive.
    ///
    /// # Errors
    /// [`SessionError::NotFound`], [`SessionError::NotOwner`], [`SessionError::NotPending`],
    /// [`SessionError::IndexOutOfRange`], [`SessionError::WrongLength`], [`SessionError::DifferentBytes`],
    /// or an error of the source, the sink or the store.
    pub fn put_chunk(
        &mut self,
        id: SessionId,
        caller: &[u8],
        idx: u32,
        chunk: &mut dyn ByteSource,
        sink: &mut dyn ByteSink,
        clock: &dyn Clock,
    ) -> Result<PutOutcome, SessionError> {
        let session = self.owned_session(id, caller)?;
        self.add_chunk(id, session, NewChunk { idx, bytes: chunk, replace: false }, sink, clock)
    }

    /// Does the same as [`Self::put_chunk`] with a session that is already loaded and whose owner has been checked.
    /// If `chunk.replace` is set, different bytes replace the stored ones.
    ///
    /// # Errors
    /// Errors of [`Self::put_chunk`], except [`SessionError::NotFound`] and [`SessionError::NotOwner`].
    /// [`SessionError::DifferentBytes`] only if `chunk.replace` is not set.
    pub fn add_chunk(
        &mut self,
        id: SessionId,
        mut session: Session,
        chunk: NewChunk<'_>,
        sink: &mut dyn ByteSink,
        clock: &dyn Clock,
    ) -> Result<PutOutcome, SessionError> {
        let NewChunk { idx, bytes, replace } = chunk;
        if session.session_meta.status != SessionStatus::Pending {
            return Err(SessionError::NotPending(id));
        }
        let chunks = session.chunk_count();
        let expected = session.chunk_len(idx).ok_or(SessionError::IndexOutOfRange { id, idx, chunks })?;
        let got = bytes.len();
        if got != expected {
            return Err(SessionError::WrongLength { id, idx, expected, got });
        }
        let offset = session.offset(idx);
        let outcome = if session.received_idxs.contains(idx) {
            let mut is_same = true;
            bytes.each_block(&mut |at, block| {
                is_same = is_same && sink.holds_at(offset.saturating_add(at), block)?;
                Ok(())
            })?;
            if is_same {
                return Ok(PutOutcome::AlreadyThere);
            }
            if !replace {
                return Err(SessionError::DifferentBytes { id, idx });
            }
            bytes.each_block(&mut |at, block| sink.replace_at(offset.saturating_add(at), block))?;
            PutOutcome::Replaced
        } else {
            bytes.each_block(&mut |at, block| sink.write_at(offset.saturating_add(at), block))?;
            session.received_idxs.insert(idx);
            session.bytes_received = session.bytes_received.saturating_add(got);
            PutOutcome::Stored
        };
        session.session_meta.last_seen = clock.now();
        self.store.put(id, &session)?;
        Ok(outcome)
    }

    /// Returns the session, if `caller` owns it and every chunk has arrived; otherwise an error. Completes nothing: the
    /// name means "the session, which is complete".
    ///
    /// # Errors
    /// [`SessionError::NotFound`], [`SessionError::NotOwner`], [`SessionError::Incomplete`], or an error of the store.
    pub fn complete_session(&self, id: SessionId, caller: &[u8]) -> Result<Session, SessionError> {
        let session = self.owned_session(id, caller)?;
        session.check_complete(id)?;
        Ok(session)
    }

    /// Removes a complete session from the store, and returns it with the status committed. The bytes stay where they
    /// are.
    ///
    /// # Errors
    /// Errors of [`Self::complete_session`].
    pub fn finish(
        &mut self,
        id: SessionId,
        caller: &[u8],
        clock: &dyn Clock,
    ) -> Result<Session, SessionError> {
        let mut session = self.complete_session(id, caller)?;
        self.store.remove(id)?;
        session.session_meta.status = SessionStatus::Committed { completed_at: clock.now() };
        Ok(session)
    }

    /// Removes a session, complete or not, from the store, and returns it. Its bytes stay where they are; the calling
    /// code must free them.
    ///
    /// # Errors
    /// [`SessionError::NotFound`], [`SessionError::NotOwner`], or an error of the store.
    pub fn abort(&mut self, id: SessionId, caller: &[u8]) -> Result<Session, SessionError> {
        let session = self.owned_session(id, caller)?;
        self.store.remove(id)?;
        Ok(session)
    }

    /// Removes the `candidates` that have had no activity for `ttl_seconds` from the store, and returns them. Their
    /// bytes stay where they are; the calling code must free them. A session whose last activity is later than `now`
    /// does not expire. This layer knows no maximum age.
    ///
    /// # Errors
    /// Errors of the store. Sessions that ended before the error stay ended.
    pub fn tick_ttl(
        &mut self,
        candidates: &[SessionId],
        now: Time,
        ttl_seconds: u64,
    ) -> Result<Vec<(SessionId, Session)>, SessionError> {
        let mut ended = Vec::new();
        for id in candidates {
            let Some(session) = self.store.get(*id)? else { continue };
            if session.is_idle_for(ttl_seconds, now) {
                self.store.remove(*id)?;
                ended.push((*id, session));
            }
        }
        Ok(ended)
    }

    /// Returns the session, whoever owns it.
    ///
    /// # Errors
    /// [`SessionError::NotFound`], or an error of the store.
    pub fn session(&self, id: SessionId) -> Result<Session, SessionError> {
        self.store.get(id)?.ok_or(SessionError::NotFound(id))
    }

    /// Returns the store, for layers that access it directly.
    pub const fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Returns the session, if `caller` owns it; otherwise [`SessionError::NotOwner`].
    fn owned_session(&self, id: SessionId, caller: &[u8]) -> Result<Session, SessionError> {
        let session = self.session(id)?;
        if session.owner == caller { Ok(session) } else { Err(SessionError::NotOwner(id)) }
    }
}

/// Returns `Ok(())` if a session may have these parameters.
fn check_spec(spec: &SessionSpec) -> Result<(), SessionError> {
    let SessionSpec { chunk_size, bytes_expected, .. } = *spec;
    if chunk_size == 0 {
        return Err(SessionError::ZeroChunkSize);
    }
    if Chunking::new(bytes_expected, u64::from(chunk_size)).count() == u32::MAX {
        return Err(SessionError::TooManyChunks { bytes_expected, chunk_size });
    }
    Ok(())
}
