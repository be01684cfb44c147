//! Writes the trace on a separate thread: the recorder stays on the thread that created it, and no client
//! waits for it.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::trace::queue::Entry;
use crate::trace::{Header, Recorder, TraceError};

/// A trace that is being written.
pub(super) struct WriterThread {
    entries: Sender<Entry>,
    thread: JoinHandle<Result<u64, TraceError>>,
}

impl WriterThread {
    /// Begins a trace that will be at `path`. Errors are returned by [`WriterThread::finish`].
    pub fn begin(path: PathBuf, header: Header) -> WriterThread {
        let (entries, received) = channel();
        WriterThread { entries, thread: std::thread::spawn(move || write(&path, &header, &received)) }
    }

    pub fn take(&self, entry: Entry) {
        // The thread ends early only with an error, which is returned at the end.
        let _ = self.entries.send(entry);
    }

    /// Completes the trace; returns the number of calls in it.
    ///
    /// # Errors
    /// If the trace could not be written; no trace is left then, but its payload files may be.
    pub fn finish(self) -> Result<u64, TraceError> {
        drop(self.entries);
        match self.thread.join() {
            Ok(written) => written,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn write(path: &std::path::Path, header: &Header, entries: &Receiver<Entry>) -> Result<u64, TraceError> {
    let mut recorder = Recorder::create(path, header)?;
    let mut calls = 0;
    for entry in entries {
        calls += u64::from(matches!(entry, Entry::Call(..)));
        recorder.entry(entry)?;
    }
    recorder.finish()?;
    Ok(calls)
}
