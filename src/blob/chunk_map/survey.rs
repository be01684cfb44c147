//! Determines whether anything in the chunk map is still in use, from its keys alone. If not, the map can be emptied in
//! one step instead of chunk by chunk.
//!
//! None of this is stored: after an upgrade the survey starts from scratch, and so does any other build.

use crate::stable::{MapKeys, Table};

use super::super::chunk_key::KEY_BYTES;

/// Keys that one message checks: at most 60,000 instructions each.
const KEYS_AT_ONCE: usize = 2_000;

/// Bytes of a prefix.
const PREFIX_BYTES: usize = 32;

type Key = [u8; KEY_BYTES];

/// How far the map has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survey {
    /// All keys up to this one are released.
    Through {
        /// The last of them.
        last: Option<Key>,
        /// Number of them.
        keys: u64,
    },
    /// This key was not released when it was checked or stored.
    InUse(Key),
}

/// The result of a survey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Every chunk is released.
    Nothing,
    /// A chunk is in use, or the keys cannot be read.
    InUse,
    /// The next message checks more of them.
    More,
}

impl Default for Survey {
    fn default() -> Self {
        Self::Through { last: None, keys: 0 }
    }
}

impl Survey {
    /// Starts from scratch, since chunks are removed. A chunk that was in use probably still is.
    pub fn start_over(&mut self) {
        if let Self::Through { .. } = self {
            *self = Self::default();
        }
    }

    /// Checks the next keys of a map of `total` chunks.
    pub fn advance(
        &mut self,
        keys: &MapKeys<KEY_BYTES>,
        released: &Table<[u8; PREFIX_BYTES], ()>,
        total: u64,
    ) -> Found {
        if let Self::InUse(key) = *self {
            if keys.contains(&key) == Some(true) && !is_released(released, &key) {
                return Found::InUse;
            }
            *self = Self::default();
        }
        let Self::Through { last, keys: seen } = self else { return Found::InUse };
        let low = last.unwrap_or([0; KEY_BYTES]);
        let (mut checked, mut in_use, mut prefix) = (0_usize, None, None);
        let walked = keys.between(&low, &[u8::MAX; KEY_BYTES], &mut |key| {
            if *last == Some(*key) {
                return true;
            }
            // Chunks of one object follow each other.
            if prefix != key.first_chunk::<PREFIX_BYTES>().copied() && !is_released(released, key) {
                in_use = Some(*key);
                return false;
            }
            prefix = key.first_chunk().copied();
            *last = Some(*key);
            checked = checked.saturating_add(1);
            checked < KEYS_AT_ONCE
        });
        *seen = seen.saturating_add(checked as u64);
        match in_use {
            _ if walked.is_none() => Found::InUse,
            Some(key) => {
                *self = Self::InUse(key);
                Found::InUse
            }
            None if checked >= KEYS_AT_ONCE => Found::More,
            None if *seen == total => Found::Nothing,
            // The map has chunks that cannot be found.
            None => Found::InUse,
        }
    }
}

fn is_released(released: &Table<[u8; PREFIX_BYTES], ()>, key: &Key) -> bool {
    key.first_chunk().is_some_and(|prefix| released.contains(prefix))
}
