//! Sessions of layout 1: their records, as bytes, their last activity, and the mark that hides converted ones.
//!
//! ```text
//! id 3    u64 -> Candid (1 : nat16, UploadSessionMeta)   raw bytes here, decoded by their readers
//! id 23   u64 -> u64                                     last activity, nanoseconds
//! id 46   Leftovers                                      the mark: the id up to which records are converted
//! ```
//! Migration 1 converts sessions in the order of their ids. Removing the converted records one by one would be a third
//! of the migration's work, so it only moves the mark past them; when all are converted, it removes all records at
//! once. Records up to the mark are invisible: each session is in one layout at a time, and the mark determines in
//! which.

use minicbor::{Decode, Encode};

use crate::session::Time;
use crate::stable::{Memories, Record, Register, StableError, Table, codec, memory_ids};

/// A session of layout 1 as it is stored: its record, not decoded, and its last activity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacySession {
    /// Id of the session.
    pub id: u64,
    /// Record of the session.
    pub raw: Vec<u8>,
    /// Time of the last activity, if the build that wrote the session recorded one.
    pub activity: Option<Time>,
}

/// The leftover mark, and how many leftovers (converted records that are still stored) there are.
#[derive(Encode, Decode, Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct Leftovers {
    /// The mark: all records up to this id are converted.
    #[n(0)]
    pub through: u64,
    /// Number of converted records that are still stored.
    #[n(1)]
    pub records: u64,
    /// Number of last-activity entries (not records) of converted sessions that are still stored.
    #[n(2)]
    pub notes: u64,
}

const VERSION: u8 = 1;

codec::cbor_record!(Leftovers, "mark of the leftovers", version VERSION);

#[cfg(test)]
crate::stable::schema::described!(Leftovers, cbor VERSION);

/// The raw bytes of a record: its type, `UploadSessionMeta`, is known only to readers. Tests also damage other tables
/// with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRecord(pub Vec<u8>);

impl Record for RawRecord {
    const NAME: &'static str = "legacy session";

    fn encode(&self) -> Vec<u8> {
        self.0.clone()
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        Ok(Self(bytes.to_vec()))
    }
}

/// The sessions of layout 1. A session is visible if its id is above the mark.
pub struct LegacySessions {
    records: Table<u64, RawRecord>,
    activity: Table<u64, u64>,
    stored_mark: Register<Leftovers>,
    /// The contents of `stored_mark`; `None`, so that no record is hidden, if the register is empty or no leftover is
    /// stored.
    mark: Option<Leftovers>,
}

impl LegacySessions {
    /// Opens the tables, or creates empty ones.
    ///
    /// # Errors
    /// A damaged mark: without it, it is unknown which sessions are converted.
    pub fn open(memories: &Memories) -> Result<Self, StableError> {
        let stored_mark: Register<Leftovers> = Register::open(memories, memory_ids::LEGACY_LEFT_BEHIND);
        let mark = stored_mark.get()?.filter(|mark| mark.records > 0);
        Ok(Self {
            records: Table::open(memories, memory_ids::LEGACY_SESSIONS),
            activity: Table::open(memories, memory_ids::LEGACY_ACTIVITY),
            stored_mark,
            mark,
        })
    }

    /// Returns whether there is a visible session with this id.
    pub fn contains(&self, id: &u64) -> bool {
        !self.is_up_to_mark(*id) && self.records.contains(id)
    }

    /// Returns the raw bytes of a visible record.
    pub fn get_raw(&self, id: &u64) -> Option<Vec<u8>> {
        if self.is_up_to_mark(*id) { None } else { self.records.get_raw(id) }
    }

    /// Returns the last activity of a visible session, if it was recorded.
    ///
    /// # Errors
    /// A damaged entry.
    pub fn activity(&self, id: &u64) -> Result<Option<Time>, StableError> {
        if self.is_up_to_mark(*id) {
            return Ok(None);
        }
        Ok(self.activity.get(id)?.map(Time::from_nanos))
    }

    /// Stores a record, replacing any previous one. `id` must be above the mark. It always is: ids only increase, and a
    /// rollback deletes the records up to the mark before it converts any session back.
    pub fn insert(&mut self, id: u64, record: &RawRecord) {
        debug_assert!(!self.is_up_to_mark(id), "session {id} is not above the mark");
        self.records.insert(id, record);
    }

    /// Records the last activity of a visible session.
    pub fn record_activity(&mut self, id: u64, last_seen: Time) {
        self.activity.insert(id, &last_seen.as_nanos());
    }

    /// Removes a visible session and its last activity. Returns `false` if no visible session has this id.
    pub fn remove(&mut self, id: &u64) -> bool {
        if self.is_up_to_mark(*id) {
            return false;
        }
        self.activity.remove(id);
        self.records.remove(id)
    }

    /// Removes and returns a visible session; `None` if no visible session has this id.
    ///
    /// # Errors
    /// If the entry of its last activity is damaged. Nothing is changed.
    pub fn take(&mut self, id: u64) -> Result<Option<LegacySession>, StableError> {
        if self.is_up_to_mark(id) {
            return Ok(None);
        }
        let activity = self.activity.take(&id)?.map(Time::from_nanos);
        Ok(self.records.take_raw(&id).map(|raw| LegacySession { id, raw, activity }))
    }

