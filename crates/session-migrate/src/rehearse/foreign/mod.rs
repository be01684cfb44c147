//! The rehearsal of another canister's upgrade: two wasms, a file of calls, and the `migration_…` endpoints.
//!
//! The old wasm is installed on two canisters, which get the same calls. One of them is upgraded, migrated, rolled back
//! on request and finalized; the other one stays as it is. After every step, and for every call, both must answer the
//! same, except methods that the caller names.
//!
//! Owns: the order of the steps, the verdict. Does not own: the endpoints (the crate `ic-stable-migrate`).

mod calls;
mod contract;
mod course;
mod pair;
mod subject;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Instant;

use candid::Principal;
use serde::{Deserialize, Serialize};

use super::report::{BuildReport, MigrationReport, Report};
use super::{RehearseError, stages};
use crate::Verdict;
use crate::progress::Progress;
use crate::provenance::Provenance;
use crate::server;

pub use pair::MethodReport;

use course::Course;
use subject::Inputs;

/// What to rehearse.
#[derive(Clone, Debug)]
pub struct ForeignOptions {
    /// The wasm that is installed.
    pub old: PathBuf,
    /// The wasm to upgrade to.
    pub new: PathBuf,
    /// The file of calls.
    pub calls: PathBuf,
    /// Arguments of the installation, Candid text.
    pub init_args: String,
    /// Arguments of every upgrade, Candid text.
    pub upgrade_args: String,
    /// Methods whose answers may differ from those of the old wasm.
    pub may_differ: BTreeSet<String>,
    /// How to interrupt the migration.
    pub interruptions: BTreeSet<Interruption>,
    /// Whether to roll back once, continue on the old wasm, and migrate again.
    pub rollback: bool,
    /// Units that may end in the quarantine.
    pub max_quarantined: u64,
}

/// How a migration is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Interruption {
    /// By another upgrade to the new wasm.
    Upgrade,
    /// By traps of its messages at several instruction limits.
    Trap,
}

impl FromStr for Interruption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "upgrade" => Ok(Interruption::Upgrade),
            "trap" => Ok(Interruption::Trap),
            _ => Err(format!("expected upgrade or trap, got `{text}`")),
        }
    }
}

/// What a rehearsal of two wasms adds to the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanisterPart {
    /// The old wasm.
    pub old: String,
    /// The new wasm.
    pub new: String,
    /// The methods that were called.
    pub methods: Vec<MethodReport>,
    /// Interruptions that were made, one line each.
    pub interruptions: Vec<String>,
}

/// Returns the controller of the canisters: `@controller` in a file of calls.
fn controller() -> Principal {
    stages::controller()
}

/// Inputs that were read and checked.
pub struct Checked {
    options: ForeignOptions,
    inputs: Inputs,
}

/// Reads and checks every input, without starting anything.
///
/// # Errors
/// A file that cannot be used, with the line.
pub fn check(options: ForeignOptions) -> Result<Checked, RehearseError> {
    let inputs = Inputs::read(&options)?;
    Ok(Checked { options, inputs })
}

/// Rehearses.
///
/// # Errors
/// If the rehearsal could not be completed, or would prove nothing; what it finds is in the [`Report`].
pub fn run(checked: &Checked, progress: &Progress) -> Result<Report, RehearseError> {
    let (provenance, since) = (Provenance::now(), Instant::now());
    let Checked { options, inputs } = checked;
    let server = server::chosen()?;
    let pic = server::pocket_ic()?;
    let mut course = Course::begin(options, inputs, &pic, progress)?;
    course.run();
    let outcome = course.end();
    let migration = outcome.runs.last().map(|run| run.counts.clone()).unwrap_or_default();
    Ok(Report {
        verdict: if outcome.problems.is_empty() { Verdict::Pass } else { Verdict::Fail },
        problems: outcome.problems,
        notes: outcome.notes,
        server: server.kind,
        provenance: provenance.on(server),
        seed: 0,
        clients: 0,
        rollback: options.rollback,
        seconds: since.elapsed().as_secs_f64(),
        phases: progress.finish(),
        builds: vec![BuildReport::of("old", &inputs.old.module), BuildReport::of("new", &inputs.new.module)],
        stages: outcome.stages,
        uploads: Vec::new(),
        runs: outcome.runs,
        migration,
        payload: MigrationReport::default(),
        snapshot: None,
        canister: Some(outcome.part),
    })
}
