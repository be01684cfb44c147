//! Traces: files of client calls and their answers, which can be replayed on any build.
//!
//! A trace is JSON lines: a header, a line for each event in chronological order, and an end line. Arguments and
//! replies are Candid text. A long blob is replaced by a reference: to the seed from which it was generated, or to its
//! SHA-256, which is the name of a file in a folder next to the trace. An id is replaced by a name (`@session:1`: the
//! first session in any reply), so that a trace has the same meaning on a canister that issues other ids.
//!
//! A trace is read and checked completely before it is used. A new trace appears under its final name only when it is
//! complete.

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
pub use tape::{Tape, TapeTicket};
pub use writer::Writer;
