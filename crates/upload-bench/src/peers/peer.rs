//! The canisters that are compared, of any kind, and the files uploaded to them.

use std::ops::Range;

use crate::error::BenchError;
use crate::metered_canister::MeteredCanister;
use crate::payload::{CHUNK_BYTES, File};

/// A file, generated in advance so that its generation is not measured.
pub struct Content {
    /// Its name, unique among the files of a canister.
    pub name: String,
    pub chunks: Vec<Vec<u8>>,
    pub sha256: [u8; 32],
    pub spec: File,
}

impl Content {
    /// Returns a file of this many bytes; each number gives a different file.
    pub fn new(number: u64, bytes: u64) -> Self {
        let spec = File { bytes, seed: number + 1 };
        let chunks = (0..spec.chunks()).map(|index| spec.chunk(index)).collect();
        Content { name: format!("/file-{number}"), chunks, sha256: spec.sha256(), spec }
    }

    pub fn bytes(&self, range: Range<u64>) -> Vec<u8> {
        let (from, len) = (range.start as usize, (range.end - range.start) as usize);
        self.chunks.iter().flatten().skip(from).take(len).copied().collect()
    }
}

/// A file in a canister. The upload canister deletes a file by the id of its memory, and reads it by the locator of its
/// blob; the asset canister has one key for both.
#[derive(Clone, Debug)]
pub struct Stored {
    pub delete_key: String,
    pub read_key: String,
    pub bytes: u64,
    pub sha256: [u8; 32],
}

/// A canister that stores files, in a PocketIC instance of its own.
pub trait Peer: Sync {
    fn canister(&self) -> &MeteredCanister;

    /// Uploads a file in chunks, from begin to finish.
    fn upload(&self, content: &Content) -> Result<Stored, BenchError>;

    /// Uploads a file of one chunk in one call.
    fn upload_at_once(&self, content: &Content) -> Result<Stored, BenchError>;

    /// Uploads files that together fit into one message, in as few calls as possible. With `on_trust`, a canister that
    /// has this option does not hash the files.
    fn upload_together(&self, contents: &[Content], on_trust: bool) -> Result<Vec<Stored>, BenchError>;

    /// Reads a file of one chunk by a query.
    fn read_small(&self, stored: &Stored) -> Result<Vec<u8>, BenchError>;

    fn read_range(&self, stored: &Stored, range: Range<u64>) -> Result<Vec<u8>, BenchError>;

    /// Makes a file available to browsers: to everyone or, if `private`, to those with an access token. Returns its
    /// URL; `None` if the canister cannot serve private files.
    fn open_to_browsers(&self, stored: &Stored, private: bool) -> Result<Option<String>, BenchError>;

    /// Gets a file or a range of it as a gateway does. If the canister sends bytes outside the range, they are dropped.
    fn browse(&self, url: &str, range: Option<Range<u64>>) -> Result<Vec<u8>, BenchError>;

    /// Deletes files, in as few calls as possible.
    fn delete(&self, stored: &[Stored]) -> Result<(), BenchError>;

    /// Returns whether timers still have to free the bytes of deleted files.
    fn is_freeing(&self) -> Result<bool, BenchError>;

    /// Lists all files; returns the `read_key` of each.
    fn list(&self) -> Result<Vec<String>, BenchError>;

    /// Grants access to as many principals as a capsule of the upload canister admits.
    fn fill_access_lists(&self) -> Result<(), BenchError>;

    fn upgrade(&self) -> Result<(), BenchError>;

    /// Reads a whole file, range by range.
    fn read(&self, stored: &Stored) -> Result<Vec<u8>, BenchError> {
        let mut bytes = Vec::new();
        for from in (0..stored.bytes).step_by(CHUNK_BYTES as usize) {
            bytes.extend(self.read_range(stored, from..stored.bytes.min(from + CHUNK_BYTES))?);
        }
        Ok(bytes)
    }
}

/// Returns the headers of a request: `Range` if there is a range, otherwise none.
pub fn range_header(range: Option<&Range<u64>>) -> Vec<(String, String)> {
    let field = |range: &Range<u64>| ("range".into(), format!("bytes={}-{}", range.start, range.end - 1));
    range.into_iter().map(field).collect()
}
