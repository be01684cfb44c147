//! The scenarios: each is a function of a build that returns one or more benchmarks.
//!
//! To measure another endpoint, add a function, and a scenario with it in [`all`]. If a build lacks an endpoint or a
//! layout that the scenario needs, omit the build from [`Scenario::builds`].

pub(crate) mod populated;
pub(crate) mod uploads;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use session_migrate::build::Build;

use crate::bench::Bench;
use crate::error::BenchError;
use crate::metered_canister::Wasm;
use crate::seed::{self, Population, Seed};

/// Prefix of the scenarios that move a hundred chunks; the number of other chunks, which are in quarantine, follows.
pub(crate) const MOVE_WITH_QUARANTINE: &str = "move_100_quarantined_";

/// Numbers of chunks in quarantine. Up to 32 are stored again when the chunk map is emptied. (In `engine`, the constant
/// of this name has numbers of units.)
pub(crate) const IN_QUARANTINE: [u32; 4] = [0, 1, 32, 33];

/// The initial states that have been created.
#[derive(Clone, Default)]
pub struct Seeds {
    created: Arc<Mutex<HashMap<Population, Arc<OnceLock<Seed>>>>>,
}

impl Seeds {
    /// Returns a state, which is created if necessary.
    pub fn get(&self, population: Population) -> Result<Seed, BenchError> {
        let cell = {
            let mut created = self.created.lock().unwrap_or_else(PoisonError::into_inner);
            created.entry(population).or_default().clone()
        };
        if let Some(seed) = cell.get() {
            return Ok(seed.clone());
        }
        // If two builds need the same state at the same moment, both create it, with the same bytes.
        let seed = seed::make(population)?;
        Ok(cell.get_or_init(|| seed).clone())
    }
}

type RunScenario = Box<dyn Fn(&Wasm) -> Result<Vec<Bench>, BenchError> + Send + Sync>;

/// A scenario that can be measured on a build.
pub struct Scenario {
    /// Its unique name, which `--only` selects.
    pub name: String,
    /// Whether it is measured only with `--full`.
    pub only_full: bool,
    /// The builds on which it can be measured.
    pub builds: &'static [Build],
    run: RunScenario,
}

impl Scenario {
    /// Runs the scenario.
    ///
    /// # Errors
    /// [`BenchError`]; no partial results are returned.
    pub fn run(&self, wasm: &Wasm) -> Result<Vec<Bench>, BenchError> {
        (self.run)(wasm)
    }

    fn with_bench(
        name: impl Into<String>,
        run: impl Fn(&Wasm) -> Result<Bench, BenchError> + Send + Sync + 'static,
    ) -> Self {
        Self::with_benches(name, move |wasm| Ok(vec![run(wasm)?]))
    }

    /// Returns a scenario of several benchmarks; `with_bench`, one of a single benchmark. Both run on all builds by
    /// default.
    fn with_benches(
        name: impl Into<String>,
        run: impl Fn(&Wasm) -> Result<Vec<Bench>, BenchError> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), only_full: false, builds: &Build::ALL, run: Box::new(run) }
    }

    fn for_full_runs(self) -> Self {
        Self { only_full: true, ..self }
    }
}

/// Returns all scenarios.
pub fn all() -> Vec<Scenario> {
    let seeds = Seeds::default();
    let mut all = Vec::new();
    for chunks in [1, 10, 100] {
        all.push(Scenario::with_benches(format!("upload_{chunks}"), move |wasm| {
            uploads::in_order(wasm, chunks)
        }));
    }
    // Sending 1.8 GB through each build takes minutes.
    all.push(Scenario::with_benches("upload_1000", |wasm| uploads::in_order(wasm, 1000)).for_full_runs());
    all.push(Scenario::with_bench("first_upload", uploads::first_calls));
    for (chunks, only_full) in [(10, false), (100, false), (240, true)] {
        let scenario = Scenario::with_bench(format!("out_of_order_{chunks}"), move |wasm| {
            uploads::out_of_order(wasm, chunks)
        });
        all.push(Scenario { only_full, ..scenario });
    }
    for (chunks, in_order) in [(10, true), (100, true), (100, false)] {
        let order = if in_order { "upload" } else { "out_of_order" };
        all.push(Scenario::with_bench(format!("{order}_blake3_{chunks}"), move |wasm| {
            uploads::blake3(wasm, chunks, in_order)
        }));
    }
    all.push(Scenario::with_bench("chunk_again", uploads::chunk_again));
    for chunks in [0, 10, 100] {
        all.push(Scenario::with_bench(format!("abort_{chunks}"), move |wasm| uploads::abort(wasm, chunks)));
    }
    all.push(Scenario::with_bench(format!("chunks_of_{}", uploads::MAX_CHUNKS), uploads::largest));
    all.push(Scenario::with_benches("small", populated::small));
    all.push(Scenario::with_bench("expiry", populated::expiry));
    for count in [10, 1_000, 100_000] {
        let seeds = seeds.clone();
        all.push(Scenario::with_benches(format!("calls_{count}"), move |wasm| {
            populated::calls(wasm, &seeds, count)
        }));
    }
    for count in [10, 1_000, 100_000] {
        let seeds = seeds.clone();
        let scenario = Scenario::with_bench(format!("migrate_{count}"), move |wasm| {
            populated::migration(wasm, &seeds, count)
        });
        // The scenario with 100,000 sessions takes minutes, most of them to create the state.
        let only_full = count == 100_000;
        all.push(Scenario { builds: &[Build::Staged, Build::Direct], only_full, ..scenario });
    }
    for (sessions, chunks) in [(10, 0), (2, 20), (1, 400)] {
        let seeds = seeds.clone();
        let scenario = Scenario::with_bench(format!("migrate_chunks_{chunks}"), move |wasm| {
            populated::migration_with_chunks(wasm, &seeds, sessions, chunks)
        });
        // The state with 400 chunks has 720 MB of payload.
        let only_full = chunks == 400;
        all.push(Scenario { builds: &[Build::Staged, Build::Direct], only_full, ..scenario });
    }
    for quarantined in IN_QUARANTINE {
        let seeds = seeds.clone();
        let scenario = Scenario::with_bench(format!("{MOVE_WITH_QUARANTINE}{quarantined}"), move |wasm| {
            populated::move_with_quarantine(wasm, &seeds, quarantined)
        });
        all.push(Scenario { builds: &[Build::Direct], ..scenario });
    }
    let scenario = Scenario::with_bench("move_10", move |wasm| populated::move_to_extents(wasm, &seeds, 10));
    all.push(Scenario { builds: &[Build::Direct], ..scenario });
    all
}
