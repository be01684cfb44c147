//! Traces: files of client calls and their answers, which replay on any build.
//!
//! A trace is JSON lines: a header, one line for each event in chronological order, and an end line.
//! Arguments and replies are Candid text. Bytes are referenced: a blob by the seed it was generated from, or
//! by its SHA-256 with the bytes in a file of that name next to the trace. Ids are symbolic (`@session:1`:
//! the first session that any reply showed), so that a trace means the same on a canister that issues others.
//!
//! Owns: the format, its codec between bytes and text, reading, writing, recording. Does not own: replaying a
//! trace ([`crate::replay`]). Boundary: a trace is read and checked completely before anything is done with
//! it, and appears under its final name when it is complete.

mod checksum;
mod codec;
mod error;
mod format;
mod ids;
mod interface;
mod payload;
pub(crate) mod queue;
mod reader;
mod recorder;
mod tape;
mod value;
mod writer;

pub use codec::{Codec, CodecError};
pub use error::TraceError;
pub use format::{Arguments, CallKind, Event, EventKind, Header, TracedAnswer, TracedCall, VERSION};
pub use ids::Ids;
pub use interface::Interface;
pub use payload::{PayloadRef, Seeds, seeded};
pub use queue::{CallResult, SentCall};
pub use reader::Trace;
pub use recorder::Recorder;
pub use tape::{Tape, Ticket};
pub use writer::Writer;
