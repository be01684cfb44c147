//! Writes a trace line by line.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use super::checksum::ChecksumChain;
use super::format::End;
use super::payload::{PayloadRef, payload_folder};
use super::{Event, Header, TraceError};
use crate::output::regular_file_at;
use crate::{folder_of, temporary, temporary_next_to};

/// Writes a trace to a temporary file. If the writer is dropped before [`Writer::finish`], no file is left.
#[derive(Debug)]
pub struct Writer {
    /// Future path of the trace, as the user has given it.
    path: PathBuf,
    /// The same; if it is a symbolic link, its target.
    target: PathBuf,
    file: BufWriter<NamedTempFile>,
    /// The folder of the payload files; created with the first of them.
    payloads: Option<TempDir>,
    checksums: ChecksumChain,
    /// Number of events so far.
    events: usize,
}

impl Writer {
    /// Checks that a trace can be written to `path`, before a long recording begins.
    pub fn check(path: &Path) -> Result<(), TraceError> {
        target_of(path)
            .and_then(|target| temporary_next_to(&target))
            .map(drop)
            .map_err(TraceError::io("create", path))
    }

    /// Begins a trace that will be at `path`.
    pub fn create(path: &Path, header: &Header) -> Result<Writer, TraceError> {
        let target = target_of(path).map_err(TraceError::io("create", path))?;
        let file = temporary_next_to(&target).map_err(TraceError::io("create", path))?;
        let mut writer = Writer {
            path: path.to_path_buf(),
            target,
            file: BufWriter::new(file),
            payloads: None,
            checksums: ChecksumChain::default(),
            events: 0,
        };
        writer.write_line(header)?;
        Ok(writer)
    }

    /// Returns the future path of the trace.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds an event.
    pub fn add_event(&mut self, event: &Event) -> Result<(), TraceError> {
        self.events += 1;
        self.write_line(event)
    }

    /// Stores bytes in a separate file, unless the same bytes are stored already.
    pub fn add_payload(&mut self, bytes: &[u8]) -> Result<PayloadRef, TraceError> {
        let reference = PayloadRef::of(bytes);
        let PayloadRef::Sha256 { digest, .. } = &reference else {
            return Ok(reference);
        };
        let folder = match &self.payloads {
            Some(folder) => folder,
            None => {
                let created = tempfile::Builder::new()
                    .prefix(".payload-")
                    .tempdir_in(folder_of(&self.target))
                    .map_err(TraceError::io("create", &payload_folder(&self.path)))?;
                temporary::register(created.path());
                self.payloads.insert(created)
            }
        };
        let file = folder.path().join(hex::encode(digest));
        if !file.exists() {
            std::fs::write(&file, bytes).map_err(TraceError::io("write", &file))?;
        }
        Ok(reference)
    }

    /// Writes the end line and gives the trace its name.
    ///
    /// # Errors
    /// If the trace cannot be written; no trace is left then. Payload files may be left if their folder
    /// existed before.
    pub fn finish(mut self) -> Result<PathBuf, TraceError> {
        self.write_line(&End { end: self.events })?;
        let (path, folder) = (self.path.clone(), payload_folder(&self.path));
        let creates_folder = self.payloads.is_some() && !folder.exists();
        let moved = self.move_into_place(&folder);
        if moved.is_err() && creates_folder {
            // If this fails, too, payload files are left without a trace.
            let _ = std::fs::remove_dir_all(&folder);
        }
        moved.map(|()| path)
    }

    /// Moves first the payload files and then the trace to their final names, so that a trace never exists without its
    /// payload.
    fn move_into_place(self, folder: &Path) -> Result<(), TraceError> {
        let path = self.path;
        if let Some(from) = self.payloads {
            std::fs::create_dir_all(folder).map_err(TraceError::io("create", folder))?;
            for entry in std::fs::read_dir(from.path()).map_err(TraceError::io("read", from.path()))? {
                let entry = entry.map_err(TraceError::io("read", from.path()))?;
                let to = folder.join(entry.file_name());
                std::fs::rename(entry.path(), &to).map_err(TraceError::io("write", &to))?;
            }
        }
        let file =
            self.file.into_inner().map_err(|error| TraceError::io("write", &path)(error.into_error()))?;
        file.persist(&self.target).map_err(|error| TraceError::io("write", &path)(error.error))?;
        Ok(())
    }

    fn write_line(&mut self, object: &impl serde::Serialize) -> Result<(), TraceError> {
        let write_error = TraceError::io("write", &self.path);
        let mut write = || {
            let object = serde_json::to_string(object)?;
            writeln!(self.file, "{}", self.checksums.seal(&object))
        };
        write().map_err(write_error)
    }
}

/// Returns the path at which the trace for `path` is created or replaced. A pipe or a device is an error, since a trace
/// also has a folder next to it, and is read back.
fn target_of(path: &Path) -> std::io::Result<PathBuf> {
    regular_file_at(path)?.ok_or_else(|| {
        std::io::Error::other(
            "it is not a regular file, and a trace consists of a file and the folder of its payload",
        )
    })
}
