//! Four bugs that an upgrade could introduce, planted one at a time: the tool finds each of them where it becomes
//! visible, and reports nothing on builds without a bug.

mod mutants;

use std::path::Path;

use candid::Principal;
use session_migrate::Verdict;
use session_migrate::ab::report::Place;
use session_migrate::ab::{self, Options, Report, rules_of_the_tree};
use session_migrate::build::Module;
use session_migrate::client::{Asset, UploadStep, Uploader};
use session_migrate::compare::{self, Judgement, Tally};
use session_migrate::progress::Progress;
use session_migrate::replay::{Builds, Player, ReplayCanister};
use session_migrate::trace::{EventKind, Header, Recorder, Tape, Trace};
use session_migrate::workload::{Order, Workload};
use upload_canister::api::AssetType;

const IDEM: &str = "the key";

fn client() -> Principal {
    Principal::self_authenticating("client of the test")
}

/// Records an upload of three chunks, with an upgrade from the legacy to the staged build after the second chunk. After
/// the upgrade, the client repeats the begin, asks for the status, and continues.
fn record(folder: &Path) -> (Trace, String) {
    let path = folder.join("upload.trace");
    let controller = Principal::self_authenticating("controller of the test");
    let header = Header::new(1_767_225_600_000_000_000, "legacy", "a test", vec![controller]);
    let mut builds = Builds::default();
    let subject = ReplayCanister::install("legacy", &builds.get("legacy").unwrap(), &header).unwrap();
    let tape = Tape::new(Recorder::create(&path, &header).unwrap());
    let file = folder.join("file.bin");
    std::fs::write(&file, tape.generate(1, 0, 4_000_000)).unwrap();
    let canister = subject.canister().recorded(Some(&tape));
    let capsule = canister.capsules_create(client(), None).unwrap().id;
    let asset = Asset::open(&file, "file.bin", AssetType::Original).unwrap();
    let mut upload = Uploader::new(client(), &capsule, asset, IDEM, 1_800_000);
    for step in [UploadStep::Begin, UploadStep::Put(0), UploadStep::Put(1)] {
        upload.step(&canister, step).unwrap();
    }
    canister.upgrade(controller, "staged", &builds.get("staged").unwrap()).unwrap();
    upload.step(&canister, UploadStep::Begin).unwrap();
    upload.run(&canister).unwrap();
    tape.finish().unwrap();
    (Trace::read(&path).unwrap(), capsule)
}

/// Plays the trace with a bug planted after its upgrade.
fn replay(trace: &Trace, plant: impl FnOnce(&ReplayCanister, &Module)) -> Judgement {
    let mut builds = Builds::default();
    let mut subject =
        ReplayCanister::install("legacy", &builds.get("legacy").unwrap(), &trace.header).unwrap();
    let staged = builds.get("staged").unwrap();
    let upgrade =
        trace.events.iter().position(|event| matches!(event.what, EventKind::Upgrade { .. })).unwrap();
    let mut player = Player::new(trace, &mut subject, &mut builds, &[]).unwrap();
    player.play_to(upgrade + 1).unwrap();
    plant(player.subject(), &staged);
    player.play_to(trace.events.len()).unwrap();
    compare::with_record(trace, &player.finish().events, &mut Tally::new(rules_of_the_tree().unwrap()))
}

/// Returns the method of the first wrong answer, the field that differs, and its value in the replay.
fn first_wrong(judgement: &Judgement) -> (&str, &str, &str) {
    let first = judgement.wrong.first().expect("the bug was not found");
    (&first.method, &first.difference.field, &first.difference.b)
}

#[test]
fn a_loss_in_a_conversion_is_found_by_replay() {
    let folder = tempfile::tempdir().unwrap();
    let (trace, capsule) = record(folder.path());

    let sound = replay(&trace, |_, _| {});
    assert!(sound.wrong.is_empty() && sound.equal >= 8, "{sound:?}");

    let chunk_lost = replay(&trace, |subject, staged| mutants::lose_chunk(subject, staged, 1));
    let (of, field, now) = first_wrong(&chunk_lost);
    assert_eq!((of, field), ("uploads_status", "Ok.missing[].first"), "{chunk_lost:?}");
    assert_eq!(now, "1 : nat32");

    let key_lost = replay(&trace, |subject, staged| {
        mutants::lose_key(subject, staged, (&capsule, client(), IDEM));
    });
    let (of, field, now) = first_wrong(&key_lost);
    assert_eq!((of, field), ("uploads_begin", "Ok"), "{key_lost:?}");
    assert_eq!(now, "\"@session:2\"", "the repeated begin gets another session");
}

/// Compares the direct build, as side A, with a mutant of it, as side B.
fn compare_with_mutant(mutant: impl FnOnce(&Module) -> Module, workload: Workload) -> Report {
    let mut builds = Builds::default();
    let mutant = mutant(&builds.get("direct").unwrap());
    builds.set("mutant", mutant);
    let comparands = vec![ab::Comparand::Workload(Order { workload, seed: 1, size: 1 })];
    let rules = rules_of_the_tree().unwrap();
    let options = Options { a: "direct".into(), b: "mutant".into(), comparands, rules, builds };
    ab::run(options, &Progress::hidden()).unwrap()
}

#[test]
fn a_wrong_error_kind_is_found_by_ab() {
    let report = compare_with_mutant(
        |direct| mutants::with_other_error_kind(direct, b"NotFound", b"NotFount"),
        Workload::AbusiveClient,
    );
    assert_eq!(report.verdict, Verdict::Fail);
    let replies: Vec<_> = report.regressions().filter(|(_, found)| found.place == Place::Reply).collect();
    let status = replies.iter().find(|(_, found)| found.of == "uploads_status").unwrap().1;
    assert!(status.a.contains("NotFound") && !status.b.contains("NotFound"), "{status:?}");
    assert!(status.line.is_some());
    assert!(replies.iter().all(|(_, found)| found.a.contains("NotFound")), "{replies:?}");
}

#[test]
fn five_percent_more_instructions_are_found_by_ab() {
    let sound = compare_with_mutant(Module::clone, Workload::OutOfOrder);
    assert_eq!(sound.verdict, Verdict::Pass, "{:?}", sound.regressions().collect::<Vec<_>>());
    let put = sound.runs[0].endpoints.iter().find(|endpoint| endpoint.name == "uploads_put_chunk").unwrap();
    assert_eq!(put.a, put.b, "the same calls cost the same");

    // A twentieth of the instructions of one message.
    let rounds = put.a.total / put.a.messages / 20 / mutants::INSTRUCTIONS_PER_ROUND;
    let slower =
        |direct: &Module| mutants::slower(direct, "canister_update uploads_put_chunk", rounds as i32);
    let report = compare_with_mutant(slower, Workload::OutOfOrder);
    assert_eq!(report.verdict, Verdict::Fail);
    let regressions: Vec<_> = report.regressions().map(|(_, found)| found).collect();
    let [only] = regressions.as_slice() else { panic!("{regressions:?}") };
    assert_eq!((only.place, only.of.as_str()), (Place::Cost, "update uploads_put_chunk"));
    let put = report.runs[0].endpoints.iter().find(|endpoint| endpoint.name == "uploads_put_chunk").unwrap();
    assert!((4.9..5.1).contains(&put.more_percent), "{}", put.more_percent);
}
