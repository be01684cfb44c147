//! Servers that share a folder of compiled modules.

use super::{BINARY, port, run, scratch, start, terminate, wait_for_end};
use crate::common::{self, ANONYMOUS, install_wasm, wasm};
use pocket_ic::PocketIcBuilder;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

/// Returns the counter with more functions, so that it is large enough to be cached.
fn large() -> Vec<u8> {
    let step = format!("(i64.const {}) i64.xor ", i64::MAX).repeat(40);
    let filler = format!("(func (param i64) (result i64) (local.get 0) {step})").repeat(200);
    wasm(&common::COUNTER.trim_end().strip_suffix(')').map(|text| format!("{text} {filler})")).unwrap())
}

/// Starts a server with this folder, installs the module, checks that it runs, and ends the server.
fn install_on_a_new_server(cache: &Path, module: Vec<u8>) {
    let (_dir, file) = scratch();
    let child = start(&file, &["--module-cache", cache.to_str().unwrap()]);
    let url = format!("http://127.0.0.1:{}/", port(&file)).parse().unwrap();
    let pic = PocketIcBuilder::new().with_server_url(url).with_application_subnet().build();
    let id = install_wasm(&pic, module);
    let reply = pic.update_call(id, ANONYMOUS, "inc", vec![]).unwrap();
    assert_eq!(common::parse_u32(&reply), 1);
    drop(pic);
    terminate(child.id());
    assert!(wait_for_end(child).success());
}

/// Returns the names and inodes of the files in the cache: a file that was written again has another inode.
fn contents(cache: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(cache).unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().ino())
    });
    entries.collect()
}

#[test]
fn servers_that_need_a_module_concurrently_both_get_it() {
    let (dir, _) = scratch();
    let cache = dir.path().join("modules");
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| install_on_a_new_server(&cache, large()));
        }
    });
    let cached = contents(&cache);
    assert_eq!(cached.len(), 1, "{cached:?}");
    assert!(cached[0].0.ends_with(".module"), "{cached:?}");
    install_on_a_new_server(&cache, large());
    assert_eq!(contents(&cache), cached, "the next server compiles nothing");
}

#[test]
fn a_folder_that_others_may_write_to_is_one_clear_line() {
    let (dir, _) = scratch();
    let cache = dir.path().join("modules");
    fs::create_dir(&cache).unwrap();
    fs::set_permissions(&cache, Permissions::from_mode(0o777)).unwrap();
    let output = run(&["--module-cache", cache.to_str().unwrap(), "--ttl", "1"]);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("others may write to it (mode 777)"), "{text}");
}

#[test]
fn an_unusable_folder_from_the_environment_is_not_fatal() {
    let (dir, _) = scratch();
    let (good, bad) = (dir.path().join("modules"), dir.path().join("open"));
    fs::create_dir(&bad).unwrap();
    fs::set_permissions(&bad, Permissions::from_mode(0o777)).unwrap();
    // The value of the variable, and whether the server must print a warning.
    for (value, reported) in [(good.as_path(), false), (&bad, true), (Path::new("off"), false)] {
        let child = Command::new(BINARY)
            .args(["--ttl", "1"])
            .env("POCKET_IC_EMBEDDED_MODULE_CACHE", value)
            .current_dir(dir.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.contains("Compiled modules are not shared with other processes"), reported, "{text}");
    }
    assert!(good.is_dir());
    assert!(!dir.path().join("off").exists());
}
