//! Stable memory from outside, snapshots and their folders, logs.

mod common;

use candid::{Principal, decode_one, encode_one};
use common::{counter, instance, long, number, user, wasm};
use ic_management_canister_types as management;
use pocket_ic::common::rest::{BlobCompression, RawEffectivePrincipal};
use pocket_ic::{ErrorCode, PocketIc, RejectResponse};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

const ANONYMOUS: Principal = Principal::anonymous();

fn installed(pic: &PocketIc) -> Principal {
    let id = pic.create_canister();
    pic.install_canister(id, counter(), 5u32.to_le_bytes().to_vec(), None);
    id
}

fn call(pic: &PocketIc, id: Principal, method: &str, arg: &[u8]) -> Result<Vec<u8>, RejectResponse> {
    pic.update_call(id, ANONYMOUS, method, arg.to_vec())
}

fn read(pic: &PocketIc, id: Principal, method: &str) -> u32 {
    number(&pic.query_call(id, ANONYMOUS, method, vec![]).unwrap())
}

fn manage(pic: &PocketIc, id: Principal, method: &str, arg: Vec<u8>) -> Result<Vec<u8>, RejectResponse> {
    let place = RawEffectivePrincipal::CanisterId(id.as_slice().to_vec());
    pic.update_call_with_effective_principal(Principal::management_canister(), place, ANONYMOUS, method, arg)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn stable_memory_is_read_and_set() {
    let pic = instance();
    let id = installed(&pic);
    assert_eq!(pic.get_stable_memory(id), vec![0; 65_536]);
    call(&pic, id, "stable_inc", &[]).unwrap();
    let memory = pic.get_stable_memory(id);
    assert_eq!(number(&memory[..4]), 1);
    pic.set_stable_memory(id, 41u32.to_le_bytes().to_vec(), BlobCompression::NoCompression);
    assert_eq!(read(&pic, id, "stable_read"), 41);
    // Growing to whole pages, and compressed.
    let mut large = vec![7; 200_000];
    large[..4].copy_from_slice(&99u32.to_le_bytes());
    pic.set_stable_memory(id, gzip(&large), BlobCompression::Gzip);
    let memory = pic.get_stable_memory(id);
    assert_eq!(memory.len(), 4 * 65_536);
    assert_eq!(&memory[..200_000], large);
    assert!(memory[200_000..].iter().all(|byte| *byte == 0));
    assert_eq!(number(&call(&pic, id, "stable_inc", &[]).unwrap()), 100);
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
    let id = installed(&pic);
    pic.set_stable_memory(id, vec![1, 2, 3], BlobCompression::Gzip);
}

#[test]
fn a_snapshot_brings_everything_back() {
    let pic = instance();
    let id = installed(&pic);
    call(&pic, id, "inc", &[]).unwrap();
    call(&pic, id, "stable_inc", &[]).unwrap();
    let snapshot = pic.take_canister_snapshot(id, None, None).unwrap();
    assert!(snapshot.total_size > 2 * 65_536);
    call(&pic, id, "inc", &[]).unwrap();
    call(&pic, id, "stable_inc", &[]).unwrap();
    let before = long(&call(&pic, id, "version", &[]).unwrap());
    pic.load_canister_snapshot(id, None, snapshot.id.clone()).unwrap();
    assert!(long(&call(&pic, id, "version", &[]).unwrap()) > before);
    assert_eq!(read(&pic, id, "read"), 6);
    assert_eq!(read(&pic, id, "hidden"), 8);
    assert_eq!(read(&pic, id, "stable_read"), 1);
    // Loading once more still gives the state of the snapshot: what ran since did not write into it.
    call(&pic, id, "inc", &[]).unwrap();
    pic.load_canister_snapshot(id, None, snapshot.id.clone()).unwrap();
    assert_eq!(read(&pic, id, "read"), 6);
    assert_eq!(pic.list_canister_snapshots(id, None).unwrap(), std::slice::from_ref(&snapshot));
    pic.delete_canister_snapshot(id, None, snapshot.id.clone()).unwrap();
    assert!(pic.list_canister_snapshots(id, None).unwrap().is_empty());
    let error = pic.load_canister_snapshot(id, None, snapshot.id).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterSnapshotNotFound);
}

