//! Tests of `inspect` on sound snapshots of every layout, on folders that are not snapshots, and on arbitrary
//! bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use ic_stable_structures::Memory as _;
use ic_stable_structures::memory_manager::MemoryId;
use proptest::prelude::*;
use session_migrate::Verdict;
use session_migrate::inspect::{self, InspectError, Options, Report, Severity};
use session_migrate::progress::Progress;
use upload_canister::stable::layout::Layout;
use upload_canister::stable::{Memories, RawMemory};

use super::aged::{NativeCanister, aged, write_folder};

pub fn inspected(stable: &[u8], deep: bool) -> Result<Report, InspectError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stable_memory.bin");
    fs::write(&path, stable).unwrap();
    inspect::run(&Options { snapshot: path, deep }, &Progress::hidden())
}

pub fn lines(report: &Report) -> Vec<String> {
    report.findings.iter().map(ToString::to_string).collect()
}

/// Returns the stable memory of a canister in this layout after thousands of calls; each of the three is created once.
pub fn sound_memory(layout: Layout) -> &'static [u8] {
    static CANISTERS: [OnceLock<Vec<u8>>; 3] = [const { OnceLock::new() }; 3];
    CANISTERS[usize::from(layout.0) - 1].get_or_init(|| aged(layout, 1_500, 7).bytes())
}

/// Returns the ids of the memories that have pages.
fn memories_in_use(stable: &[u8]) -> Vec<u8> {
    let raw = RawMemory::default();
    raw.borrow_mut().extend_from_slice(stable);
    let memories = Memories::init(raw);
    (0..255).filter(|id| memories.get(MemoryId::new(*id)).size() > 0).collect()
}

const LAYOUTS: [Layout; 3] = [Layout::LEGACY, Layout::SPLIT, Layout::EXTENTS];

fn damage_lines(report: &Report) -> Vec<String> {
    let damage = report.findings.iter().filter(|finding| finding.severity == Severity::Damage);
    damage.map(ToString::to_string).collect()
}

#[test]
fn a_used_canister_is_sound_in_every_layout() {
    for layout in LAYOUTS {
        let report = inspected(sound_memory(layout), true).unwrap();
        assert_eq!(damage_lines(&report), Vec::<String>::new(), "{layout:?}");
        assert_eq!((report.verdict, report.layout), (Verdict::Pass, layout.0));
        let counts = &report.counts;
        assert!(counts.sessions > 5 && counts.memories > 20 && counts.blobs > 20, "{counts:?}");
        let deep = report.deep.clone().unwrap();
        assert_eq!((deep.sound, deep.blobs), (counts.blobs, counts.blobs));
        assert!(report.memory.bytes_in_use > 0 && report.memory.bytes_in_use <= report.memory.bytes);
        let known: Vec<u8> = report.tables.iter().map(|table| table.id).collect();
        assert_eq!(known, memories_in_use(sound_memory(layout)), "every memory is read");
        let page = report.to_html();
        assert!(page.contains("sound") && !page.contains("class=\"fail\""), "{page}");
    }
}

#[test]
fn every_class_without_damage_is_counted() {
    let report = inspected(sound_memory(Layout::LEGACY), false).unwrap();
    let first = report.classes.iter().filter(|class| class.migration == 1);
    let missing: Vec<_> = first.filter(|class| class.count == 0).map(|class| class.class.as_str()).collect();
    // The remaining classes are damage, or the result of a message that trapped.
    assert_eq!(missing, ["undecodable", "unknown version", "foreign key", "cut off"], "{:?}", report.classes);
    let all: u64 = report.classes.iter().filter(|class| class.migration == 1).map(|class| class.count).sum();
    assert_eq!(all, report.counts.legacy_sessions);
}

#[test]
fn a_canister_used_after_a_rollback_is_sound() {
    let mut canister = aged(Layout::SPLIT, 400, 11);
    canister.roll_back();
    canister.make_calls(200);
    let report = inspected(&canister.bytes(), false).unwrap();
    assert_eq!(damage_lines(&report), Vec::<String>::new());
    assert_eq!(report.layout, 1);
    assert!(report.migrations.iter().any(|migration| migration.phase == "RolledBack"), "{report:?}");
}

#[test]
fn a_blob_keeps_its_bytes_when_its_old_session_moves() {
    // The first public release kept the session of a committed upload, with the same chunks.
    let mut canister = NativeCanister::new(1);
    canister.make_calls(20);
    canister.add_foreign_records();
    canister.split_sessions();
    canister.move_to_extents();
    canister.sweep();
    let report = inspected(&canister.bytes(), true).unwrap();
    assert_eq!(damage_lines(&report), Vec::<String>::new());
    let deep = report.deep.clone().unwrap();
    assert_eq!(
        (deep.sound, report.counts.chunks),
        (deep.blobs, 4),
        "every blob is sound, and only chunks of quarantined sessions stay in the map: {:?}",
        report.counts
    );
}

