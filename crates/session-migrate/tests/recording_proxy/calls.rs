//! Calls of the PocketIC protocol, on a server that answers immediately and on one that does not.

use std::path::Path;

use candid::encode_args;
use pocket_ic::PocketIc;
use pocket_ic_embedded::EmbeddedServer;
use session_migrate::build::Build;
use session_migrate::proxy::Recorded;
use session_migrate::trace::{EventKind, Trace};

use crate::front_end::{FrontEnd, content, person, wasm};
use crate::{assert_replays, proxy, scratch, slow_server};

fn assert_recorded(trace: &Path, recorded: &Recorded, calls: u64) {
    assert_eq!(recorded.trace, trace);
    assert_eq!((recorded.calls, recorded.build.as_str()), (calls, "legacy"));
    let read = Trace::read(trace).unwrap();
    assert_eq!(read.header.controllers, [person("controller")]);
    let kinds: Vec<&str> = read
        .events
        .iter()
        .filter_map(|event| match &event.what {
            EventKind::Upgrade { build, .. } => Some(build.as_str()),
            EventKind::Stop => Some("stop"),
            EventKind::Start => Some("start"),
            EventKind::Pass { .. } => Some("round"),
            EventKind::ClockRuns => Some("clock"),
            EventKind::Call(_) => None,
        })
        .collect();
    assert_eq!(kinds, ["staged", "stop", "start", "round", "round", "direct"]);
    // The second begin was sent before the first was answered, and the third begin before a chunk was answered. Later
    // calls were sent after a round, which also answered the chunk.
    let together: Vec<&str> = read
        .events
        .iter()
        .filter_map(|event| match &event.what {
            EventKind::Call(call) if call.together => Some(call.method.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(together, ["uploads_begin", "uploads_begin"]);
    assert_replays(trace);
}

#[test]
fn recorded_calls_replay_to_the_same_answers_elsewhere() {
    let server = EmbeddedServer::start().unwrap();
    let (_folder, out) = scratch();
    let proxy = proxy(&server.url(), &out);
    let mut front_end = FrontEnd::install(proxy.url());
    front_end.act();
    assert!(!out.exists(), "no trace exists before it is complete");
    let recorded = proxy.stop().unwrap();
    assert_recorded(&out, &recorded, front_end.calls);
    assert_eq!(recorded.canister, front_end.id);
    assert!(recorded.notes.is_empty(), "{:?}", recorded.notes);
}

/// If an operation takes long, or arrives while the official server is busy, the server returns the answer only to a
/// second request.
#[test]
fn a_server_that_answers_later_is_recorded_the_same() {
    let server = EmbeddedServer::start().unwrap();
    let slow = slow_server::start(&server.url());
    let (_folder, out) = scratch();
    let proxy = proxy(&slow.url, &out);
    let mut front_end = FrontEnd::install(proxy.url());
    front_end.act();
    let recorded = proxy.stop().unwrap();
    assert_recorded(&out, &recorded, front_end.calls);
    assert!(recorded.notes.is_empty(), "{:?}", recorded.notes);
    assert!(slow.late() > front_end.calls, "{} answers were late", slow.late());
}

/// A trace cannot represent a reinstallation: it ends there, a note says so, and what comes before is valid.
#[test]
fn a_trace_ends_when_the_canister_is_reinstalled() {
    let server = EmbeddedServer::start().unwrap();
    let (_folder, out) = scratch();
    let mut front_end = FrontEnd::install(&server.url());
    let proxy = proxy(&server.url(), &out);
    // From here on, the same instance is called through the proxy.
    let instance = front_end.pic.instance_id();
    let through = PocketIc::new_from_existing_instance(proxy.url().clone(), instance, None);
    let direct = std::mem::replace(&mut front_end.pic, through);
    front_end.create_capsule();
    let unanswered = front_end.submit_begin("capsule_1", &content(1), "never asked about");
    // Its answer is never requested, so it may be missing in the trace.
    front_end.calls -= 1;
    let arg = encode_args(()).unwrap();
    let wasm = wasm(Build::Legacy);
    front_end.pic.reinstall_canister(front_end.id, wasm, arg, Some(person("controller"))).unwrap();
    // The trace has ended, so this call is not in it.
    front_end.pic.query_call(front_end.id, person("client"), "build_info", encode_args(()).unwrap()).unwrap();
    let recorded = proxy.stop().unwrap();
    drop((unanswered, direct));
    assert!(recorded.calls >= front_end.calls, "{recorded:?}");
    let notes: Vec<&str> = recorded.notes.iter().map(String::as_str).collect();
    for part in ["existed before the trace", "ends where the canister was reinstalled"] {
        assert!(notes.iter().any(|note| note.contains(part)), "{part}: {notes:?}");
    }
    assert_eq!(Trace::read(&out).unwrap().events.len() as u64, recorded.calls);
}

#[test]
fn a_canister_first_called_while_stopped_is_recorded_later() {
    let server = EmbeddedServer::start().unwrap();
    let (_folder, out) = scratch();
    let mut front_end = FrontEnd::install(&server.url());
    let controller = Some(person("controller"));
    front_end.pic.stop_canister(front_end.id, controller).unwrap();
    let proxy = proxy(&server.url(), &out);
    let instance = front_end.pic.instance_id();
    let through = PocketIc::new_from_existing_instance(proxy.url().clone(), instance, None);
    let direct = std::mem::replace(&mut front_end.pic, through);
    let arg = encode_args(()).unwrap();
    front_end.pic.query_call(front_end.id, person("client"), "build_info", arg).unwrap_err();
    front_end.pic.start_canister(front_end.id, controller).unwrap();
    front_end.create_capsule();
    let recorded = proxy.stop().unwrap();
    drop(direct);
    assert_eq!((recorded.canister, recorded.calls), (front_end.id, 1));
}
