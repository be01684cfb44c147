//! Blobs: the bytes of uploads, where they lie, and who refers to them.
//!
//! Owns: payload, blob records, references. Does not own: read access (capsules do), and which chunks a
//! session still waits for (the session does). Boundary: knows no session service and no capsule.

mod chunk_map;
pub mod extents;
mod record;
mod sink;
mod store;

pub use chunk_map::{ChunkPrefix, RELEASE_AT_ONCE};
pub use extents::{AllocateError, Extents};
pub use record::{BlobId, BlobRecord, ContentDigest, MappedBlob, Place};
pub use sink::StableBlobSink;
pub use store::{BlobError, BlobStore, CHUNK_SIZE, Committed, content_key};

#[cfg(test)]
mod tests;