/// A snapshot of each layout and its report are checked in; `UPDATE_GOLDEN=1` writes them again.
#[test]
fn the_golden_snapshots_are_read_as_they_were() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/golden");
    for (layout, name) in LAYOUTS.into_iter().zip(["legacy", "split", "extents"]) {
        let [stable, expected] = [".bin.gz", ".txt"].map(|end| folder.join(format!("{name}{end}")));
        let update = std::env::var_os("UPDATE_GOLDEN").is_some();
        if update {
            let file = fs::File::create(&stable).unwrap();
            let mut gz = flate2::write::GzEncoder::new(file, flate2::Compression::best());
            std::io::Write::write_all(&mut gz, &aged(layout, 80, 42).bytes()).unwrap();
            gz.finish().unwrap();
        }
        let report = inspect::run(&Options { snapshot: stable, deep: true }, &Progress::hidden()).unwrap();
        let Report { layout, counts, sessions, classes, found, .. } = report;
        let classes: Vec<_> = classes.iter().filter(|class| class.count > 0).collect();
        let found: Vec<_> = found.iter().map(|found| (found.kind.name(), found.count)).collect();
        let now = format!("{layout}\n{counts:#?}\n{sessions:#?}\n{classes:#?}\n{found:?}\n");
        if update {
            fs::write(&expected, &now).unwrap();
        }
        assert_eq!(now, fs::read_to_string(&expected).unwrap(), "{name}");
    }
}

#[test]
fn canisters_of_many_seeds_are_sound() {
    for seed in 100..106 {
        for layout in LAYOUTS {
            let report = inspected(&aged(layout, 250, seed).bytes(), false).unwrap();
            assert_eq!(damage_lines(&report), Vec::<String>::new(), "seed {seed}, {layout:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_flipped_bytes_make_an_inspection_panic(
        layout in 0..3_usize,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..40),
    ) {
        static SMALL: [OnceLock<Vec<u8>>; 3] = [const { OnceLock::new() }; 3];
        let sound = SMALL[layout].get_or_init(|| aged(LAYOUTS[layout], 120, 5).bytes());
        let mut bytes = sound.clone();
        // Only blocks of 64 bytes that are not all zeros are changed.
        let used: Vec<usize> = (0..bytes.len() / 64).filter(|n| bytes[n * 64..n * 64 + 64].iter().any(|b| *b != 0)).collect();
        for (place, change) in flips {
            let block = used[place.index(used.len())];
            bytes[block * 64 + place.index(64)] ^= change;
        }
        // Any result is allowed, but no panic.
        let _ = inspected(&bytes, true);
    }
}

fn run(args: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_session-migrate")).arg("inspect").args(args).output().unwrap()
}

#[test]
fn a_foreign_snapshot_is_refused_in_one_line_with_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let file = |name: &str, bytes: &[u8]| {
        fs::write(at(name), bytes).unwrap();
        at(name)
    };
    let sound = aged(Layout::LEGACY, 50, 3).bytes();
    // Stable memory that begins with a cell instead of a memory manager, and a memory manager with another canister's
    // table.
    let other = ic_stable_structures::VectorMemory::default();
    drop(ic_stable_structures::Cell::init(other.clone(), vec![1_u8; 9]));
    let managed = ic_stable_structures::VectorMemory::default();
    let manager = ic_stable_structures::memory_manager::MemoryManager::init(managed.clone());
    let id = ic_stable_structures::memory_manager::MemoryId::new(0);
    drop(ic_stable_structures::Cell::init(manager.get(id), vec![1_u8; 9]));
    let mut newer = aged(Layout::LEGACY, 20, 3);
    newer.storage.layout.set(&Layout(4));
    let newer = newer.bytes();
    write_folder(&at("foreign module"), &sound, 1, Some(b"\0asm\x01\0\0\0"));
    write_folder(&at("interrupted"), &sound, 1, None);
    file("interrupted/.download_progress.json", b"{}");
    fs::create_dir(at("empty folder")).unwrap();
    let cases: Vec<(PathBuf, &str)> = vec![
        (at("nowhere"), "nowhere"),
        (at("empty folder"), "no metadata.json"),
        (at("interrupted"), "download --resume"),
        (at("foreign module"), "is not an upload canister's module"),
        (file("empty", b""), "empty"),
        (file("truncated", &sound[..sound.len() - 7]), "whole pages"),
        (file("cell", &other.borrow()), "expected the memory manager's"),
        (file("another canister", &managed.borrow()), "not a snapshot of an upload canister"),
        (file("candid", &[b"DIDL".as_slice(), &[0; 65_532]].concat()), "stable_save"),
        (file("newer", &newer), "stable layout 4"),
    ];
    for (path, words) in cases {
        let output = run(&[&path]);
        let text = String::from_utf8_lossy(&output.stderr);
        let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(output.status.code(), Some(2), "{}: {text}", path.display());
        assert!(errors.len() == 1 && errors[0].contains(words), "{}: {text}", path.display());
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn the_command_prints_reports_and_keeps_the_snapshot_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let snapshot = folder.path().join("snapshot");
    let stable = sound_memory(Layout::SPLIT);
    write_folder(&snapshot, stable, 1_770_000_000_000_000_000, None);
    let [json, html] = ["report.json", "report.html"].map(|name| folder.path().join(name));
    let output =
        run(&[&snapshot, Path::new("--deep"), Path::new("--json"), &json, Path::new("--html"), &html]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for words in ["stable layout: 2", "verdict: pass", "migration 1: Converted", "buckets of stable memory"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let report: Report = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!((report.layout, report.snapshot.taken_at), (2, Some(1_770_000_000_000_000_000)));
    assert!(fs::read_to_string(&html).unwrap().contains("sound"));
    assert!(fs::read(snapshot.join("stable_memory.bin")).unwrap() == stable, "the snapshot is unchanged");
    let left: Vec<_> = fs::read_dir(&snapshot).unwrap().collect();
    assert_eq!(left.len(), 3, "{left:?}");
}
