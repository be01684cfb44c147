//! Stable memory that a test reads and sets directly, not by calls; and logs.

use super::common::{
    ANONYMOUS, call, counter, install_counter_with, install_wasm, instance, parse_u32, query_number, user,
    wasm,
};
use candid::Principal;
use pocket_ic::common::rest::BlobCompression;
use pocket_ic::{ErrorCode, PocketIc};
use std::io::Write;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn stable_memory_is_read_and_set() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    assert_eq!(pic.get_stable_memory(id), vec![0; 65_536]);
    call(&pic, id, "stable_inc", &[]).unwrap();
    let memory = pic.get_stable_memory(id);
    assert_eq!(parse_u32(&memory[..4]), 1);
    pic.set_stable_memory(id, 41u32.to_le_bytes().to_vec(), BlobCompression::NoCompression);
    assert_eq!(query_number(&pic, id, "stable_read"), 41);
    // The memory is padded to whole pages.
    let mut large = vec![7; 200_000];
    large[..4].copy_from_slice(&99u32.to_le_bytes());
    pic.set_stable_memory(id, gzip(&large), BlobCompression::Gzip);
    let memory = pic.get_stable_memory(id);
    assert_eq!(memory.len(), 4 * 65_536);
    assert_eq!(&memory[..200_000], large);
    assert!(memory[200_000..].iter().all(|byte| *byte == 0));
    assert_eq!(parse_u32(&call(&pic, id, "stable_inc", &[]).unwrap()), 100);
    // Nothing is left of the previous memory: neither bytes nor size.
    pic.set_stable_memory(id, vec![1; 8], BlobCompression::NoCompression);
    let memory = pic.get_stable_memory(id);
    assert_eq!(memory.len(), 65_536);
    assert_eq!(memory[..8], [1; 8]);
    assert!(memory[8..].iter().all(|byte| *byte == 0));
}

#[test]
fn canisters_with_the_same_blob_as_memory_share_nothing() {
    let pic = instance();
    let (one, other) = (install_counter_with(&pic, 5), install_counter_with(&pic, 5));
    let blob = 41u32.to_le_bytes().to_vec();
    for id in [one, other] {
        pic.set_stable_memory(id, blob.clone(), BlobCompression::NoCompression);
    }
    call(&pic, one, "stable_inc", &[]).unwrap();
    assert_eq!(query_number(&pic, one, "stable_read"), 42);
    assert_eq!(query_number(&pic, other, "stable_read"), 41);
    pic.set_stable_memory(one, blob, BlobCompression::NoCompression);
    assert_eq!(query_number(&pic, one, "stable_read"), 41, "the blob is unchanged since its upload");
}

#[test]
#[should_panic(expected = "CanisterIsEmpty")]
fn a_canister_without_code_has_no_stable_memory() {
    let pic = instance();
    let id = pic.create_canister();
    pic.get_stable_memory(id);
}

#[test]
#[should_panic(expected = "Decompression failed")]
fn bytes_that_are_not_gzip_are_refused() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    pic.set_stable_memory(id, vec![1, 2, 3], BlobCompression::Gzip);
}

/// Returns the index and the text of each record in the canister's log.
fn logs(pic: &PocketIc, id: Principal) -> Vec<(u64, String)> {
    pic.fetch_canister_logs(id, ANONYMOUS)
        .unwrap()
        .into_iter()
        .map(|record| (record.idx, String::from_utf8(record.content).unwrap()))
        .collect()
}

#[test]
fn logs_are_kept_on_upgrade_and_purged_on_reinstall() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    call(&pic, id, "print", b"hello").unwrap();
    call(&pic, id, "trap_after_inc", &[]).unwrap_err();
    let found = logs(&pic, id);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], (0, "hello".to_owned()));
    assert!(found[1].1.contains("something went wrong"), "{found:?}");
    pic.upgrade_canister(id, counter(), vec![], None).unwrap();
    assert_eq!(logs(&pic, id).len(), 2);
    let error = pic.fetch_canister_logs(id, user(1)).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterRejectedMessage);
    pic.reinstall_canister(id, counter(), vec![], None).unwrap();
    assert!(logs(&pic, id).is_empty());
    // 4 KiB are kept, which is enough for four of these records; the oldest is dropped.
    for _ in 0..5 {
        call(&pic, id, "print", &[b'x'; 1000]).unwrap();
    }
    assert_eq!(logs(&pic, id).len(), 4);
}

#[test]
fn the_log_of_a_failed_upgrade_is_kept() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    let failing = wasm(
        r#"(module (import "ic0" "debug_print" (func $print (param i32 i32)))
            (memory 1) (data (i32.const 0) "on my way")
            (func (export "canister_post_upgrade")
                (call $print (i32.const 0) (i32.const 9)) unreachable))"#,
    );
    pic.upgrade_canister(id, failing, vec![], None).unwrap_err();
    assert_eq!(logs(&pic, id)[0].1, "on my way");
}

/// A canister that prints an empty text 100,000 times.
const CHATTY: &str = r#"(module
    (import "ic0" "debug_print" (func $print (param i32 i32)))
    (import "ic0" "msg_reply" (func $reply))
    (memory 1)
    (func (export "canister_update chat")
        (local $left i32)
        (local.set $left (i32.const 100000))
        (loop $next
            (call $print (i32.const 0) (i32.const 0))
            (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (call $reply)))"#;

#[test]
fn records_without_content_fill_a_log_too() {
    let pic = instance();
    let id = install_wasm(&pic, wasm(CHATTY));
    call(&pic, id, "chat", &[]).unwrap();
    // The log has 4 KiB; each record takes twenty bytes in addition to its content.
    let records = logs(&pic, id);
    assert_eq!(records.len(), 4096 / 20);
    assert_eq!(records.last().unwrap().0, 99_999);
    // A log of no bytes keeps no record.
    let silent = pocket_ic::CanisterSettings { log_memory_limit: Some(0u8.into()), ..Default::default() };
    pic.update_canister_settings(id, None, silent).unwrap();
    assert!(logs(&pic, id).is_empty());
    call(&pic, id, "chat", &[]).unwrap();
    assert!(logs(&pic, id).is_empty());
}
