//! The file next to the adopted folder. It has a line for every capsule, memory and session, whether taken or not, and
//! a line for any other data that was not taken (an asset that was not taken is in the record of its memory).
//!
//! The lines are JSON. Each has `kind`, `id` and `why` (which says whether a capsule or memory was taken; for a
//! session, see the report), and the following fields if they apply:
//! - `capsule`: the capsule that contains the record;
//! - `record`: the record in the text form of Candid. A capsule's record omits its memories and galleries. A memory's
//!   record omits its inline assets if all its assets were taken. A session's is a tuple of selected fields;
//! - `bytes`: in base64, the bytes of a chunk, or of a record that does not decode;
//! - `session`, `index`: the number of the session to which a chunk belongs, if known, and the number of the chunk.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use candid::{CandidType, IDLValue};
use serde::Serialize;

use super::RecordKind;
use crate::snapshot::SnapshotError;

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Line<'a> {
    /// `None` only in the default value.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<RecordKind>,
    id: &'a str,
    why: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    capsule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
}

impl<'a> Line<'a> {
    pub fn new(kind: RecordKind, id: &'a str, why: &'a str) -> Self {
        Line { kind: Some(kind), id, why, ..Line::default() }
    }

    pub fn in_capsule(self, capsule: &'a str) -> Self {
        Line { capsule: Some(capsule), ..self }
    }

    /// Adds `record` in the text form of Candid. If it cannot be encoded, the error takes its place.
    pub fn with_record(self, record: &impl CandidType) -> Self {
        let text = IDLValue::try_from_candid_type(record).map(|value| value.to_string());
        Line { record: Some(text.unwrap_or_else(|error| error.to_string())), ..self }
    }

    pub fn with_bytes(self, bytes: &[u8]) -> Self {
        Line { bytes: Some(STANDARD.encode(bytes)), ..self }
    }

    pub fn of_chunk(self, session: Option<u64>, index: u32) -> Self {
        Line { session, index: Some(index), ..self }
    }
}

pub(super) struct LeftFile {
    path: PathBuf,
    file: BufWriter<File>,
    pub lines: u64,
}

impl LeftFile {
    pub fn create(path: &Path) -> Result<LeftFile, SnapshotError> {
        let file = File::create_new(path).map_err(SnapshotError::io("create", path))?;
        Ok(LeftFile { path: path.to_path_buf(), file: BufWriter::new(file), lines: 0 })
    }

    pub fn write(&mut self, line: &Line<'_>) -> Result<(), SnapshotError> {
        self.lines += 1;
        serde_json::to_writer(&mut self.file, line)
            .map_err(std::io::Error::from)
            .and_then(|()| self.file.write_all(b"\n"))
            .map_err(SnapshotError::io("write", &self.path))
    }

    /// Flushes the file to the disk, and returns its number of lines.
    pub fn finish(mut self) -> Result<u64, SnapshotError> {
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_data())
            .map_err(SnapshotError::io("write", &self.path))?;
        Ok(self.lines)
    }
}
