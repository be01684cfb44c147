//! Where sessions are kept.

use std::collections::BTreeMap;
use std::fmt;

use super::{Session, SessionId};

/// A keeper of sessions. Implementations decide on which memory and in which encoding.
pub trait SessionStore {
    /// A session id that was never given out before and never will be again.
    ///
    /// # Errors
    /// When the ids are used up or the counter is damaged.
    fn allocate_id(&mut self) -> Result<SessionId, StoreError>;

    /// The session, if there is one.
    fn get(&self, id: SessionId) -> Result<Option<Session>, StoreError>;

    /// Keeps the session under its id, in place of what was there.
    ///
    /// # Errors
    /// When it cannot be kept; then nothing changed.
    fn put(&mut self, id: SessionId, session: &Session) -> Result<(), StoreError>;

    /// Forgets the session.
    ///
    /// # Errors
    /// When the store cannot be changed; then nothing changed.
    fn remove(&mut self, id: SessionId) -> Result<(), StoreError>;
}

/// A store failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The record under this id does not decode.
    Damaged {
        /// Whose record.
        id: SessionId,
        /// What is wrong with it.
        reason: String,
    },
    /// No id is left, which takes 2^64 sessions.
    IdsExhausted,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { id, reason } => write!(f, "session {id}: {reason}"),
            Self::IdsExhausted => f.write_str("session ids are used up"),
        }
    }
}

impl std::error::Error for StoreError {}

/// Sessions on the heap: for the compatibility layer's cache and for tests.
#[derive(Debug)]
pub struct HeapStore {
    next_id: u64,
    sessions: BTreeMap<SessionId, Session>,
}

impl Default for HeapStore {
    fn default() -> Self {
        Self { next_id: 1, sessions: BTreeMap::new() }
    }
}

impl SessionStore for HeapStore {
    fn allocate_id(&mut self) -> Result<SessionId, StoreError> {
        let id = SessionId(self.next_id);
        self.next_id = self.next_id.checked_add(1).ok_or(StoreError::IdsExhausted)?;
        Ok(id)
    }

    fn get(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        Ok(self.sessions.get(&id).cloned())
    }

    fn put(&mut self, id: SessionId, session: &Session) -> Result<(), StoreError> {
        self.sessions.insert(id, session.clone());
        Ok(())
    }

    fn remove(&mut self, id: SessionId) -> Result<(), StoreError> {
        self.sessions.remove(&id);
        Ok(())
    }
}
