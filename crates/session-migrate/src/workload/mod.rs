//! Synthetic workloads for recording: seeded, of any size, each kind modeled on real clients.
//!
//! Owns: what the clients do. Does not own: recording it ([`crate::trace`]). Boundary: a client accepts every
//! answer; a refusal is part of the trace, and is not judged here.

mod abuse;
mod actor;
mod kinds;
mod recorded_canister;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::build::Module;
use crate::client::ClientError;
use crate::replay::{ReplayCanister, ReplayError};
use crate::trace::{Header, Recorder, Tape, TraceError};

use recorded_canister::RecordedCanister;

/// When every workload begins, seconds since 1970: the first of January 2026.
const BEGINNING_SECONDS: u64 = 1_767_225_600;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A kind of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Workload {
    /// One client, one file of many chunks.
    SingleLarge,
    /// Many files smaller than a chunk: in a session each, in one call each, many in one call.
    ManySmall,
    /// Several clients, each with a call in flight at any time.
    ParallelLanes,
    /// Chunks backwards and shuffled.
    OutOfOrder,
    /// Replies are lost, so calls are repeated; the client returns and asks for the status.
    FlakyClient,
    /// So slow that sessions are barely kept alive, or expire.
    SlowClient,
    /// Beyond every limit, with wrong hashes, bytes that are not Candid, and other callers' sessions.
    AbusiveClient,
    /// All of them at once.
    Mixed,
}

impl Workload {
    /// All kinds.
    pub const ALL: [Workload; 8] = [
        Workload::SingleLarge,
        Workload::ManySmall,
        Workload::ParallelLanes,
        Workload::OutOfOrder,
        Workload::FlakyClient,
        Workload::SlowClient,
        Workload::AbusiveClient,
        Workload::Mixed,
    ];

    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Workload::SingleLarge => "single-large",
            Workload::ManySmall => "many-small",
            Workload::ParallelLanes => "parallel-lanes",
            Workload::OutOfOrder => "out-of-order",
            Workload::FlakyClient => "flaky-client",
            Workload::SlowClient => "slow-client",
            Workload::AbusiveClient => "abusive-client",
            Workload::Mixed => "mixed",
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = || Workload::ALL.map(Workload::name).join(", ");
        Workload::ALL
            .into_iter()
            .find(|workload| workload.name() == text)
            .ok_or_else(|| format!("expected one of {}; got `{text}`", names()))
    }
}

/// A workload of a certain size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its kind.
    pub workload: Workload,
    /// Seed for the files' contents and every choice; the same seed makes the same calls.
    pub seed: u64,
    /// Scale factor: multiplies the number of files of the smallest recording.
    pub size: u32,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "workload {}, seed {}, size {}", self.workload, self.seed, self.size)
    }
}

/// A workload that could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// There is no canister to record with.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The trace cannot be written.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A generated file cannot be written or read, or the canister has another interface.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No folder for generated files can be created.
    #[error("cannot create a folder for files: {0}")]
    Folder(std::io::Error),
}

impl WorkloadError {
    /// Returns whether the user's input is at fault, not the machine.
    pub fn is_usage(&self) -> bool {
        match self {
            WorkloadError::Replay(error) => error.is_usage(),
            WorkloadError::Trace(error) => error.is_usage(),
            WorkloadError::Client(_) | WorkloadError::Folder(_) => false,
        }
    }
}

/// Records a workload on a fresh canister with this module; the trace calls it `build`.
///
/// # Errors
/// [`WorkloadError`]; no file is left at `path` then.
pub fn record(order: Order, build: &str, module: &Module, path: &Path) -> Result<PathBuf, WorkloadError> {
    let controller = recorded_canister::controller();
    let header =
        Header::new(BEGINNING_SECONDS * NANOS_PER_SECOND, build, order.to_string(), vec![controller]);
    let recorder = Recorder::create(path, &header)?;
    let subject = ReplayCanister::install(build, module, &header)?;
    let tape = Tape::new(recorder);
    {
        let handle = subject.canister().recorded(Some(&tape));
        let mut canister = RecordedCanister::new(handle, &tape, order.seed)?;
        kinds::run(order, &mut canister)?;
    }
    Ok(tape.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_read_as_they_are_written() {
        for workload in Workload::ALL {
            assert_eq!(workload.to_string().parse(), Ok(workload));
        }
        assert!("large".parse::<Workload>().unwrap_err().contains("single-large, many-small"));
    }
}
