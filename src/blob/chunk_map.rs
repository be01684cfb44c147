//! Payload of layouts 1 and 2: each chunk is one value of a stable map.
//!
//! ```text
//! id 6    ([u8; 32], u32) -> bytes      chunk `n` under SHA-256(memory id ‖ "#" ‖ le64(session id))
//! id 24   [u8; 32] -> ()                chunks under this prefix are to be removed
//! ```

use std::ops::RangeInclusive;

use ic_stable_structures::{Memory as _, StableBTreeMap};

use crate::session::ChunkSet;
use crate::stable::{MapKeys, Memories, Memory, NoRoom, StableRoom, Table, memory_ids};

use super::chunk_key::{ChunkKey, ChunkPrefix, KEY_BYTES, key_bytes, key_of};

mod compaction;
mod mark;
mod survey;

pub use compaction::Compaction;
use mark::Mark;
use survey::{Found, Key, Survey};

/// Maximum number of chunks that the message of a release or of a sweep removes one by one. Removing one chunk reads it
/// and may move its neighbors, which costs tens of millions of instructions; a message may use 40 billion.
pub const RELEASE_AT_ONCE: usize = 32;

type Chunks = StableBTreeMap<ChunkKey, Vec<u8>, Memory>;

/// Free stable memory, in addition to the reserve, above which released chunks may stay in the map while payload is
/// copied into extents, so that the map can be emptied in one step afterwards. With less, released chunks are removed
/// one by one, since sessions that are still in the map can reuse their pages.
const AMPLE_BYTES: u64 = 1 << 30;

/// The stored chunks, and the prefixes whose chunks are still to be removed.
pub struct ChunkMap {
    /// `None` until the first chunk is stored.
    chunks: Option<Chunks>,
    memory: Memory,
    keys: MapKeys<KEY_BYTES>,
    released: Table<[u8; 32], ()>,
    room: StableRoom,
    attempt: Attempt,
    compaction: Compaction,
    survey: Survey,
}

/// The attempts to remove a chunk although stable memory may have no room for that. A step may trap, so the message
/// before marks it. The attempts are on the heap: after an upgrade, they start from scratch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attempt {
    mark: Mark<Step>,
    /// Number of steps whose messages trapped; determines which step is next.
    failures: usize,
}

