//! Migration 2: payload moves from the chunk map into contiguous extents.
//!
//! A unit is whatever has its bytes in the chunk map under a number: a session in flight, or else a committed
//! blob. It is copied chunk by chunk, in as many messages as that takes, while clients read it, put more
//! chunks and finish it; the old copy goes once the new one has been read back. The treatment of each class
//! is in the `README.md` beside this file.

mod blob;
mod class;
mod migration;
mod session;

use crate::api::{Error, Result};
use crate::blob::Extents;
use crate::session::SessionError;
use crate::storage::Storage;

pub use class::CLASSES;
pub use migration::{MoveToExtents, extents_of};

/// What a message has done to the bytes of a unit.
enum Moved {
    /// Some are copied; the message has no budget for more.
    Partly,
    /// All are copied.
    Wholly,
    /// They cannot be read as they should be; the reason.
    Damaged(String),
}

/// Copies one chunk to its place, reads it back and compares.
fn copy(storage: &mut Storage, at: u64, bytes: &[u8], extents: &Extents) -> Result<()> {
    let region = storage.blobs.extents_mut();
    region.write_at(extents, at, bytes).map_err(SessionError::from)?;
    if region.holds_at(extents, at, bytes).map_err(SessionError::from)? {
        Ok(())
    } else {
        Err(Error::Internal(format!("{} bytes were copied to offset {at} and read otherwise", bytes.len())))
    }
}

/// Passes on the outcome of a unit, and frees its extents if they neither hold its bytes nor will.
fn unless_given_up(storage: &mut Storage, extents: &Extents, moved: Result<Moved>) -> Result<Moved> {
    if !matches!(moved, Ok(Moved::Partly | Moved::Wholly)) {
        storage.blobs.extents_mut().free(extents)?;
    }
    moved
}

#[cfg(test)]
mod tests;
