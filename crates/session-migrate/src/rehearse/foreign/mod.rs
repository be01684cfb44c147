//! The rehearsal of another canister's upgrade: two wasms, a file of calls, and the `migration_…` endpoints.
//!
//! The old wasm is installed on two canisters, which get the same calls. One canister is upgraded, migrated, rolled
//! back if requested, and finalized; the reference canister keeps the old wasm. Both must give the same answer to every
//! call, and to every query, which is repeated after each step. Methods that only the new wasm has, and methods that
//! the user names, are exempt.

mod calls;
mod contract;
mod inputs;
mod options;
mod pair;
mod part;
mod rehearsal;

use std::time::Instant;

use super::RehearseError;
use super::report::{BuildReport, MigrationReport, Report};
use crate::Verdict;
use crate::progress::Progress;
use crate::provenance::Provenance;
use crate::server;

pub use options::{ForeignOptions, MigrationInterruption};
pub use part::{CanisterPart, MethodReport};

use inputs::Inputs;
use rehearsal::Rehearsal;

/// Inputs that were read and checked.
pub struct CheckedInputs {
    options: ForeignOptions,
    inputs: Inputs,
}

/// Reads and checks every input, without starting anything.
///
/// # Errors
/// The file or option that cannot be used, and why; in the file of calls, also the line.
pub fn check(options: ForeignOptions) -> Result<CheckedInputs, RehearseError> {
    let inputs = Inputs::read(&options)?;
    Ok(CheckedInputs { options, inputs })
}

/// Runs the rehearsal.
///
/// # Errors
/// If the rehearsal could not be completed, or would prove nothing. Problems that it finds are in the [`Report`].
pub fn run(checked: &CheckedInputs, progress: &Progress) -> Result<Report, RehearseError> {
    let (provenance, since) = (Provenance::now(), Instant::now());
    let CheckedInputs { options, inputs } = checked;
    let server = server::chosen()?;
    let pic = server::pocket_ic()?;
    let mut rehearsal = Rehearsal::begin(options, inputs, &pic, progress)?;
    rehearsal.run();
    let outcome = rehearsal.end();
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
