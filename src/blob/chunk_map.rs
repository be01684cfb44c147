//! Payload of layouts 1 and 2: each chunk is one value of a stable map.
//!
//! ```text
//! id 6    ([u8; 32], u32) -> bytes      chunks by prefix (see `ChunkPrefix::of`) and chunk number
//! id 24   [u8; 32] -> ()                prefixes whose chunks are to be removed
//! ```

use std::ops::RangeInclusive;

use ic_stable_structures::{Memory as _, StableBTreeMap};

use crate::session::ChunkSet;
use crate::stable::{MapKeys, Memories, Memory, NoRoom, StableRoom, Table, memory_ids};

use super::chunk_key::{ChunkKey, ChunkPrefix, KEY_BYTES, key_bytes, parse_key};

mod compaction;
mod mark;
mod survey;

pub use compaction::Compaction;
use mark::Mark;
use survey::{EncodedKey, Survey, SurveyResult};

/// Maximum number of chunks that one call of `release` or `sweep` removes one by one. Removing one chunk reads it and
/// may move its neighbors, which costs tens of millions of instructions; a message, which may release the chunks of
/// several sessions, may use 40 billion.
pub const RELEASE_AT_ONCE: usize = 32;

type Chunks = StableBTreeMap<ChunkKey, Vec<u8>, Memory>;

/// While payload is copied into extents, released chunks stay in the map if this much stable memory is free in addition
/// to the reserve, so that the map can be emptied in one step afterwards. With less, released chunks are removed one by
/// one, and sessions whose payload is still in the map can reuse the pages.
const AMPLE_BYTES: u64 = 1 << 30;

pub struct ChunkMap {
    /// `None` until the first chunk is stored.
    chunks: Option<Chunks>,
    memory: Memory,
    /// Finds keys in the same memory without reading payload. If it returns `None`, the keys are looked up in `chunks`.
    keys: MapKeys<KEY_BYTES>,
    /// Prefixes whose chunks are to be removed.
    released: Table<[u8; 32], ()>,
    room: StableRoom,
    attempt: Attempt,
    compaction: Compaction,
    survey: Survey,
}

/// Attempts to remove a chunk although stable memory may have no room for that. A step may trap, so one message marks
/// the step, and the next performs it. This is on the heap: after an upgrade, the attempts start from scratch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attempt {
    mark: Mark<Step>,
    /// Number of steps whose messages trapped; determines which step is next.
    failures: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The chunk's bytes are removed, its key stays. No nodes are merged, but full nodes above the chunk's are split.
    Empty(ChunkKey),
    /// The chunk's key is removed, too.
    Remove(ChunkKey),
}

impl ChunkMap {
    /// Opens the map. If there is none yet, the first stored chunk will create it.
    pub fn open(memories: &Memories, room: &StableRoom) -> Self {
        let memory = memories.get(memory_ids::CHUNKS);
        Self {
            chunks: (memory.size() > 0).then(|| StableBTreeMap::init(memory.clone())),
            keys: MapKeys::of(memory.clone()),
            memory,
            released: Table::open(memories, memory_ids::RELEASED_CHUNKS),
            room: room.clone(),
            attempt: Attempt::default(),
            compaction: Compaction::default(),
            survey: Survey::default(),
        }
    }

    /// Returns `Ok(())` if, with one more chunk of this many bytes, there is still room to remove everything stored.
    pub fn check_room_for(&self, bytes: u64) -> Result<(), NoRoom> {
        self.room.check_for_chunk(bytes)
    }

    pub fn contains(&self, prefix: ChunkPrefix, idx: u32) -> bool {
        let by_library = || self.chunks.as_ref().is_some_and(|chunks| chunks.contains_key(&(prefix.0, idx)));
        self.keys.contains(&key_bytes(prefix, idx)).unwrap_or_else(by_library)
    }

    pub fn get(&self, prefix: ChunkPrefix, idx: u32) -> Option<Vec<u8>> {
        self.chunks.as_ref()?.get(&(prefix.0, idx))
    }

    pub fn insert(&mut self, prefix: ChunkPrefix, idx: u32, bytes: &[u8]) {
        if self.get_or_create().insert((prefix.0, idx), bytes.to_vec()).is_none() {
            self.survey.add(key_bytes(prefix, idx));
        }
    }

    /// Returns which chunks are stored under a prefix, without reading their bytes.
    pub fn stored_chunks(&self, prefix: ChunkPrefix) -> ChunkSet {
        let mut stored = ChunkSet::new();
        let mut take = |idx| {
            stored.insert(idx);
            true
        };
        match self.walk(prefix, 0..=u32::MAX, &mut take) {
            Some(()) => stored,
            None => self.keys_under(prefix).map(|(_, idx)| idx).collect(),
        }
    }