    /// Stores the record of a session, and its last activity, if it is known.
    pub fn insert_session(&mut self, session: LegacySession) {
        let LegacySession { id, raw, activity } = session;
        self.insert(id, &RawRecord(raw));
        if let Some(last_seen) = activity {
            self.record_activity(id, last_seen);
        }
    }

    /// Returns the number of visible sessions.
    pub fn len(&self) -> u64 {
        self.records.len().saturating_sub(self.mark.map_or(0, |mark| mark.records))
    }

    /// Returns the number of visible sessions with recorded activity.
    pub fn activity_count(&self) -> u64 {
        self.activity.len().saturating_sub(self.mark.map_or(0, |mark| mark.notes))
    }

    /// Returns whether no session is visible.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Iterates over the visible ids above `after`, or over all visible ids if it is `None`, ascending. Records are not
    /// read.
    pub fn keys_after(&self, after: Option<u64>) -> impl Iterator<Item = u64> + '_ {
        self.records.keys_after(self.start_after(after).as_ref())
    }

    /// Returns the highest id of a stored record up to `max`, visible or not; `None` if there is none.
    pub fn last_id(&self, max: u64) -> Option<u64> {
        self.records.keys(..=max).next_back()
    }

    /// Iterates over the visible records above `after`, or over all if it is `None`, with their ids, as bytes,
    /// ascending.
    pub fn raw_after(&self, after: Option<u64>) -> impl Iterator<Item = (u64, Vec<u8>)> + '_ {
        self.records.raw_after(self.start_after(after).as_ref())
    }

    /// Returns the first visible sessions, at most `limit`, ascending.
    ///
    /// # Errors
    /// A damaged entry.
    pub fn first(&self, limit: usize) -> Result<Vec<LegacySession>, StableError> {
        let records: Vec<_> = self.raw_after(None).take(limit).collect();
        let ids: Vec<u64> = records.iter().map(|(id, _)| *id).collect();
        let to_session = |((id, raw), activity): ((u64, Vec<u8>), Result<Option<u64>, StableError>)| {
            Ok(LegacySession { id, raw, activity: activity?.map(Time::from_nanos) })
        };
        records.into_iter().zip(self.activity.get_ascending(&ids)).map(to_session).collect()
    }

    /// Moves the mark past these sessions, which thereby become leftovers. They must be the first visible ones.
    pub fn move_mark_past(&mut self, first: &[LegacySession]) {
        let Some(last) = first.last() else { return };
        let with_activity = first.iter().filter(|session| session.activity.is_some()).count() as u64;
        let Leftovers { records, notes, .. } =
            self.mark.unwrap_or(Leftovers { through: 0, records: 0, notes: 0 });
        self.set_mark(Leftovers {
            through: last.id,
            records: records.saturating_add(first.len() as u64),
            notes: notes.saturating_add(with_activity),
        });
    }

    /// Returns whether an id is at or below the mark. A record that is still stored under such an id is a leftover.
    pub fn is_up_to_mark(&self, id: u64) -> bool {
        self.mark.is_some_and(|mark| id <= mark.through)
    }

    /// Returns the number of leftovers: converted records that are still stored.
    pub fn leftover_count(&self) -> u64 {
        self.mark.map_or(0, |mark| mark.records)
    }

    /// Returns the ids of up to `limit` leftovers, ascending.
    pub fn leftovers(&self, limit: usize) -> Vec<u64> {
        self.mark.map_or_else(Vec::new, |mark| self.records.keys(..=mark.through).take(limit).collect())
    }

    /// Removes a leftover and its last activity; does nothing if `id` is above the mark.
    pub fn remove_leftover(&mut self, id: u64) {
        let Some(mark) = self.mark.filter(|mark| id <= mark.through) else { return };
        let [had_record, had_activity] = [self.records.remove(&id), self.activity.remove(&id)];
        self.set_mark(Leftovers {
            records: mark.records.saturating_sub(u64::from(had_record)),
            notes: mark.notes.saturating_sub(u64::from(had_activity)),
            ..mark
        });
    }

    /// If no session is visible, removes all leftovers in one step, regardless of their number; otherwise does nothing.
    pub fn clear_leftovers(&mut self) {
        if let Some(mark) = self.mark.filter(|_| self.is_empty()) {
            self.records.clear();
            self.activity.clear();
            self.set_mark(Leftovers { records: 0, notes: 0, ..mark });
        }
    }

    fn set_mark(&mut self, mark: Leftovers) {
        self.stored_mark.set(&mark);
        self.mark = Some(mark).filter(|mark| mark.records > 0);
    }

    /// Returns the id after which the visible ids above `after` begin: `after` or the mark, whichever is higher.
    fn start_after(&self, after: Option<u64>) -> Option<u64> {
        after.max(self.mark.map(|mark| mark.through))
    }

    /// Describes the stored tables and the mark.
    #[cfg(test)]
    pub fn describe(&self, to: &mut crate::stable::schema::Description) {
        to.raw_table(memory_ids::numbers::LEGACY_SESSIONS, &self.records);
        to.table(memory_ids::numbers::LEGACY_ACTIVITY, &self.activity);
        to.register(memory_ids::numbers::LEGACY_LEFT_BEHIND, &self.stored_mark);
    }
}
