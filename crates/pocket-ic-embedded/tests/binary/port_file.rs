//! Port files that exist when a server starts: of a running server, of one that has ended, of no server, empty ones,
//! and links to nothing.

use super::{port, run, scratch, start, terminate, wait_for_end};
use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};

#[test]
fn a_second_server_exits_quietly_while_the_first_answers() {
    let (_dir, file) = scratch();
    let first = start(&file, &[]);
    let port = port(&file);
    let output = run(&["--port-file", file.to_str().unwrap()]);
    assert!(output.status.success());
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{port}\n"));
    terminate(first.id());
    assert!(wait_for_end(first).success());
}

#[test]
fn a_stale_port_file_is_taken_over() {
    let (_dir, file) = scratch();
    // A killed server leaves its port file.
    let mut killed = start(&file, &[]);
    let stale = port(&file);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let mut child =
        Command::new(super::BINARY).arg("--port-file").arg(&file).stderr(Stdio::piped()).spawn().unwrap();
    let fresh = super::common::wait_for("a new port", || {
        assert!(child.try_wait().unwrap().is_none(), "the server has ended");
        let text = fs::read_to_string(&file).ok()?;
        text.strip_suffix('\n').filter(|port| *port != stale.to_string())?.parse::<u16>().ok()
    });
    let status = reqwest::blocking::get(format!("http://127.0.0.1:{fresh}/status")).unwrap();
    assert_eq!(status.status(), 200);
    terminate(child.id());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(&format!("nothing listens on port {stale} of the port file")), "{text}");
    assert!(!file.exists());
}

#[test]
fn a_port_file_whose_port_does_not_answer_is_one_clear_line() {
    let (_dir, file) = scratch();
    // The kernel accepts connections to this listener, but nobody answers.
    let somebody = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = somebody.local_addr().unwrap().port();
    fs::write(&file, format!("{port}\n")).unwrap();
    let output = run(&["--port-file", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(&format!("port {port} of the port file")), "{text}");
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{port}\n"));
}

#[test]
fn an_empty_port_file_is_one_clear_line() {
    let (_dir, file) = scratch();
    fs::write(&file, "").unwrap();
    let output = run(&["--port-file", file.to_str().unwrap()]);
    assert!(output.status.success(), "another server may be starting");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("is empty: another server is starting, or ended before it had a port"), "{text}");
    assert!(file.exists());
}

#[test]
fn a_port_file_that_cannot_be_claimed_is_one_clear_line() {
    let (dir, file) = scratch();
    std::os::unix::fs::symlink(dir.path().join("missing"), &file).unwrap();
    let output = run(&["--port-file", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(&format!("the port file {} was removed or changed", file.display())), "{text}");
    assert!(text.contains("Remove it if no server is running, or name another file"), "{text}");
    assert!(file.is_symlink(), "the link is unchanged");
}
