//! Stable memory: memory ids, the layout header, the preflight, typed tables and codecs.
//!
//! Does not own: the meaning of the records; nothing here decides what to store. Boundary: a memory is opened by its
//! name in `memory_ids`; in an installed canister, only after the preflight.
//!
//! ```text
//! offset 0   "MGR" 1   header of the memory manager (ic-stable-structures), buckets of 8 MiB
//!            id  0..=9  ids that the first public release also uses     see `memory_ids`
//!            id 10      "UPL" header with the number of the layout      see `layout`
//!            id 11..    all other structures, in the order in which builds added them
//! each id    "BTR", "SCL", …   magic of the structure in it             checked by `preflight`
//! ```

pub mod buckets;
pub mod codec;
pub mod counters;
mod ends;
mod ids;
mod key;
pub mod keys;
pub mod layout;
mod map_keys;
pub mod memory_ids;
pub mod preflight;
mod room;
#[cfg(test)]
pub mod schema;
mod structures;

pub use counters::Counters;
pub use ends::{Damage, End, RawMap, fixed_len, read_cell};
pub use ic_stable_migrate::{Record, StableError};
pub use ids::{Ids, PER_MESSAGE};
pub use key::Key;
pub use map_keys::MapKeys;
pub use room::{NoRoom, StableRoom};
pub use structures::{Marks, Structures, mark_all};

use ic_stable_structures::DefaultMemoryImpl;
use ic_stable_structures::memory_manager::{MemoryManager, VirtualMemory};

/// The whole stable memory: the canister's own on the IC, a vector in native builds.
pub type RawMemory = DefaultMemoryImpl;

/// A virtual memory of the memory manager.
pub type Memory = VirtualMemory<RawMemory>;

/// A stable map that reports records that do not decode.
pub type Table<K, V> = ic_stable_migrate::Table<K, V, Memory>;

/// A single stable record, alone in its memory: a `StableCell`.
pub type Register<V> = ic_stable_migrate::Register<V, Memory>;

/// The memory manager; [`memory_ids`] lists its memories.
pub type Memories = MemoryManager<RawMemory>;

#[cfg(test)]
mod tests;
