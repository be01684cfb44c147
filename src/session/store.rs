//! The interface of a store of sessions.

use std::collections::BTreeMap;

use super::{Session, SessionId, StoreError};

/// A store of sessions. Implementations choose the memory and the encoding.
pub trait SessionStore {
    /// Returns a session id that has never been issued and will never be issued again.
    ///
    /// # Errors
    /// If no id can be issued.
    fn allocate_id(&mut self) -> Result<SessionId, StoreError>;

    /// Returns the session; `None` if no session has this id.
    ///
    /// # Errors
    /// If the record of the session is damaged.
    fn get(&self, id: SessionId) -> Result<Option<Session>, StoreError>;

    /// Stores the session under its id, replacing any previous one.
    ///
    /// # Errors
    /// If the session cannot be stored. Nothing is changed.
    fn put(&mut self, id: SessionId, session: &Session) -> Result<(), StoreError>;

    /// Removes the session.
    ///
    /// # Errors
    /// If the store cannot be changed. The session remains.
    fn remove(&mut self, id: SessionId) -> Result<(), StoreError>;
}

/// Sessions on the heap: for tests, and for the cache of the compat path, which allocates no ids here.
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
        self.next_id = self.next_id.checked_add(1).ok_or_else(|| StoreError::NoId {
            reason: format!("no number is left after {}", self.next_id),
        })?;
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
