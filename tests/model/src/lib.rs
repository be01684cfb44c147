//! The upload contract as a model: what must be true after any sequence of operations.
//!
//! Owns: the operations, their distribution, what the model expects of each of them, and the comparison after every
//! step. Does not own: how an operation reaches the code under test. That is the task of a [`Target`]; there are two,
//! the canister's logic over a memory in the process, and the real wasm.
//!
//! Nothing here uses a type of the canister, so that unit tests and end-to-end tests share one model, and a mistake in
//! the canister's code is not repeated in the model.

#![allow(missing_docs, reason = "the names of fields, variants and calls say what they are")]

mod act;
mod expect;
mod memories;
mod migration;
mod operation;
pub mod public_release;
mod room;
mod run;
mod state;
mod target;

pub use operation::{Control, Guest, Operation, Stage, operations, operations_in_little_room};
pub use run::run;
pub use target::{
    Finished, Holdings, MemoryView, NewContent, NewMemory, Payload, Phase, Put, Refusal, Target,
    TargetResult, View,
};

/// Length of every chunk but the last, in bytes.
pub const CHUNK: u64 = 1_800_000;

/// Extents are allocated in units of this many bytes.
pub const EXTENT_UNIT: u64 = 64;

/// Time, in seconds, that a session may be idle. A receipt is kept for the same time.
pub const TTL_SECONDS: u64 = 1_000;

/// If this many seconds pass without a call, all sessions and receipts that existed before have expired.
pub const ALL_EXPIRED_SECONDS: u64 = TTL_SECONDS + 37;

/// Maximum age of a session in seconds.
pub const AGE_SECONDS: u64 = 2_500;

/// One second in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;

/// Limits on sessions in flight and on bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions of one person at a time.
    pub sessions: u64,
    /// Bytes in flight of one person.
    pub bytes_per_caller: u64,
    /// Bytes of one capsule, in flight or stored.
    pub bytes_per_capsule: u64,
    /// Bytes of the canister, in flight or stored.
    pub bytes: u64,
}

impl Limits {
    /// Limits that random uploads exceed.
    pub const TIGHT: Self = Self {
        sessions: 4,
        bytes_per_caller: 4 * CHUNK + 10,
        bytes_per_capsule: 5 * CHUNK + 10,
        bytes: 8 * CHUNK,
    };

    /// Limits that are not reached before stable memory is full.
    pub const WIDE: Self = Self {
        sessions: 20,
        bytes_per_caller: 100 * CHUNK,
        bytes_per_capsule: 100 * CHUNK,
        bytes: 200 * CHUNK,
    };
}

/// Maximum share of the canister's bytes, in percent, that sessions may have reserved but not filled yet.
pub const MAX_PROMISED_PERCENT: u8 = 50;

/// Maximum number of memories in a capsule.
pub const MAX_MEMORIES: u64 = 6;

/// Maximum number of bytes that one memory, and all memories of a capsule together, may keep in their records.
pub const MAX_INLINE: u64 = 32 * 1024;

/// Number of people. Each of them owns one of the capsules, and may write to the other one until that right is changed.
pub const PEOPLE: u8 = 2;

/// Returns the bytes of a chunk, which are all the same.
pub fn chunk_bytes(fill: u8, len: u64) -> Vec<u8> {
    vec![fill; usize::try_from(len).unwrap_or(0)]
}

/// Returns the byte that fills a chunk: a different one for each content and each index below 16.
pub const fn fill(content: u8, idx: u32) -> u8 {
    content * 16 + idx as u8 + 1
}
