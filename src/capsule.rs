//! Capsules: access rights, and the memories they contain.
//!
//! Owns: capsules, access, memories. Does not own: the bytes (blobs do) and uploads in flight.
//!
//! ```text
//! id 0    text -> CapsuleRecord          capsules
//! id 18   text -> MemoryRecord           memories, by the text that identifies them
//! id 19   (text, text) -> ()             (capsule, memory): the memories of a capsule in order of id
//! id 21   u64                            the last capsule number that was issued
//! id 29   (principal, text) -> ()        (member, capsule)
//! id 33   [u8; 32] -> text               idempotency key of `memories_create` to memory
//! id 32   text -> ()                     deleted capsules whose memories are still to be removed
//! id 44   principal -> u64               number of capsules that a caller created and that still exist
//! ```
//! A capsule's record does not grow with its memories: committing an upload costs the same in a capsule of
//! ten memories and in one of a hundred thousand.

mod error;
mod member_keys;
mod page;
mod record;
mod store;
mod table;

pub use error::CapsuleError;
pub use record::{Access, CapsuleRecord, Content, MemoryRecord, Request};
pub use store::CapsuleStore;

/// Maximum number of principals in one access list; each adds up to 29 bytes to every read of the capsule.
pub const MAX_LIST: usize = 1_000;

/// Maximum length of a subject that is not a principal, bytes.
pub const MAX_SUBJECT_BYTES: usize = 256;

#[cfg(test)]
mod tests;
