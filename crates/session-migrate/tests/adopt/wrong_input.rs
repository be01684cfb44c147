//! `adopt` with unusable input or an unusable output path: it prints one line that begins with `error: `, has the right
//! exit code, and leaves no file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use upload_model::public_release::PublicRelease;

use super::release::{NOW, file, person};

fn release_stable_memory() -> Vec<u8> {
    let mut release = PublicRelease::new(1);
    let capsule = release.create_capsule(person(1), NOW);
    release.upload(&capsule, 1, &file(900, 1), NOW + 1);
    release.stable_memory()
}

/// Returns the paths of everything in a folder.
fn names(folder: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

/// Expects that nothing is adopted, that one line says why, and that no file is created.
fn expect_refusal(folder: &Path, args: &[&str], code: i32, expected: &str) {
    let before = names(folder);
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_session-migrate"))
        .arg("adopt")
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!((status.code(), stdout.len()), (Some(code), 0), "{args:?}: {stderr}");
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{args:?}: {stderr}");
    assert!(errors[0].contains(expected), "{args:?}: `{expected}` in {stderr}");
    assert_eq!(names(folder), before, "{args:?}");
}

#[test]
fn input_that_is_not_a_snapshot_of_that_release_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let old = release_stable_memory();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    write("text.bin", b"hello");
    write("zeros.bin", &[0; 65_536]);
    write("cut.bin", &old[..old.len() - 7]);
    write("short.bin", &old[..65_536 * 2]);
    write("candid.bin", &[b"DIDL\x00\x00".as_slice(), &[0; 65_530]].concat());
    fs::create_dir(folder.join("empty")).unwrap();
    let args = |name| [name, "--out", "new"];
    expect_refusal(folder, &args("absent.bin"), 2, "cannot read absent.bin");
    expect_refusal(folder, &args("text.bin"), 2, "expected whole pages");
    expect_refusal(folder, &args("cut.bin"), 2, "expected whole pages");
    expect_refusal(folder, &args("zeros.bin"), 2, "is not a snapshot of the first public release");
    expect_refusal(folder, &args("short.bin"), 2, "is not a snapshot of the first public release");
    expect_refusal(folder, &args("candid.bin"), 2, "not what the first public release saves");
    expect_refusal(folder, &args("empty"), 2, "has no metadata.json");
}

#[test]
fn unusable_output_paths_and_modules_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    fs::write(folder.join("old.bin"), release_stable_memory()).unwrap();
    fs::create_dir(folder.join("there")).unwrap();
    fs::write(folder.join("half.left.jsonl"), "").unwrap();
    fs::write(folder.join("other.manifest.json"), "").unwrap();
    expect_refusal(folder, &["old.bin", "--out", "there"], 2, "there exists");
    expect_refusal(folder, &["old.bin", "--out", "half"], 2, "half.left.jsonl exists");
    expect_refusal(folder, &["old.bin", "--out", "other"], 2, "other.manifest.json exists");
    expect_refusal(folder, &["old.bin", "--out", "no/such/folder"], 2, "cannot write into");
    expect_refusal(folder, &["old.bin", "--out", "old.bin/new"], 2, "cannot write into");
    expect_refusal(
        folder,
        &["old.bin", "--out", "new", "--json", "no/such/report"],
        2,
        "cannot write no/such/report",
    );
    // Nobody can create a folder in `/proc`.
    expect_refusal(folder, &["old.bin", "--out", "/proc/new"], 2, "cannot write into /proc");
    fs::write(folder.join("text.wasm"), "hello").unwrap();
    expect_refusal(folder, &["old.bin", "--out", "new", "--legacy", "text.wasm"], 2, "text.wasm");
}

/// A limit on the size of files simulates a full disk. The signal for exceeding it is ignored, so that writing fails.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_no_partial_output() {
    use session_migrate::build::{Build, ensure_one};

    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    fs::write(folder.join("old.bin"), release_stable_memory()).unwrap();
    let before = names(folder);
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_session-migrate")])
        .args(["adopt", "old.bin", "--out", "new", "--legacy"])
        .arg(ensure_one(Build::Legacy).unwrap().wasm_gz)
        .current_dir(folder)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 0), "{stderr}");
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(errors.len() == 1 && errors[0].contains("cannot write"), "{stderr}");
    assert_eq!(names(folder), before);
}
