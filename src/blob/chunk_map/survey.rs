//! Determines which chunks in the chunk map are still in use, from the keys of the map and the table of released
//! prefixes. If few chunks or none are in use, the released ones can be removed in one step instead of one by one.
//!
//! The survey is on the heap: after an upgrade it starts from scratch.

use std::collections::BTreeSet;

use crate::stable::{MapKeys, Table};

use super::super::chunk_key::KEY_BYTES;

/// Maximum number of keys that one message checks, at a cost of at most 60,000 instructions each.
pub const KEYS_AT_ONCE: usize = if cfg!(test) { 50 } else { 2_000 };

const PREFIX_BYTES: usize = 32;

/// A key as the map stores it.
pub type EncodedKey = [u8; KEY_BYTES];

/// How far the map has been checked. Chunks that arrive or are removed in the meantime are reported to the survey.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// All keys up to this one have been checked; `None`: no key has.
    last: Option<EncodedKey>,
    /// Number of keys in the map up to `last`.
    keys_up_to_last: u64,
    /// The keys up to `last` that were in use when they were added or last checked.
    in_use: BTreeSet<EncodedKey>,
}

/// What one message of the survey found; only `InUse` is a complete survey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SurveyResult {
    /// Exactly these chunks are in use, ascending; all others in the map are released.
    InUse(Vec<EncodedKey>),
    /// More chunks than the caller allowed are in use, or the keys cannot be read completely.
    TooMany,
    /// There may be keys that have not been checked yet; the next message checks more.
    More,
}

impl Survey {
    /// Must be called when a chunk is added to the map.
    pub fn add(&mut self, key: EncodedKey) {
        // Keys after `last` will be checked later.
        if self.last.is_some_and(|last| key <= last) {
            self.keys_up_to_last = self.keys_up_to_last.saturating_add(1);
            self.in_use.insert(key);
        }
    }

    /// Must be called when a chunk is removed from the map.
    pub fn remove(&mut self, key: EncodedKey) {
        if self.last.is_some_and(|last| key <= last) {
            self.keys_up_to_last = self.keys_up_to_last.saturating_sub(1);
            self.in_use.remove(&key);
        }
    }

    /// Checks the next keys of a map of `total` chunks, unless more than `max_in_use` of the chunks up to `last` are in
    /// use.
    pub fn advance(
        &mut self,
        keys: &MapKeys<KEY_BYTES>,
        released: &Table<[u8; PREFIX_BYTES], ()>,
        total: u64,
        max_in_use: usize,
    ) -> SurveyResult {
        let Self { last, keys_up_to_last, in_use } = self;
        in_use.retain(|key| !is_released(released, key));
        if in_use.len() > max_in_use {
            return SurveyResult::TooMany;
        }
        let low = last.unwrap_or([0; KEY_BYTES]);
        let (mut checked, mut released_prefix) = (0_usize, None);
        let walked = keys.between(&low, &[u8::MAX; KEY_BYTES], &mut |key| {
            if *last == Some(*key) {
                return true;
            }
            // The chunks of one object follow each other, so a released prefix is looked up once.
            if released_prefix != key.first_chunk::<PREFIX_BYTES>().copied() {
                if is_released(released, key) {
                    released_prefix = key.first_chunk().copied();
                } else {
                    in_use.insert(*key);
                }
            }
            *last = Some(*key);
            checked = checked.saturating_add(1);
            checked < KEYS_AT_ONCE && in_use.len() <= max_in_use
        });
        *keys_up_to_last = keys_up_to_last.saturating_add(checked as u64);
        if walked.is_none() || in_use.len() > max_in_use {
            SurveyResult::TooMany
        } else if checked >= KEYS_AT_ONCE {
            SurveyResult::More
        } else if *keys_up_to_last == total {
            SurveyResult::InUse(in_use.iter().copied().collect())
        } else {
            // All keys were walked, but fewer or more were found than the map has according to its header.
            SurveyResult::TooMany
        }
    }
}

fn is_released(released: &Table<[u8; PREFIX_BYTES], ()>, key: &EncodedKey) -> bool {
    key.first_chunk().is_some_and(|prefix| released.contains(prefix))
}
