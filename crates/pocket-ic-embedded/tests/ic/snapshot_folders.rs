//! Snapshots in folders, as the command-line tools write and read them.

use super::common::{
    ANONYMOUS, call, counter, install_counter_with, install_wasm, instance, parse_u32, query_number,
    read_counter, wasm,
};
use pocket_ic::common::rest::{BlobCompression, RawCanisterSnapshotUpload};
use pocket_ic_embedded::{ExtensionError, Extensions};
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Returns the contents of all files below a folder, by their paths relative to it.
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

fn sha256(bytes: &[u8]) -> Vec<u8> {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).to_vec()
}

#[test]
fn snapshot_folders_round_trip() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    call(&pic, id, "inc", &[]).unwrap();
    call(&pic, id, "stable_inc", &[]).unwrap();
    call(&pic, id, "certify", b"certified").unwrap();
    call(&pic, id, "set_timer", &u64::MAX.to_le_bytes()).unwrap();
    // The stable memory is longer than one piece of 2,000,000 bytes.
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
    // The heap counter is at address 512.
    assert_eq!(parse_u32(&written["wasm_memory.bin"][512..516]), 6);
    let metadata: serde_json::Value = serde_json::from_slice(&written["metadata.json"]).unwrap();
    assert_eq!(metadata["source"], serde_json::json!({ "taken_from_canister": null }));
    // The mutable global of the counter: 7, and 1 for the call of `inc`.
    assert_eq!(metadata["globals"], serde_json::json!([{ "i32": 8 }]));
    assert_eq!(metadata["global_timer"], serde_json::json!({ "active": u64::MAX }));
    assert_eq!(metadata["certified_data"], serde_json::json!(b"certified"));
    assert_eq!(metadata["on_low_wasm_memory_hook_status"], "condition_not_satisfied");
    assert!(!written["metadata.json"].ends_with(b"\n"));

    let other_pic = instance();
    let other = other_pic.create_canister();
    let uploaded = other_pic.canister_snapshot_upload(other, ANONYMOUS, None, first.clone());
    other_pic.load_canister_snapshot(other, None, uploaded.clone()).unwrap();
    assert_eq!(read_counter(&other_pic, other), 6);
    assert_eq!(query_number(&other_pic, other, "hidden"), 8);
    assert_eq!(other_pic.get_stable_memory(other), written["stable_memory.bin"]);
    assert_eq!(other_pic.stored_chunks(other, None).unwrap(), [sha256(b"a chunk")]);
    // Downloaded again, the snapshot has the same bytes. Only the metadata differs, which is not compared: in source,
    // time and version, since this snapshot was uploaded.
    let second = dir.path().join("second");
    other_pic.canister_snapshot_download(other, ANONYMOUS, uploaded, second.clone());
    let mut rewritten = files(&second);
    rewritten.insert("metadata.json".into(), written["metadata.json"].clone());
    assert_eq!(rewritten, written);
}

#[test]
fn the_metadata_file_is_written_as_the_tools_write_it() {
    let pic = instance();
    let module = wasm(
        r#"(module (memory 1)
            (global (mut i32) (i32.const -5)) (global i32 (i32.const 3)) (global (mut f64) (f64.const 2.5)))"#,
    );
    let id = install_wasm(&pic, module.clone());
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
    let id = install_counter_with(&pic, 5);
    let snapshot = pic.take_canister_snapshot(id, None, None).unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("note"), b"mine").unwrap();
    pic.canister_snapshot_download(id, ANONYMOUS, snapshot.id, dir.path().to_owned());
}

