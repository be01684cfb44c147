//! The jobs that are measured on canisters with files: each job as data, with the calls that do it on each kind of
//! canister.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::payload::CHUNK_BYTES;
use crate::scenarios::populated::MEMBERS;

const KIB: u64 = 1 << 10;

/// Sizes of small files in bytes, and how many files of each size are uploaded together: at most 950,000 bytes in all,
/// as in a commit of the asset sync tools.
const SMALL: [(u64, u32); 3] = [(KIB, 100), (10 * KIB, 90), (100 * KIB, 9)];

const LARGE: u64 = 10 * CHUNK_BYTES;

/// Ranges of the large file, from the middle of the sixth chunk: one ends in the same chunk, the other in the next.
const RANGES: [Range<u64>; 2] = {
    let middle = 5 * CHUNK_BYTES + CHUNK_BYTES / 2;
    [middle..middle + KIB, middle..middle + CHUNK_BYTES]
};

/// What a canister holds before a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Number of files of 1 KiB.
    pub files: u32,
    /// Number of principals who may use the files.
    pub members: u32,
}

/// Few files of one principal.
pub const FEW: State = State { files: 10, members: 1 };

/// Many files: the only state in which every canister is measured.
pub const MANY: State = State { files: 1_000, members: 1 };

/// Many files, and as many principals as a capsule can have.
pub const CROWDED: State = State { members: MEMBERS, ..MANY };

pub const STATES: [State; 3] = [FEW, MANY, CROWDED];

impl State {
    /// Returns whether a job is measured in this state. `CROWDED` includes only jobs whose cost could depend on the
    /// number of principals.
    pub fn includes(self, job: &Job) -> bool {
        self != CROWDED
            || matches!(
                job,
                Job::Upload { bytes: KIB, .. }
                    | Job::Read { bytes: KIB, via: Via::Query, .. }
                    | Job::Delete { files: 1, bytes: KIB }
                    | Job::List
            )
    }
}

/// What is measured. Each job is done on a fresh canister in some [`State`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Upload files of this many bytes each.
    Upload {
        /// Number of files.
        files: u32,
        /// Size of each file.
        bytes: u64,
        /// The kind of calls.
        way: Way,
    },
    /// Read a file of this many bytes, or a range of it.
    Read {
        /// Size of the file.
        bytes: u64,
        /// The range; `None` for the whole file.
        range: Option<Range<u64>>,
        /// The kind of calls.
        via: Via,
    },
    /// Delete files of this many bytes each.
    Delete {
        /// Number of files.
        files: u32,
        /// Size of each file.
        bytes: u64,
    },
    /// List all files.
    List,
    /// Upgrade the canister, with its first minute afterwards.
    Upgrade,
}

/// How files are uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A file in one call.
    AtOnce,
    /// A file in chunks, from begin to finish.
    InChunks,
    /// Many files in as few calls as possible.
    Together,
    /// Many files in as few calls as possible, without a check of the digests if the canister has this option.
    OnTrust,
}

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Queries of an agent.
    Query,
    /// Requests of a browser for a file that everyone may read.
    Http,
    /// Requests of a browser for a file that only the bearer of a token may read.
    PrivateHttp,
}

/// Returns all jobs, in the order of the tables.
pub fn all() -> Vec<Job> {
    let mut jobs = Vec::new();
    for way in [Way::AtOnce, Way::InChunks, Way::Together, Way::OnTrust] {
        // `most` is the number of files of this size that are uploaded together.
        let many = matches!(way, Way::Together | Way::OnTrust);
        jobs.extend(SMALL.map(|(bytes, most)| Job::Upload {
            files: if many { most } else { 1 },
            bytes,
            way,
        }));
    }
    for via in [Via::Query, Via::Http] {
        jobs.extend(SMALL.map(|(bytes, _)| Job::Read { bytes, range: None, via }));
    }
    jobs.push(Job::Read { bytes: 10 * KIB, range: None, via: Via::PrivateHttp });
    for via in [Via::Query, Via::Http] {
        jobs.extend(RANGES.map(|range| Job::Read { bytes: LARGE, range: Some(range), via }));
    }
    let deletions = [(1, KIB), (1, 100 * KIB), (1, LARGE), (100, KIB)];
    jobs.extend(deletions.map(|(files, bytes)| Job::Delete { files, bytes }));
    jobs.extend([Job::List, Job::Upgrade]);
    jobs
}