#[test]
fn snapshots_are_limited_replaced_and_belong_to_their_canister() {
    let pic = instance();
    let (id, other) = (installed(&pic), installed(&pic));
    let mut last = Vec::new();
    for _ in 0..10 {
        last = pic.take_canister_snapshot(id, None, None).unwrap().id;
    }
    let error = pic.take_canister_snapshot(id, None, None).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterRejectedMessage);
    assert!(error.reject_message.contains("maximum number of snapshots"), "{error}");
    let replaced = pic.take_canister_snapshot(id, None, Some(last.clone())).unwrap();
    assert_ne!(replaced.id, last);
    assert_eq!(pic.list_canister_snapshots(id, None).unwrap().len(), 10);
    let error = pic.take_canister_snapshot(other, None, Some(replaced.id.clone())).unwrap_err();
    assert!(error.reject_message.contains("does not belong"), "{error}");
    let error = pic.take_canister_snapshot(id, Some(user(1)), None).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterInvalidController);
    let empty = pic.create_canister();
    let error = pic.take_canister_snapshot(empty, None, None).unwrap_err();
    assert!(error.reject_message.contains("empty canister"), "{error}");
    // Another canister of the same controller can be put into the same state.
    call(&pic, id, "inc", &[]).unwrap();
    let snapshot = pic.take_canister_snapshot(id, None, Some(replaced.id)).unwrap();
    pic.load_canister_snapshot(other, None, snapshot.id).unwrap();
    assert_eq!(read(&pic, other, "read"), 6);
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn snapshot_folders_go_out_and_come_back() {
    let pic = instance();
    let id = installed(&pic);
    call(&pic, id, "inc", &[]).unwrap();
    call(&pic, id, "stable_inc", &[]).unwrap();
    call(&pic, id, "certify", b"certified").unwrap();
    call(&pic, id, "set_timer", &u64::MAX.to_le_bytes()).unwrap();
    // More than one piece of 2,000,000 bytes.
    let mut stable = pic.get_stable_memory(id);
    stable.resize(5_000_000, 3);
    pic.set_stable_memory(id, stable, BlobCompression::NoCompression);
    pic.upload_chunk(id, None, b"a chunk".to_vec()).unwrap();
    let snapshot = pic.take_canister_snapshot(id, None, None).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let first = dir.path().join("first");
    pic.canister_snapshot_download(id, ANONYMOUS, snapshot.id.clone(), first.clone());
    let written = files(&first);
    let chunk = format!("wasm_chunk_store/{}.bin", hex::encode(sha256(b"a chunk")));
    let names: Vec<&str> = written.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["metadata.json", "stable_memory.bin", chunk.as_str(), "wasm_memory.bin", "wasm_module.bin"]
    );
    assert_eq!(written["wasm_module.bin"], counter());
    assert_eq!(written["stable_memory.bin"], pic.get_stable_memory(id));
    assert_eq!(number(&written["wasm_memory.bin"][512..516]), 6);
    let metadata: serde_json::Value = serde_json::from_slice(&written["metadata.json"]).unwrap();
    assert_eq!(metadata["source"], serde_json::json!({ "taken_from_canister": null }));
    assert_eq!(metadata["globals"], serde_json::json!([{ "i32": 8 }]));
    assert_eq!(metadata["global_timer"], serde_json::json!({ "active": u64::MAX }));
    assert_eq!(metadata["certified_data"], serde_json::json!(b"certified"));
    assert_eq!(metadata["on_low_wasm_memory_hook_status"], "condition_not_satisfied");
    assert!(!written["metadata.json"].ends_with(b"\n"));

    // Into another canister, on another instance.
    let other_pic = instance();
    let other = other_pic.create_canister();
    let uploaded = other_pic.canister_snapshot_upload(other, ANONYMOUS, None, first.clone());
    other_pic.load_canister_snapshot(other, None, uploaded.clone()).unwrap();
    assert_eq!(read(&other_pic, other, "read"), 6);
    assert_eq!(read(&other_pic, other, "hidden"), 8);
    assert_eq!(other_pic.get_stable_memory(other), written["stable_memory.bin"]);
    assert_eq!(other_pic.stored_chunks(other, None).unwrap(), [sha256(b"a chunk")]);
    // Out again: the same bytes; only source, time and version tell that it was uploaded.
    let second = dir.path().join("second");
    other_pic.canister_snapshot_download(other, ANONYMOUS, uploaded, second.clone());
    let mut rewritten = files(&second);
    rewritten.insert("metadata.json".into(), written["metadata.json"].clone());
    assert_eq!(rewritten, written);
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).to_vec()
}

