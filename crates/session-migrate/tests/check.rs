//! The command `check`: its exit codes, its output, and its errors for unusable input.

use std::borrow::Cow;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use stable_schema::{Schema, Shape};
use wasm_encoder::{CustomSection, Module};

const SCHEMA: &str = "icp:public stable:schema";
const CANDID: &str = "icp:public candid:service";

fn schema_path(build: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../schemas/{build}.json"))
}

fn interface(build: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../candid/{build}.did"));
    std::fs::read_to_string(path).unwrap()
}

fn schema(build: &str) -> Schema {
    Schema::from_json(&std::fs::read(schema_path(build)).unwrap()).unwrap()
}

/// Returns a module that contains only metadata.
fn module(sections: &[(&str, &str)]) -> Vec<u8> {
    let mut module = Module::new();
    for &(name, text) in sections {
        module.section(&CustomSection { name: Cow::Borrowed(name), data: Cow::Borrowed(text.as_bytes()) });
    }
    module.finish()
}

struct CommandOutput {
    code: i32,
    stdout: String,
    stderr: String,
}

fn check(folder: &Path, args: &[&str]) -> CommandOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_session-migrate"));
    let Output { status, stdout, stderr } =
        command.arg("check").args(args).current_dir(folder).output().unwrap();
    CommandOutput {
        code: status.code().unwrap(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

#[test]
fn the_checked_in_chain_passes_and_names_its_migrations() {
    let folder = tempfile::tempdir().unwrap();
    let [legacy, staged, direct] =
        ["legacy", "staged", "direct"].map(|build| schema_path(build).display().to_string());
    let first = check(folder.path(), &[&legacy, &staged, "--json", "report.json"]);
    assert_eq!((first.code, first.stderr.as_str()), (0, ""), "{}", first.stdout);
    for line in [
        "upgrade, legacy to staged: pass",
        "  memory 3, LEGACY_SESSIONS: needs migration 1",
        "    needs migration 1: migration 1, split sessions, moves its records into memories 11, 12",
        "  interface: not compared, since OLD or NEW has none",
        "rollback, staged to legacy: fail",
        "    conditional: layout 2 is refused: first roll back migration 1 on the staged build",
    ] {
        assert!(first.stdout.lines().any(|found| found == line), "{line}:\n{}", first.stdout);
    }
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("report.json")).unwrap()).unwrap();
    assert_eq!(report["upgrade"], "pass");
    assert_eq!(report["rollback"], "fail");
    assert_eq!(report["schemas"]["upgrade"][0]["verdict"]["needs-migration"], 1);

    let second = check(folder.path(), &[&staged, &direct]);
    assert_eq!(second.code, 0, "{}", second.stdout);
    assert!(second.stdout.contains("  memory 6, CHUNKS: needs migration 2\n"), "{}", second.stdout);

    assert_eq!(check(folder.path(), &[&direct, &direct, "--reversible"]).code, 0);
    let reversible = check(folder.path(), &[&legacy, &staged, "--reversible"]);
    assert_eq!(reversible.code, 1, "{}", reversible.stdout);
    // If the rollback is checked as an upgrade, it fails, too, since it is not safe from every state.
    assert_eq!(check(folder.path(), &[&staged, &legacy]).code, 1);
}

/// Compares the legacy with the staged build, and writes the report to `json`, a path in the folder.
fn check_into(folder: &Path, json: &str) {
    let [legacy, staged] = ["legacy", "staged"].map(|build| schema_path(build).display().to_string());
    let checked = check(folder, &[&legacy, &staged, "--json", json]);
    assert_eq!((checked.code, checked.stderr.as_str()), (0, ""), "{}", checked.stdout);
}

fn assert_is_report(json: &[u8]) {
    let report: serde_json::Value = serde_json::from_slice(json).unwrap();
    assert_eq!(report["upgrade"], "pass");
}

