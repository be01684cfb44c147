//! The transcript of a recording: calls in flight, entries to be written, and notes about what the trace omits.

use std::collections::BTreeSet;
use std::path::Path;

use candid::Principal;
use pocket_ic::common::rest::RawMessageId;

use super::writer_thread::WriterThread;
use crate::trace::queue::{Entry, Queue};
use crate::trace::{CallResult, Header, SentCall, TraceError};

#[derive(Default)]
pub(super) struct Transcript {
    /// Entries that are not written yet; the key of an unanswered call is its message id.
    queue: Queue<RawMessageId>,
    /// Present while the trace is being written.
    writer: Option<WriterThread>,
    /// The number of calls in the completed trace, or why there is no trace; `None` until the recording is complete.
    ended: Option<Result<u64, TraceError>>,
    notes: BTreeSet<String>,
}

impl Transcript {
    /// Begins the trace that will be at `path`.
    pub fn begin(&mut self, path: &Path, header: Header) {
        self.writer = Some(WriterThread::begin(path.to_path_buf(), header));
    }

    /// Returns whether a trace is being written: it was begun and is not complete.
    pub fn is_open(&self) -> bool {
        self.writer.is_some()
    }

    pub fn push_unanswered(&mut self, message: RawMessageId, call: SentCall) {
        self.queue.push_unanswered(message, call);
    }

    /// Adds an event, or a call that is answered already.
    pub fn push(&mut self, entry: Entry) {
        self.queue.push(entry);
    }

    pub fn answer(&mut self, message: &RawMessageId, answer: CallResult) {
        self.queue.answer(|sent| sent.message_id == message.message_id, answer);
    }

    /// Removes a call that the server did not accept after all.
    pub fn withdraw(&mut self, message: &RawMessageId) {
        self.queue.withdraw(|sent| sent.message_id == message.message_id);
    }

    /// Returns the calls that are not answered, each with its caller, in the order in which they were sent.
    pub fn unanswered(&self) -> Vec<(RawMessageId, Principal)> {
        self.queue.unanswered().map(|(message, caller)| (message.clone(), caller)).collect()
    }

    pub fn has_unanswered(&self) -> bool {
        self.queue.has_unanswered()
    }

    /// Notes what the trace does not contain.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.insert(note.into());
    }

    /// Writes the entries that no longer wait for an earlier call.
    pub fn write_complete_entries(&mut self) {
        while let Some(entry) = self.queue.pop_complete() {
            if let Some(writer) = &self.writer {
                writer.add(entry);
            }
        }
    }

    /// Completes the trace, without the calls that are not answered.
    pub fn complete(&mut self) {
        match self.queue.drop_unanswered() {
            0 => {}
            1 => self.note("1 call was never answered and is not in the trace"),
            calls => self.note(format!("{calls} calls were never answered and are not in the trace")),
        }
        self.write_complete_entries();
        if let Some(writer) = self.writer.take() {
            self.ended = Some(writer.finish());
        }
    }

    /// Returns the number of calls in the completed trace, and the notes; `None` if no trace was completed.
    pub fn outcome(self) -> Option<Result<(u64, BTreeSet<String>), TraceError>> {
        let ended = self.ended?;
        Some(ended.map(|calls| (calls, self.notes)))
    }
}