    fn get_or_create(&mut self) -> &mut Chunks {
        self.chunks.get_or_insert_with(|| Chunks::init(self.memory.clone()))
    }

    /// Returns the number of chunks in the map, released or in use.
    pub fn total(&self) -> u64 {
        self.chunks.as_ref().map_or(0, Chunks::len)
    }

    /// Returns the number of prefixes whose chunks are still to be removed.
    pub fn release_total(&self) -> u64 {
        self.released.len()
    }

    /// Returns the number of chunks that are still to be removed.
    pub fn released_chunks(&self) -> u64 {
        self.released.keys(..).map(|prefix| self.stored_chunks(ChunkPrefix(prefix)).len()).sum()
    }

    /// Releases the chunks under a prefix: up to [`RELEASE_AT_ONCE`] immediately, the rest in [`Self::sweep`].
    pub fn release(&mut self, prefix: ChunkPrefix) {
        if !self.remove_some(prefix, RELEASE_AT_ONCE) {
            self.released.insert(prefix.0, &());
        }
    }

    /// Releases chunks that have been copied into extents. If there is ample room, all of them stay until
    /// [`Self::sweep`], which may empty the map in one step; removing chunks one by one rewrites their neighbors.
    pub fn release_copied(&mut self, prefix: ChunkPrefix) {
        if !self.has_ample_room() {
            self.release(prefix);
        } else if !self.first_under(prefix, 1).is_empty() {
            self.released.insert(prefix.0, &());
        }
    }

    /// Returns whether released chunks may stay for now: nothing will soon need their room.
    pub fn has_ample_room(&self) -> bool {
        self.room.check_for_chunk(AMPLE_BYTES).is_ok()
    }

    /// Continues the survey of the map. Once the survey is complete, removes released chunks: if few chunks are in use,
    /// all released ones in one step; otherwise up to [`RELEASE_AT_ONCE`]; or, if there is no room for that, one chunk
    /// in several marked steps. Returns `true` if no released chunk is left.
    pub fn sweep(&mut self) -> bool {
        let Some(prefix) = self.released.next_key(None) else {
            return true;
        };
        let max_in_use = self.compaction.max_in_use();
        match self.survey.advance(&self.keys, &self.released, self.total(), max_in_use) {
            SurveyResult::More => return false,
            SurveyResult::InUse(keys) if keys.is_empty() => {
                self.remove_all();
                return true;
            }
            SurveyResult::InUse(keys) if compaction::is_cheaper(keys.len(), self.total()) => {
                return self.compaction.take_or_set_mark() && self.compact(&keys);
            }
            SurveyResult::InUse(_) | SurveyResult::TooMany => self.compaction.cancel(),
        }
        if self.room.has_room_for_removal() || self.first_under(ChunkPrefix(prefix), 1).is_empty() {
            self.attempt = Attempt::default();
            if self.remove_some(ChunkPrefix(prefix), RELEASE_AT_ONCE) {
                self.released.remove(&prefix);
            }
        } else {
            self.perform_or_mark_step();
        }
        self.released.is_empty()
    }

    #[cfg(test)]
    pub const fn attempt_mut(&mut self) -> &mut Attempt {
        &mut self.attempt
    }

    #[cfg(test)]
    pub const fn compaction_mut(&mut self) -> &mut Compaction {
        &mut self.compaction
    }

    /// Removes a chunk without reporting it to the survey.
    #[cfg(test)]
    pub fn remove_unreported(&mut self, prefix: ChunkPrefix, idx: u32) {
        self.get_or_create().remove(&(prefix.0, idx));
    }

    /// Removes the mark of a compaction that no message will attempt soon: it would be taken for one that trapped.
    pub const fn cancel_compaction(&mut self) {
        self.compaction.cancel();
    }

    /// Records a failure if the marked step or compaction has trapped; see [`Mark::has_trapped`].
    pub fn watch(&mut self) {
        self.compaction.watch();
        if self.attempt.mark.has_trapped() {
            self.attempt.failures = self.attempt.failures.saturating_add(1);
        }
    }

    /// Removes everything, in constant time.
    fn remove_all(&mut self) {
        if let Some(chunks) = &mut self.chunks {
            chunks.clear_new();
        }
        self.released.clear();
        self.survey = Survey::default();
        self.attempt = Attempt::default();
        self.compaction = Compaction::default();
    }

