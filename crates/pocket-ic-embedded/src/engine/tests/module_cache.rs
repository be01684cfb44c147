//! Compiled modules on disk: the next process finds them, and runs only what this user's compiler has produced.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;

/// Returns a module that replies with this number and is large enough to be cached. `address_type` is `i64` for a
/// memory with 64-bit addresses, otherwise empty.
fn large_module(answer: u32, address_type: &str) -> Vec<u8> {
    let index_type = if address_type == "i64" { "i64" } else { "i32" };
    let filler: String = (0..200)
        .map(|n| {
            let step = format!("(i64.const {}) i64.xor (i64.const {}) i64.mul ", i64::MAX - n, i64::MIN + n);
            format!("(func (param i64) (result i64) (local.get 0) {})", step.repeat(10))
        })
        .collect();
    let wat = format!(
        r#"(module
        (import "ic0" "msg_reply" (func $reply))
        (import "ic0" "msg_reply_data_append" (func $append (param {index_type} {index_type})))
        (memory {address_type} 1)
        (func (export "canister_query answer")
            (i32.store ({index_type}.const 0) (i32.const {answer}))
            (call $append ({index_type}.const 0) ({index_type}.const 4)) (call $reply))
        {filler})"#
    );
    wat::parse_str(wat).expect("the test's WAT is valid")
}

fn open_cache(dir: &TempDir) -> ModuleCache {
    ModuleCache::open(dir.path()).expect("a folder of the test's own")
}

/// Returns the module's answer and the number of instructions that it takes, on a new engine: like the engine of a
/// process that has just started, it finds compiled modules only in the cache.
fn answer_in_new_process(cache: ModuleCache, wasm: &[u8]) -> (u32, u64) {
    let engine = Engine::with_cache(Some(cache)).expect("the runtime starts");
    let state = CanisterState::new(engine.compile(wasm).expect("the test's module is valid"));
    let outcome = engine.execute(&state, EntryPoint::Query("answer".into()), context(), Limits::query());
    (reply_u32(&outcome), outcome.instructions)
}

/// Returns all files in the folder: entries and temporary files.
fn files_in(dir: &TempDir) -> Vec<PathBuf> {
    let files = fs::read_dir(dir.path()).expect("the folder is readable");
    files.map(|entry| entry.expect("readable").path()).collect()
}

fn only_entry(dir: &TempDir) -> PathBuf {
    let [entry] = files_in(dir).try_into().expect("one entry");
    entry
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).expect("the file exists").ino()
}

/// The modification time of an entry stands for its last use.
fn last_use(path: &Path) -> SystemTime {
    fs::metadata(path).and_then(|metadata| metadata.modified()).expect("the file exists")
}

fn set_last_use(path: &Path, hours_ago: u64) {
    let then = SystemTime::now() - Duration::from_secs(3600 * hours_ago);
    File::open(path).and_then(|file| file.set_modified(then)).expect("the file belongs to the test");
}

#[test]
fn a_large_module_is_found_by_the_next_process() {
    for address_type in ["", "i64"] {
        let dir = tempfile::tempdir().unwrap();
        let wasm = large_module(42, address_type);
        let first = answer_in_new_process(open_cache(&dir), &wasm);
        assert_eq!(first.0, 42);
        let entry = only_entry(&dir);
        let written = inode(&entry);
        set_last_use(&entry, 5);
        assert_eq!(
            answer_in_new_process(open_cache(&dir), &wasm),
            first,
            "the same answer for the same instructions"
        );
        assert_eq!(inode(&only_entry(&dir)), written, "nothing was written again");
        assert!(
            last_use(&entry).elapsed().unwrap() < Duration::from_secs(3600),
            "the time of its last use is updated"
        );
        assert_eq!(fs::metadata(&entry).unwrap().mode() & 0o777, 0o600);
    }
}

/// The cache records that the module's code drops segments, so the next process does not reuse its instances, either.
#[test]
fn segments_are_fresh_in_every_message_of_a_cached_module() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        r#"(module
        (import "ic0" "msg_reply" (func $reply))
        (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
        (memory 1) (data $d "seven") (data $filler "{}")
        (func (export "canister_update read")
            (memory.init $d (i32.const 0) (i32.const 0) (i32.const 5)) (data.drop $d)
            (call $append (i32.const 0) (i32.const 5)) (call $reply)))"#,
        "x".repeat(40_000)
    );
    // The filler makes the module large enough to be cached (32 KiB).
    let wasm = wat::parse_str(text).unwrap();
    for _ in 0..2 {
        let engine = Engine::with_cache(Some(open_cache(&dir))).unwrap();
        let mut state = CanisterState::new(engine.compile(&wasm).unwrap());
        for _ in 0..2 {
            let read = EntryPoint::Update("read".into());
            let outcome = engine.execute(&state, read, context(), Limits::update());
            assert_eq!(reply(&outcome), b"seven");
            state = outcome.state;
        }
    }
    // Panics if the module was not cached.
    only_entry(&dir);
}

