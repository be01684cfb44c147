//! Recording of a client: calls are added as they are sent, and are written once they are answered.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::PathBuf;

use candid::Principal;
use pocket_ic::RejectResponse;

use super::{CallKind, EventKind, Exchange, Recorder, TraceError};

/// A recorder for clients that have several calls in flight. Single-threaded; shared by reference.
#[derive(Debug)]
pub struct Tape(RefCell<Inner>);

#[derive(Debug)]
struct Inner {
    recorder: Recorder,
    /// Calls in the order in which they were sent; the first of them is not answered yet.
    pending: VecDeque<Pending>,
    /// Tickets of calls that are no longer pending.
    written: u64,
    /// The first error; a client cannot handle it while it runs.
    failed: Option<TraceError>,
}

#[derive(Debug)]
struct Pending {
    at: u64,
    kind: CallKind,
    caller: Principal,
    method: String,
    arg: Vec<u8>,
    together: bool,
    answer: Option<Result<Vec<u8>, RejectResponse>>,
}

/// Identifies a call in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

impl Tape {
    /// Makes a tape that records with this recorder.
    pub fn new(recorder: Recorder) -> Tape {
        Tape(RefCell::new(Inner { recorder, pending: VecDeque::new(), written: 0, failed: None }))
    }

    /// Adds a call sent at this time of the canister, nanoseconds since 1970.
    pub fn sent(&self, at: u64, kind: CallKind, caller: Principal, method: &str, arg: &[u8]) -> Ticket {
        let mut inner = self.0.borrow_mut();
        let together = inner.pending.iter().any(|call| call.answer.is_none());
        let ticket = Ticket(inner.written + inner.pending.len() as u64);
        inner.pending.push_back(Pending {
            at,
            kind,
            caller,
            method: method.to_owned(),
            arg: arg.to_vec(),
            together,
            answer: None,
        });
        ticket
    }

    /// Adds its answer. A ticket that was already answered is ignored.
    pub fn answered(&self, ticket: Ticket, answer: &Result<Vec<u8>, RejectResponse>) {
        let mut inner = self.0.borrow_mut();
        let index = ticket.0.checked_sub(inner.written).and_then(|index| usize::try_from(index).ok());
        if let Some(call) = index.and_then(|index| inner.pending.get_mut(index)) {
            call.answer.get_or_insert_with(|| answer.clone());
        }
        inner.write_answered();
    }

    /// Adds another event at this time, nanoseconds since 1970.
    pub fn add_event(&self, at: u64, what: EventKind) {
        let inner = &mut *self.0.borrow_mut();
        let written = inner.recorder.add_event(at, what);
        inner.note(written);
    }

    /// Generates bytes of a seeded file, which are written as such when they are sent.
    pub fn make(&self, seed: u64, offset: u64, length: usize) -> Vec<u8> {
        self.0.borrow_mut().recorder.seeds.make(seed, offset, length)
    }

    /// Completes the trace. Calls that were never answered are not in it.
    ///
    /// # Errors
    /// The first error since the beginning; no file is left then.
    pub fn finish(self) -> Result<PathBuf, TraceError> {
        let inner = self.0.into_inner();
        match inner.failed {
            Some(error) => Err(error),
            None => inner.recorder.finish(),
        }
    }
}

impl Inner {
    fn write_answered(&mut self) {
        while let Some(call) = self.pending.pop_front_if(|call| call.answer.is_some()) {
            self.written += 1;
            let Some(answer) = &call.answer else { continue };
            let exchange = Exchange {
                at: call.at,
                kind: call.kind,
                caller: call.caller,
                method: &call.method,
                arg: &call.arg,
                together: call.together,
                answer: answer.as_deref(),
            };
            let written = self.recorder.exchange(&exchange).map(drop);
            self.note(written);
        }
    }

    fn note(&mut self, written: Result<(), TraceError>) {
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
    }
}
