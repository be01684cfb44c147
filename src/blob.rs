//! Blobs: the bytes of uploads, where they are stored, and which memories refer to them.
//!
//! Owns: payload, blob records, references. Does not own: read access (capsules do), and which chunks a
//! session is still missing (the session does). Boundary: depends neither on the session service nor on
//! capsules.

mod chunk_map;
mod error;
pub mod extents;
mod record;
mod sink;
mod store;

pub use chunk_map::{ChunkPrefix, RELEASE_AT_ONCE};
pub use error::BlobError;
pub use extents::{AllocateError, Extents};
pub use record::{BlobId, BlobRecord, ContentDigest, MappedBlob, Place, cache_mapped_header};
pub use sink::StableBlobSink;
pub use store::{BlobStore, CHUNK_SIZE, Committed, content_key};

#[cfg(test)]
mod tests;
