//! Indexes of sessions by idempotency key, last activity and owner, the same in every layout and on every path. The ids
//! below are memory ids.
//!
//! ```text
//! id 13   [u8; 32] -> u64           idempotency key to session, also to a finished session with a receipt
//! id 14   (u64, u64) -> ()          (last activity in nanoseconds, session)
//! id 15   (principal, u64) -> ()    (owner, session)
//! ```

use std::collections::BTreeSet;

use candid::Principal;

use crate::session::{SessionId, Time};
use crate::stable::{Memories, StableError, Table, memory_ids};

use super::idempotency::IdemKey;

/// The indexes of live sessions, those that have not ended. A session of the first public release may be in none.
pub struct SessionIndex {
    by_idem: Table<[u8; 32], u64>,
    by_activity: Table<(u64, u64), ()>,
    by_owner: Table<(Principal, u64), ()>,
}

impl SessionIndex {
    /// Opens the indexes, or creates empty ones.
    pub fn open(memories: &Memories) -> Self {
        Self {
            by_idem: Table::open(memories, memory_ids::SESSION_BY_IDEM),
            by_activity: Table::open(memories, memory_ids::SESSION_BY_ACTIVITY),
            by_owner: Table::open(memories, memory_ids::SESSION_BY_OWNER),
        }
    }

    /// Adds a session. Returns `true` if it is new; otherwise changes nothing and returns `false`.
    pub fn insert(&mut self, id: SessionId, key: IdemKey, owner: Principal, last_seen: Time) -> bool {
        let is_new = self.insert_without_key(id, owner, last_seen);
        if is_new {
            self.by_idem.insert(key.0, &id.0);
        }
        is_new
    }

    /// Adds a session without its idempotency key. Returns the same as [`Self::insert`].
    pub fn insert_without_key(&mut self, id: SessionId, owner: Principal, last_seen: Time) -> bool {
        let is_new = self.by_owner.insert_new((owner, id.0), &());
        if is_new {
            self.by_activity.insert((last_seen.as_nanos(), id.0), &());
        }
        is_new
    }

    /// Adds only the idempotency key of a session, for a whole file: its session begins and ends in one call, so it
    /// needs no entry by owner, for lists, and none by activity, for expiry.
    pub fn insert_key(&mut self, key: IdemKey, id: SessionId) {
        self.by_idem.insert(key.0, &id.0);
    }

    /// Removes a session whose owner is unknown: only from the activity index.
    pub fn remove_activity(&mut self, id: SessionId, last_seen: Time) {
        self.by_activity.remove(&(last_seen.as_nanos(), id.0));
    }

    /// Returns whether this owner has a live session with this id, according to the owner index.
    pub fn contains(&self, id: SessionId, owner: Principal) -> bool {
        self.by_owner.contains(&(owner, id.0))
    }

    /// Returns whether the activity index has an entry of the session with this time.
    pub fn is_active_at(&self, id: SessionId, last_seen: Time) -> bool {
        self.by_activity.contains(&(last_seen.as_nanos(), id.0))
    }

    /// Lists up to `limit` sessions of an owner, those with ids above `after`, in order of id.
    pub fn sessions_of(&self, owner: Principal, after: Option<u64>, limit: usize) -> Vec<SessionId> {
        let from = after.map_or(0, |id| id.saturating_add(1));
        let keys = self.by_owner.keys((owner, from)..=(owner, u64::MAX));
        keys.take(limit).map(|(_, id)| SessionId(id)).collect()
    }

    /// Returns the live sessions among `ids`, each with its owner. Scans all live sessions.
    pub fn owners_of(&self, ids: &BTreeSet<u64>) -> Vec<(Principal, SessionId)> {
        let all = self.by_owner.keys(..).filter(|(_, id)| ids.contains(id));
        all.map(|(owner, id)| (owner, SessionId(id))).collect()
    }

    /// Removes a session from the owner index only.
    pub fn remove_from_owner(&mut self, id: SessionId, owner: Principal) {
        self.by_owner.remove(&(owner, id.0));
    }

    /// Returns the number of live sessions, according to the activity index.
    pub fn len(&self) -> u64 {
        self.by_activity.len()
    }

    /// Returns whether there is no live session.
    pub fn is_empty(&self) -> bool {
        self.by_activity.is_empty()
    }

    /// Makes `after` the last activity of a session. Removes the entry of its earlier activity, `before`, if there is
    /// one. If `before` and `after` are equal, changes nothing, not even if the entry is missing.
    pub fn move_activity(&mut self, id: SessionId, before: Time, after: Time) {
        if before != after {
            self.by_activity.remove(&(before.as_nanos(), id.0));
            self.by_activity.insert((after.as_nanos(), id.0), &());
        }
    }

    /// Removes a session from the activity index and the owner index; its idempotency key stays.
    pub fn remove_keeping_key(&mut self, id: SessionId, owner: Principal, last_seen: Time) {
        self.by_activity.remove(&(last_seen.as_nanos(), id.0));
        self.by_owner.remove(&(owner, id.0));
    }

    /// Removes an idempotency key, if it still belongs to this session.
    pub fn remove_key_of(&mut self, key: IdemKey, id: SessionId) -> Result<(), StableError> {
        if self.by_idem.get(&key.0)? == Some(id.0) {
            self.remove_key(key);
        }
        Ok(())
    }

    /// Removes an idempotency key, regardless of its session.
    pub fn remove_key(&mut self, key: IdemKey) {
        self.by_idem.remove(&key.0);
    }

    /// Returns the session that was begun under a key: in flight, or finished as long as its receipt is stored.
    pub fn find(&self, key: IdemKey) -> Result<Option<SessionId>, StableError> {
        Ok(self.by_idem.get(&key.0)?.map(SessionId))
    }

    /// Lists up to `limit` sessions whose last activity was at or before `until`, each with the time of that activity,
    /// longest idle first.
    pub fn idle_since(&self, until: Time, limit: usize) -> Vec<(Time, SessionId)> {
        let range = ..=(until.as_nanos(), u64::MAX);
        let keys = self.by_activity.keys(range).take(limit);
        keys.map(|(last_seen, id)| (Time::from_nanos(last_seen), SessionId(id))).collect()
    }

    /// Lists up to `limit` sessions whose last activity was at or after `since`, longest idle first.
    pub fn active_since(&self, since: Time, limit: usize) -> Vec<SessionId> {
        let range = (since.as_nanos(), 0)..;
        self.by_activity.keys(range).take(limit).map(|(_, id)| SessionId(id)).collect()
    }

    /// Lists up to `limit` entries of the activity index after the entry `after`, longest idle first. An entry is
    /// the last activity in nanoseconds and the session.
    pub fn activity_after(&self, after: Option<(u64, u64)>, limit: usize) -> Vec<(u64, u64)> {
        self.by_activity.keys_after(after.as_ref()).take(limit).collect()
    }

    /// Counts the sessions of an owner, up to `limit`.
    pub fn count_of(&self, owner: Principal, limit: u64) -> u64 {
        let keys = self.by_owner.keys((owner, 0)..=(owner, u64::MAX));
        keys.take(usize::try_from(limit).unwrap_or(usize::MAX)).count() as u64
    }

    /// Describes the stored tables.
    #[cfg(test)]
    pub fn describe(&self, to: &mut crate::stable::schema::Description) {
        to.table(memory_ids::numbers::SESSION_BY_IDEM, &self.by_idem);
        to.table(memory_ids::numbers::SESSION_BY_ACTIVITY, &self.by_activity);
        to.table(memory_ids::numbers::SESSION_BY_OWNER, &self.by_owner);
    }
}