impl Job {
    /// Returns whether the job leaves the canister unchanged.
    pub fn only_reads(&self) -> bool {
        matches!(self, Job::Read { .. } | Job::List)
    }

    /// Returns the kind of the job, and the calls that do it on the upload canister and on the asset canister.
    pub fn kind_and_calls(&self) -> [&'static str; 3] {
        match self {
            Job::Upload { way: Way::AtOnce, .. } => ["one call", "`uploads_put_whole`", "`store`"],
            Job::Upload { way: Way::InChunks, .. } => [
                "in chunks",
                "`uploads_begin`, `uploads_put_chunk`, `uploads_finish`",
                "`create_batch`, `create_chunk`, `commit_batch`",
            ],
            Job::Upload { way: Way::Together, .. } => {
                ["together", "`uploads_put_many`", "`create_batch`, `create_chunks`, `commit_batch`"]
            }
            Job::Upload { way: Way::OnTrust, .. } => [
                "digests on trust",
                "`uploads_put_many`, which checks them",
                "`create_batch`, `commit_batch` with contents and digests, as the asset sync tools do",
            ],
            Job::Read { range: None, via: Via::Query, .. } => ["read", "`blob_read_chunk`", "`get`"],
            Job::Read { range: Some(_), via: Via::Query, .. } => {
                ["read a range", "`blob_read_range`", "`get_chunk` of every chunk that it touches"]
            }
            Job::Read { range: None, via: Via::Http, .. } => {
                ["read over HTTP", "`http_request`, of a public capsule", "`http_request`"]
            }
            Job::Read { range: Some(_), via: Via::Http, .. } => [
                "read a range over HTTP",
                "`http_request` with `Range`, `http_request_streaming_callback`",
                "the same, from the beginning of the file to the end of the range",
            ],
            Job::Read { via: Via::PrivateHttp, .. } => {
                ["read over HTTP, private", "`http_request` with an access token", "–"]
            }
            Job::Delete { files: 1, .. } => ["delete one", "`memories_delete`, and timers", "`delete_asset`"],
            Job::Delete { .. } => {
                ["delete many", "`memories_delete` of each", "`create_batch`, `commit_batch`"]
            }
            Job::List => ["list", "`memories_list`, in pages of 100", "`list`"],
            Job::Upgrade => {
                ["upgrade", "`post_upgrade`, timer of the first minute", "`pre_upgrade`, `post_upgrade`"]
            }
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [kind, ..] = self.kind_and_calls();
        match self {
            Job::Upload { files, bytes, .. } => write!(f, "{}, {kind}", Files(*files, *bytes)),
            Job::Read { bytes, range: None, .. } => write!(f, "{kind}: {}", Size(*bytes)),
            Job::Read { bytes, range: Some(range), .. } => {
                write!(f, "{kind}: {} of {}", Size(range.end - range.start), Size(*bytes))
            }
            Job::Delete { files, bytes } => write!(f, "delete {}", Files(*files, *bytes)),
            Job::List => f.write_str("list all files"),
            Job::Upgrade => f.write_str(kind),
        }
    }
}

struct Files(u32, u64);

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Files(files, bytes) = self;
        write!(f, "{files} file{} of {}", if *files == 1 { "" } else { "s" }, Size(*bytes))
    }
}

struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes % KIB == 0 && bytes < 1_000 * KIB => write!(f, "{} KiB", bytes / KIB),
            bytes => write!(f, "{} MB", bytes as f64 / 1e6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_job_has_a_name_of_its_own() {
        let names: BTreeSet<String> = all().iter().map(Job::to_string).collect();
        assert_eq!(names.len(), all().len());
        for name in
            ["100 files of 1 KiB, together", "read a range over HTTP: 1.8 MB of 18 MB", "list all files"]
        {
            assert!(names.contains(name), "{name} is not in {names:?}");
        }
    }

    #[test]
    fn files_of_one_commit_fit_into_one_message() {
        assert!(SMALL.iter().all(|(bytes, files)| bytes * u64::from(*files) <= 950_000));
    }
}
