//! Records exchanges with a canister as lines of a trace.

use std::path::{Path, PathBuf};

use candid::Principal;
use pocket_ic::RejectResponse;

use super::{CallKind, Codec, Event, EventKind, Header, Seeds, TraceError, TracedAnswer, TracedCall, Writer};

/// A call and its answer, as they went over the wire.
#[derive(Clone, Debug)]
pub struct Exchange<'a> {
    /// The canister's time when the call was sent, nanoseconds since 1970.
    pub at: u64,
    /// Update or query.
    pub kind: CallKind,
    /// The caller.
    pub caller: Principal,
    /// The canister's method.
    pub method: &'a str,
    /// The encoded arguments.
    pub arg: &'a [u8],
    /// Sent before the previous exchange was answered.
    pub together: bool,
    /// The encoded reply, or the rejection.
    pub answer: Result<&'a [u8], &'a RejectResponse>,
}

/// Records one canister. Exchanges are added in the order in which the calls were sent, once they are
/// answered.
#[derive(Debug)]
pub struct Recorder {
    writer: Writer,
    codec: Codec,
    /// Seeds of generated payload, so that it is written as such.
    pub seeds: Seeds,
    last: u64,
}

impl Recorder {
    /// Begins a trace that will be at `path`.
    pub fn create(path: &Path, header: &Header) -> Result<Recorder, TraceError> {
        Ok(Recorder {
            writer: Writer::create(path, header)?,
            codec: Codec::new(header.start)?,
            seeds: Seeds::default(),
            last: 0,
        })
    }

    /// Adds an exchange and returns its answer, as the trace shows it.
    pub fn exchange(&mut self, exchange: &Exchange<'_>) -> Result<TracedAnswer, TraceError> {
        let (arguments, keep) = self.codec.arguments(exchange.method, exchange.arg, &self.seeds);
        for payload in keep {
            self.writer.payload(&payload)?;
        }
        let answer = self.codec.answer(exchange.method, exchange.answer);
        let call = TracedCall {
            kind: exchange.kind,
            caller: exchange.caller,
            method: exchange.method.into(),
            arguments,
            together: exchange.together,
            answer: answer.clone(),
        };
        self.add_event(exchange.at, EventKind::Call(call))?;
        Ok(answer)
    }

    /// Adds any other event at this time, nanoseconds since 1970.
    pub fn add_event(&mut self, at: u64, what: EventKind) -> Result<(), TraceError> {
        // Calls in flight together are written when they are answered; time does not run backwards for them.
        if what == EventKind::ClockRuns {
            self.codec.clock_runs();
        }
        self.last = self.last.max(at.saturating_sub(self.codec.start()));
        self.writer.event(&Event { at: self.last, what })
    }

    /// Completes the trace; returns its path.
    ///
    /// # Errors
    /// If it cannot be written; no file is left then.
    pub fn finish(self) -> Result<PathBuf, TraceError> {
        self.writer.finish()
    }
}
