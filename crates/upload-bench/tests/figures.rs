//! Properties of the figures themselves: they are reproducible, and the documents are derived from them.

use std::path::PathBuf;

use session_migrate::build::Build;
use upload_bench::bench::Bench;
use upload_bench::cost::Cost;
use upload_bench::measure::{self, Selection};
use upload_bench::{peers, publish, scenarios};

/// Returns the benchmark without the times, which alone differ between runs.
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

#[test]
fn every_job_is_done_by_the_build_and_the_asset_canister() {
    let wasm = measure::wasms(&[Build::Direct]).unwrap().remove(0);
    let figures = peers::run_jobs(&wasm).unwrap();
    let [direct, assets] = figures.as_slice() else { panic!("the jobs were not done on two canisters") };
    let names: Vec<String> = peers::all_jobs().iter().map(ToString::to_string).collect();
    assert_eq!(direct.jobs.iter().map(|cost| cost.job.clone()).collect::<Vec<_>>(), names);
    let missing: Vec<&String> =
        names.iter().filter(|name| !assets.jobs.iter().any(|cost| cost.job == **name)).collect();
    assert_eq!(missing, ["read over HTTP, private: 10 KiB"], "the asset canister has no private files");
    assert!(
        figures.iter().flat_map(|peer| &peer.jobs).all(|cost| cost.messages > 0 && cost.instructions > 0)
    );
}

#[test]
fn every_job_of_every_canister_is_checked_in() {
    let recorded = publish::recorded_peers().unwrap().unwrap_or_default();
    let names: Vec<&str> = recorded.iter().map(|peer| peer.name.as_str()).collect();
    assert_eq!(names, ["legacy", "staged", "direct", "ic-certified-assets"]);
    for peer in &recorded {
        let expected = peers::states_of(&peer.name).iter().flat_map(|&state| {
            let jobs = peers::all_jobs().into_iter().filter(move |job| state.includes(job));
            jobs.map(move |job| (state, job.to_string()))
        });
        // The asset canister has no private files.
        let is_possible = |job: &str| peer.name != "ic-certified-assets" || !job.contains("private");
        let expected: Vec<_> = expected.filter(|(_, job)| is_possible(job)).collect();
        let found: Vec<_> = peer.jobs.iter().map(|cost| (cost.state, cost.job.clone())).collect();
        assert_eq!(found, expected, "{}", peer.name);
    }
    let page = publish::documents().unwrap().page;
    for job in peers::all_jobs().iter().map(ToString::to_string) {
        let row = page.lines().find(|line| line.starts_with(&format!("| {job} ")));
        assert!(row.is_some(), "docs/costs.md has no row for {job}");
    }
}
