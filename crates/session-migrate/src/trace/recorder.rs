//! Records answered calls and other events as lines of a trace.

use std::path::{Path, PathBuf};

use super::queue::{CallResult, Entry, SentCall};
use super::{Codec, Event, EventKind, Header, Seeds, TraceError, TracedCall, Writer};

/// Records one canister. Calls are added in the order in which they were sent, once they are answered.
#[derive(Debug)]
pub struct Recorder {
    writer: Writer,
    codec: Codec,
    /// Seeds of generated payload, which the trace contains instead of the bytes.
    pub seeds: Seeds,
    /// Time of the last event, relative to the beginning of the trace.
    last_at: u64,
}

impl Recorder {
    /// Begins a trace that will be at `path`.
    pub fn create(path: &Path, header: &Header) -> Result<Recorder, TraceError> {
        Ok(Recorder {
            writer: Writer::create(path, header)?,
            codec: Codec::new(header.start)?,
            seeds: Seeds::default(),
            last_at: 0,
        })
    }

    /// Adds a call with its answer.
    pub fn add_call(&mut self, call: &SentCall, answer: &CallResult) -> Result<(), TraceError> {
        let (arguments, payloads) = self.codec.arguments(&call.method, &call.arg, &self.seeds);
        for payload in payloads {
            self.writer.add_payload(&payload)?;
        }
        let traced = TracedCall {
            kind: call.kind,
            caller: call.caller,
            method: call.method.clone(),
            arguments,
            together: call.together,
            answer: self.codec.answer(&call.method, answer.as_deref()),
        };
        self.add_event(call.at, EventKind::Call(traced))
    }

    /// Adds a complete entry of a queue.
    pub(crate) fn add_entry(&mut self, entry: Entry) -> Result<(), TraceError> {
        match entry {
            Entry::Call(call, answer) => self.add_call(&call, &answer),
            Entry::Event { at, what } => self.add_event(at, what),
        }
    }

    /// Adds an event at the time `at`, nanoseconds since 1970.
    pub fn add_event(&mut self, at: u64, what: EventKind) -> Result<(), TraceError> {
        if what == EventKind::ClockRuns {
            self.codec.clock_runs();
        }
        // Times in a trace never decrease, even if entries are not added in the order of their times.
        self.last_at = self.last_at.max(at.saturating_sub(self.codec.start()));
        self.writer.add_event(&Event { at: self.last_at, what })
    }

    /// Completes the trace; returns its path.
    ///
    /// # Errors
    /// If the trace cannot be written; no trace is left then. Payload files may be left if their folder
    /// existed before.
    pub fn finish(self) -> Result<PathBuf, TraceError> {
        self.writer.finish()
    }
}
