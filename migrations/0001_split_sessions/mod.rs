//! Migration 1: an in-flight `UploadSessionMeta` becomes a `Session` and an `UploadMeta`.
//!
//! `README.md` in this folder lists the place in layout 2 of every field of layout 1. [`convert`] destructures the
//! record: a field added to the frozen type fails to compile until it is mapped.

mod asset;
mod bulk;
mod class;
mod convert;
mod examine;
mod left;
mod legacy;
mod migration;
mod wire;
mod write;

pub use class::{CLASSES, Class, TimeUnit};
pub use convert::{Split, Unconvertible, convert, revert};
pub use examine::{Decision, Examined, KeyClaim, Surroundings, examine};
pub use legacy::{DecodeError, LegacyStatus, LegacyUploadSession};
pub use migration::SplitSessions;

#[cfg(test)]
pub mod tests;
