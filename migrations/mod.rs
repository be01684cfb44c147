//! The migrations, one folder each, and the frozen records of the first public release.
//!
//! Migration 1 has its own copy of the record type of layout 1. For the other records of the layouts, both migrations
//! use the types of the canister; a release that changes such a type must leave the migration a copy of the old type.

#[path = "0001_split_sessions/mod.rs"]
pub mod split_sessions;

#[path = "0002_extents/mod.rs"]
pub mod extents;

#[path = "public_release/mod.rs"]
pub mod public_release;

pub use extents::MoveToExtents;
pub use split_sessions::SplitSessions;

use crate::build_profile::LAYOUTS;
use crate::migrate::Migration;
use crate::storage::Storage;

/// All migrations, in the order of their numbers.
pub const ALL: &[&dyn Migration<Storage>] = &[&SplitSessions, &MoveToExtents { layouts: LAYOUTS }];
