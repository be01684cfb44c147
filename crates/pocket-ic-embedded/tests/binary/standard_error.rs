//! Standard error or output that cannot be written to: a closed pipe, a full disk. Only the output is lost, and the
//! exit code still reports errors.

use super::{BINARY, port, scratch, terminate, wait_for_end};
use crate::common::{ANONYMOUS, call, install_wasm, wasm};
use pocket_ic::PocketIcBuilder;
use std::fs::OpenOptions;
use std::process::{Command, Stdio};

/// A canister that prints in a query and in an update, and whose trap is printed.
const TALKATIVE: &str = r#"(module
    (import "ic0" "debug_print" (func $print (param i32 i32)))
    (import "ic0" "msg_reply" (func $reply))
    (memory 1)
    (data (i32.const 0) "anything")
    (func (export "canister_query ask") (call $print (i32.const 0) (i32.const 8)) (call $reply))
    (func (export "canister_update do") (call $print (i32.const 0) (i32.const 8)) (call $reply))
    (func (export "canister_update trap") unreachable))"#;

/// Returns the writing end of a pipe whose reading end is closed.
fn gone() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Returns a file on a full disk.
fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

#[test]
fn canisters_continue_when_nobody_reads_their_prints() {
    for stderr in [gone, full] {
        let (_dir, file) = scratch();
        let child = Command::new(BINARY).arg("--port-file").arg(&file).stderr(stderr()).spawn().unwrap();
        let url = format!("http://127.0.0.1:{}/", port(&file)).parse().unwrap();
        let pic = PocketIcBuilder::new().with_server_url(url).with_application_subnet().build();
        let id = install_wasm(&pic, wasm(TALKATIVE));
        for _ in 0..2 {
            pic.query_call(id, ANONYMOUS, "ask", vec![]).unwrap();
            call(&pic, id, "do", &[]).unwrap();
            call(&pic, id, "trap", &[]).unwrap_err();
        }
        // Two prints and two traps of updates: the log does not have what a query prints.
        assert_eq!(pic.fetch_canister_logs(id, ANONYMOUS).unwrap().len(), 4, "the canister's log is kept");
        drop(pic);
        terminate(child.id());
        assert!(wait_for_end(child).success());
    }
}

#[test]
fn an_error_that_nobody_reads_still_sets_the_exit_code() {
    for stderr in [gone, full] {
        let refused = Command::new(BINARY).args(["--ip-addr", "0.0.0.0"]).stderr(stderr()).status().unwrap();
        assert_eq!(refused.code(), Some(3));
    }
    // Standard output that cannot be written to is itself an error, reported on standard error.
    for stdout in [gone, full] {
        let output =
            Command::new(BINARY).arg("--version").stdout(stdout()).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with("pocket-ic-embedded: cannot write to standard output: "), "{text}");
    }
}
