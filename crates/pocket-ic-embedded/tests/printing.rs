//! The output of canisters on standard error: of the program, and of a process with a server in it.

mod common;

use candid::Principal;
use common::{ANONYMOUS, call, install_wasm, instance, wait_for, wasm};
use pocket_ic::{PocketIc, PocketIcBuilder};
use std::env;
use std::fs;
use std::process::{Command, Stdio};

/// A canister that prints in every kind of message that users cause.
const TALKATIVE: &str = r#"(module
    (import "ic0" "debug_print" (func $print (param i32 i32)))
    (import "ic0" "accept_message" (func $accept))
    (import "ic0" "msg_reply" (func $reply))
    (memory 1)
    (data (i32.const 0) "inspected, queried, updated")
    (func (export "canister_inspect_message") (call $print (i32.const 0) (i32.const 9)) (call $accept))
    (func (export "canister_query ask") (call $print (i32.const 11) (i32.const 7)) (call $reply))
    (func (export "canister_update do") (call $print (i32.const 20) (i32.const 7)) (call $reply)))"#;

/// Installs a [`TALKATIVE`] canister, makes it print, and returns its id.
fn talk(pic: &PocketIc) -> Principal {
    let id = install_wasm(pic, wasm(TALKATIVE));
    pic.query_call(id, ANONYMOUS, "ask", vec![]).unwrap();
    call(pic, id, "do", &[]).unwrap();
    id
}

/// Returns what this canister has printed, in the order of printing.
fn printed(stderr: &str, id: Principal) -> Vec<&str> {
    let mark = format!("[Canister {id}] ");
    stderr.lines().filter_map(|line| Some(line.split_once(&mark)?.1)).collect()
}

#[test]
fn the_program_prints_all_output_and_logs_that_of_updates() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("port");
    let mut child = Command::new(env!("CARGO_BIN_EXE_pocket-ic-embedded"))
        .arg("--port-file")
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let port = wait_for("the port file", || {
        assert!(child.try_wait().unwrap().is_none(), "the server has ended");
        fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n'))
    });
    let url = format!("http://127.0.0.1:{}/", port.trim()).parse().unwrap();
    let pic = PocketIcBuilder::new().with_server_url(url).with_application_subnet().build();
    let id = talk(&pic);
    let contents = pic.fetch_canister_logs(id, ANONYMOUS).unwrap();
    let contents: Vec<&[u8]> = contents.iter().map(|record| record.content.as_slice()).collect();
    assert_eq!(contents, [b"updated"]);
    drop(pic);
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(printed(&stderr, id), ["queried", "inspected", "updated"], "{stderr}");
}

/// Environment variable that is set in the process that the test below starts from its own executable. In that process,
/// the test only runs the canister and prints its id.
const TALKS: &str = "PRINTING_TEST_TALKS";

/// `POCKET_IC_EMBEDDED_LOGS` asks for the output, unless it is empty. The server prints from its own threads, so the
/// test needs a process in which nothing else runs.
#[test]
fn a_server_in_the_process_prints_when_it_is_asked_to() {
    if env::var_os(TALKS).is_some() {
        println!("{}", talk(&instance()));
        return;
    }
    for (value, expected) in [("1", vec!["queried", "inspected", "updated"]), ("", vec![])] {
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", "a_server_in_the_process_prints_when_it_is_asked_to", "--nocapture"])
            .env(TALKS, "1")
            .env("POCKET_IC_EMBEDDED_LOGS", value)
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{stdout}");
        let id = stdout.lines().find_map(|line| Principal::from_text(line).ok()).expect("the canister's id");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(printed(&stderr, id), expected, "{stderr}");
    }
}
