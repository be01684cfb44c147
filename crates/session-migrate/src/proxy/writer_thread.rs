//! Writes the trace on a separate thread: the recorder stays on the thread that created it, and no client
//! waits for it.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use pocket_ic::common::rest::RawCanisterResult;

use super::queue::{Answered, ForwardedCall, Item};
use crate::trace::{Exchange, Header, Recorder, TraceError};

/// A trace that is being written.
pub(super) struct WriterThread {
    items: Sender<Item>,
    thread: JoinHandle<Result<u64, TraceError>>,
}

impl WriterThread {
    /// Begins a trace that will be at `path`. Errors are returned by [`WriterThread::finish`].
    pub fn begin(path: PathBuf, header: Header) -> WriterThread {
        let (items, received) = channel();
        WriterThread { items, thread: std::thread::spawn(move || write(&path, &header, &received)) }
    }

    /// Adds an item.
    pub fn take(&self, item: Item) {
        // The thread ends early only with an error, which is returned at the end.
        let _ = self.items.send(item);
    }

    /// Completes the trace; returns the number of calls in it.
    ///
    /// # Errors
    /// If it could not be written; no file is left then.
    pub fn finish(self) -> Result<u64, TraceError> {
        drop(self.items);
        match self.thread.join() {
            Ok(written) => written,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn write(path: &std::path::Path, header: &Header, items: &Receiver<Item>) -> Result<u64, TraceError> {
    let mut recorder = Recorder::create(path, header)?;
    let mut calls = 0;
    for item in items {
        match item {
            Item::EventKind { at, what } => recorder.add_event(at, what)?,
            Item::Call(sent) => {
                calls += 1;
                call(&mut recorder, &sent)?;
            }
        }
    }
    recorder.finish()?;
    Ok(calls)
}

fn call(recorder: &mut Recorder, sent: &ForwardedCall) -> Result<(), TraceError> {
    let Answered::With(result) = &sent.answer else { return Ok(()) };
    let answer = match result {
        RawCanisterResult::Ok(reply) => Ok(reply.as_slice()),
        RawCanisterResult::Err(rejection) => Err(rejection),
    };
    let exchange = Exchange {
        at: sent.at,
        kind: sent.kind,
        caller: sent.caller,
        method: &sent.method,
        arg: &sent.arg,
        together: sent.together,
        answer,
    };
    recorder.exchange(&exchange).map(drop)
}