/// The code of a cached module is not checked again, so a refused module must not get an entry.
#[test]
fn a_refused_module_leaves_nothing_in_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::with_cache(Some(open_cache(&dir))).unwrap();
    let filler = "x".repeat(40_000);
    for part in ["(func (drop (i32.add (i32.const 1))))", r#"(func (export "canister_x"))"#] {
        let text = format!(r#"(module (memory 1) (data "{filler}") {part})"#);
        for _ in 0..2 {
            engine.compile(&wat::parse_str(&text).unwrap()).unwrap_err();
        }
    }
    assert_eq!(files_in(&dir), Vec::<PathBuf>::new());
}

#[test]
fn a_small_module_is_not_cached() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::with_cache(Some(open_cache(&dir))).unwrap();
    engine.compile(&wat::parse_str(r#"(module (func (export "canister_query a")))"#).unwrap()).unwrap();
    assert_eq!(files_in(&dir), Vec::<PathBuf>::new());
}

#[test]
fn an_invalid_entry_is_replaced_and_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let (wasm, other) = (large_module(1, ""), large_module(2, ""));
    let expected = answer_in_new_process(open_cache(&dir), &wasm);
    let entry = only_entry(&dir);
    let whole = fs::read(&entry).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    assert_eq!(answer_in_new_process(open_cache(&elsewhere), &other).0, 2);
    let foreign = only_entry(&elsewhere);

    let write = |bytes: &[u8]| fs::write(&entry, bytes).unwrap();
    let spoilers: [(&str, &dyn Fn()); 7] = [
        ("truncated", &|| write(&whole[..whole.len() / 2])),
        ("empty", &|| write(b"")),
        ("damaged in its code", &|| {
            let mut damaged = whole.clone();
            damaged[whole.len() / 2] ^= 0x10;
            write(&damaged);
        }),
        ("another module's", &|| write(&fs::read(&foreign).unwrap())),
        ("something else", &|| write(b"#!/bin/sh\n")),
        ("open to others", &|| fs::set_permissions(&entry, fs::Permissions::from_mode(0o622)).unwrap()),
        ("a link", &|| {
            let target = elsewhere.path().join("whole");
            fs::write(&target, &whole).unwrap();
            fs::remove_file(&entry).unwrap();
            symlink(&target, &entry).unwrap();
        }),
    ];
    for (what, spoil) in spoilers {
        spoil();
        let spoiled = inode(&entry);
        assert_eq!(
            answer_in_new_process(open_cache(&dir), &wasm),
            expected,
            "{what}: the module is compiled"
        );
        let replaced = inode(&only_entry(&dir));
        assert_ne!(replaced, spoiled, "{what}: the entry is replaced");
        assert_eq!(answer_in_new_process(open_cache(&dir), &wasm), expected, "{what}: the new entry works");
        assert_eq!(inode(&entry), replaced, "{what}: the new entry is not written again");
    }
}

#[test]
fn the_least_recently_used_entry_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    answer_in_new_process(open_cache(&dir), &large_module(1, ""));
    let first = only_entry(&dir);
    let size = fs::metadata(&first).unwrap().len();
    // Two entries fit, three do not.
    let bounded = || open_cache(&dir).with_max_bytes(size * 5 / 2);
    answer_in_new_process(bounded(), &large_module(2, ""));
    let second = files_in(&dir).into_iter().find(|entry| *entry != first).unwrap();
    let (killed, running) = (dir.path().join(".new-killed"), dir.path().join(".new-running"));
    for (path, hours) in [(&killed, 30), (&running, 0)] {
        fs::write(path, b"half").unwrap();
        set_last_use(path, hours);
    }
    set_last_use(&first, 2);
    set_last_use(&second, 1);
    answer_in_new_process(bounded(), &large_module(1, ""));
    answer_in_new_process(bounded(), &large_module(3, ""));
    assert!(first.exists(), "the entry used a moment ago stays");
    assert!(!second.exists(), "the entry used an hour ago is removed");
    assert!(!killed.exists(), "the old temporary file is removed");
    assert!(running.exists(), "the new temporary file stays");
    assert_eq!(files_in(&dir).len(), 3, "two entries and the temporary file");
    answer_in_new_process(open_cache(&dir).with_max_bytes(size / 2), &large_module(4, ""));
    assert!(first.exists(), "an entry that is too large for the cache evicts nothing");
}
