//! What the command line does with input it cannot use: one clear line, the right exit code, nothing left on disk.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use session_migrate::trace::{Header, Writer};

/// Maximum size of a file: 16,384 chunks of 1,800,000 bytes.
const LIMIT: u64 = 16_384 * 1_800_000;

struct CommandOutput {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(folder: &Path, args: &[&str]) -> CommandOutput {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_session-migrate"))
        .args(args)
        .current_dir(folder)
        .env_remove("POCKET_IC_BIN")
        .env_remove("POCKET_IC_SERVER")
        .output()
        .unwrap();
    CommandOutput {
        code: status.code(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// Expects one line on stderr with all of `parts`, nothing on stdout, this exit code, and no new file in the folder.
fn expect_refusal(folder: &Path, args: &[&str], code: i32, parts: &[&str]) {
    let files = |folder: &Path| {
        let mut names: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = files(folder);
    let printed = run(folder, args);
    assert_eq!(printed.code, Some(code), "{args:?}: {}", printed.stderr);
    assert_eq!(printed.stdout, "", "{args:?}");
    assert_eq!(printed.stderr.lines().count(), 1, "{args:?}: {}", printed.stderr);
    assert!(printed.stderr.starts_with("error: "), "{args:?}: {}", printed.stderr);
    for part in parts {
        assert!(printed.stderr.contains(part), "{args:?}: `{part}` in {}", printed.stderr);
    }
    assert_eq!(files(folder), before, "{args:?}");
}

#[test]
fn unusable_files_are_usage_errors() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    File::create(folder.join("huge.bin")).unwrap().set_len(LIMIT + 1).unwrap();
    std::fs::write(folder.join("good.bin"), b"good").unwrap();
    std::fs::create_dir(folder.join("folder")).unwrap();
    let refused = |name: &str, parts: &[&str]| {
        // A valid file among the arguments does not help.
        let args = ["rehearse", "--json", "report.json", "--files", "good.bin", name];
        expect_refusal(folder, &args, 2, &[&[name], parts].concat());
    };
    refused("absent.jpg", &["cannot read"]);
    refused("huge.bin", &["29491200001", "29491200000"]);
    refused("folder", &["not a regular file"]);
}

#[test]
fn a_file_that_is_not_a_canister_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    std::fs::write(folder.join("text.wasm"), b"hello").unwrap();
    std::fs::write(folder.join("bare.wasm"), b"\0asm\x01\0\0\0").unwrap();
    std::fs::write(folder.join("cut.wasm"), b"\0asm\x01\0\0\0\x01\x09").unwrap();
    std::fs::write(folder.join("other.wasm"), canister(&METHODS[..1])).unwrap();
    for (option, file, words) in [
        ("--legacy", "text.wasm", "not a wasm module"),
        ("--staged", "bare.wasm", "not a canister"),
        ("--direct", "cut.wasm", "not a valid wasm module"),
        ("--legacy", "absent.wasm", "cannot read"),
        ("--legacy", "other.wasm", "no method uploads_begin, uploads_put_chunk, uploads_finish"),
        ("--direct", "other.wasm", "not an upload canister"),
    ] {
        expect_refusal(folder, &["rehearse", option, file], 2, &[file, words]);
    }
    for command in [
        &["record", "--workload", "mixed", "--build", "other.wasm", "a.trace"][..],
        &["ab", "--workload", "mixed", "--a", "other.wasm"],
    ] {
        expect_refusal(folder, command, 2, &["other.wasm", "not an upload canister"]);
    }
}

#[test]
fn an_unwritable_report_is_refused_before_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    expect_refusal(folder, &["rehearse", "--json", "no/such/report.json"], 2, &["no/such/report.json"]);
    expect_refusal(folder, &["rehearse", "--json", "."], 2, &["is a directory"]);
    expect_refusal(folder, &["rehearse", "--record", "no/such/x.trace"], 2, &["no/such/x.trace"]);
}

#[test]
fn two_options_that_name_the_same_file_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    std::os::unix::fs::symlink("report", folder.join("link")).unwrap();
    let cases: [(&[&str], [&str; 2]); 6] = [
        (&["rehearse", "--json", "report", "--html", "report"], ["--json", "--html"]),
        (&["rehearse", "--html", "report", "--record", "link"], ["--html", "--record"]),
        (&["inspect", "absent", "--json", "report", "--html", "./report"], ["--json", "--html"]),
        (&["plan", "absent", "--json", "link", "--html", "report"], ["--json", "--html"]),
        (&["ab", "--html", "report", "--markdown", "report"], ["--html", "--markdown"]),
        (&["adopt", "absent", "--out", "new", "--json", "new.left.jsonl"], ["--json", "--out"]),
    ];
    for (args, [one, other]) in cases {
        expect_refusal(folder, args, 2, &[one, other, "name the same file"]);
    }
}

#[test]
fn unknown_options_are_refused_with_code_2() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["rehearse", "--clients", "0"][..],
        &["rehearse", "--clients", "many"],
        &["rehearse", "--files"],
        &["build", "--build", "oldest"],
        &["frobnicate"],
        &[],
    ] {
        assert_eq!(run(dir.path(), args).code, Some(2), "{args:?}");
    }
}

