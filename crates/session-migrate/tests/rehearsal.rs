//! Rehearsals from the command line, with the real wasms: some must pass, others must fail.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use session_migrate::build::{self, Build};

/// Size of a file of six chunks, five of them full.
const LARGE: usize = 5 * 1_800_000 + 1_234;
const SMALL: usize = 777;

struct FinishedRehearsal {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    report: Value,
}

/// Rehearses two files with three clients, and with these options.
fn rehearse(options: &[(&str, &Path)]) -> FinishedRehearsal {
    rehearse_with(&[], options)
}

/// Does the same as [`rehearse`]; `flags` are further names of files, or options without a value.
fn rehearse_with(flags: &[&str], options: &[(&str, &Path)]) -> FinishedRehearsal {
    let dir = tempfile::tempdir().unwrap();
    let content = |length: usize| (0..length).map(|i| (i * i / 7) as u8).collect::<Vec<u8>>();
    std::fs::write(dir.path().join("large.jpg"), content(LARGE)).unwrap();
    std::fs::write(dir.path().join("small.pdf"), content(SMALL)).unwrap();
    std::fs::write(dir.path().join("empty.txt"), "").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_session-migrate"));
    command
        .args(["rehearse", "--clients", "3", "--json", "report.json"])
        .args(["--files", "large.jpg", "small.pdf"])
        .args(flags)
        .current_dir(dir.path());
    for (option, path) in options {
        command.arg(option).arg(path);
    }
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let report =
        std::fs::read(dir.path().join("report.json")).unwrap_or_else(|_| panic!("no report: {stderr}"));
    let mut files: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["empty.txt", "large.jpg", "report.json", "small.pdf"]);
    FinishedRehearsal {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr,
        report: serde_json::from_slice(&report).unwrap(),
    }
}

fn wasm_path(build: Build) -> PathBuf {
    build::ensure(&[build]).unwrap().remove(0).wasm_gz
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort();
    keys
}

fn sorted<const N: usize>(mut keys: [&str; N]) -> Vec<&str> {
    keys.sort();
    keys.into()
}

