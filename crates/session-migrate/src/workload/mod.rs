//! Synthetic workloads for recording: seeded, of any size, each kind modeled on real clients. Clients accept every
//! answer: refusals are a part of the trace.

mod abuse;
mod actor;
mod error;
mod kinds;
mod order;
mod recorded_canister;

use std::path::{Path, PathBuf};

use crate::build::Module;
use crate::replay::ReplayCanister;
use crate::trace::{Header, Recorder, Tape};

pub use error::WorkloadError;
pub use order::{Order, Workload};

use recorded_canister::RecordedCanister;

/// When every workload begins, seconds since 1970: 1 January 2026.
const BEGINNING_SECONDS: u64 = 1_767_225_600;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Records a workload on a fresh canister with this module, which the trace names `build`.
///
/// # Errors
/// [`WorkloadError`]; in that case, no file is left at `path`.
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
