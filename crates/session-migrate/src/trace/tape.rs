//! Records calls of clients that have several calls in flight: a call is added when it is sent, and written once it is
//! answered.

use std::cell::RefCell;
use std::path::PathBuf;

use candid::Principal;

use super::queue::{CallResult, Entry, Queue, SentCall};
use super::{CallKind, EventKind, Recorder, TraceError};

/// A [`Recorder`] for clients that have several calls in flight. Shared by reference within a thread.
#[derive(Debug)]
pub struct Tape(RefCell<Inner>);

#[derive(Debug)]
struct Inner {
    recorder: Recorder,
    queue: Queue<TapeTicket>,
    /// Number of calls so far, and of the next ticket.
    calls: u64,
    /// The first error of the recorder. Clients cannot handle it, so [`Tape::finish`] returns it.
    first_error: Option<TraceError>,
}

/// Identifies a call in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapeTicket(u64);

impl Tape {
    /// Creates a tape that records with this recorder.
    pub fn new(recorder: Recorder) -> Tape {
        Tape(RefCell::new(Inner { recorder, queue: Queue::default(), calls: 0, first_error: None }))
    }

    /// Adds a call that was sent at the canister's time `at`, nanoseconds since 1970.
    pub fn sent(&self, at: u64, kind: CallKind, caller: Principal, method: &str, arg: &[u8]) -> TapeTicket {
        let inner = &mut *self.0.borrow_mut();
        let ticket = TapeTicket(inner.calls);
        inner.calls += 1;
        let together = inner.queue.has_unanswered();
        let call = SentCall { at, kind, caller, method: method.to_owned(), arg: arg.to_vec(), together };
        inner.queue.push_unanswered(ticket, call);
        ticket
    }

    /// Adds the answer to a call. The answer to a call that was already answered is ignored.
    pub fn answered(&self, ticket: TapeTicket, answer: &CallResult) {
        let mut inner = self.0.borrow_mut();
        inner.queue.answer(|sent| *sent == ticket, answer.clone());
        inner.write_complete_entries();
    }

    /// Adds an event at the time `at`, nanoseconds since 1970.
    pub fn add_event(&self, at: u64, what: EventKind) {
        let mut inner = self.0.borrow_mut();
        inner.queue.push(Entry::Event { at, what });
        inner.write_complete_entries();
    }

    /// Generates bytes of a seeded file. In calls that send these bytes, the trace refers to their seed.
    pub fn generate(&self, seed: u64, offset: u64, length: usize) -> Vec<u8> {
        self.0.borrow_mut().recorder.seeds.generate(seed, offset, length)
    }

    /// Completes the trace, without the calls that were never answered.
    ///
    /// # Errors
    /// The first error since the beginning; no trace is left then. Payload files may be left if their folder
    /// existed before.
    pub fn finish(self) -> Result<PathBuf, TraceError> {
        let mut inner = self.0.into_inner();
        inner.queue.drop_unanswered();
        inner.write_complete_entries();
        match inner.first_error {
            Some(error) => Err(error),
            None => inner.recorder.finish(),
        }
    }
}

impl Inner {
    fn write_complete_entries(&mut self) {
        while let Some(entry) = self.queue.pop_complete() {
            if let Err(error) = self.recorder.add_entry(entry) {
                self.first_error.get_or_insert(error);
            }
        }
    }
}
