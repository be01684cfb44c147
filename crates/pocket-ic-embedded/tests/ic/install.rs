//! Installing, upgrading, reinstalling and uninstalling code, whole and in chunks.

use super::common::{
    ANONYMOUS, COUNTER, call, call_management, counter, install_counter_with, install_wasm, instance,
    parse_u32, parse_u64, read_counter, user, wasm,
};
use ic_management_canister_types as types;
use pocket_ic::ErrorCode;

#[test]
fn upgrade_keeps_stable_memory_and_drops_the_heap() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    call(&pic, id, "inc", &[]).unwrap();
    call(&pic, id, "stable_inc", &[]).unwrap();
    pic.upgrade_canister(id, counter(), vec![], None).unwrap();
    assert_eq!(read_counter(&pic, id), 0);
    assert_eq!(parse_u32(&call(&pic, id, "stable_inc", &[]).unwrap()), 2);
    pic.reinstall_canister(id, counter(), 9u32.to_le_bytes().to_vec(), None).unwrap();
    assert_eq!(read_counter(&pic, id), 9);
    assert_eq!(parse_u32(&call(&pic, id, "stable_inc", &[]).unwrap()), 1);
}

/// Returns the counter with a custom section that declares that it can continue with the wasm memory.
fn persistent_counter() -> Vec<u8> {
    const SECTION: &[u8] = b"icp:private enhanced-orthogonal-persistence";
    // A custom section: the id 0, the length of the rest, the length of the name, the name, no data.
    [&counter()[..], &[0, SECTION.len() as u8 + 1, SECTION.len() as u8], SECTION].concat()
}

/// A custom section declares that a module can continue with the wasm memory of the previous module. The option of the
/// upgrade decides whether it does.
#[test]
fn an_upgrade_keeps_the_heap_of_a_module_that_supports_it() {
    let persistent = persistent_counter();
    let pic = instance();
    let id = install_wasm(&pic, persistent.clone());
    call(&pic, id, "inc", &[]).unwrap();
    for (persistence, expected) in
        [(types::WasmMemoryPersistence::Keep, 1), (types::WasmMemoryPersistence::Replace, 0)]
    {
        let flags =
            types::UpgradeFlags { skip_pre_upgrade: None, wasm_memory_persistence: Some(persistence) };
        let upgrade = types::InstallCodeArgs {
            mode: types::CanisterInstallMode::Upgrade(Some(flags)),
            canister_id: id,
            wasm_module: persistent.clone(),
            arg: vec![],
            sender_canister_version: None,
        };
        call_management(&pic, id, ANONYMOUS, "install_code", candid::encode_one(upgrade).unwrap()).unwrap();
        assert_eq!(read_counter(&pic, id), expected, "{persistence:?}");
    }
}

/// Whether an upgrade without the option is refused depends on the module that is installed, not on the new one.
#[test]
fn only_a_module_that_keeps_the_heap_needs_the_option() {
    let pic = instance();
    let id = install_wasm(&pic, counter());
    call(&pic, id, "inc", &[]).unwrap();
    pic.upgrade_canister(id, persistent_counter(), vec![], None).unwrap();
    assert_eq!(read_counter(&pic, id), 0);
    call(&pic, id, "inc", &[]).unwrap();
    for module in [counter(), persistent_counter()] {
        let error = pic.upgrade_canister(id, module, vec![], None).unwrap_err();
        assert_eq!(error.error_code, ErrorCode::CanisterContractViolation);
        assert!(error.reject_message.contains("Missing upgrade option"), "{error}");
        assert_eq!(read_counter(&pic, id), 1);
    }
    let error = pic.upgrade_eop_canister(id, counter(), vec![], None).unwrap_err();
    assert!(error.reject_message.contains("Invalid upgrade option"), "{error}");
    pic.upgrade_eop_canister(id, persistent_counter(), vec![], None).unwrap();
    assert_eq!(read_counter(&pic, id), 1);
}