/// A canister that is never called.
const CANISTER: &str = "rwlgt-iiaaa-aaaaa-aaaaa-cai";

#[test]
fn options_of_a_new_upgrade_conflict_with_resume_and_abort() {
    let dir = tempfile::tempdir().unwrap();
    let upgrade = |more: &[&str]| {
        let printed =
            run(dir.path(), &[&["upgrade", CANISTER, "--identity", "absent.pem"][..], more].concat());
        assert_eq!(printed.code, Some(2), "{more:?}: {}", printed.stderr);
        printed.stderr
    };
    let options = [
        &["--to", "staged"][..],
        &["--dry-run"],
        &["--stop"],
        &["--rehearse"],
        &["--on-failure", "rollback"],
        &["--max-quarantined", "0"],
        &["--time-limit", "3600"],
        &["--drop-snapshot"],
        &["--replace-snapshot", "00"],
    ];
    for end in ["--resume", "--abort"] {
        for option in options {
            let error = upgrade(&[&[end], option].concat());
            assert!(error.contains("cannot be used with"), "{end} {option:?}: {error}");
        }
        // Default values are no conflict, so that the next fault is found.
        let error = upgrade(&[end, "--json", "--journal", "journal"]);
        assert!(error.contains("absent.pem has no identity"), "{end}: {error}");
    }
    let error = upgrade(&["--abort", "--wasm", "absent.wasm"]);
    assert!(error.contains("cannot be used with"), "{error}");
    let error = upgrade(&["--resume", "--wasm", "absent.wasm"]);
    assert!(error.contains("absent.pem has no identity"), "{error}");
}

#[test]
fn unusable_arguments_of_an_upgrade_are_usage_errors() {
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
                       MC4CAQAwBQYDK2VwBCIEIFXAVzsbqX1H+5TFdV9y5IQpt5mkXS+Z+BRX1jHJ1/iZ\n\
                       -----END PRIVATE KEY-----\n";
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    std::fs::write(folder.join("identity.pem"), KEY).unwrap();
    std::fs::create_dir(folder.join("folder")).unwrap();
    for journal in ["no/such/journal", "folder"] {
        let args =
            ["upgrade", CANISTER, "--to", "staged", "--identity", "identity.pem", "--journal", journal];
        expect_refusal(folder, &args, 2, &["cannot open", journal]);
    }
    let printed = run(folder, &["upgrade", "aaaaa-aa", "--to", "staged", "--identity", "identity.pem"]);
    assert_eq!(printed.code, Some(2), "{}", printed.stderr);
    assert!(printed.stderr.contains("it is the management canister"), "{}", printed.stderr);
}

#[test]
fn a_tree_without_the_upload_canister_is_an_environment_error() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    expect_refusal(folder, &["build", "--manifest-path", "absent/Cargo.toml"], 3, &["absent/Cargo.toml"]);
    std::fs::create_dir_all(folder.join("other/src")).unwrap();
    std::fs::write(folder.join("other/src/lib.rs"), "").unwrap();
    std::fs::write(folder.join("other/Cargo.toml"), "[package]\nname = \"other\"\nedition = \"2024\"\n")
        .unwrap();
    expect_refusal(folder, &["build", "--manifest-path", "other/Cargo.toml"], 3, &["upload-canister"]);
}

#[test]
fn a_port_in_use_is_an_environment_error() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let printed = run(dir.path(), &["serve", "--port", &port, "--port-file", "port"]);
    assert_eq!(printed.code, Some(3), "{}", printed.stderr);
    assert_eq!(printed.stderr.lines().count(), 1, "{}", printed.stderr);
    assert!(printed.stderr.contains(&port), "{}", printed.stderr);
    assert!(!dir.path().join("port").exists());
}

#[test]
fn a_program_that_is_not_a_server_is_an_environment_error() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = canister(&METHODS);
    let path = dir.path().join("canister.wasm");
    std::fs::write(&path, wasm).unwrap();
    std::fs::write(dir.path().join("file"), b"x").unwrap();
    for (name, value) in [("POCKET_IC_BIN", "/bin/true"), ("POCKET_IC_SERVER", "other")] {
        let output = Command::new(env!("CARGO_BIN_EXE_session-migrate"))
            .args(["rehearse", "--files", "file", "--clients", "1"])
            .args(["--legacy", "canister.wasm", "--staged", "canister.wasm", "--direct", "canister.wasm"])
            .current_dir(dir.path())
            .env_remove("POCKET_IC_BIN")
            .env_remove("POCKET_IC_SERVER")
            .env(name, value)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(name) && stderr.contains(value), "{stderr}");
    }
}

/// Methods by which an upload canister is recognized.
const METHODS: [&str; 4] = [
    "canister_query build_info",
    "canister_update uploads_begin",
    "canister_update uploads_put_chunk",
    "canister_update uploads_finish",
];

