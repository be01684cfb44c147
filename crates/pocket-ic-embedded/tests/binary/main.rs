//! The stand-alone server, as clients start it: version, port file, time to live, signals, errors.

#[path = "../common/mod.rs"]
mod common;

mod live;
mod module_cache;
mod port_file;
mod standard_error;

use candid::Principal;
use common::{counter, wait_for};
use pocket_ic::PocketIcBuilder;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_pocket-ic-embedded");

/// Runs the program until it ends, for arguments with which it ends soon; [`start`] does not wait.
fn run(args: &[&str]) -> Output {
    Command::new(BINARY).args(args).output().unwrap()
}

/// Starts a server, which the test must end.
fn start(port_file: &Path, args: &[&str]) -> Child {
    Command::new(BINARY).arg("--port-file").arg(port_file).args(args).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits until the server has written its port file, and returns the port.
fn port(port_file: &Path) -> u16 {
    wait_for("the port file", || {
        let text = fs::read_to_string(port_file).ok()?;
        text.ends_with('\n').then(|| text.trim().parse().unwrap())
    })
}

fn wait_for_end(mut child: Child) -> std::process::ExitStatus {
    wait_for("the end of the server", || child.try_wait().unwrap())
}

/// Returns a temporary folder, and a path in it for the port file.
fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("port");
    (dir, path)
}

/// Checks only the text; the next test shows that the client accepts it.
#[test]
fn the_version_is_accepted_as_the_official_one() {
    let output = run(&["--version"]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "pocket-ic-server 16.1.0+embedded\n");
}

#[test]
fn the_client_starts_and_uses_the_server() {
    let pic = PocketIcBuilder::new().with_server_binary(BINARY.into()).with_application_subnet().build();
    let id = pic.create_canister();
    pic.install_canister(id, counter(), vec![], None);
    let reply = pic.update_call(id, Principal::anonymous(), "inc", vec![]).unwrap();
    assert_eq!(common::parse_u32(&reply), 1);
    let second = PocketIcBuilder::new().with_server_binary(BINARY.into()).with_application_subnet().build();
    assert_eq!(second.get_server_url(), pic.get_server_url());
    assert_ne!(second.instance_id(), pic.instance_id());
    // The client never ends a server, so the test ends it. The name of the server's port file contains the id of this
    // process.
    let file = std::env::temp_dir().join(format!("pocket_ic_{}.port", std::process::id()));
    assert!(file.exists());
    let url = pic.get_server_url();
    drop((pic, second));
    let server = wait_for("the server's process", || process_with_port_file(&file));
    terminate(server);
    wait_for("the removal of the port file", || (!file.exists()).then_some(()));
    assert!(reqwest::blocking::get(url.join("status").unwrap()).is_err());
}

/// Returns the id of the server's process; `None` if there is none.
fn process_with_port_file(port_file: &Path) -> Option<u32> {
    let wanted = port_file.to_str()?;
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line);
        (line.starts_with(BINARY) && line.contains(wanted)).then_some(pid)
    })
}

fn terminate(pid: u32) {
    let status = Command::new("kill").arg(pid.to_string()).status().unwrap();
    assert!(status.success());
}

/// If the server kept its pipes open, a test runner with piped output would wait for the server's time to live.
/// Standard error stays open, unless the server is muted.
#[test]
fn a_server_with_a_port_file_keeps_no_pipe_open() {
    for mute in [false, true] {
        let (_dir, file) = scratch();
        let mut command = Command::new(BINARY);
        command.arg("--port-file").arg(&file).env_remove("POCKET_IC_MUTE_SERVER");
        if mute {
            command.env("POCKET_IC_MUTE_SERVER", "1");
        }
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let port = port(&file);
        // The read ends once no process has the writing end of the pipe open: the server does not.
        let mut printed = String::new();
        child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        let mut stderr = child.stderr.take().unwrap();
        // Only a muted server closes its standard error, too.
        if mute {
            stderr.read_to_string(&mut printed).unwrap();
        }
        assert_eq!(printed, "", "mute: {mute}");
        let status = reqwest::blocking::get(format!("http://127.0.0.1:{port}/status")).unwrap();
        assert_eq!(status.status(), 200, "the server still answers");
        terminate(child.id());
        assert!(wait_for_end(child).success());
        if !mute {
            stderr.read_to_string(&mut printed).unwrap();
            assert!(printed.contains("listens on"), "errors are still printed: {printed}");
        }
    }
}

