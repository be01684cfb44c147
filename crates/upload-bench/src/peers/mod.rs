//! The three builds and DFINITY's asset canister in comparison, on the same server and with the same files. Each of
//! these canisters is called a peer.

mod assets;
mod jobs;
mod loads;
mod peer;
mod report;
mod tables;
mod uploads;
mod work;

use serde::{Deserialize, Serialize};
use session_migrate::build::Build;

use crate::cost::Cost;
use crate::error::BenchError;
use crate::metered_canister::Wasm;
use peer::Peer;

pub use jobs::{Job, State, all as all_jobs};
pub use loads::Load;
pub use report::markdown;
pub use tables::{job_table, load_table};
pub use work::{JobCost, faults};

/// Size, in bytes, of each client's file: 20.8 MiB, as in the public release's own measurement.
pub const FILE_BYTES: u64 = 21_827_484;

/// Numbers of clients that upload in parallel, each its own file.
pub const CLIENTS: [u32; 3] = [1, 4, 16];

/// The first public release's own figures, MB/s on a local replica: one file of 20.8 MiB, and four at the same time.
pub const ORIGIN_MB_PER_S: [f64; 2] = [0.62, 0.50];

/// One canister's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerFigures {
    /// The canister's name.
    pub name: String,
    /// For each number of clients, the fastest of several loads.
    pub loads: Vec<Load>,
    /// The cost of the upgrade after the upload of one client.
    pub upgrade: Cost,
    /// The costs of the jobs, each in every state in which the canister is measured.
    #[serde(default)]
    pub jobs: Vec<JobCost>,
}

impl PeerFigures {
    fn of(name: &str) -> Self {
        Self { name: name.into(), loads: Vec::new(), upgrade: Cost::default(), jobs: Vec::new() }
    }

    /// Keeps a load unless there is a faster one.
    fn keep_fastest(&mut self, load: Load) {
        match self.loads.iter_mut().find(|known| known.clients == load.clients) {
            Some(known) if known.seconds <= load.seconds => {}
            Some(known) => *known = load,
            None => self.loads.push(load),
        }
    }
}

fn find_cost<'f>(figures: &'f [PeerFigures], name: &str, job: &Job, state: State) -> Option<&'f JobCost> {
    let job = job.to_string();
    let known = figures.iter().find(|known| known.name == name)?;
    known.jobs.iter().find(|cost| cost.state == state && cost.job == job)
}

/// A function that installs a fresh canister of one kind.
type Install<'w> = Box<dyn Fn() -> Result<Box<dyn Peer>, BenchError> + 'w>;

/// Returns the states in which a canister is measured. The legacy and the staged build are in one table only, which
/// shows `jobs::MANY`.
pub fn states_of(name: &str) -> &'static [State] {
    if [Build::Direct.name(), assets::NAME].contains(&name) { &jobs::STATES } else { &[jobs::MANY] }
}

fn peers(wasms: &[Wasm]) -> Result<Vec<(&str, Install<'_>)>, BenchError> {
    let module = assets::module()?;
    let mut peers: Vec<(&str, Install<'_>)> = Vec::new();
    for wasm in wasms {
        let install = move || Ok(Box::new(uploads::Uploads::install(wasm)?) as Box<dyn Peer>);
        peers.push((wasm.build.name(), Box::new(install)));
    }
    let install = move || Ok(Box::new(assets::Assets::install(module.clone())?) as Box<dyn Peer>);
    peers.push((assets::NAME, Box::new(install)));
    Ok(peers)
}

/// Measures everything, on one canister after the other; calls `done` after each step. If there are `recorded` figures,
/// only the jobs are measured; the loads, whose times depend on the machine, and the upgrades after them are kept.
///
/// # Errors
/// If a canister cannot be built or installed, a call fails, or a job does not have the expected result.
pub fn run(
    wasms: &[Wasm],
    recorded: Option<Vec<PeerFigures>>,
    done: &dyn Fn(&str),
) -> Result<Vec<PeerFigures>, BenchError> {
    let peers = peers(wasms)?;
    let mut figures = match recorded {
        Some(recorded) => recorded,
        None => loads::measure(&peers, done)?,
    };
    for (name, install) in &peers {
        let costs = work::measure(install, states_of(name), &|cost| {
            done(&format!("{name}, {} files: {}", cost.state.files, cost.job));
        })?;
        match figures.iter_mut().find(|known| known.name == *name) {
            Some(known) => known.jobs = costs,
            None => figures.push(PeerFigures { jobs: costs, ..PeerFigures::of(name) }),
        }
    }
    Ok(figures)
}

/// Measures only the jobs, on one build and on the asset canister, with few files.
pub fn run_jobs(wasm: &Wasm) -> Result<Vec<PeerFigures>, BenchError> {
    let measure_jobs = |(name, install): &(&str, Install<'_>)| {
        let jobs = work::measure(install, &[jobs::FEW], &|_| {})?;
        Ok(PeerFigures { jobs, ..PeerFigures::of(name) })
    };
    peers(std::slice::from_ref(wasm))?.iter().map(measure_jobs).collect()
}