#[test]
fn a_failing_upgrade_leaves_everything_as_it_was() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    call(&pic, id, "inc", &[]).unwrap();
    call(&pic, id, "stable_inc", &[]).unwrap();
    let before = pic.canister_status(id, None).unwrap();
    let trapping = wasm(
        r#"(module
            (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
            (import "ic0" "trap" (func $trap (param i32 i32)))
            (memory 1) (data (i32.const 0) "no way")
            (func (export "canister_post_upgrade")
                (call $write (i64.const 0) (i64.const 0) (i64.const 6))
                (call $trap (i32.const 0) (i32.const 6))))"#,
    );
    let error = pic.upgrade_canister(id, trapping, vec![], None).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterCalledTrap);
    assert!(error.reject_message.contains("no way"), "{error}");
    assert!(error.certified);
    let after = pic.canister_status(id, None).unwrap();
    assert_eq!(after.module_hash, before.module_hash);
    assert_eq!(after.version, before.version);
    assert_eq!(read_counter(&pic, id), 6);
    assert_eq!(parse_u32(&call(&pic, id, "stable_inc", &[]).unwrap()), 2);
}

#[test]
fn install_modes_and_controllers_are_checked() {
    let pic = instance();
    let id = pic.create_canister();
    let error = pic.upgrade_canister(id, counter(), vec![], None).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterWasmModuleNotFound);
    let error = call(&pic, id, "inc", &[]).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterWasmModuleNotFound);
    let error = pic.query_call(id, ANONYMOUS, "read", vec![]).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterWasmModuleNotFound);
    assert!(!error.certified);
    pic.install_canister(id, counter(), vec![], None);
    let install = candid::encode_one(types::InstallCodeArgs {
        mode: types::CanisterInstallMode::Install,
        canister_id: id,
        wasm_module: counter(),
        arg: vec![],
        sender_canister_version: None,
    })
    .unwrap();
    let error = call_management(&pic, id, ANONYMOUS, "install_code", install).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterNonEmpty);
    let error = pic.upgrade_canister(id, counter(), vec![], Some(user(1))).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterInvalidController);
    let error = pic.reinstall_canister(id, b"not wasm".to_vec(), vec![], None).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterInvalidWasm);
    for (method, part) in [("make_coffee", "no method"), ("http_request", "not supported")] {
        let error = call_management(&pic, id, ANONYMOUS, method, vec![]).unwrap_err();
        assert_eq!(error.error_code, ErrorCode::UnknownManagementMessage);
        assert!(error.reject_message.contains(part), "{error}");
    }
}

#[test]
fn uninstalling_removes_code_and_memory() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    call(&pic, id, "stable_inc", &[]).unwrap();
    pic.uninstall_canister(id, None).unwrap();
    let status = pic.canister_status(id, None).unwrap();
    assert_eq!(status.module_hash, None);
    pic.install_canister(id, counter(), vec![], None);
    assert_eq!(parse_u32(&call(&pic, id, "stable_inc", &[]).unwrap()), 1);
}

#[test]
fn large_modules_are_installed_in_pieces() {
    let pic = instance();
    let id = pic.create_canister();
    // The client sends the module in chunks of 1 MiB. The filler does not repeat: equal chunks would be stored once.
    let filler: String = (0..2_500_000u32)
        .map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 27) as u8 % 26))
        .collect();
    let large =
        COUNTER.replacen("(memory 1)", &format!("(memory 40) (data (i32.const 8192) \"{filler}\")"), 1);
    pic.install_canister(id, wasm(&large), 3u32.to_le_bytes().to_vec(), None);
    assert_eq!(parse_u32(&call(&pic, id, "inc", &[]).unwrap()), 4);
    assert_eq!(pic.stored_chunks(id, None).unwrap().len(), 3);
    pic.clear_chunk_store(id, None).unwrap();
    assert!(pic.stored_chunks(id, None).unwrap().is_empty());
}

#[test]
fn gzipped_modules_and_the_empty_module_are_installed() {
    use std::io::Write;
    let pic = instance();
    let id = pic.create_canister();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&counter()).unwrap();
    let packed = gzip.finish().unwrap();
    pic.install_canister(id, packed.clone(), vec![], None);
    assert_eq!(parse_u32(&call(&pic, id, "inc", &[]).unwrap()), 1);
    let status = pic.canister_status(id, None).unwrap();
    let hash: Vec<u8> =
        sha2::Digest::finalize(sha2::Digest::chain_update(<sha2::Sha256 as sha2::Digest>::new(), &packed))
            .to_vec();
    assert_eq!(status.module_hash, Some(hash));
    let empty = pic.create_canister();
    pic.install_canister(empty, b"\0asm\x01\0\0\0".to_vec(), vec![], None);
    let error = call(&pic, empty, "inc", &[]).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterMethodNotFound);
}