#[test]
fn a_rehearsal_passes_and_reports_every_upload() {
    let FinishedRehearsal { code, stdout, stderr, report } = rehearse(&[]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("PocketIC server: "), "{stderr}");
    assert!(stdout.contains("verdict: pass"), "{stdout}");
    for phase in ["preparing files", "uploading to the legacy build", "reading everything back"] {
        assert!(stderr.lines().any(|line| line == phase), "{phase}: {stderr}");
    }
    assert!(stdout.contains("s building the wasms, "), "{stdout}");
    assert!(!stdout.contains('\u{1b}') && !stderr.contains('\u{1b}'), "escape codes without a terminal");

    assert_eq!(
        keys(&report),
        sorted([
            "verdict",
            "problems",
            "notes",
            "server",
            "provenance",
            "seed",
            "clients",
            "rollback",
            "seconds",
            "phases",
            "builds",
            "stages",
            "uploads",
            "runs",
            "migration",
            "payload",
        ])
    );
    assert_eq!(report["verdict"], "pass");
    assert_eq!(report["problems"], Value::Array(Vec::new()));
    assert_eq!((&report["seed"], &report["clients"]), (&Value::from(1), &Value::from(3)));
    let provenance = &report["provenance"];
    assert_eq!(keys(provenance), sorted(["began", "command", "tool", "commit", "dirty", "server"]));
    let command: Vec<_> =
        provenance["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(command[..4], ["session-migrate", "rehearse", "--clients", "3"]);
    assert!(provenance["server"].as_str().unwrap().starts_with("pocket-ic-server 16."), "{provenance}");
    let spent = |phase: &Value| phase["seconds"].as_f64().unwrap();
    let phases: f64 = report["phases"].as_array().unwrap().iter().map(spent).sum();
    let whole = report["seconds"].as_f64().unwrap();
    assert!(phases > 0.0 && phases <= whole, "{phases} of {whole}");
    let list = |name: &str| report[name].as_array().unwrap().clone();
    for build in list("builds") {
        assert_eq!(keys(&build), sorted(["name", "features", "wasm_bytes", "wasm_gz_bytes", "sha256"]));
    }
    let names: Vec<_> = list("builds").iter().map(|build| build["name"].clone()).collect();
    assert_eq!(names, ["legacy", "staged", "direct"]);
    for stage in list("stages") {
        assert_eq!(keys(&stage), sorted(["name", "build", "upgrade_ok", "instructions"]));
        assert_eq!(stage["upgrade_ok"], true);
    }
    assert_eq!(list("stages").len(), 3);

    let uploads = list("uploads");
    assert_eq!(uploads.len(), 6);
    for upload in &uploads {
        assert_eq!(
            keys(upload),
            sorted([
                "client",
                "name",
                "bytes",
                "sha256",
                "sha256_read_back",
                "state_at_upgrade",
                "chunks_before_upgrade",
                "chunks_total",
                "intact",
            ])
        );
        assert_eq!(upload["intact"], true, "{upload}");
        if upload["state_at_upgrade"] == "aborted" {
            assert_eq!(upload["sha256_read_back"], Value::Null);
        } else {
            assert_eq!(upload["sha256_read_back"], upload["sha256"], "{upload}");
        }
    }
    let mut states: Vec<_> =
        uploads.iter().map(|upload| upload["state_at_upgrade"].as_str().unwrap()).collect();
    states.sort();
    assert_eq!(states, sorted(["not_begun", "begun", "hole", "complete", "finished", "aborted"]));

    let migration = &report["migration"];
    assert_eq!(
        keys(migration),
        sorted([
            "source",
            "converted",
            "already",
            "quarantined",
            "expired",
            "digest_before",
            "digest_after",
            "instructions",
        ])
    );
    let count = |key: &str| migration[key].as_u64().unwrap();
    assert_eq!(count("source"), 3, "one each at begun, hole and complete");
    assert_eq!(
        count("source"),
        count("converted") + count("already") + count("quarantined") + count("expired")
    );
    assert_eq!(migration["digest_before"], migration["digest_after"]);
    assert_eq!(migration["digest_before"].as_str().unwrap().len(), 64);

    let payload = &report["payload"];
    assert_eq!(keys(payload), keys(migration));
    assert!(payload["source"].as_u64().unwrap() > 0, "something was moved into extents: {payload}");
    assert_eq!(payload["source"], payload["converted"]);
    assert_eq!(payload["digest_before"], payload["digest_after"]);
}

/// Expects that the upgrade of this stage was refused, that the exit code is 1, and that stderr names each upload that
/// is not intact, and no other.
fn expect_loss(run: &FinishedRehearsal, stage: usize, words: &str) {
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_eq!(run.report["verdict"], "fail");
    assert_eq!(run.report["stages"][stage]["upgrade_ok"], false);
    assert!(run.stderr.contains(words), "{}", run.stderr);
    for upload in run.report["uploads"].as_array().unwrap() {
        let name = format!("client {} {}:", upload["client"], upload["name"].as_str().unwrap());
        let named = run.stderr.contains(&name);
        assert_eq!(named, upload["intact"] == false, "{name} {}", run.stderr);
    }
}

#[test]
fn a_build_that_does_not_migrate_fails_the_rehearsal() {
    let legacy = wasm_path(Build::Legacy);
    let run = rehearse(&[("--staged", &legacy)]);
    expect_loss(&run, 1, "expected the staged build");
}

#[test]
fn a_build_that_refuses_the_layout_fails_the_rehearsal() {
    let legacy = wasm_path(Build::Legacy);
    let run = rehearse(&[("--direct", &legacy)]);
    expect_loss(&run, 2, "the upgrade to the direct build failed");
}

#[test]
fn a_rollback_between_the_upgrades_loses_nothing() {
    let FinishedRehearsal { code, stdout, stderr, report } = rehearse_with(&["--rollback"], &[]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let stages = report["stages"].as_array().unwrap();
    let builds: Vec<_> = stages.iter().map(|stage| stage["build"].as_str().unwrap()).collect();
    assert_eq!(builds, ["legacy", "staged", "legacy", "staged", "direct"]);
    assert!(report["uploads"].as_array().unwrap().iter().all(|upload| upload["intact"] == true));
    let runs: Vec<_> = report["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (run["migration"].as_u64().unwrap(), run["phase"].as_str().unwrap()))
        .collect();
    assert_eq!(runs, [(1, "Converted"), (1, "RolledBack"), (1, "Converted"), (2, "Converted")]);
    assert_eq!(stdout.lines().filter(|line| line.starts_with("sessions after upgrade to ")).count(), 3);
}

/// Writes the module of a build with another name for one of its methods; returns the path.
fn without_method(build: Build, export: &str, folder: &Path) -> PathBuf {
    let packed = std::fs::read(wasm_path(build)).unwrap();
    let mut bytes = build::unpack(&packed).unwrap().into_owned();
    // The name of the method occurs as an export, and as the name of its function.
    let places: Vec<usize> =
        (0..bytes.len() - export.len()).filter(|&at| bytes[at..].starts_with(export.as_bytes())).collect();
    assert!(!places.is_empty(), "{export} does not exist");
    for place in places {
        bytes[place + export.len() - 1] = b'_';
    }
    let path = folder.join("without.wasm");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_refused_finalize_is_reported_and_uploads_continue() {
    let folder = tempfile::tempdir().unwrap();
    let staged = without_method(Build::Staged, "canister_update migration_finalize", folder.path());
    let FinishedRehearsal { code, stderr, report, .. } = rehearse(&[("--staged", &staged)]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("migration_finalize was rejected"), "{stderr}");
    let stages = report["stages"].as_array().unwrap();
    let builds: Vec<_> = stages.iter().map(|stage| stage["build"].as_str().unwrap()).collect();
    assert_eq!(builds, ["legacy", "staged"], "the direct build is not installed");
    assert!(report["uploads"].as_array().unwrap().iter().all(|upload| upload["intact"] == true), "{stderr}");
}

#[test]
fn an_unavailable_list_is_a_finding() {
    let folder = tempfile::tempdir().unwrap();
    let direct = without_method(Build::Direct, "canister_query memories_list", folder.path());
    let FinishedRehearsal { code, stderr, report, .. } = rehearse(&[("--direct", &direct)]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("memories_list was rejected"), "{stderr}");
    assert!(report["uploads"].as_array().unwrap().iter().all(|upload| upload["intact"] == true), "{stderr}");
}

#[test]
fn duplicate_content_and_an_empty_file_are_not_losses() {
    let FinishedRehearsal { code, stdout, stderr, report } = rehearse_with(&["large.jpg", "empty.txt"], &[]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let uploads = report["uploads"].as_array().unwrap();
    assert_eq!(uploads.len(), 12);
    let empty = uploads.iter().filter(|upload| upload["bytes"] == 0);
    assert!(empty.clone().count() == 3 && empty.clone().all(|upload| upload["chunks_total"] == 0));
}
