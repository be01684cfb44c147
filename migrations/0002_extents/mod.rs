//! Migration 2: payload moves from the chunk map into contiguous extents.
//!
//! A unit is either a session in flight whose chunks are, or will be, in the chunk map, or a committed blob whose
//! chunks are there. The key of a unit is the id of the session or blob. A unit is copied chunk by chunk, in as many
//! messages as necessary, while clients read the blob, or put more chunks and finish the session. The old copy is
//! released once the new one has been read back, and usually removed only when everything has moved. `README.md` in
//! this folder has the treatment of each class.

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

/// Result of copying chunks of a unit in a message.
enum Moved {
    /// Some chunks were copied; the message has no budget for more.
    Partly,
    /// All chunks were copied.
    Wholly,
    /// A chunk is missing or too short, or in a session too long; the reason. (Wrong bytes of the right length are
    /// copied as they are.)
    Damaged(String),
}

/// Copies one chunk to its new location, reads it back and compares.
fn copy_and_compare(storage: &mut Storage, at: u64, bytes: &[u8], extents: &Extents) -> Result<()> {
    let region = storage.blobs.extents_mut();
    region.write_at(extents, at, bytes).map_err(SessionError::from)?;
    if region.holds_at(extents, at, bytes).map_err(SessionError::from)? {
        Ok(())
    } else {
        Err(Error::Internal(format!("{} bytes copied to offset {at} read back differently", bytes.len())))
    }
}

/// Frees the new extents if the unit stays in the chunk map after all: it is damaged, or copying returned an error.
fn free_extents_if_abandoned(storage: &mut Storage, extents: &Extents, moved: &Result<Moved>) -> Result<()> {
    match moved {
        Ok(Moved::Partly | Moved::Wholly) => Ok(()),
        Ok(Moved::Damaged(_)) | Err(_) => Ok(storage.blobs.extents_mut().free(extents)?),
    }
}

#[cfg(test)]
mod tests;