#[test]
fn the_metadata_file_is_written_as_the_tools_write_it() {
    let pic = instance();
    let id = pic.create_canister();
    let module = wasm(
        r#"(module (memory 1)
            (global (mut i32) (i32.const -5)) (global i32 (i32.const 3)) (global (mut f64) (f64.const 2.5)))"#,
    );
    pic.install_canister(id, module.clone(), vec![], None);
    let snapshot = pic.take_canister_snapshot(id, None, None).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("snapshot");
    pic.canister_snapshot_download(id, ANONYMOUS, snapshot.id, folder.clone());
    let text = fs::read_to_string(folder.join("metadata.json")).unwrap();
    let expected = format!(
        r#"{{
  "source": {{
    "taken_from_canister": null
  }},
  "taken_at_timestamp": {},
  "wasm_module_size": {},
  "globals": [
    {{
      "i32": -5
    }},
    {{
      "f64": 2.5
    }}
  ],
  "wasm_memory_size": 65536,
  "stable_memory_size": 0,
  "wasm_chunk_store": [],
  "canister_version": 1,
  "certified_data": [],
  "global_timer": "inactive",
  "on_low_wasm_memory_hook_status": "condition_not_satisfied"
}}"#,
        snapshot.taken_at_timestamp,
        module.len()
    );
    assert_eq!(text, expected);
    let mut names: Vec<String> = files(&folder).into_keys().collect();
    names.sort();
    assert_eq!(names, ["metadata.json", "wasm_memory.bin", "wasm_module.bin"]);
}

#[test]
#[should_panic(expected = "Snapshot directory is not empty")]
fn a_folder_with_something_in_it_is_not_written_to() {
    let pic = instance();
    let id = installed(&pic);
    let snapshot = pic.take_canister_snapshot(id, None, None).unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("note"), b"mine").unwrap();
    pic.canister_snapshot_download(id, ANONYMOUS, snapshot.id, dir.path().to_owned());
}

#[test]
#[should_panic(expected = "wasm_memory.bin: expected 65536 bytes, got 65535")]
fn a_folder_with_a_shortened_file_is_refused() {
    let pic = instance();
    let id = installed(&pic);
    let snapshot = pic.take_canister_snapshot(id, None, None).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("snapshot");
    pic.canister_snapshot_download(id, ANONYMOUS, snapshot.id, folder.clone());
    let path = folder.join("wasm_memory.bin");
    let mut bytes = fs::read(&path).unwrap();
    bytes.pop();
    fs::write(&path, bytes).unwrap();
    pic.canister_snapshot_upload(id, ANONYMOUS, None, folder);
}

#[test]
fn snapshots_are_read_and_written_in_pieces() {
    let pic = instance();
    let id = installed(&pic);
    call(&pic, id, "inc", &[]).unwrap();
    let taken = pic.take_canister_snapshot(id, None, None).unwrap();
    let args =
        management::ReadCanisterSnapshotMetadataArgs { canister_id: id, snapshot_id: taken.id.clone() };
    let reply = manage(&pic, id, "read_canister_snapshot_metadata", encode_one(args).unwrap()).unwrap();
    let metadata: management::ReadCanisterSnapshotMetadataResult = decode_one(&reply).unwrap();
    assert_eq!(metadata.wasm_module_size, counter().len() as u64);
    let slice = |offset, size| {
        let args = management::ReadCanisterSnapshotDataArgs {
            canister_id: id,
            snapshot_id: taken.id.clone(),
            kind: management::SnapshotDataKind::WasmMemory { offset, size },
        };
        manage(&pic, id, "read_canister_snapshot_data", encode_one(args).unwrap())
    };
    let data: management::ReadCanisterSnapshotDataResult = decode_one(&slice(512, 4).unwrap()).unwrap();
    assert_eq!(number(&data.chunk), 6);
    let error = slice(65_536, 1).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::InvalidManagementPayload);
    assert!(error.reject_message.contains("offset: 65536, size: 1"), "{error}");
    let write = management::UploadCanisterSnapshotDataArgs {
        canister_id: id,
        snapshot_id: taken.id.clone(),
        kind: management::SnapshotDataOffset::WasmMemory { offset: 512 },
        chunk: vec![0; 4],
    };
    let error = manage(&pic, id, "upload_canister_snapshot_data", encode_one(write).unwrap()).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterSnapshotImmutable);
}

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
    let id = installed(&pic);
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
    // 4 KiB are kept: the oldest records go.
    for _ in 0..5 {
        call(&pic, id, "print", &[b'x'; 1000]).unwrap();
    }
    assert_eq!(logs(&pic, id).len(), 4);
}

#[test]
fn the_log_of_a_failed_install_is_kept() {
    let pic = instance();
    let id = installed(&pic);
    let failing = wasm(
        r#"(module (import "ic0" "debug_print" (func $print (param i32 i32)))
            (memory 1) (data (i32.const 0) "on my way")
            (func (export "canister_post_upgrade")
                (call $print (i32.const 0) (i32.const 9)) unreachable))"#,
    );
    pic.upgrade_canister(id, failing, vec![], None).unwrap_err();
    assert_eq!(logs(&pic, id)[0].1, "on my way");
}
