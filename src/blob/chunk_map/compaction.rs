//! Compaction of a chunk map in which few chunks are in use: one message reads them, empties the map, and stores them
//! again. Removing all the others one by one would cost more, since the library rewrites the node of each.
//!
//! A message that traps on the way changes nothing. It is marked by the message before, as a removal without room is, so
//! that one that traps is not retried for ever: the chunks are then removed one by one.

use ic_stable_structures::{Memory, StableBTreeMap};

use super::super::chunk_key::ChunkKey;
use super::mark::Mark;

/// Chunks in use that are stored again, at most. All of them are on the heap together, 58 MB, and the nodes on the way to
/// each of them are read: if they are scattered over a map of 240 GiB, 1.6 of the 2 GiB of stable memory that a message
/// may access.
pub const MAX_IN_USE: usize = 32;

/// Chunks that must be released for each one in use. Storing one again costs 24 M instructions, if there are 32; removing
/// one costs 26 M in a map of one node, and 100 M in one of a hundred chunks (`docs/costs.md`). So the map is compacted
/// only if that is clearly cheaper.
const RELEASED_FOR_EACH: u64 = 2;

/// Returns whether a map of `total` chunks is emptied more cheaply by storing those in use again than by removing the
/// others.
pub const fn pays(in_use: usize, total: u64) -> bool {
    let in_use = in_use as u64;
    total.saturating_sub(in_use) >= in_use.saturating_mul(RELEASED_FOR_EACH)
}

/// Whether the next message compacts the map. This is on the heap: after an upgrade it starts from scratch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compaction {
    mark: Mark<()>,
    /// A message that tried it trapped, or had no room.
    has_failed: bool,
}

impl Compaction {
    /// Returns the number of chunks in use up to which the map is compacted.
    pub const fn max_in_use(self) -> usize {
        if self.has_failed { 0 } else { MAX_IN_USE }
    }

    /// Marks the compaction for the next message. Returns `true` if the message before has done that.
    pub fn begin(&mut self) -> bool {
        let is_marked = self.mark.take().is_some();
        if !is_marked {
            self.mark.set(Some(()));
        }
        is_marked
    }

    /// Removes the mark: the next message does something else.
    pub const fn cancel(&mut self) {
        self.mark.set(None);
    }

    /// Records that it cannot be done.
    pub const fn fail(&mut self) {
        self.has_failed = true;
    }

    /// Records a failure if its message has trapped.
    pub fn watch(&mut self) {
        if self.mark.has_trapped() {
            self.fail();
        }
    }
}

/// Stores these chunks, ascending, in an empty map. The keys come first, and each value into a node with all of its keys:
/// so no node is split while it holds payload, which would need room for half of it a second time, and the nodes have as
/// few chunks as possible, all of which are rewritten with each.
pub fn store<M: Memory>(chunks: &mut StableBTreeMap<ChunkKey, Vec<u8>, M>, kept: Vec<(ChunkKey, Vec<u8>)>) {
    for (key, _) in &kept {
        chunks.insert(*key, Vec::new());
    }
    for (key, bytes) in kept {
        chunks.insert(key, bytes);
    }
}
