//! Writes the trace on a separate thread: the recorder must stay on the thread that created it, and clients should not
//! wait for the writing.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::trace::queue::Entry;
use crate::trace::{Header, Recorder, TraceError};

/// A trace that is being written. If it is dropped before [`WriterThread::finish`], no trace is left.
pub(super) struct WriterThread {
    /// Sending `None` completes the trace.
    entries: Sender<Option<Entry>>,
    thread: JoinHandle<Result<u64, TraceError>>,
}

impl WriterThread {
    /// Begins a trace that will be at `path`. Errors are returned by [`WriterThread::finish`].
    pub fn begin(path: PathBuf, header: Header) -> WriterThread {
        let (entries, received) = channel();
        WriterThread { entries, thread: std::thread::spawn(move || write_trace(&path, &header, &received)) }
    }

    pub fn add(&self, entry: Entry) {
        // Sending fails only if the thread has ended with an error, which `finish` returns.
        let _ = self.entries.send(Some(entry));
    }

    /// Completes the trace; returns the number of calls in it.
    ///
    /// # Errors
    /// If the trace could not be written; no trace is left then. Payload files may be left if their folder
    /// existed before.
    pub fn finish(self) -> Result<u64, TraceError> {
        let _ = self.entries.send(None);
        match self.thread.join() {
            Ok(written) => written,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn write_trace(
    path: &std::path::Path,
    header: &Header,
    entries: &Receiver<Option<Entry>>,
) -> Result<u64, TraceError> {
    let mut recorder = Recorder::create(path, header)?;
    let mut calls = 0;
    for entry in entries {
        let Some(entry) = entry else {
            recorder.finish()?;
            return Ok(calls);
        };
        calls += u64::from(matches!(entry, Entry::Call(..)));
        recorder.add_entry(entry)?;
    }
    // The `WriterThread` was dropped before `finish`. Dropping the recorder discards the trace.
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::EventKind;

    #[test]
    fn only_a_finished_trace_appears() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.trace");
        let begin_trace = || {
            let writer = WriterThread::begin(path.clone(), Header::new(1000, "legacy", "a test", vec![]));
            writer.add(Entry::Event { at: 2000, what: EventKind::Stop });
            writer
        };
        let WriterThread { entries, thread } = begin_trace();
        drop(entries);
        thread.join().unwrap().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a dropped trace leaves no file");
        // The only entry is an event, not a call.
        assert_eq!(begin_trace().finish().unwrap(), 0);
        assert!(path.exists());
    }
}
