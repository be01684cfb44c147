//! Uploads: files that arrive in chunks, are verified, and become memories of a capsule.
//!
//! Owns: the upload contract (access, idempotency, limits, answers to repeated calls), hashing, receipts, and
//! the split of a session's data into [`crate::session::Session`] and [`UploadMeta`]. Does not own: the rules
//! for chunks (see [`crate::session`]) and the bytes (see [`crate::blob`]).
//!
//! [`path`] decides which layer stores a session. Apart from tests, no other module here depends on the cargo features.

mod asset_metadata;
mod begin;
mod canary;
mod canary_verdict;
mod chunk_digests;
mod chunk_hashing;
mod counted;
mod counts;
mod error;
mod event;
mod evict;
mod finish;
mod hashing;
mod idempotency;
mod in_flight;
mod index;
mod legacy_sessions;
pub mod limits;
pub mod mapped_sessions;
mod meta;
pub mod path;
mod payload;
mod promises;
mod receipt;
mod service;
mod tables;
mod teardown;
mod usage;
mod whole;

pub use asset_metadata::{check_metadata, check_text};
pub use counts::PathCounters;
pub use error::to_ranges;
pub use event::Event;
pub use idempotency::{IdemKey, id_of_new_memory};
pub use in_flight::Upload;
pub use index::SessionIndex;
pub use legacy_sessions::{Leftovers, LegacySession, LegacySessions, RawRecord};
pub use meta::UploadMeta;
pub use payload::PayloadState;
pub use promises::{PROMISES_PLACE, Promises};
pub use receipt::{Finished, Outcome, Receipt, Receipts};
pub use service::UploadService;
pub use tables::{DirectStore, SessionRecord, SessionTables};
pub use teardown::{
    Ended, forget_session, free_with_subtrees, is_payload_of_blob, leave_receipt, release_payload,
};
pub use usage::Usage;

#[cfg(all(test, feature = "compat", feature = "direct"))]
mod proptests;
#[cfg(test)]
pub(crate) mod tests;
