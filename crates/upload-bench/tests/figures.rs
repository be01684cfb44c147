//! Properties of the figures themselves: they are reproducible, and the documents are derived from them.

use std::path::PathBuf;

use session_migrate::build::Build;
use upload_bench::bench::Bench;
use upload_bench::cost::Cost;
use upload_bench::measure::{self, Selection};
use upload_bench::{publish, scenarios};

/// Returns a benchmark without what may differ from run to run.
fn without_times(mut bench: Bench) -> Bench {
    for step in &mut bench.steps {
        step.cost = Cost { wall_nanos: 0, ..step.cost };
    }
    bench
}

#[test]
fn every_figure_is_the_same_in_the_next_run() {
    let wasms = measure::wasms(&[Build::Direct]).unwrap();
    let run = |only: &str| {
        let selection = Selection { full: false, only: Some(only.into()) };
        let mut measured = measure::run(&wasms, &selection, &|_, _| {}).unwrap();
        let benches = measured.remove(0).results.benches;
        benches.into_iter().map(without_times).collect::<Vec<_>>()
    };
    for only in ["chunk_again", "small", "calls_10"] {
        let (first, second) = (run(only), run(only));
        assert!(!first.is_empty(), "{only} names no scenario");
        assert_eq!(first, second);
    }
}

#[test]
fn the_documents_match_the_results() {
    assert_eq!(publish::outdated().unwrap(), Vec::<PathBuf>::new(), "run: cargo bench-costs document");
}

#[test]
fn every_scenario_has_a_unique_name() {
    let mut names: Vec<String> = scenarios::all().into_iter().map(|scenario| scenario.name).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}
