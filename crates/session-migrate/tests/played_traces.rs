//! Traces that are difficult to replay: calls that depend on other calls in flight at the same time, and a canister
//! that is stopped at the end.

use std::path::{Path, PathBuf};

use candid::Principal;
use session_migrate::Verdict;
use session_migrate::ab::{self, Options, rules_of_the_tree};
use session_migrate::client::EncodedCall;
use session_migrate::compare::{self, Tally};
use session_migrate::progress::Progress;
use session_migrate::replay::{self, Builds, Played, ReplayCanister};
use session_migrate::trace::{Event, EventKind, Header, Recorder, Tape, Trace, Writer};
use upload_canister::api::{Capsule, CapsuleAccess, PersonRef, Result};

const BUILD: &str = "direct";

fn person(name: &str) -> Principal {
    Principal::self_authenticating(name)
}

/// Returns a trace of what `act` does with a fresh canister.
fn record(path: PathBuf, act: impl FnOnce(&ReplayCanister, &Tape)) -> Trace {
    let header = Header::new(1_767_225_600_000_000_000, BUILD, "a test", vec![person("controller")]);
    let module = Builds::default().get(BUILD).unwrap();
    let subject = ReplayCanister::install(BUILD, &module, &header).unwrap();
    let tape = Tape::new(Recorder::create(&path, &header).unwrap());
    act(&subject, &tape);
    tape.finish().unwrap();
    Trace::read(&path).unwrap()
}

fn create_capsule() -> EncodedCall {
    EncodedCall::new("capsules_create", (None::<PersonRef>,)).unwrap()
}

/// Returns a trace in which one client still waits for its answer while another client already uses the capsule id from
/// its own answer.
fn overtaken(path: PathBuf) -> Trace {
    record(path, |subject, tape| {
        let canister = subject.canister().recorded(Some(tape));
        let slow = canister.submit(person("slow"), create_capsule()).unwrap();
        let quick = canister.submit(person("quick"), create_capsule()).unwrap();
        let reply = canister.wait("capsules_create", quick).unwrap();
        let capsule: Result<Capsule> = candid::decode_one(&reply).unwrap();
        let access =
            CapsuleAccess { owners: vec![person("quick")], writers: vec![], readers: vec![person("friend")] };
        canister.capsules_set_access(person("quick"), &capsule.unwrap().id, &access).unwrap();
        canister.wait("capsules_create", slow).unwrap();
    })
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_call_that_depends_on_another_of_its_group_is_played() {
    let folder = folder();
    let trace = overtaken(folder.path().join("overtaken.trace"));
    let together = |event: &Event| matches!(&event.what, EventKind::Call(call) if call.together);
    assert_eq!(trace.events.iter().map(together).collect::<Vec<_>>(), [false, true, true]);

    let mut builds = Builds::default();
    let mut subject = ReplayCanister::install(BUILD, &builds.get(BUILD).unwrap(), &trace.header).unwrap();
    let playback = replay::play(&trace, &mut subject, &mut builds, &[]).unwrap();
    assert!(
        playback.events.iter().all(|played| matches!(played, Played::Answered(_))),
        "{:?}",
        playback.events
    );
    let judgement =
        compare::with_record(&trace, &playback.events, &mut Tally::new(rules_of_the_tree().unwrap()));
    assert_eq!((judgement.equal, judgement.wrong), (3, vec![]));
}

/// Compares a build with itself on a trace.
fn ab_of(path: &Path) -> ab::Report {
    let comparands = vec![ab::Comparand::Trace(path.to_path_buf())];
    let rules = rules_of_the_tree().unwrap();
    let options = Options { a: BUILD.into(), b: BUILD.into(), comparands, rules, builds: Builds::default() };
    ab::run(options, &Progress::hidden()).unwrap()
}

#[test]
fn a_canister_stopped_at_the_end_is_compared_nevertheless() {
    let folder = folder();
    let path = folder.path().join("stopped.trace");
    record(path.clone(), |subject, tape| {
        subject.canister().recorded(Some(tape)).capsules_create(person("client"), None).unwrap();
        subject.stop().unwrap();
        tape.add_event(subject.now(), EventKind::Stop);
    });
    let report = ab_of(&path);
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.regressions().collect::<Vec<_>>());
    assert!(report.runs[0].equal.state > 0);
    assert_eq!(report.stale_rules().count(), 0, "a single trace cannot show that a rule is stale");
}

#[test]
fn a_call_not_played_on_either_build_counts_as_a_difference() {
    let folder = folder();
    let trace = overtaken(folder.path().join("overtaken.trace"));
    // The same trace without its beginning: no reply contains the capsule's id.
    let path = folder.path().join("beheaded.trace");
    let mut writer = Writer::create(&path, &trace.header).unwrap();
    trace.events.iter().skip(2).for_each(|event| writer.add_event(event).unwrap());
    writer.finish().unwrap();
    let report = ab_of(&path);
    assert_eq!(report.verdict, Verdict::Fail);
    let found = report.regressions().map(|(_, found)| found.a.clone()).next().unwrap();
    assert!(found.contains("not sent"), "{found}");
}