/// A step of removing a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The chunk's bytes are removed, its key stays. No nodes are merged, but a full node above the chunk's node is
    /// split.
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

    /// Returns `Ok(())` if there is room for a chunk of this many bytes, and then still enough room to remove
    /// everything that is stored.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn check_room_for(&self, bytes: u64) -> Result<(), NoRoom> {
        self.room.for_chunk(bytes)
    }

    /// Returns whether a chunk is stored.
    pub fn contains(&self, prefix: ChunkPrefix, idx: u32) -> bool {
        let by_library = || self.chunks.as_ref().is_some_and(|chunks| chunks.contains_key(&(prefix.0, idx)));
        self.keys.contains(&key_bytes(prefix, idx)).unwrap_or_else(by_library)
    }

    /// Returns a stored chunk.
    pub fn get(&self, prefix: ChunkPrefix, idx: u32) -> Option<Vec<u8>> {
        self.chunks.as_ref()?.get(&(prefix.0, idx))
    }

    /// Stores a chunk.
    pub fn insert(&mut self, prefix: ChunkPrefix, idx: u32, bytes: &[u8]) {
        if self.get_or_create().insert((prefix.0, idx), bytes.to_vec()).is_none() {
            self.survey.add(key_bytes(prefix, idx));
        }
    }

    /// Returns which chunks are actually stored under a prefix. Their bytes are not read.
    pub fn stored(&self, prefix: ChunkPrefix) -> ChunkSet {
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

    /// Returns the number of chunks in the whole map.
    pub fn total(&self) -> u64 {
        self.chunks.as_ref().map_or(0, Chunks::len)
    }

    /// Returns the number of prefixes whose chunks are still to be removed.
    pub fn release_total(&self) -> u64 {
        self.released.len()
    }

    /// Returns the number of chunks that are still to be removed.
    pub fn released_chunks(&self) -> u64 {
        self.released.keys(..).map(|prefix| self.stored(ChunkPrefix(prefix)).len()).sum()
    }

    /// Releases the chunks under a prefix: a few immediately, the rest in [`Self::sweep`].
    pub fn release(&mut self, prefix: ChunkPrefix) {
        if !self.remove_some(prefix, RELEASE_AT_ONCE) {
            self.released.insert(prefix.0, &());
        }
    }

    /// Releases the chunks under a prefix, which have been copied into extents. While there is ample room, none is
    /// removed before [`Self::sweep`]: removing chunks one by one rewrites their neighbors, and once all chunks have
    /// been copied, the map may be emptied in one step.
    pub fn release_copied(&mut self, prefix: ChunkPrefix) {
        if !self.has_ample_room() {
            self.release(prefix);
        } else if !self.first_under(prefix, 1).is_empty() {
            self.released.insert(prefix.0, &());
        }
    }

    /// Returns whether released chunks may stay for now: nothing will soon need their room.
    pub fn has_ample_room(&self) -> bool {
        self.room.for_chunk(AMPLE_BYTES).is_ok()
    }

    /// Continues the survey of the map. Once the survey has a result, removes all released chunks in one step if few
    /// enough chunks are in use, otherwise a few of them, or one in several marked steps if there is no room for more.
    /// Returns `true` if no released chunk is left.
    pub fn sweep(&mut self) -> bool {
        let Some(prefix) = self.released.next_key(None) else {
            return true;
        };
        let max = self.compaction.max_in_use();
        match self.survey.advance(&self.keys, &self.released, self.total(), max) {
            Found::More => return false,
            Found::InUse(keys) if keys.is_empty() => {
                self.empty();
                return true;
            }
            Found::InUse(keys) if compaction::is_cheaper(keys.len(), self.total()) => {
                return self.compaction.begin() && self.compact(&keys);
            }
            Found::InUse(_) | Found::TooMany => self.compaction.cancel(),
        }
        if self.room.for_removal() || self.first_under(ChunkPrefix(prefix), 1).is_empty() {
            self.attempt = Attempt::default();
            if self.remove_some(ChunkPrefix(prefix), RELEASE_AT_ONCE) {
                self.released.remove(&prefix);
            }
        } else {
            self.attempt();
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

    #[cfg(test)]
    pub fn remove_unreported(&mut self, prefix: ChunkPrefix, idx: u32) {
        self.get_or_create().remove(&(prefix.0, idx));
    }

    /// Removes the mark of a compaction, since no message will attempt the compaction soon.
    pub const fn cancel_compaction(&mut self) {
        self.compaction.cancel();
    }

    /// Records a failure for a step or a compaction that was already marked at the last check and has not been
    /// committed since.
    pub fn watch(&mut self) {
        self.compaction.watch();
        if self.attempt.mark.has_trapped() {
            self.attempt.failures = self.attempt.failures.saturating_add(1);
        }
    }

    /// Removes everything, in constant time.
    fn empty(&mut self) {
        if let Some(chunks) = &mut self.chunks {
            chunks.clear_new();
        }
        self.released.clear();
        self.survey = Survey::default();
        self.attempt = Attempt::default();
        self.compaction = Compaction::default();
    }

    /// Removes everything except these chunks, whose keys are ascending. If that cannot be done, returns `false`, and
    /// the map is unchanged.
    fn compact(&mut self, in_use: &[Key]) -> bool {
        let read = |key: &Key| {
            let key = key_of(key)?;
            Some((key, self.chunks.as_ref()?.get(&key)?))
        };
        let kept: Option<Vec<(ChunkKey, Vec<u8>)>> = in_use.iter().map(read).collect();
        let fits =
            |kept: &Vec<(_, Vec<u8>)>| self.room.holds(kept.iter().map(|(_, bytes)| bytes.len() as u64));
        let Some(kept) = kept.filter(fits) else {
            self.compaction.fail();
            return false;
        };
        self.empty();
        compaction::store(self.get_or_create(), kept);
        true
    }

    /// Performs the marked step, or marks the next one.
    fn attempt(&mut self) {
        match self.attempt.mark.take() {
            None => self.attempt.mark.set(self.next_step()),
            Some(Step::Empty(key)) => {
                self.get_or_create().insert(key, Vec::new());
            }
            Some(Step::Remove(key)) => self.remove(&key),
        }
    }

    /// Returns the next step to try. Each failure leads on: from emptying a chunk to removing that chunk, then to the
    /// next prefix, and after the last prefix to the next chunk of each. Under a prefix, a chunk that still has bytes
    /// is preferred; an empty one is removed.
    fn next_step(&self) -> Option<Step> {
        const CANDIDATES: usize = 64;
        let (turn, removes) = (self.attempt.failures >> 1, self.attempt.failures & 1 == 1);
        let prefixes: Vec<_> = self.released.keys(..).take(CANDIDATES).collect();
        let prefix = *prefixes.get(turn.checked_rem(prefixes.len())?)?;
        let mut keys = self.first_under(ChunkPrefix(prefix), CANDIDATES);
        let round = turn.checked_div(prefixes.len())?;
        let first = round.checked_rem(keys.len())?;
        keys.rotate_left(first);
        let chunks = self.chunks.as_ref()?;
        let has_bytes = |key: &&ChunkKey| chunks.get(key).is_some_and(|bytes| !bytes.is_empty());
        match keys.iter().find(has_bytes) {
            Some(key) if !removes => Some(Step::Empty(*key)),
            Some(key) => Some(Step::Remove(*key)),
            None => keys.first().copied().map(Step::Remove),
        }
    }

    /// Removes up to `limit` chunks under a prefix, as long as there is room for that. Returns `true` if none is left
    /// under the prefix.
    fn remove_some(&mut self, prefix: ChunkPrefix, limit: usize) -> bool {
        let keys = self.first_under(prefix, limit);
        for key in &keys {
            if !self.room.for_removal() {
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

    /// Returns the first keys under a prefix, at most `limit`.
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

    /// Passes the numbers of the chunks that are stored under a prefix to `take` until `take` returns false, without
    /// reading any payload. Returns `None` if `keys` cannot read the map, so that only the library can.
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

    /// Describes the stored structures, for the schema.
    #[cfg(test)]
    pub fn describe(&self, to: &mut crate::stable::schema::Description) {
        to.map(memory_ids::numbers::CHUNKS, self.chunks.as_ref());
        to.table(memory_ids::numbers::RELEASED_CHUNKS, &self.released);
    }
}

#[cfg(test)]
mod tests;