#[test]
fn the_server_ends_when_unused() {
    let (_dir, file) = scratch();
    let child = start(&file, &["--ttl", "1"]);
    port(&file);
    assert!(wait_for_end(child).success());
    assert!(!file.exists());
}

/// A request that never ends does not count as use of the server.
#[test]
fn the_server_ends_although_a_client_stalls_in_a_request() {
    let (_dir, file) = scratch();
    let child = start(&file, &["--ttl", "1"]);
    let mut client = TcpStream::connect(("127.0.0.1", port(&file))).unwrap();
    client.write_all(b"POST /blobstore HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf").unwrap();
    assert!(wait_for_end(child).success());
    assert!(!file.exists());
    drop(client);
}

#[test]
fn the_server_ends_at_the_hard_limit() {
    let (_dir, file) = scratch();
    let child = start(&file, &["--ttl", "1000", "--hard-ttl", "1"]);
    port(&file);
    assert!(wait_for_end(child).success());
    assert!(!file.exists());
}

#[test]
fn a_port_in_use_is_one_clear_line_and_exit_code_3() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (_dir, file) = scratch();
    let output = run(&["--port", &port, "--port-file", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{text}");
    assert!(!file.exists());
}

#[test]
fn an_address_that_is_not_loopback_is_refused() {
    let (_dir, file) = scratch();
    let output = run(&["--ip-addr", "0.0.0.0", "--port-file", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8(output.stderr).unwrap().contains("not a loopback address"));
    assert!(!file.exists());
}

#[test]
fn every_signal_that_ends_the_server_removes_the_port_file() {
    for signal in ["-TERM", "-INT", "-HUP", "-QUIT"] {
        let (_dir, file) = scratch();
        // With 30 days to live, only the signal ends the server.
        let child = start(&file, &["--log-levels", "error", "--ttl", "2592000"]);
        let port = port(&file);
        let status = reqwest::blocking::get(format!("http://127.0.0.1:{port}/status")).unwrap();
        assert_eq!(status.status(), 200);
        let killed = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        assert!(wait_for_end(child).success(), "{signal}");
        assert!(!file.exists(), "{signal}");
    }
}

/// Starts the server with a limit on the size of files, in KiB: writing more fails as it does on a full disk. (The
/// signal XFSZ would end the server, so it is ignored.)
fn start_on_full_disk(port_file: &Path, kib: u32) -> Child {
    let command = format!(r#"trap "" XFSZ; ulimit -f {kib}; exec "$0" "$@""#);
    Command::new("bash")
        .args(["-c", &command, BINARY, "--port-file"])
        .arg(port_file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_full_disk_at_the_start_is_one_clear_line() {
    let (_dir, file) = scratch();
    let output = start_on_full_disk(&file, 0).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(&format!("cannot write the port file {}", file.display())), "{text}");
    assert!(!file.exists());
}

#[test]
fn a_full_disk_fails_the_download_and_nothing_else() {
    let (dir, file) = scratch();
    // Enough for the port file, but not for the 64 KiB of the wasm memory.
    let child = start_on_full_disk(&file, 8);
    let url = format!("http://127.0.0.1:{}/", port(&file));
    let pic = PocketIcBuilder::new().with_server_url(url.parse().unwrap()).with_application_subnet().build();
    let id = common::install_counter(&pic);
    let snapshot = pic.take_canister_snapshot(id, None, None).unwrap();
    let folder = dir.path().join("snapshot");
    let download = serde_json::json!({
        // The anonymous principal.
        "sender": { "principal_id": base64(&[4]) },
        "canister_id": { "canister_id": base64(id.as_slice()) },
        "snapshot_id": base64(&snapshot.id),
        "snapshot_dir": folder,
    });
    let path = format!("instances/{}/update/canister_snapshot_download", pic.instance_id());
    let client = reqwest::blocking::Client::new();
    let response = client.post(format!("{url}{path}")).json(&download).send().unwrap();
    assert_eq!(response.status(), 400);
    let text = response.text().unwrap();
    assert!(text.contains("wasm_memory.bin") && text.contains("File too large"), "{text}");
    // Without metadata, the folder is not accepted as a snapshot.
    assert!(!folder.join("metadata.json").exists());
    assert_eq!(common::parse_u32(&common::call(&pic, id, "inc", &[]).unwrap()), 1);
    drop(pic);
    terminate(child.id());
    assert!(wait_for_end(child).success());
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.encode(bytes)
}