    /// Removes everything except the chunks with these ascending keys. If one of these chunks cannot be read, or there
    /// may be no room to store them again, returns `false`, does not change the map, and prevents further compactions.
    fn compact(&mut self, in_use: &[EncodedKey]) -> bool {
        let read = |key: &EncodedKey| {
            let key = parse_key(key)?;
            Some((key, self.chunks.as_ref()?.get(&key)?))
        };
        let kept: Option<Vec<(ChunkKey, Vec<u8>)>> = in_use.iter().map(read).collect();
        let fits =
            |kept: &Vec<(_, Vec<u8>)>| self.room.can_hold(kept.iter().map(|(_, bytes)| bytes.len() as u64));
        let Some(kept) = kept.filter(fits) else {
            self.compaction.fail();
            return false;
        };
        self.remove_all();
        compaction::store(self.get_or_create(), kept);
        true
    }

    /// Performs the marked step, or marks the next one.
    fn perform_or_mark_step(&mut self) {
        match self.attempt.mark.take() {
            None => self.attempt.mark.set(self.next_step()),
            Some(Step::Empty(key)) => {
                self.get_or_create().insert(key, Vec::new());
            }
            Some(Step::Remove(key)) => self.remove(&key),
        }
    }

    /// Returns the next step to try. After a failure to empty a chunk, this is the removal of that chunk; after a
    /// failure to remove it, a step for a chunk under the next prefix; after the last prefix, for the next chunk under
    /// the first prefix. Without failures, all chunks under one prefix are emptied before the first of them is removed.
    fn next_step(&self) -> Option<Step> {
        // Limits the prefixes, and the chunks under one of them, that are considered.
        const CANDIDATES: usize = 64;
        // Two failures skip a chunk: one to empty it, and one to remove it.
        let (skipped, must_remove) = (self.attempt.failures >> 1, self.attempt.failures & 1 == 1);
        let prefixes: Vec<_> = self.released.keys(..).take(CANDIDATES).collect();
        let prefix = *prefixes.get(skipped.checked_rem(prefixes.len())?)?;
        let mut keys = self.first_under(ChunkPrefix(prefix), CANDIDATES);
        let rounds = skipped.checked_div(prefixes.len())?;
        let first = rounds.checked_rem(keys.len())?;
        keys.rotate_left(first);
        let chunks = self.chunks.as_ref()?;
        let has_bytes = |key: &&ChunkKey| chunks.get(key).is_some_and(|bytes| !bytes.is_empty());
        match keys.iter().find(has_bytes) {
            Some(key) if !must_remove => Some(Step::Empty(*key)),
            Some(key) => Some(Step::Remove(*key)),
            None => keys.first().copied().map(Step::Remove),
        }
    }

    /// Removes up to `limit` chunks under a prefix, while there is room for that. Returns `true` if none is left under
    /// it.
    fn remove_some(&mut self, prefix: ChunkPrefix, limit: usize) -> bool {
        let keys = self.first_under(prefix, limit);
        for key in &keys {
            if !self.room.has_room_for_removal() {
                return false;
            }
            self.remove(key);
        }
        keys.len() < limit || self.first_under(prefix, 1).is_empty()
    }

    fn remove(&mut self, key: &ChunkKey) {
        if self.get_or_create().remove(key).is_some() {
            self.survey.remove(key_bytes(ChunkPrefix(key.0), key.1));
        }
    }

    fn first_under(&self, prefix: ChunkPrefix, limit: usize) -> Vec<ChunkKey> {
        let mut keys = Vec::new();
        let mut take = |idx| {
            keys.push((prefix.0, idx));
            keys.len() < limit
        };
        match self.walk(prefix, 0..=u32::MAX, &mut take) {
            Some(()) => keys,
            None => self.keys_under(prefix).take(limit).collect(),
        }
    }

    /// Passes those of `numbers` under which chunks are stored to `take` until it returns `false`, without reading
    /// payload. Returns `None` if [`MapKeys`] cannot read the map; the calling code must then read it with the library.
    fn walk(
        &self,
        prefix: ChunkPrefix,
        numbers: RangeInclusive<u32>,
        take: &mut dyn FnMut(u32) -> bool,
    ) -> Option<()> {
        let (low, high) = (key_bytes(prefix, *numbers.start()), key_bytes(prefix, *numbers.end()));
        self.keys.between(&low, &high, &mut |key| {
            key.last_chunk().is_some_and(|idx| take(u32::from_be_bytes(*idx)))
        })
    }

    fn keys_under(&self, prefix: ChunkPrefix) -> impl Iterator<Item = ChunkKey> + '_ {
        let range = (prefix.0, 0)..=(prefix.0, u32::MAX);
        self.chunks.as_ref().map(|chunks| chunks.keys_range(range)).into_iter().flatten()
    }

    #[cfg(test)]
    pub fn describe(&self, to: &mut crate::stable::schema::Description) {
        to.map(memory_ids::numbers::CHUNKS, self.chunks.as_ref());
        to.table(memory_ids::numbers::RELEASED_CHUNKS, &self.released);
    }
}

#[cfg(test)]
mod tests;
