//! Traces of clients of each release, and of incidents, each played on the builds that its `expect.toml` lists.
//!
//! Each folder below `tests/replay/` contains a trace: `calls.trace`, the calls and answers; `state.txt`, the final
//! state of the canister; `expect.toml`, what the trace is about, and the builds and interruptions with which it is
//! played. Every play must give the recorded answers and the recorded state, except for what a rule of
//! `ab/allowed.toml` allows. A new release adds a folder; an existing folder is never recorded again.
//!
//! `RECORD_TRACE=NAME` records a new folder by the workload or script that `replay/record.rs` has under that name.

mod record;

use std::path::PathBuf;

use serde::Deserialize;
use session_migrate::ab::rules_of_the_tree;
use session_migrate::compare::{self, Difference, Tally};
use session_migrate::replay::{self, Builds, Interruption, ReplayCanister, State};
use session_migrate::trace::Trace;

use crate::support::tree;

/// The content of `expect.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    about: String,
    play: Vec<Play>,
}

/// One play of the trace.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Play {
    /// The build on which the trace begins.
    build: String,
    /// Interruptions; see `cargo migrate replay --help`.
    #[serde(default)]
    interrupt: Vec<String>,
}

fn traces_folder() -> PathBuf {
    tree::root().join("tests/replay")
}

/// Returns the folders of the traces, sorted by name.
fn trace_folders() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(traces_folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// Plays a trace and returns what is wrong, one line each, and the final state of the canister.
fn play(trace: &Trace, case: &Play) -> (Vec<String>, State) {
    let interruptions: Vec<Interruption> = case.interrupt.iter().map(|text| text.parse().unwrap()).collect();
    let mut builds = Builds::default();
    let module = builds.get(&case.build).unwrap();
    let mut canister = ReplayCanister::install(&case.build, &module, &trace.header).unwrap();
    let mut playing = replay::play(trace, &mut canister, &mut builds, &interruptions).unwrap();
    let mut tally = Tally::new(rules_of_the_tree().unwrap());
    let judgement = compare::with_record(trace, &playing.events, &mut tally);
    assert!(judgement.equal > 0, "no answer is the recorded one");
    let wrong = judgement
        .wrong
        .iter()
        .map(|wrong| format!("line {}: {}: {:?}", wrong.line, wrong.method, wrong.difference));
    (wrong.collect(), replay::final_state(trace, &canister, &mut playing.codec).unwrap())
}

/// Returns a state as text, without the statistics of the canister: the size of its memory depends on its history.
fn state_text(state: &State) -> String {
    let entries = state.iter().filter(|((part, _), _)| *part != "stats");
    entries.map(|((part, name), text)| format!("{part}\t{name}\t{text}\n")).collect()
}

/// Compares two states that are given as text. Returns the differences that no rule allows.
fn differences(recorded: &str, now: &str) -> Vec<String> {
    let mut tally = Tally::new(rules_of_the_tree().unwrap());
    let entry = |line: &str| -> (String, String) {
        let (key, text) = line.rsplit_once('\t').unwrap();
        (key.to_owned(), text.to_owned())
    };
    let [a, b]: [std::collections::BTreeMap<String, String>; 2] =
        [recorded, now].map(|text| text.lines().map(entry).collect());
    let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let mut wrong = Vec::new();
    for key in keys {
        let part = key.split('\t').next().unwrap();
        let text =
            |side: &std::collections::BTreeMap<String, String>| side.get(key).cloned().unwrap_or_default();
        for difference in compare::differences_of_texts(&text(&a), &text(&b)) {
            if tally.use_rule_for(part, &difference).is_none() {
                let Difference { field, a, b } = difference;
                wrong.push(format!("{key}: {field}: recorded {a}, now {b}"));
            }
        }
    }
    wrong
}

#[test]
fn every_trace_replays_its_answers_and_state_on_its_builds() {
    let folders = trace_folders();
    assert!(!folders.is_empty(), "there are no traces");
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let expect: Expect = toml::from_str(&std::fs::read_to_string(folder.join("expect.toml")).unwrap())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let trace = Trace::read(&folder.join("calls.trace")).unwrap_or_else(|error| panic!("{error}"));
        let recorded = std::fs::read_to_string(folder.join("state.txt")).unwrap();
        assert!(!expect.about.is_empty() && !expect.play.is_empty(), "{name}: expect.toml lacks a value");
        for case in &expect.play {
            let (mut wrong, state) = play(&trace, case);
            wrong.extend(differences(&recorded, &state_text(&state)));
            assert!(wrong.is_empty(), "{name} on {} {:?}:\n{}", case.build, case.interrupt, wrong.join("\n"));
        }
    }
}

#[test]
fn a_difference_in_the_state_is_found() {
    let recorded = "sums\tall\t(record { receipts = 3 : nat64 })\nsession\t@session:1\t(record { path = variant { Compat } })\n";
    let same = recorded.replace("Compat", "Direct");
    assert!(differences(recorded, &same).is_empty(), "the path may differ");
    let wrong = differences(recorded, &recorded.replace('3', "4"));
    assert_eq!(wrong, ["sums\tall: receipts: recorded 3 : nat64, now 4 : nat64"]);
    let lost = recorded.lines().next().unwrap();
    assert_eq!(differences(recorded, lost).len(), 1);
}

/// Records the folder that `RECORD_TRACE` names, if it is set.
#[test]
fn a_new_trace_is_recorded_on_request() {
    let Ok(name) = std::env::var("RECORD_TRACE") else { return };
    let folder = traces_folder().join(&name);
    let path = folder.join("calls.trace");
    assert!(!path.exists(), "{} exists, and is not recorded again", path.display());
    std::fs::create_dir_all(&folder).unwrap();
    let build = record::by_name(&name, &path);
    let trace = Trace::read(&path).unwrap();
    let (wrong, state) = play(&trace, &Play { build: build.to_owned(), interrupt: Vec::new() });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    std::fs::write(folder.join("state.txt"), state_text(&state)).unwrap();
}
