//! Reads a trace, with every line and every payload file checked.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::checksum::{ChecksumChain, Mismatch};
use super::format::{End, FORMAT};
use super::payload::{PayloadRef, payload_folder, seeded};
use super::{Arguments, Event, EventKind, Header, TraceError, VERSION};

/// A trace.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Path of the trace.
    pub path: PathBuf,
    /// The first line.
    pub header: Header,
    /// The events; the first is in line 2.
    pub events: Vec<Event>,
}

/// The part of the first line that is read first: it decides whether this program can read the rest.
#[derive(Deserialize)]
struct Beginning {
    trace: String,
    version: u32,
}

impl Trace {
    /// Reads a trace, and checks the digests of its payload files.
    ///
    /// # Errors
    /// [`TraceError`], with the line.
    pub fn read(path: &Path) -> Result<Trace, TraceError> {
        let text = std::fs::read_to_string(path).map_err(TraceError::io("read", path))?;
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
        let mut checksums = ChecksumChain::default();
        let header = read_header(path, lines.next().map_or("", |(_, line)| line), &mut checksums)?;
        let mut trace = Trace { path: path.to_path_buf(), header, events: Vec::new() };
        let mut last_line = 1;
        let mut ended = false;
        for (number, line) in lines {
            if ended {
                return Err(trace.malformed(number, "there is something after the end line"));
            }
            last_line = number;
            let object = match checksums.unseal(line) {
                Ok(object) => object,
                // A last line without a line break was not written completely.
                Err(_) if number == text.lines().count() && !text.ends_with('\n') => {
                    return Err(TraceError::Truncated { path: trace.path, line: number });
                }
                Err(mismatch) => return Err(edited_error(path, number, mismatch)),
            };
            match serde_json::from_str::<End>(&object) {
                Ok(End { end }) if end == trace.events.len() => ended = true,
                Ok(End { end }) => {
                    let got = trace.events.len();
                    return Err(trace
                        .malformed(number, format!("the end line says {end} events, but there are {got}")));
                }
                Err(_) => trace.add_event(number, &object)?,
            }
        }
        if !ended {
            return Err(TraceError::Truncated { path: trace.path, line: last_line });
        }
        trace.check_payloads()?;
        Ok(trace)
    }

    /// Returns the number of the line that has an event.
    pub fn line_of(&self, event: usize) -> usize {
        event + 2
    }

    /// Returns the bytes of a reference in a line.
    pub fn payload(&self, line: usize, reference: &PayloadRef) -> Result<Vec<u8>, TraceError> {
        match reference {
            PayloadRef::Seed { seed, offset, length } => match usize::try_from(*length) {
                Ok(length) => Ok(seeded(*seed, *offset, length)),
                Err(_) => Err(self.malformed(line, format!("{reference} is too long for memory"))),
            },
            PayloadRef::Sha256 { digest, length } => {
                let file = payload_folder(&self.path).join(hex::encode(digest));
                let bytes = std::fs::read(&file).map_err(|source| TraceError::UnreadablePayload {
                    path: self.path.clone(),
                    line,
                    file: file.clone(),
                    source,
                })?;
                let got: [u8; 32] = Sha256::digest(&bytes).into();
                if got != *digest || bytes.len() as u64 != *length {
                    return Err(TraceError::DamagedPayload {
                        path: self.path.clone(),
                        line,
                        file,
                        got: hex::encode(got),
                        bytes: bytes.len() as u64,
                        expected_bytes: *length,
                    });
                }
                Ok(bytes)
            }
        }
    }

    pub(crate) fn malformed(&self, line: usize, detail: impl Into<String>) -> TraceError {
        TraceError::Malformed { path: self.path.clone(), line, detail: detail.into() }
    }

    fn add_event(&mut self, line: usize, object: &str) -> Result<(), TraceError> {
        let event: Event =
            serde_json::from_str(object).map_err(|error| self.malformed(line, error.to_string()))?;
        let previous_at = self.events.last().map_or(0, |event| event.at);
        if event.at < previous_at {
            return Err(self.malformed(
                line,
                format!("it happens at {}, earlier than the line before, at {previous_at}", event.at),
            ));
        }
        self.events.push(event);
        Ok(())
    }

    /// Checks the payload files; what is generated from a seed needs no check.
    fn check_payloads(&self) -> Result<(), TraceError> {
        let mut seen = HashSet::new();
        for (index, event) in self.events.iter().enumerate() {
            let EventKind::Call(call) = &event.what else { continue };
            let (Arguments::Candid(text) | Arguments::Raw(text)) = &call.arguments;
            for reference in file_references(text) {
                if seen.insert(reference.to_string()) {
                    self.payload(self.line_of(index), &reference)?;
                }
            }
        }
        Ok(())
    }
}

/// Returns the references to payload files in the text of arguments.
fn file_references(text: &str) -> impl Iterator<Item = PayloadRef> {
    text.split('"').filter(|part| part.starts_with("@sha256:")).filter_map(PayloadRef::parse)
}

fn read_header(path: &Path, line: &str, checksums: &mut ChecksumChain) -> Result<Header, TraceError> {
    let not_a_trace = |detail: String| TraceError::NotATrace { path: path.to_path_buf(), detail };
    let beginning: Beginning = serde_json::from_str(line).map_err(|error| not_a_trace(error.to_string()))?;
    if beginning.trace != FORMAT {
        return Err(not_a_trace(format!("its format is `{}`, expected `{FORMAT}`", beginning.trace)));
    }
    if beginning.version > VERSION {
        return Err(TraceError::NewerVersion {
            path: path.to_path_buf(),
            got: beginning.version,
            newest: VERSION,
        });
    }
    let object = checksums.unseal(line).map_err(|mismatch| edited_error(path, 1, mismatch))?;
    serde_json::from_str(&object).map_err(|error| not_a_trace(error.to_string()))
}

fn edited_error(path: &Path, line: usize, mismatch: Mismatch) -> TraceError {
    TraceError::Edited { path: path.to_path_buf(), line, expected: mismatch.expected, got: mismatch.got }
}
