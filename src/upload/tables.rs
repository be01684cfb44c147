//! The tables of sessions in stable memory: those of the split records, and a handle to those of the legacy records.
//!
//! ```text
//! id 5    u64                                            the last id that was issued, see `Ids`
//! id 11   u64 -> SessionRecord                           layouts 2 and 3
//! id 12   u64 -> UploadMeta                              layouts 2 and 3
//! ```
//! The sessions of layout 1 are in [`LegacySessions`].

use minicbor::{Decode, Encode};

use crate::session::{
    ChunkSet, Session, SessionId, SessionMeta, SessionStatus, SessionStore, StoreError, Time,
};
use crate::stable::{Ids, Memories, StableError, Table, codec, memory_ids};

use super::{LegacySessions, UploadMeta};

/// The session tables. Each table has exactly one handle: two handles to the same stable map would overwrite each
/// other's changes.
pub struct SessionTables {
    /// Layout 1.
    pub legacy: LegacySessions,
    /// Layouts 2 and 3: the session's half.
    pub sessions: Table<u64, SessionRecord>,
    /// Layouts 2 and 3: the upload's half.
    pub metas: Table<u64, UploadMeta>,
    /// The source of the ids of sessions and downloads, and of the numbers in the ids of memories.
    pub ids: Ids,
}

impl SessionTables {
    /// Opens the tables, or creates empty ones.
    pub fn open(memories: &Memories) -> Result<Self, StableError> {
        Ok(Self {
            legacy: LegacySessions::open(memories)?,
            sessions: Table::open(memories, memory_ids::SESSIONS),
            metas: Table::open(memories, memory_ids::UPLOAD_META),
            ids: Ids::open(memories, memory_ids::SESSION_COUNTER),
        })
    }

    /// Describes the stored tables.
    #[cfg(test)]
    pub fn describe(&self, to: &mut crate::stable::schema::Description) {
        self.legacy.describe(to);
        to.table(memory_ids::numbers::SESSIONS, &self.sessions);
        to.table(memory_ids::numbers::UPLOAD_META, &self.metas);
        self.ids.describe(memory_ids::numbers::SESSION_COUNTER, to);
    }
}

/// The stored record of a [`Session`]. `bytes_received` follows from the ranges and is not stored.
#[derive(Encode, Decode, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct SessionRecord {
    #[cbor(n(0), with = "minicbor::bytes")]
    owner: Vec<u8>,
    #[n(1)]
    chunk_size: u32,
    #[n(2)]
    bytes_expected: u64,
    #[n(3)]
    received: Vec<(u32, u32)>,
    #[n(4)]
    idem: String,
    #[n(5)]
    last_seen: u64,
    #[n(6)]
    completed_at: Option<u64>,
}

impl From<&Session> for SessionRecord {
    fn from(session: &Session) -> Self {
        Self {
            owner: session.owner.clone(),
            chunk_size: session.chunk_size,
            bytes_expected: session.bytes_expected,
            received: session.received_idxs.ranges().collect(),
            idem: session.session_meta.idem.clone(),
            last_seen: session.session_meta.last_seen.as_nanos(),
            completed_at: match session.session_meta.status {
                SessionStatus::Pending => None,
                SessionStatus::Committed { completed_at } => Some(completed_at.as_nanos()),
            },
        }
    }
}

impl SessionRecord {
    /// Returns the session of this record.
    ///
    /// # Errors
    /// If the received ranges do not form a [`ChunkSet`].
    pub fn into_session(self) -> Result<Session, String> {
        let received_idxs = ChunkSet::from_ranges(&self.received)
            .ok_or_else(|| format!("the {} received ranges are not a set of chunks", self.received.len()))?;
        let mut session = Session {
            owner: self.owner,
            chunk_size: self.chunk_size,
            bytes_expected: self.bytes_expected,
            bytes_received: 0,
            received_idxs,
            session_meta: SessionMeta {
                idem: self.idem,
                last_seen: Time::from_nanos(self.last_seen),
                status: match self.completed_at {
                    None => SessionStatus::Pending,
                    Some(nanos) => SessionStatus::Committed { completed_at: Time::from_nanos(nanos) },
                },
            },
        };
        session.bytes_received = session.bytes_of_received();
        Ok(session)
    }
}

const VERSION: u8 = 1;

codec::cbor_record!(SessionRecord, "session", format VERSION);

#[cfg(test)]
crate::stable::schema::described!(SessionRecord, cbor VERSION);

/// The split records (layouts 2 and 3), as a store for the session service.
pub struct DirectStore<'a> {
    /// The session's half of each session in split records. Its other half, the upload meta, is not in this store.
    pub sessions: &'a mut Table<u64, SessionRecord>,
    /// The source of ids.
    pub ids: &'a mut Ids,
}

impl SessionStore for DirectStore<'_> {
    fn allocate_id(&mut self) -> Result<SessionId, StoreError> {
        self.ids.issue().map(SessionId).map_err(|error| StoreError::NoId { reason: error.to_string() })
    }

    fn get(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        let damaged = |reason: String| StoreError::Damaged { id, reason };
        let record = self.sessions.get(&id.0).map_err(|e| damaged(e.to_string()))?;
        record.map(|record| record.into_session().map_err(damaged)).transpose()
    }

    fn put(&mut self, id: SessionId, session: &Session) -> Result<(), StoreError> {
        self.sessions.insert(id.0, &SessionRecord::from(session));
        Ok(())
    }

    fn remove(&mut self, id: SessionId) -> Result<(), StoreError> {
        self.sessions.remove(&id.0);
        Ok(())
    }
}
