//! Which sessions may still have their bytes in the chunk map, so that nobody has to look through all others.

use minicbor::{Decode, Encode};

use crate::session::SessionId;
use crate::stable::{Record, StableError, codec};
use crate::storage::Storage;

use super::PayloadState;

/// Sessions `after < id <= through`. Those begun later have their bytes in extents from the beginning.
#[derive(Encode, Decode, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MappedSessions {
    #[n(0)]
    after: u64,
    #[n(1)]
    through: u64,
}

const VERSION: u8 = 1;

impl Record for MappedSessions {
    const NAME: &'static str = "range of sessions in the chunk map";

    fn encode(&self) -> Vec<u8> {
        codec::encode(VERSION, self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        codec::decode(VERSION, bytes)
    }
}

/// Notes that every session begun from now on has its bytes in extents.
///
/// # Errors
/// A damaged counter.
pub fn close(storage: &mut Storage) -> Result<(), StableError> {
    let through = storage.sessions.ids.last()?;
    storage.mapped_sessions.set(&MappedSessions { after: 0, through });
    Ok(())
}

/// Up to `limit` sessions whose bytes are in the chunk map, in order of id, behind `after`.
///
/// # Errors
/// A damaged record.
pub fn list(storage: &Storage, after: Option<u64>, limit: usize) -> Result<Vec<u64>, StableError> {
    let range = storage.mapped_sessions.get()?.unwrap_or_default();
    let first = range.after.max(after.unwrap_or(0)).saturating_add(1);
    let mut found = Vec::new();
    if first > range.through {
        return Ok(found);
    }
    for id in storage.sessions.sessions.keys(first..=range.through) {
        if found.len() == limit {
            break;
        }
        if contains(storage, SessionId(id))? {
            found.push(id);
        }
    }
    Ok(found)
}

/// Whether a session has its bytes in the chunk map.
///
/// # Errors
/// A damaged record.
pub fn contains(storage: &Storage, id: SessionId) -> Result<bool, StableError> {
    if !storage.sessions.sessions.contains(&id.0) {
        return Ok(false);
    }
    Ok(storage.payloads.get(&id.0)?.is_none_or(|PayloadState { extents, .. }| extents.is_none()))
}

/// Leaves the sessions before the first that is found out of the range.
///
/// # Errors
/// A damaged record.
pub fn shrink(storage: &mut Storage) -> Result<(), StableError> {
    let range = storage.mapped_sessions.get()?.unwrap_or_default();
    let first = list(storage, None, 1)?.first().map_or(range.through, |first| first.saturating_sub(1));
    if first > range.after {
        storage.mapped_sessions.set(&MappedSessions { after: first, ..range });
    }
    Ok(())
}
