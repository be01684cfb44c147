//! Classifies a stored record and decides its outcome, without changing anything.

use candid::Principal;

use super::class::{Class, TimeUnit};
use super::{LegacyUploadSession, Split, convert};
use crate::api::Result;
use crate::blob::ChunkPrefix;
use crate::session::{ChunkSet, SessionId, Time};
use crate::storage::Storage;
use crate::upload::{IdemKey, LegacySession};

/// A classified record.
pub struct Examined {
    /// Its class.
    pub class: Class,
    /// Its outcome.
    pub decision: Decision,
}

/// The outcome that a record must get.
pub enum Decision {
    /// The record is converted.
    Convert {
        /// The session's owner.
        caller: Principal,
        /// The records to which the legacy record is converted.
        split: Box<Split>,
        /// The idempotency key, if the session is in no index yet; `None`: the index by key stays as it is.
        key: Option<KeyClaim>,
    },
    /// The record has expired, and is released.
    Release {
        /// The session's owner.
        caller: Principal,
        /// The records to which the legacy record would have been converted.
        split: Box<Split>,
    },
    /// The record is quarantined.
    Reject {
        /// The record, if it decodes.
        legacy: Option<Box<LegacyUploadSession>>,
        /// Why the record is quarantined.
        reason: String,
    },
}

/// The idempotency key of a record that is converted and not yet in any index.
pub enum KeyClaim {
    /// No other session in flight has the key.
    Free(IdemKey),
    /// A session in flight that began earlier has the key, and loses it to this one.
    TakesOver(IdemKey),
    /// A session in flight that began later has the key, and keeps it.
    Lost,
}

/// The settings, chunks and indexes with which a record is classified, of the running canister or of a snapshot.
pub trait Surroundings {
    /// Returns how long a session may be idle, seconds.
    ///
    /// # Errors
    /// Damaged settings.
    fn session_ttl_seconds(&self) -> Result<u64>;

    /// Returns the chunks that are actually stored under a prefix.
    fn stored_chunks(&self, prefix: ChunkPrefix) -> ChunkSet;

    /// Returns whether the session is in the index by owner.
    fn is_indexed(&self, id: SessionId, owner: Principal) -> bool;

    /// Returns the session to which a key leads, even if that session is no longer in flight; `None` if to none.
    ///
    /// # Errors
    /// A damaged entry.
    fn session_of_key(&self, key: IdemKey) -> Result<Option<SessionId>>;

    /// Returns whether a session is in flight, in either layout.
    fn is_in_flight(&self, id: SessionId) -> bool;
}

impl Surroundings for Storage {
    fn session_ttl_seconds(&self) -> Result<u64> {
        Ok(self.config()?.session_ttl_seconds)
    }

    fn stored_chunks(&self, prefix: ChunkPrefix) -> ChunkSet {
        self.blobs.stored_chunks(prefix)
    }

    fn is_indexed(&self, id: SessionId, owner: Principal) -> bool {
        self.index.contains(id, owner)
    }

    fn session_of_key(&self, key: IdemKey) -> Result<Option<SessionId>> {
        Ok(self.index.find(key)?)
    }

    fn is_in_flight(&self, id: SessionId) -> bool {
        self.sessions.sessions.contains(&id.0) || self.sessions.legacy.contains(&id.0)
    }
}

/// Returns the class and the outcome of a record, from its bytes, its last activity and its surroundings.
///
/// # Errors
/// A damaged record in `surroundings`.
pub fn examine(surroundings: &impl Surroundings, session: &LegacySession, now: Time) -> Result<Examined> {
    let LegacySession { id, raw, activity } = session;
    let id = SessionId(*id);
    let legacy = match LegacyUploadSession::decode(raw) {
        Ok(legacy) => legacy,
        Err(error) => {
            let decision = Decision::Reject { legacy: None, reason: error.to_string() };
            return Ok(Examined { class: Class::of_undecodable(&error), decision });
        }
    };
    let ttl = surroundings.session_ttl_seconds()?;
    let unit = TimeUnit::of(legacy.created_at, now);
    let last_seen = activity.unwrap_or_else(|| unit.to_time(legacy.created_at, now));
    let chunks = surroundings.stored_chunks(legacy.chunk_prefix());
    let caller = legacy.caller;
    let split = match convert(id, legacy, chunks, Some(last_seen)) {
        Ok(split) => Box::new(split),
        Err(error) => {
            let class = Class::of_unconvertible(&error);
            let legacy = LegacyUploadSession::decode(raw).ok().map(Box::new);
            return Ok(Examined { class, decision: Decision::Reject { legacy, reason: error.to_string() } });
        }
    };
    if split.session.is_idle_for(ttl, now) {
        return Ok(Examined { class: Class::Expired, decision: Decision::Release { caller, split } });
    }
    // The key of an indexed record already leads to its session, or to a later one that has taken over the key.
    let key = if surroundings.is_indexed(id, caller) {
        None
    } else {
        let key = IdemKey::of(&split.meta.capsule_id, &caller, &split.session.session_meta.idem);
        Some(
            match surroundings
                .session_of_key(key)?
                .filter(|other| *other != id && surroundings.is_in_flight(*other))
            {
                None => KeyClaim::Free(key),
                Some(other) if other < id => KeyClaim::TakesOver(key),
                Some(_) => KeyClaim::Lost,
            },
        )
    };
    let key_leads_elsewhere = matches!(key, Some(KeyClaim::TakesOver(_) | KeyClaim::Lost));
    let class = Class::of_convertible(&split, unit, key_leads_elsewhere);
    Ok(Examined { class, decision: Decision::Convert { caller, split, key } })
}
