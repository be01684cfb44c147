//! Made-up clients, for recording: seeded, of any size, each kind the way some real clients are.
//!
//! Owns: what the clients do. Does not own: recording it ([`crate::trace`]). Boundary: a client takes every answer as it
//! comes; a refusal is a part of the trace, and whether it is right is not judged here.

mod abuse;
mod actor;
mod kinds;
mod world;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::build::Module;
use crate::client::ClientError;
use crate::replay::{ReplayError, Subject};
use crate::trace::{Header, Recorder, Tape, TraceError};

use world::World;

/// When every workload begins, seconds since 1970: the first of January 2026.
const BEGINNING_SECONDS: u64 = 1_767_225_600;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A kind of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Workload {
    /// One client, one file of many chunks.
    SingleLarge,
    /// Many files of less than a chunk: session by session, whole in one call, many in one call.
    ManySmall,
    /// Several clients, each with a call on its way at every moment.
    ParallelLanes,
    /// Chunks backwards and shuffled.
    OutOfOrder,
    /// Replies get lost, so that calls are repeated; the client comes back and asks.
    FlakyClient,
    /// So slow that sessions are kept alive by a hair, or expire.
    SlowClient,
    /// Beyond every limit, with wrong hashes, with what is no Candid, at what belongs to others.
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

    /// The name on the command line.
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
    /// Which.
    pub workload: Workload,
    /// Decides the content of the files and every choice; the same seed makes the same calls.
    pub seed: u64,
    /// How many times as many files as the smallest that shows everything.
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
    /// A made-up file cannot be written or read, or the canister does not speak the interface.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A folder for made-up files cannot be had.
    #[error("cannot create a folder for files: {0}")]
    Folder(std::io::Error),
}

impl WorkloadError {
    /// True when what the user gave is at fault, not the machine.
    pub fn is_usage(&self) -> bool {
        match self {
            WorkloadError::Replay(error) => error.is_usage(),
            _ => false,
        }
    }
}

/// Records a workload on a fresh canister with this module; the trace calls it `build`.
///
/// # Errors
/// [`WorkloadError`]; nothing is left at `path` then.
pub fn record(order: Order, build: &str, module: &Module, path: &Path) -> Result<PathBuf, WorkloadError> {
    let controller = world::controller();
    let header =
        Header::new(BEGINNING_SECONDS * NANOS_PER_SECOND, build, order.to_string(), vec![controller]);
    let recorder = Recorder::create(path, &header)?;
    let subject = Subject::install(build, module, &header)?;
    let tape = Tape::new(recorder);
    {
        let canister = subject.canister().recorded(Some(&tape));
        let mut world = World::new(canister, &tape, order.seed)?;
        kinds::run(order, &mut world)?;
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