#[test]
fn a_report_for_a_pipe_is_written_into_the_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read(pipe).unwrap()
    });
    check_into(folder.path(), "pipe");
    assert!(pipe.metadata().unwrap().file_type().is_fifo(), "the pipe was replaced");
    assert_is_report(&reader.join().unwrap());
}

#[test]
fn a_report_for_a_link_is_written_to_its_target() {
    let folder = tempfile::tempdir().unwrap();
    let (link, reports) = (folder.path().join("link"), folder.path().join("reports"));
    std::fs::create_dir(&reports).unwrap();
    symlink("reports/report.json", &link).unwrap();
    let target = reports.join("report.json");
    // At first, the target does not exist.
    for _ in 0..2 {
        check_into(folder.path(), "link");
        assert!(link.is_symlink(), "the link was replaced");
        assert_is_report(&std::fs::read(&target).unwrap());
        assert_eq!(std::fs::read_dir(&reports).unwrap().count(), 1);
        std::fs::write(&target, "an old report").unwrap();
    }
}

/// The reader of the output ends early, as in `session-migrate check … | head`.
#[test]
fn a_reader_that_has_gone_does_not_change_the_exit_code() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_session-migrate"))
        .arg("check")
        .args([schema_path("legacy"), schema_path("staged")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    assert_eq!((status.code(), String::from_utf8(stderr).unwrap().as_str()), (Some(0), ""));
}

#[test]
fn a_forbidden_change_in_a_wasm_is_named_and_exits_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let old = schema("staged");
    let mut new = old.clone();
    let receipts = new.memories.iter_mut().find(|memory| memory.name == "RECEIPTS").unwrap();
    let Some(stable_schema::Value::Versions(versions)) = &mut receipts.value else {
        panic!("the values of RECEIPTS have no versions")
    };
    let Some(stable_schema::Body::Cbor(Shape::Record(record))) = versions.get_mut(&1) else {
        panic!("version 1 of RECEIPTS is not a CBOR record")
    };
    // Field 3 is `expires_at`.
    record.fields[3].shape = Shape::Text;
    let did = interface("staged");
    for (name, schema) in [("old.wasm", &old), ("new.wasm", &new)] {
        let bytes = module(&[(CANDID, &did), (SCHEMA, &schema.to_compact_json())]);
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let printed = check(folder.path(), &["old.wasm", "new.wasm"]);
    assert_eq!((printed.code, printed.stderr.as_str()), (1, ""), "{}", printed.stdout);
    for line in [
        "upgrade, staged to staged: fail",
        "  memory 17, RECEIPTS: forbidden",
        "    value.v1.expires_at: forbidden: u64 where text is read",
        "  interface: compatible",
    ] {
        assert!(printed.stdout.lines().any(|found| found == line), "{line}:\n{}", printed.stdout);
    }
}

#[test]
fn a_broken_interface_exits_with_1_and_a_trailing_result_warns() {
    let folder = tempfile::tempdir().unwrap();
    let json = schema("direct").to_compact_json();
    let dids = [
        ("a.wasm", "service : { m : (nat) -> (text); n : () -> (int) }"),
        ("b.wasm", "service : { m : (nat) -> (text, opt nat); n : () -> (nat) }"),
        ("c.wasm", "service : { m : (nat) -> (text) }"),
    ];
    for (name, did) in dids {
        std::fs::write(folder.path().join(name), module(&[(CANDID, did), (SCHEMA, &json)])).unwrap();
    }
    let printed = check(folder.path(), &["a.wasm", "b.wasm"]);
    assert_eq!(printed.code, 0, "{}", printed.stdout);
    for line in [
        "  interface: compatible",
        "    warning: n: the result is nat where int is expected: an error in @icp-sdk/core",
        "    warning: m: 1 results where 2 are expected: an error in @icp-sdk/core",
    ] {
        assert!(printed.stdout.lines().any(|found| found == line), "{line}:\n{}", printed.stdout);
    }
    let printed = check(folder.path(), &["a.wasm", "c.wasm"]);
    assert_eq!(printed.code, 1, "{}", printed.stdout);
    assert!(printed.stdout.contains("  interface: forbidden\n"), "{}", printed.stdout);
}

#[test]
fn input_without_a_schema_is_a_usage_error_of_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let good = schema("legacy");
    write("good.json", good.to_json().as_bytes());
    write("text.wasm", b"hello");
    write("bare.wasm", &module(&[]));
    write("cut.wasm", b"\0asm\x01\0\0\0\x01\x09");
    write("damaged.wasm", &module(&[(SCHEMA, "{\"format\":1")]));
    write("later.wasm", &module(&[(SCHEMA, "{\"format\":2,\"what\":\"ever\"}")]));
    write("damaged.json", &good.to_json().as_bytes()[..1000]);
    let other = Schema { canister: "ledger".into(), ..good };
    write("other.json", other.to_json().as_bytes());
    for (file, words) in [
        ("absent.json", "cannot read"),
        ("text.wasm", "not a wasm module"),
        ("bare.wasm", "the wasm has no metadata `stable:schema`"),
        ("cut.wasm", "not a valid wasm module"),
        ("damaged.wasm", "not a stable schema"),
        ("later.wasm", "the stable schema has format 2, this program reads up to 1"),
        ("damaged.json", "not a stable schema"),
        ("other.json", "of the canister `upload-canister`, the other of `ledger`"),
    ] {
        let printed = check(folder.path(), &["good.json", file]);
        assert_eq!((printed.code, printed.stdout.as_str()), (2, ""), "{file}: {}", printed.stderr);
        assert_eq!(printed.stderr.lines().count(), 1, "{file}: {}", printed.stderr);
        assert!(
            printed.stderr.starts_with("error: ") && printed.stderr.contains(words),
            "{file}: {}",
            printed.stderr
        );
        assert!(file == "other.json" || printed.stderr.contains(file), "{file}: {}", printed.stderr);
    }
    assert_eq!(check(folder.path(), &["good.json"]).code, 2);
    // A folder exists, but cannot be read as a file.
    assert_eq!(check(folder.path(), &["good.json", "."]).code, 3);
}

