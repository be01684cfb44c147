//! The migrations, one folder each, in the order in which they apply.
//!
//! A migration has its own frozen copy of the old types and imports nothing from the layer that it migrates
//! from, so that the layer can be deleted and the migration still works.

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
