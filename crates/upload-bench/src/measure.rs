//! Runs the scenarios on all builds in parallel, one thread for each build.

use std::sync::Mutex;
use std::sync::PoisonError;

use session_migrate::build::{self, Build};

use crate::bench::Bench;
use crate::error::BenchError;
use crate::metered_canister::Wasm;
use crate::results::Results;
use crate::scenarios::{self, Scenario};

/// The scenarios to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Whether scenarios that take minutes are included.
    pub full: bool,
    /// A text that the name of each scenario must contain; `None` selects every name.
    pub only: Option<String>,
}

impl Selection {
    /// Returns whether a scenario is run on a build.
    pub fn includes(&self, scenario: &Scenario, build: Build) -> bool {
        (self.full || !scenario.only_full)
            && scenario.builds.contains(&build)
            && self.only.as_ref().is_none_or(|only| scenario.name.contains(only.as_str()))
    }
}

/// Results of one build.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The figures.
    pub results: Results,
    /// The scenarios that were not run, by name.
    pub skipped: Vec<String>,
}

/// Builds the wasms that are not up to date, and reads all of them.
pub fn wasms(builds: &[Build]) -> Result<Vec<Wasm>, BenchError> {
    let read = |artifact: build::Artifact| {
        let gz = std::fs::read(&artifact.wasm_gz).map_err(BenchError::file("read", &artifact.wasm_gz))?;
        Ok(Wasm { build: artifact.build, gz })
    };
    build::ensure(builds)?.into_iter().map(read).collect()
}

/// Runs the selected scenarios on each of these wasms; calls `done` after each scenario. Returns the first error, if
/// any.
pub fn run(
    wasms: &[Wasm],
    selection: &Selection,
    done: &(dyn Fn(Build, &str) + Sync),
) -> Result<Vec<Measured>, BenchError> {
    let scenarios = scenarios::all();
    let first_error = Mutex::new(None);
    let measured: Vec<Measured> = std::thread::scope(|scope| {
        let running: Vec<_> = wasms
            .iter()
            .map(|wasm| {
                let (scenarios, first_error) = (&scenarios, &first_error);
                scope.spawn(move || match run_on(wasm, scenarios, selection, done) {
                    Ok(measured) => Some(measured),
                    Err(error) => {
                        first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        None
                    }
                })
            })
            .collect();
        // If a thread panics, the others run to completion first.
        running
            .into_iter()
            .filter_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    match first_error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(measured),
    }
}

fn run_on(
    wasm: &Wasm,
    scenarios: &[Scenario],
    selection: &Selection,
    done: &(dyn Fn(Build, &str) + Sync),
) -> Result<Measured, BenchError> {
    let mut measured =
        Measured { results: Results { build: wasm.build, benches: Vec::new() }, skipped: Vec::new() };
    for scenario in scenarios {
        if !selection.includes(scenario, wasm.build) {
            measured.skipped.push(scenario.name.clone());
            continue;
        }
        let benches = scenario.run(wasm)?.into_iter();
        let named = benches.map(|bench| Bench { scenario: scenario.name.clone(), ..bench });
        measured.results.benches.extend(named);
        done(wasm.build, &scenario.name);
    }
    Ok(measured)
}