/// Returns a canister with these methods, which trap.
fn canister(methods: &[&str]) -> Vec<u8> {
    use wasm_encoder::{
        CodeSection, ExportKind, ExportSection, Function, FunctionSection, Module, TypeSection,
    };
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut exports = ExportSection::new();
    for method in methods {
        exports.export(method, ExportKind::Func, 0);
    }
    let mut code = CodeSection::new();
    let mut body = Function::new([]);
    body.instructions().unreachable().end();
    code.function(&body);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&exports).section(&code);
    module.finish()
}

#[test]
fn a_canister_with_only_the_method_names_cannot_be_rehearsed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("canister.wasm"), canister(&METHODS)).unwrap();
    std::fs::write(dir.path().join("file"), b"x").unwrap();
    let args = [
        "rehearse",
        "--files",
        "file",
        "--json",
        "report.json",
        "--legacy",
        "canister.wasm",
        "--staged",
        "canister.wasm",
        "--direct",
        "canister.wasm",
    ];
    let printed = run(dir.path(), &args);
    assert_eq!(printed.code, Some(2), "the file is at fault: {}", printed.stderr);
    // Other lines say which server is used, and what is in progress.
    let error: Vec<_> = printed.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(error.len(), 1, "{}", printed.stderr);
    assert!(error[0].contains("cannot install the legacy build (canister.wasm): "), "{}", printed.stderr);
    assert!(!dir.path().join("report.json").exists());
}

/// Traces that cannot be replayed, and paths at which no trace or report can be written.
#[test]
fn unusable_traces_are_usage_errors_with_their_line() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let header = Header::new(0, "legacy", "a test", Vec::new());
    let path = Writer::create(&folder.join("good.trace"), &header).unwrap().finish().unwrap();
    let good = std::fs::read_to_string(&path).unwrap();
    let first = good.lines().next().unwrap();
    for (name, text, parts) in [
        ("cut.trace", format!("{first}\n"), ["cut.trace:1: ", "truncated"]),
        ("edited.trace", good.replace("\"end\":0", "\"end\":1"), ["edited.trace:2: ", "was changed"]),
        ("newer.trace", good.replace("\"version\":1", "\"version\":9"), ["newer.trace:1: ", "up to 1"]),
        ("other.trace", "hello".into(), ["other.trace:1: ", "not a trace"]),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
        expect_refusal(folder, &["replay", name], 2, &parts);
        expect_refusal(folder, &["ab", "--trace", name], 2, &parts);
    }
    expect_refusal(folder, &["replay", "absent.trace"], 2, &["absent.trace"]);
    expect_refusal(
        folder,
        &["record", "--workload", "mixed", "no/such/one.trace"],
        2,
        &["no/such/one.trace"],
    );
    expect_refusal(folder, &["replay", "good.trace", "--rules", "absent.toml"], 2, &["absent.toml"]);
    expect_refusal(folder, &["replay", "good.trace", "--build", "absent.wasm"], 2, &["absent.wasm"]);
    std::fs::write(folder.join("other.wasm"), canister(&METHODS[..1])).unwrap();
    expect_refusal(
        folder,
        &["replay", "good.trace", "--build", "other.wasm"],
        2,
        &["other.wasm", "not an upload canister"],
    );
    expect_refusal(folder, &["ab", "--workload", "sleepy"], 2, &["sleepy", "single-large"]);
    expect_refusal(folder, &["ab", "--markdown", "no/such/page.md"], 2, &["no/such/page.md"]);
    expect_refusal(folder, &["record", "one.trace"], 2, &["--workload", "single-large", "mixed", "--proxy"]);
    for args in [
        &["replay", "good.trace", "--interrupt", "explode@3"][..],
        &["replay", "good.trace", "--interrupt", "trap@9"],
        &["ab", "--size", "0"],
    ] {
        assert_eq!(run(folder, args).code, Some(2), "{args:?}");
    }
}

#[test]
fn a_signal_leaves_no_temporary_files() {
    let dir = tempfile::tempdir().unwrap();
    let [out, temporary] = ["out", "tmp"].map(|name| dir.path().join(name));
    [&out, &temporary].iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
    let is_empty = |folder: &Path| std::fs::read_dir(folder).unwrap().next().is_none();
    let mut running = Command::new(env!("CARGO_BIN_EXE_session-migrate"))
        .args(["record", "--workload", "mixed", "--size", "20"])
        .arg(out.join("mixed.trace"))
        .env("TMPDIR", &temporary)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let since = Instant::now();
    // The trace is begun next to its final path, and the files of the workload are in the other folder.
    while is_empty(&out) || is_empty(&temporary) {
        assert!(since.elapsed() < Duration::from_secs(300), "nothing is recorded");
        assert_eq!(running.try_wait().unwrap(), None);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(Command::new("kill").arg(running.id().to_string()).status().unwrap().success());
    assert!(!running.wait().unwrap().success());
    assert!(is_empty(&out) && is_empty(&temporary));
}
