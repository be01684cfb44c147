//! The figures in human-readable form: tables for the terminal, `docs/costs.md` and its plot.

mod document;
mod plot;
mod tables;
mod targets;

pub use document::{Sources, document, section};
pub use plot::plot;
pub use tables::{
    Style, bare_map_table, cost_table, full_chunks_table, move_table, one_map_table, quarantine_table,
    summary_table, table, target_table,
};
pub use targets::{ORIGIN_PER_MIB, Target};

use session_migrate::build::Build;

use crate::bench::Bench;
use crate::results::Results;

/// The figures of several builds.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    builds: Vec<Results>,
}

impl Figures {
    /// Returns the figures of these builds.
    pub fn new(builds: Vec<Results>) -> Self {
        Self { builds }
    }

    /// Returns the benchmarks of a build.
    pub fn benches(&self, build: Build) -> &[Bench] {
        self.builds.iter().find(|results| results.build == build).map_or(&[], |results| &results.benches)
    }

    /// Returns one benchmark of a build.
    pub fn bench(&self, build: Build, name: &str) -> Option<&Bench> {
        self.benches(build).iter().find(|bench| bench.name == name)
    }
}
