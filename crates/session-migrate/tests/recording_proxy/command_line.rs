//! `record --proxy` as a command.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use pocket_ic_embedded::EmbeddedServer;
use reqwest::Url;
use session_migrate::trace::Trace;

use crate::front_end::FrontEnd;
use crate::{command, scratch};

/// Starts the proxy as a command; returns the process, and the URL at which it listens.
fn start_command(server: &Url, out: &Path) -> (Child, Url) {
    let mut child = command()
        .args(["record", "--proxy", "127.0.0.1:0", "--server", server.as_str()])
        .arg(out)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    lines.read_line(&mut line).unwrap();
    let url = line.split(' ').find(|word| word.starts_with("http://")).unwrap().parse().unwrap();
    // The rest of the command's output is read at the end.
    child.stdout = Some(lines.into_inner());
    (child, url)
}

#[test]
fn a_signal_completes_the_trace_of_the_command() {
    let server = EmbeddedServer::start().unwrap();
    let (_folder, out) = scratch();
    let (child, url) = start_command(&server.url(), &out);
    let mut front_end = FrontEnd::install(&url);
    front_end.create_capsule();
    drop(front_end);
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert_eq!((status.code(), &*stderr), (Some(0), ""), "{stdout}");
    assert!(stdout.contains("1 calls to") && stdout.contains("legacy build"), "{stdout}");
    assert_eq!(Trace::read(&out).unwrap().events.len(), 1);
}

#[test]
fn impossible_options_are_refused_immediately() {
    let server = EmbeddedServer::start().unwrap();
    let (folder, out) = scratch();
    let dead = {
        // The port is free again once the listener is dropped, so nobody answers there.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let url = server.url().to_string();
    let taken = server.address().to_string();
    let absent = folder.path().join("absent").join("x.trace");
    let (out, absent) = (out.to_str().unwrap(), absent.to_str().unwrap());
    for (args, code, part) in [
        (["--proxy", "127.0.0.1:0", "--server", &dead, out], 3, "no PocketIC server answers at"),
        (
            ["--proxy", "127.0.0.1:0", "--server", "https://127.0.0.1:1/", out],
            2,
            "expected http://HOST:PORT/",
        ),
        (["--proxy", &taken, "--server", &url, out], 3, "cannot listen on"),
        (["--proxy", "127.0.0.1:0", "--server", &url, absent], 2, absent),
        (["--proxy", "127.0.0.1:0", "--workload", "mixed", out], 2, "cannot be used with"),
    ] {
        let Output { status, stdout, stderr } = command().arg("record").args(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&stderr);
        assert_eq!((status.code(), stdout.len()), (Some(code), 0), "{args:?}: {stderr}");
        assert!(stderr.contains(part), "{args:?}: {stderr}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