#[test]
fn upgrades_from_every_release_to_this_tree_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let printed = check(&root, &["--tree"]);
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""), "{}", printed.stdout);
    for line in ["release 0.1.0", "upgrade, legacy to staged: pass", "upgrade, direct to direct: pass"] {
        assert!(printed.stdout.lines().any(|found| found == line), "{line}:\n{}", printed.stdout);
    }
}

#[test]
fn a_tree_that_does_not_read_a_release_exits_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let release = folder.path().join("schemas/releases/0.1.0");
    std::fs::create_dir_all(folder.path().join("schemas/releases")).unwrap();
    let printed = check(folder.path(), &["--tree"]);
    assert!(
        printed.code == 2 && printed.stderr.contains("schemas/releases has no release"),
        "{}",
        printed.stderr
    );
    std::fs::create_dir(&release).unwrap();
    for build in ["legacy", "staged", "direct"] {
        let mut schema = schema(build);
        std::fs::write(release.join(format!("{build}.json")), schema.to_compact_json()).unwrap();
        if build == "direct" {
            schema.memories.retain(|memory| memory.name != "SESSIONS");
        }
        std::fs::write(folder.path().join(format!("schemas/{build}.json")), schema.to_json()).unwrap();
    }
    let printed = check(folder.path(), &["--tree", "schemas"]);
    assert_eq!(printed.code, 1, "{}", printed.stdout);
    assert!(printed.stdout.contains("  memory 11, SESSIONS: forbidden\n"), "{}", printed.stdout);
    assert_eq!(check(folder.path(), &["--tree", "absent"]).code, 2);
    assert_eq!(check(folder.path(), &["--tree", "schemas", "a.json"]).code, 2);
    // A comparison takes exactly two builds.
    for builds in [&["schemas/legacy.json"][..], &["a", "b", "c"], &[]] {
        let printed = check(folder.path(), builds);
        assert_eq!((printed.code, printed.stdout.as_str()), (2, ""), "{}", printed.stderr);
    }
}