#[test]
#[should_panic(expected = "wasm_memory.bin: expected 65536 bytes, got 65535")]
fn a_folder_with_a_shortened_file_is_refused() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
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
fn a_folder_of_an_unfinished_download_is_refused() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    let snapshot = pic.take_canister_snapshot(id, None, None).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("snapshot");
    pic.canister_snapshot_download(id, ANONYMOUS, snapshot.id, folder.clone());
    let time = || pic.get_time().as_nanos_since_unix_epoch();
    let before = time();
    // Files that the tools keep in the folder during a download.
    for name in [".download_progress.json", ".download_progress.json.tmp"] {
        fs::write(folder.join(name), "{}").unwrap();
        let refused = catch_unwind(AssertUnwindSafe(|| {
            pic.canister_snapshot_upload(id, ANONYMOUS, None, folder.clone());
        }));
        let text = *refused.unwrap_err().downcast::<String>().unwrap();
        assert!(text.contains("not finished") && text.contains("--resume"), "{text}");
        fs::remove_file(folder.join(name)).unwrap();
        assert_eq!(time(), before, "a refused upload does not advance the time");
    }
    pic.canister_snapshot_upload(id, ANONYMOUS, None, folder);
    assert_eq!(time(), before + 1);
}

/// The metadata file cannot represent infinities and NaN, but the snapshot itself can be loaded.
#[test]
fn a_snapshot_with_non_finite_globals_is_refused_unwritten() {
    let pic = instance();
    for (value, kind) in [("inf", "f64"), ("-inf", "f32"), ("nan", "f64")] {
        let module = format!(
            "(module (memory 1) (global (mut i32) (i32.const 1)) (global (mut {kind}) ({kind}.const {value})))"
        );
        let id = install_wasm(&pic, wasm(&module));
        let snapshot = pic.take_canister_snapshot(id, None, None).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("snapshot");
        let refused = catch_unwind(AssertUnwindSafe(|| {
            pic.canister_snapshot_download(id, ANONYMOUS, snapshot.id.clone(), folder.clone())
        }));
        let text = *refused.unwrap_err().downcast::<String>().unwrap();
        assert!(text.contains("global 1"), "{text}");
        assert!(!folder.exists() || files(&folder).is_empty());
        pic.load_canister_snapshot(id, None, snapshot.id).unwrap();
    }
}

#[test]
#[should_panic(expected = "has the SHA-256")]
fn a_folder_with_a_damaged_chunk_is_refused() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    pic.upload_chunk(id, None, b"a chunk".to_vec()).unwrap();
    let snapshot = pic.take_canister_snapshot(id, None, None).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("snapshot");
    pic.canister_snapshot_download(id, ANONYMOUS, snapshot.id, folder.clone());
    let chunk = folder.join(format!("wasm_chunk_store/{}.bin", hex::encode(sha256(b"a chunk"))));
    fs::write(&chunk, b"a chink").unwrap();
    pic.canister_snapshot_upload(id, ANONYMOUS, None, folder);
}

#[test]
fn a_snapshot_in_place_reads_the_file_and_never_writes_it() {
    let (pic, dir) = (instance(), tempfile::tempdir().unwrap());
    let id = install_counter_with(&pic, 5);
    call(&pic, id, "stable_inc", &[]).unwrap();
    let snapshot = pic.take_canister_snapshot(id, None, None).unwrap();
    let folder = dir.path().join("snapshot");
    pic.canister_snapshot_download(id, ANONYMOUS, snapshot.id, folder.clone());
    let written = files(&folder);
    let copy = pic.create_canister();
    let request = RawCanisterSnapshotUpload {
        sender: ANONYMOUS.into(),
        canister_id: copy.into(),
        replace_snapshot: None,
        snapshot_dir: folder.clone(),
    };
    let extensions = Extensions::of(&pic);
    let upload = || extensions.upload_snapshot_in_place(&request);
    let uploaded = upload().unwrap();
    pic.load_canister_snapshot(copy, None, uploaded.snapshot_id).unwrap();
    assert_eq!(pic.get_stable_memory(copy), written["stable_memory.bin"]);
    call(&pic, copy, "stable_inc", &[]).unwrap();
    assert_ne!(pic.get_stable_memory(copy), written["stable_memory.bin"]);
    assert_eq!(files(&folder), written);
    // As in an ordinary upload, a file of another length is refused.
    fs::write(folder.join("stable_memory.bin"), "short").unwrap();
    let Err(ExtensionError::Refused { status: 400, message, .. }) = upload() else { panic!("not refused") };
    assert!(message.contains("stable_memory.bin") && message.contains("got 5"), "{message}");
}
