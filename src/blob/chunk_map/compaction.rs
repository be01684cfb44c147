//! Compaction of a chunk map in which few chunks are in use: one message reads these chunks, empties the map, and
//! stores them again. Removing the released chunks one by one costs more: the library rewrites a node for each removal.
//!
//! A compaction may trap. So the message before it sets a mark; if the mark stays set, the compaction has trapped (see
//! `mark.rs`). From then on, released chunks are removed one by one, as long as any chunk is in use.

use ic_stable_structures::{Memory, StableBTreeMap};

use super::super::chunk_key::ChunkKey;
use super::mark::Mark;

/// Maximum number of chunks in use that are stored again. All of them are on the heap at once (58 MB), and the nodes
/// on the path to each of them are read: if they are scattered over a map of 240 GiB, that is 1.6 of the 2 GiB of
/// stable memory that a message may access.
pub const MAX_IN_USE: usize = 32;

/// Minimum number of released chunks per chunk in use. Storing one of 32 chunks again costs 24 M instructions; removing
/// one chunk costs 26 M in a map of one node, and 100 M in a map of a hundred chunks (`docs/costs.md`). So a map is
/// compacted only if that is clearly cheaper.
const MIN_RELEASED_PER_IN_USE: u64 = 2;

/// Returns whether compacting a map of `total` chunks, of which `in_use` are in use, is clearly cheaper than removing
/// the released ones one by one.
pub const fn is_cheaper(in_use: usize, total: u64) -> bool {
    let in_use = in_use as u64;
    total.saturating_sub(in_use) >= in_use.saturating_mul(MIN_RELEASED_PER_IN_USE)
}

/// Whether the next message compacts the map, and whether a compaction has failed. Both are on the heap, so an upgrade
/// clears them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compaction {
    mark: Mark<()>,
    /// Whether an attempt to compact the map trapped or was not possible.
    has_failed: bool,
}

impl Compaction {
    /// Returns the maximum number of chunks in use for a compaction: 0 after a failure.
    pub const fn max_in_use(self) -> usize {
        if self.has_failed { 0 } else { MAX_IN_USE }
    }

    /// If an earlier message set the mark, removes it and returns `true`: this message must compact the map. Otherwise
    /// sets the mark for the next message, and returns `false`.
    pub fn take_or_set_mark(&mut self) -> bool {
        let is_marked = self.mark.take().is_some();
        if !is_marked {
            self.mark.set(Some(()));
        }
        is_marked
    }

    /// Removes the mark, without preventing later compactions.
    pub const fn cancel(&mut self) {
        self.mark.set(None);
    }

    /// Prevents compactions from now on.
    pub const fn fail(&mut self) {
        self.has_failed = true;
    }

    #[cfg(test)]
    pub const fn has_failed(self) -> bool {
        self.has_failed
    }

    /// Prevents compactions from now on if the marked one has trapped; see [`Mark::has_trapped`].
    pub fn watch(&mut self) {
        if self.mark.has_trapped() {
            self.fail();
        }
    }
}

/// Stores chunks, ascending by key, in an empty map: first all keys, then the values. Thus no node is split while it
/// holds payload; a split would need room for half of that payload a second time. Since the keys ascend, every split
/// leaves a half-full node, which gets no more keys. So the nodes have few chunks, which saves instructions, since each
/// insertion rewrites all chunks of its node.
pub fn store<M: Memory>(chunks: &mut StableBTreeMap<ChunkKey, Vec<u8>, M>, kept: Vec<(ChunkKey, Vec<u8>)>) {
    for (key, _) in &kept {
        chunks.insert(*key, Vec::new());
    }
    for (key, bytes) in kept {
        chunks.insert(key, bytes);
    }
}
