//! Compaction of a chunk map in which few chunks are in use: one message reads these chunks, empties the map, and
//! stores them again. Removing the released chunks one by one would cost more, since the library rewrites a node for
//! each removal.
//!
//! If the message traps, nothing is changed. Like a removal without room, a compaction is marked by the message before,
//! so that one that traps is not repeated for ever: the released chunks are then removed one by one.

use ic_stable_structures::{Memory, StableBTreeMap};

use super::super::chunk_key::ChunkKey;
use super::mark::Mark;

/// Maximum number of chunks in use that are stored again. All of them are on the heap together (58 MB), and the nodes
/// on the path to each of them are read: if they are scattered over a map of 240 GiB, that is 1.6 of the 2 GiB of
/// stable memory that a message may access.
pub const MAX_IN_USE: usize = 32;

/// Minimum number of released chunks per chunk in use. Storing a chunk again costs 24 M instructions, if there are 32;
/// removing one costs 26 M in a map of one node, and 100 M in a map of a hundred chunks (`docs/costs.md`). So a map is
/// compacted only if that is clearly cheaper.
const RELEASED_FOR_EACH: u64 = 2;

/// Returns whether emptying a map of `total` chunks and storing those in use again is cheaper than removing the others
/// one by one.
pub const fn is_cheaper(in_use: usize, total: u64) -> bool {
    let in_use = in_use as u64;
    total.saturating_sub(in_use) >= in_use.saturating_mul(RELEASED_FOR_EACH)
}

/// Whether the next message compacts the map. This is on the heap: after an upgrade, no compaction is marked, and none
/// has failed.
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

    /// Takes the mark of the message before and returns `true`; if there is no mark, sets one for the next message.
    pub fn begin(&mut self) -> bool {
        let is_marked = self.mark.take().is_some();
        if !is_marked {
            self.mark.set(Some(()));
        }
        is_marked
    }

    /// Removes the mark: the next message does not compact the map.
    pub const fn cancel(&mut self) {
        self.mark.set(None);
    }

    /// Records that the map cannot be compacted.
    pub const fn fail(&mut self) {
        self.has_failed = true;
    }

    /// Records a failure if the message of a marked compaction has trapped.
    pub fn watch(&mut self) {
        if self.mark.has_trapped() {
            self.fail();
        }
    }
}

/// Stores these chunks, whose keys are ascending, in an empty map: first all keys, and then each value into a node that
/// already has its keys. So no node is split while it holds payload; a split would need room for half of that payload a
/// second time. And the nodes have as few chunks as possible, which saves instructions, since each insertion rewrites
/// all chunks of its node.
pub fn store<M: Memory>(chunks: &mut StableBTreeMap<ChunkKey, Vec<u8>, M>, kept: Vec<(ChunkKey, Vec<u8>)>) {
    for (key, _) in &kept {
        chunks.insert(*key, Vec::new());
    }
    for (key, bytes) in kept {
        chunks.insert(key, bytes);
    }
}
