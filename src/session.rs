//! The generic session layer: numbered chunks of an object of known size arrive in any order, and a session
//! knows which have arrived.
//!
//! Owns: sessions, their rules, and which chunks have arrived. Does not own: where the bytes come from ([`ByteSource`])
//! and go ([`ByteSink`]), where sessions are stored ([`SessionStore`]), the time ([`Clock`]), and access control.
//! Boundary: depends only on the standard library, and knows nothing about the IC, uploads, assets or hashes.

mod chunk_set;
mod chunking;
mod clock;
mod error;
mod id;
mod service;
mod sink;
mod source;
mod store;
mod types;

pub use chunk_set::ChunkSet;
pub use chunking::Chunking;
pub use clock::{Clock, Time};
pub use error::{SessionError, StoreError};
pub use id::SessionId;
pub use service::{NewChunk, PutOutcome, SessionService};
pub use sink::{ByteSink, SinkError};
pub use source::{ByteSource, TakeBlock};
pub use store::{HeapStore, SessionStore};
pub use types::{Session, SessionMeta, SessionSpec, SessionStatus};

#[cfg(test)]
mod tests;
