//! Blobs: the bytes of uploads, where they are stored, and which memories refer to them.
//!
//! Owns: payload, blob records, references. Does not own: read access (capsules do), and which chunks a session is
//! still missing (the session does). Boundary: depends neither on the session service nor on capsules.

mod chunk_key;
mod chunk_map;
mod error;
pub mod extents;
mod id;
mod record;
mod sink;
mod store;

pub use chunk_key::ChunkPrefix;
pub use chunk_map::RELEASE_AT_ONCE;
pub use error::BlobError;
pub use extents::{AllocateError, Extents};
pub use id::BlobId;
pub use record::{BlobRecord, ContentDigest, Place, Sha256Blob, cache_candid_header_of_sha256_blobs};
pub use sink::StableBlobSink;
pub use store::{BlobStore, Destination, content_key};

/// Length of every chunk but the last, bytes: as in the first public release, and below the IC's 2 MiB per message.
pub const CHUNK_SIZE: u32 = 1_800_000;

#[cfg(test)]
mod tests;
