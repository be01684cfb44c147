//! The total cost of the messages of a step.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};
use session_migrate::costs::MessageCost;

/// Size, in bytes, of the pages in which changes of a memory are counted.
pub const DELTA_PAGE_BYTES: u64 = 4096;

/// The cost of the messages of one step of a benchmark. Everything except `wall_nanos` is the same in every run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Executed messages, including timers and the handling of replies to the canister's own calls.
    pub messages: u64,
    /// Instructions by the weights of the Internet Computer, including the charges of its system API.
    pub instructions: u64,
    /// Bytes written to stable memory.
    pub stable_bytes_written: u64,
    /// Bytes read from stable memory.
    pub stable_bytes_read: u64,
    /// 4 KiB pages of stable memory written, each counted once per message.
    pub dirty_stable_pages: u64,
    /// 4 KiB pages of the wasm memory whose contents changed, each counted once per message.
    pub dirty_wasm_pages: u64,
    /// Growth of the wasm memory, 64 KiB pages.
    pub heap_increase: u64,
    /// Growth of stable memory, 64 KiB pages.
    pub stable_memory_increase: u64,
    /// Time for which the wasm ran, nanoseconds. It differs between runs, and is not stored in files.
    #[serde(skip)]
    pub wall_nanos: u64,
}

impl Cost {
    /// Returns the bytes of both memories that a replica would have to write out: the heap and the stable delta.
    pub fn delta_bytes(&self) -> u64 {
        (self.dirty_stable_pages + self.dirty_wasm_pages) * DELTA_PAGE_BYTES
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        let Cost {
            messages,
            instructions,
            stable_bytes_written,
            stable_bytes_read,
            dirty_stable_pages,
            dirty_wasm_pages,
            heap_increase,
            stable_memory_increase,
            wall_nanos,
        } = other;
        self.messages += messages;
        self.instructions += instructions;
        self.stable_bytes_written += stable_bytes_written;
        self.stable_bytes_read += stable_bytes_read;
        self.dirty_stable_pages += dirty_stable_pages;
        self.dirty_wasm_pages += dirty_wasm_pages;
        self.heap_increase += heap_increase;
        self.stable_memory_increase += stable_memory_increase;
        self.wall_nanos += wall_nanos;
    }
}

/// The sizes of a canister's memories after the messages so far, in pages of 64 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemorySizes {
    wasm: u64,
    stable: u64,
}

impl MemorySizes {
    /// Returns the cost of the next message, and keeps the sizes of the memories after this message for the one that
    /// follows.
    pub fn cost_of_next(&mut self, message: &MessageCost) -> Cost {
        let after = MemorySizes { wasm: message.wasm_memory_pages, stable: message.stable_memory_pages };
        if message.entry == "start" {
            // A new instance: the initial sizes of its memories are not growth.
            *self = after;
        }
        let cost = Cost {
            // The server also lists entry points that the module lacks. They use no instructions.
            messages: u64::from(message.instructions > 0),
            instructions: message.instructions,
            stable_bytes_written: message.stable_bytes_written,
            stable_bytes_read: message.stable_bytes_read,
            dirty_stable_pages: message.dirty_stable_pages,
            dirty_wasm_pages: message.dirty_wasm_pages,
            heap_increase: after.wasm.saturating_sub(self.wasm),
            stable_memory_increase: after.stable.saturating_sub(self.stable),
            wall_nanos: message.wall_nanos,
        };
        // The replica discards what a query changes, so the sizes before it are kept.
        if message.entry != "query" {
            *self = after;
        }
        cost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(entry: &str, wasm: u64, stable: u64) -> MessageCost {
        MessageCost {
            entry: entry.to_owned().into(),
            wasm_memory_pages: wasm,
            stable_memory_pages: stable,
            instructions: 1,
            ok: true,
            ..MessageCost::default()
        }
    }

    #[test]
    fn growth_is_counted_against_what_updates_have_left() {
        let mut sizes = MemorySizes::default();
        let mut growth = |entry, wasm, stable| {
            let cost = sizes.cost_of_next(&message(entry, wasm, stable));
            (cost.heap_increase, cost.stable_memory_increase)
        };
        assert_eq!(growth("start", 17, 0), (0, 0));
        assert_eq!(growth("init", 18, 129), (1, 129));
        assert_eq!(growth("query", 30, 129), (12, 0));
        assert_eq!(growth("update", 20, 130), (2, 1));
        assert_eq!(growth("start", 17, 130), (0, 0));
        assert_eq!(growth("post_upgrade", 18, 130), (1, 0));
    }

    #[test]
    fn delta_is_in_bytes_of_both_memories() {
        let cost = Cost { dirty_stable_pages: 2, dirty_wasm_pages: 3, ..Cost::default() };
        assert_eq!(cost.delta_bytes(), 5 * 4096);
    }
}
