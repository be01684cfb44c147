//! Fuzzing of all external input: wasm modules and the bodies of requests. The server must answer all of it.
//!
//! The cases are drawn from the seeds of `seeds.txt`, so that every run has the same cases. `FUZZ_SEED=<number>` draws
//! other cases, `FUZZ_CASES=<number>` sets their number. A seed that finds a fault is added to the file.

#[path = "../common/mod.rs"]
mod common;

mod bodies;
mod envelopes;
mod json;
mod modules;
mod program;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

/// Number of cases per seed, unless `FUZZ_CASES` is set.
const CASES: u32 = 150;

/// Returns `FUZZ_SEED` if it is set, otherwise the seeds in `seeds.txt`.
fn seeds() -> Vec<u64> {
    let text = match std::env::var("FUZZ_SEED") {
        Ok(seed) => seed,
        Err(_) => include_str!("seeds.txt").to_owned(),
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.parse().expect("a seed is a number")).collect()
}

/// Checks the property for the cases of every seed; fails at the first seed with a case that violates it.
fn fuzz<S: Strategy>(strategy: &S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let cases = std::env::var("FUZZ_CASES").map_or(CASES, |cases| cases.parse().expect("a number of cases"));
    for seed in seeds() {
        let config = Config {
            cases,
            rng_seed: RngSeed::Fixed(seed),
            // A failure is reported with its seed, so no file is needed.
            failure_persistence: None,
            max_shrink_iters: 500,
            ..Config::default()
        };
        if let Err(failure) = TestRunner::new(config).run(strategy, &property) {
            panic!("seed {seed}: {failure}");
        }
    }
}
