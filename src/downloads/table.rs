//! The sessions of downloads, by session id, in memory id 49.

use crate::session::{Session, SessionId, SessionService};
use crate::stable::{Ids, Memories, Table, memory_ids};
use crate::upload::{DirectStore, SessionRecord};

/// The sessions of downloads.
pub struct Downloads {
    table: Table<u64, SessionRecord>,
}

impl Downloads {
    /// Opens the sessions.
    pub fn open(memories: &Memories) -> Self {
        Self { table: Table::open(memories, memory_ids::DOWNLOADS) }
    }

    /// Returns the number of downloads.
    pub fn len(&self) -> u64 {
        self.table.len()
    }

    /// Returns whether there are no downloads.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the ids of all downloads, damaged and expired ones included.
    pub(super) fn ids(&self) -> Vec<SessionId> {
        self.table.keys(..).map(SessionId).collect()
    }

    /// Returns a session; `None` if there is none, or if its record is damaged: such a record belongs to nobody, and
    /// the sweep removes it.
    pub(super) fn get(&self, id: SessionId) -> Option<Session> {
        self.table.get(&id.0).ok()??.into_session().ok()
    }

    /// Describes the stored structures, for the schema.
    #[cfg(test)]
    pub fn describe(&self, to: &mut crate::stable::schema::Description) {
        to.table(memory_ids::numbers::DOWNLOADS, &self.table);
    }
}

/// Returns the session layer over the table of downloads. `ids` also issues the ids of uploads, so that no upload has
/// the id of a download.
pub(super) fn session_service<'a>(
    downloads: &'a mut Downloads,
    ids: &'a mut Ids,
) -> SessionService<DirectStore<'a>> {
    SessionService::new(DirectStore { sessions: &mut downloads.table, ids })
}