#[test]
fn chunks_that_are_missing_or_of_another_module_are_refused() {
    let pic = instance();
    let id = pic.create_canister();
    let module = counter();
    let (front, back) = module.split_at(100);
    let first = pic.upload_chunk(id, None, front.to_vec()).unwrap();
    let second = pic.upload_chunk(id, None, back.to_vec()).unwrap();
    let hash = { <sha2::Sha256 as sha2::Digest>::digest(&module).to_vec() };
    let install = |hashes: Vec<Vec<u8>>, hash: Vec<u8>| {
        let mode = pocket_ic::CanisterInstallMode::Install;
        pic.install_chunked_canister(id, None, mode, id, hashes, hash, vec![])
    };
    // The right chunks in the wrong order; then a chunk that was never stored.
    let error = install(vec![second.clone(), first.clone()], hash.clone()).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterContractViolation);
    assert!(error.reject_message.contains("does not match"), "{error}");
    let error = install(vec![first.clone(), vec![0; 32]], hash.clone()).unwrap_err();
    assert!(error.reject_message.contains("was not found"), "{error}");
    install(vec![first, second], hash).unwrap();
    let reply = pic.update_call(id, ANONYMOUS, "inc", vec![]).unwrap();
    assert_eq!(parse_u32(&reply), 1);
    let error = pic.upload_chunk(id, None, vec![0; (1 << 20) + 1]).unwrap_err();
    assert!(error.reject_message.contains("exceeds the maximum"), "{error}");
}

#[test]
fn chunks_of_more_than_100_mib_are_refused_as_a_module() {
    let pic = instance();
    let id = pic.create_canister();
    let chunk = pic.upload_chunk(id, None, vec![7; 1 << 20]).unwrap();
    let install = |count| {
        let mode = pocket_ic::CanisterInstallMode::Install;
        pic.install_chunked_canister(id, None, mode, id, vec![chunk.clone(); count], vec![0; 32], vec![])
    };
    let error = install(101).unwrap_err();
    assert!(error.reject_message.contains("of more than 104857600 bytes"), "{error}");
    // 100 MiB are not too long, so the next check fails: the hash is wrong.
    let error = install(100).unwrap_err();
    assert!(error.reject_message.contains("does not match"), "{error}");
}

/// Before and after the upgrade, the canister burns 42 cycles, and notes the previous value of the timer (which
/// `ic0.global_timer_set` returns), its balance and its version.
#[test]
fn steps_of_an_upgrade_see_what_earlier_ones_have_done() {
    let pic = instance();
    let module = wasm(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (import "ic0" "global_timer_set" (func $timer (param i64) (result i64)))
            (import "ic0" "cycles_burn128" (func $burn (param i64 i64 i32)))
            (import "ic0" "canister_cycle_balance" (func $balance (result i64)))
            (import "ic0" "canister_version" (func $version (result i64)))
            (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
            (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
            (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
            (memory 1)
            (func $note (param $at i64)
                (call $burn (i64.const 0) (i64.const 42) (i32.const 100))
                (i64.store (i32.const 0) (call $timer (i64.const 0x7000000000000000)))
                (i64.store (i32.const 8) (call $balance))
                (i64.store (i32.const 16) (call $version))
                (call $write (local.get $at) (i64.const 0) (i64.const 24)))
            (func (export "canister_init") (drop (call $grow (i64.const 1))))
            (func (export "canister_update set")
                (drop (call $timer (i64.const 0x6000000000000000))) (call $reply))
            (func (export "canister_pre_upgrade") (call $note (i64.const 0)))
            (func (export "canister_post_upgrade") (call $note (i64.const 24)))
            (func (export "canister_query notes")
                (call $read (i64.const 0) (i64.const 0) (i64.const 48))
                (call $append (i32.const 0) (i32.const 48)) (call $reply)))"#,
    );
    let id = install_wasm(&pic, module.clone());
    call(&pic, id, "set", &[]).unwrap();
    let balance = u64::try_from(pic.cycle_balance(id)).unwrap();
    let version = pic.canister_status(id, None).unwrap().version;
    pic.upgrade_canister(id, module, vec![], None).unwrap();
    let notes = pic.query_call(id, ANONYMOUS, "notes", vec![]).unwrap();
    let notes: Vec<u64> = notes.chunks(8).map(parse_u64).collect();
    // An upgrade deactivates the timer that pre_upgrade set.
    assert_eq!(notes[..3], [0x6000_0000_0000_0000, balance - 42, version]);
    assert_eq!(notes[3..], [0, balance - 84, version + 1]);
    assert_eq!(pic.cycle_balance(id), u128::from(balance - 84));
}
