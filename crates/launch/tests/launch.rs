//! Tests of the program, with a script in place of cargo.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder that is removed when the value is dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    /// Returns the command `launch tool a b`, which runs the `cargo` in this folder.
    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_launch"));
        command.args(["tool", "a", "b"]).env("CARGO", self.0.join("cargo"));
        command
    }
}

/// Creates a folder in which `cargo` is this shell script. `name` only distinguishes the folders of the tests.
fn folder_with_cargo(name: &str, script: &str) -> Folder {
    let folder =
        Folder(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id())));
    fs::create_dir_all(&folder.0).unwrap();
    let cargo = folder.0.join("cargo");
    fs::write(&cargo, format!("#!/bin/sh\n{script}")).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Runs `launch tool a b` to its end, with this script as cargo.
fn launch(name: &str, script: &str) -> Output {
    folder_with_cargo(name, script).command().output().unwrap()
}

#[test]
fn program_runs_with_its_arguments_once_it_is_built() {
    let script = r#"
        case $1 in
            build) echo "   Compiling tool v1.0.0" >&2 ;;
            run) echo "$@"; exit 7 ;;
        esac"#;
    let output = launch("runs", script);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "run --quiet --package tool -- a b\n");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "   Compiling tool v1.0.0\n");
    assert_eq!(output.status.code(), Some(7), "the program's own exit code");
}

#[test]
fn failed_build_ends_with_the_exit_code_and_errors_of_cargo() {
    // If the program were run in spite of the failure, the script would print `ran`.
    let output = launch("fails", "[ $1 = run ] && echo ran\nprintf 'error: no such thing' >&2; exit 101");
    assert_eq!(output.stdout, b"");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "error: no such thing\n");
    assert_eq!(output.status.code(), Some(101));
}

#[test]
fn silent_build_is_reported_without_a_terminal() {
    // The build ends once the test has read the line.
    let folder =
        folder_with_cargo("silent", "[ $1 = build ] && until [ -e \"$0.done\" ]; do sleep 0.1; done; exit 0");
    let mut child = folder.command().stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    fs::write(folder.0.join("cargo.done"), "").unwrap();
    assert!(child.wait().unwrap().success());
    assert!(line.starts_with("   Compiling: "), "{line}");
}
