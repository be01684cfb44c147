//! Measures how fast the embedded server is and how much memory it takes, and prints the table of `BENCHMARKS.md`.
//!
//! `cargo run -p pocket-ic-embedded --example throughput`. The figures depend on the machine and its other
//! load; nothing is asserted about them.

use candid::Principal;
use pocket_ic::{PocketIc, PocketIcBuilder};
use pocket_ic_embedded::EmbeddedServer;
use std::thread;
use std::time::{Duration, Instant};

/// Number of timed calls. Before calls one after the other, 100 more are made that are not timed.
const CALLS: usize = 2_000;
/// Number of instances for the measurements of many instances.
const INSTANCES: usize = 100;
/// Number of calls to each of these instances.
const CALLS_EACH: usize = 40;
/// Size of the upload, in bytes.
const UPLOAD: usize = 18_000_000;
/// Size of its chunks, in bytes.
const CHUNK: usize = 1_800_000;

/// A canister: `nothing` and `nothing_query` only reply; `put` appends its argument to stable memory; `get` always
/// returns the first chunk.
const CANISTER: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "msg_arg_data_size" (func $size (result i32)))
    (import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))
    (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
    (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
    (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
    (memory 32)
    (global $end (mut i64) (i64.const 0))
    (func (export "canister_init") (drop (call $grow (i64.const 400))))
    (func (export "canister_update nothing") (call $reply))
    (func (export "canister_query nothing_query") (call $reply))
    (func (export "canister_update put")
        (call $copy (i32.const 0) (i32.const 0) (call $size))
        (call $write (global.get $end) (i64.const 0) (i64.extend_i32_u (call $size)))
        (global.set $end (i64.add (global.get $end) (i64.extend_i32_u (call $size))))
        (call $reply))
    (func (export "canister_query get")
        (call $read (i64.const 0) (i64.const 0) (i64.const 1800000))
        (call $append (i32.const 0) (i32.const 1800000)) (call $reply)))"#;

fn main() {
    let wasm = wat::parse_str(CANISTER).expect("the canister's text is valid");
    println!("| what | figure |\n|---|---|");
    let begun = Instant::now();
    let server = EmbeddedServer::start().expect("the server starts");
    let (pic, id) = set_up(&server, &wasm);
    row("server, instance and first canister", milliseconds(begun.elapsed()));

    let update = |calls| repeat(calls, || drop(pic.update_call(id, anonymous(), "nothing", vec![])));
    update(100);
    row("empty update calls, one after the other", per_second(CALLS, update(CALLS)));
    let query = |calls| repeat(calls, || drop(pic.query_call(id, anonymous(), "nothing_query", vec![])));
    query(100);
    row("empty query calls, one after the other", per_second(CALLS, query(CALLS)));
    let submitted = Instant::now();
    let messages: Vec<_> = (0..CALLS)
        .map(|_| pic.submit_call(id, anonymous(), "nothing", vec![]).expect("the call is accepted"))
        .collect();
    messages.into_iter().for_each(|message| drop(pic.await_call(message)));
    row("empty update calls, submitted together", per_second(CALLS, submitted.elapsed()));

    // Bytes without a pattern: the high byte of multiples of 2^32 divided by the golden ratio.
    let chunk: Vec<u8> = (0..CHUNK as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let upload = repeat(UPLOAD / CHUNK, || {
        pic.update_call(id, anonymous(), "put", chunk.clone()).expect("a chunk is taken");
    });
    row("upload of 18 MB in chunks of 1.8 MB, to stable memory", megabytes_per_second(upload));
    // Every query returns the first chunk: as many bytes as the upload has.
    let download = repeat(UPLOAD / CHUNK, || {
        drop(pic.query_call(id, anonymous(), "get", vec![]).expect("a chunk is given"));
    });
    row("download of 18 MB in chunks of 1.8 MB", megabytes_per_second(download));

    side_by_side(&server, &wasm);
}

fn anonymous() -> Principal {
    Principal::anonymous()
}

fn set_up(server: &EmbeddedServer, wasm: &[u8]) -> (PocketIc, Principal) {
    let pic = PocketIcBuilder::new().with_server_url(server.url()).with_application_subnet().build();
    let id = pic.create_canister();
    pic.install_canister(id, wasm.to_vec(), vec![], None);
    (pic, id)
}

/// Returns how long all repetitions take together.
fn repeat(times: usize, mut work: impl FnMut()) -> Duration {
    let begun = Instant::now();
    (0..times).for_each(|_| work());
    begun.elapsed()
}

/// Measures the memory of an instance, and calls to many instances from one thread and from one thread per core.
fn side_by_side(server: &EmbeddedServer, wasm: &[u8]) {
    let before = resident_kib();
    let begun = Instant::now();
    let instances: Vec<_> = (0..INSTANCES).map(|_| set_up(server, wasm)).collect();
    let each = begun.elapsed() / INSTANCES as u32;
    row("instance with a canister, if the module is cached", milliseconds(each));
    let call_all = |share: &[(PocketIc, Principal)]| {
        for (pic, id) in share.iter().cycle().take(share.len() * CALLS_EACH) {
            pic.update_call(*id, anonymous(), "nothing", vec![]).expect("a reply");
        }
    };
    let calls = INSTANCES * CALLS_EACH;
    let one = repeat(1, || call_all(&instances));
    row("empty update calls to 100 instances, one thread", per_second(calls, one));
    if let (Some(before), Some(after)) = (before, resident_kib()) {
        // Server and client are in this process; the calls from one thread have been made.
        let each = after.saturating_sub(before) / INSTANCES as u64;
        row("resident memory of an instance with a canister, client included", format!("{each} KiB"));
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let many = repeat(1, || {
        thread::scope(|scope| {
            for share in instances.chunks(INSTANCES.div_ceil(cores)) {
                scope.spawn(move || call_all(share));
            }
        });
    });
    row(&format!("empty update calls to 100 instances, {cores} threads"), per_second(calls, many));
}

/// Returns the resident memory of this process, in KiB; `None` if the system does not report it.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn row(what: &str, figure: String) {
    println!("| {what} | {figure} |");
}

fn per_second(count: usize, took: Duration) -> String {
    format!("{:.0} calls/s", count as f64 / took.as_secs_f64())
}

fn megabytes_per_second(took: Duration) -> String {
    format!("{:.0} MB/s", UPLOAD as f64 / 1e6 / took.as_secs_f64())
}

fn milliseconds(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1e3)
}
