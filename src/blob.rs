//! Blobs: the bytes of uploads, in chunks, and who refers to them.
//!
//! Owns: chunks, blob records, references. Does not own: who may read (the capsules do), and which chunks
//! a session still waits for (the session does). Boundary: knows no session service and no capsule.

mod record;
mod sink;
mod store;

pub use record::{BlobId, BlobRecord};
pub use sink::StableBlobSink;
pub use store::{BlobError, BlobStore, CHUNK_SIZE, ChunkPrefix, Committed};

#[cfg(test)]
mod tests;
