//! Creating, installing, calling, upgrading and ending canisters, through the official client.

mod common;

use candid::Principal;
use common::{builder, counter, instance, long, number, user, wasm};
use pocket_ic::common::rest::RawEffectivePrincipal;
use pocket_ic::{ErrorCode, PocketIc, RejectCode, RejectResponse};

const ANONYMOUS: Principal = Principal::anonymous();

fn installed(pic: &PocketIc) -> Principal {
    let id = pic.create_canister();
    pic.install_canister(id, counter(), 5u32.to_le_bytes().to_vec(), None);
    id
}

fn call(pic: &PocketIc, id: Principal, method: &str) -> Result<Vec<u8>, RejectResponse> {
    pic.update_call(id, ANONYMOUS, method, vec![])
}

fn read(pic: &PocketIc, id: Principal) -> u32 {
    number(&pic.query_call(id, ANONYMOUS, "read", vec![]).unwrap())
}

#[test]
fn ids_cycles_and_controllers_of_new_canisters() {
    let pic = instance();
    let id = pic.create_canister();
    assert_eq!(id.to_text(), "lxzze-o7777-77777-aaaaa-cai");
    assert_eq!(pic.cycle_balance(id), 100_000_000_000_000);
    assert_eq!(pic.get_controllers(id), [ANONYMOUS]);
    assert!(pic.canister_exists(id));
    let other = pic.create_canister_with_settings(Some(user(1)), None);
    assert_ne!(id, other);
    assert_eq!(pic.get_controllers(other), [user(1)]);
    assert_eq!(pic.get_subnet(id), Some(pic.topology().get_app_subnets()[0]));
    let unknown = Principal::from_text("x47dp-5x777-77777-p777q-cai").unwrap();
    assert!(!pic.canister_exists(unknown));
    let again = pic.create_canister_with_id(None, None, unknown).unwrap();
    assert_eq!(again, unknown);
    let error = pic.create_canister_with_id(None, None, id).unwrap_err();
    assert!(error.contains("CanisterAlreadyInstalled"), "{error}");
}

#[test]
fn updates_change_queries_do_not() {
    let pic = instance();
    let id = installed(&pic);
    assert_eq!(number(&call(&pic, id, "inc").unwrap()), 6);
    assert_eq!(number(&call(&pic, id, "inc").unwrap()), 7);
    let in_query = pic.query_call(id, ANONYMOUS, "inc_query", vec![]).unwrap();
    assert_eq!(number(&in_query), 8);
    assert_eq!(read(&pic, id), 7);
    // A query method called as an update changes nothing either.
    assert_eq!(number(&call(&pic, id, "inc_query").unwrap()), 8);
    assert_eq!(read(&pic, id), 7);
    // A mutable global that the module does not export lives on, too.
    let hidden = pic.query_call(id, ANONYMOUS, "hidden", vec![]).unwrap();
    assert_eq!(number(&hidden), 9);
}

#[test]
fn the_caller_and_the_argument_arrive() {
    let pic = instance();
    let id = installed(&pic);
    let caller = pic.query_call(id, user(3), "caller", vec![]).unwrap();
    assert_eq!(caller, user(3).as_slice());
    let payload: Vec<u8> = (0..60_000u32).map(|n| n as u8).collect();
    let echoed = pic.update_call(id, user(3), "echo", payload.clone()).unwrap();
    assert_eq!(echoed, payload);
}

#[test]
fn upgrade_keeps_stable_memory_and_drops_the_heap() {
    let pic = instance();
    let id = installed(&pic);
    call(&pic, id, "inc").unwrap();
    call(&pic, id, "stable_inc").unwrap();
    pic.upgrade_canister(id, counter(), vec![], None).unwrap();
    assert_eq!(read(&pic, id), 0);
    assert_eq!(number(&call(&pic, id, "stable_inc").unwrap()), 2);
    pic.reinstall_canister(id, counter(), 9u32.to_le_bytes().to_vec(), None).unwrap();
    assert_eq!(read(&pic, id), 9);
    assert_eq!(number(&call(&pic, id, "stable_inc").unwrap()), 1);
}

#[test]
fn a_failing_upgrade_leaves_everything_as_it_was() {
    let pic = instance();
    let id = installed(&pic);
    call(&pic, id, "inc").unwrap();
    call(&pic, id, "stable_inc").unwrap();
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
    assert_eq!(read(&pic, id), 6);
    assert_eq!(number(&call(&pic, id, "stable_inc").unwrap()), 2);
}

#[test]
fn install_modes_and_controllers_are_checked() {
    let pic = instance();
    let id = pic.create_canister();
    let error = pic.upgrade_canister(id, counter(), vec![], None).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterWasmModuleNotFound);
    let error = call(&pic, id, "inc").unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterWasmModuleNotFound);
    let error = pic.query_call(id, ANONYMOUS, "read", vec![]).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterWasmModuleNotFound);
    assert!(!error.certified);
    pic.install_canister(id, counter(), vec![], None);
    let install = candid::encode_one(ic_management_canister_types::InstallCodeArgs {
        mode: ic_management_canister_types::CanisterInstallMode::Install,
        canister_id: id,
        wasm_module: counter(),
        arg: vec![],
        sender_canister_version: None,
    })
    .unwrap();
    let management = Principal::management_canister();
    let error = pic
        .update_call_with_effective_principal(
            management,
            RawEffectivePrincipal::CanisterId(id.as_slice().to_vec()),
            ANONYMOUS,
            "install_code",
            install,
        )
        .unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterNonEmpty);
    let error = pic.upgrade_canister(id, counter(), vec![], Some(user(1))).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterInvalidController);
    let error = pic.reinstall_canister(id, b"not wasm".to_vec(), vec![], None).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterInvalidWasm);
    for (method, part) in [("make_coffee", "no method"), ("http_request", "not supported")] {
        let place = RawEffectivePrincipal::CanisterId(id.as_slice().to_vec());
        let error = pic
            .update_call_with_effective_principal(management, place, ANONYMOUS, method, vec![])
            .unwrap_err();
        assert_eq!(error.error_code, ErrorCode::UnknownManagementMessage);
        assert!(error.reject_message.contains(part), "{error}");
    }
}

#[test]
fn every_failure_has_its_code_and_changes_nothing() {
    let pic = instance();
    let id = installed(&pic);
    for (method, code, part) in [
        (
            "trap_after_inc",
            ErrorCode::CanisterCalledTrap,
            "Canister called `ic0.trap` with message: 'something went wrong'",
        ),
        ("unreachable", ErrorCode::CanisterTrapped, "unreachable"),
        ("no_reply", ErrorCode::CanisterDidNotReply, "did not reply"),
        ("reject", ErrorCode::CanisterRejectedMessage, "not today"),
        ("missing", ErrorCode::CanisterMethodNotFound, "Canister has no update method 'missing'"),
    ] {
        let error = call(&pic, id, method).unwrap_err();
        assert_eq!(error.error_code, code, "{method}: {error}");
        assert!(error.reject_message.contains(part), "{method}: {error}");
        assert!(error.certified, "{method}");
        assert_eq!(read(&pic, id), 5, "{method}");
    }
    let error = call(&pic, id, "reject").unwrap_err();
    assert_eq!(error.reject_code, RejectCode::CanisterReject);
    assert_eq!(error.reject_message, "not today");
    let error = pic.query_call(id, ANONYMOUS, "missing", vec![]).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterMethodNotFound);
    assert!(!error.certified);
}

#[test]
fn a_query_that_never_ends_is_ended() {
    let pic = instance();
    let id = installed(&pic);
    let error = pic.query_call(id, ANONYMOUS, "spin", vec![]).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterInstructionLimitExceeded);
    assert!(error.reject_message.contains("5000000000"), "{error}");
    assert_eq!(read(&pic, id), 5);
}

#[test]
fn stopping_starting_deleting() {
    let pic = instance();
    let id = installed(&pic);
    let error = pic.delete_canister(id, None).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterNotStopped);
    pic.stop_canister(id, None).unwrap();
    let error = call(&pic, id, "inc").unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterStopped);
    assert!(!error.certified);
    let error = pic.query_call(id, ANONYMOUS, "read", vec![]).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterStopped);
    pic.upgrade_canister(id, counter(), vec![], None).unwrap();
    pic.start_canister(id, None).unwrap();
    assert_eq!(number(&call(&pic, id, "inc").unwrap()), 1);
    pic.stop_canister(id, None).unwrap();
    pic.stop_canister(id, None).unwrap();
    pic.delete_canister(id, None).unwrap();
    assert!(!pic.canister_exists(id));
    let error = call(&pic, id, "inc").unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterNotFound);
    assert_ne!(pic.create_canister(), id);
}

#[test]
fn uninstalling_removes_code_and_memory() {
    let pic = instance();
    let id = installed(&pic);
    call(&pic, id, "stable_inc").unwrap();
    pic.uninstall_canister(id, None).unwrap();
    let status = pic.canister_status(id, None).unwrap();
    assert_eq!(status.module_hash, None);
    pic.install_canister(id, counter(), vec![], None);
    assert_eq!(number(&call(&pic, id, "stable_inc").unwrap()), 1);
}

#[test]
fn versions_grow_with_every_change() {
    let pic = instance();
    let id = installed(&pic);
    let first = long(&call(&pic, id, "version").unwrap());
    let second = long(&call(&pic, id, "version").unwrap());
    assert!(second > first);
    call(&pic, id, "trap_after_inc").unwrap_err();
    pic.query_call(id, ANONYMOUS, "read", vec![]).unwrap();
    let third = long(&call(&pic, id, "version").unwrap());
    assert_eq!(third, second + 1);
    pic.set_controllers(id, None, vec![user(1), ANONYMOUS]).unwrap();
    let fourth = long(&call(&pic, id, "version").unwrap());
    assert_eq!(fourth, third + 2);
}

#[test]
fn settings_and_status() {
    let pic = instance();
    let id = installed(&pic);
    pic.update_canister_settings(
        id,
        None,
        ic_management_canister_types::CanisterSettings {
            freezing_threshold: Some(7u8.into()),
            ..Default::default()
        },
    )
    .unwrap();
    let status = pic.canister_status(id, None).unwrap();
    assert_eq!(status.settings.freezing_threshold, 7u8);
    assert_eq!(status.memory_metrics.stable_memory_size, 65_536u32);
    assert_eq!(status.memory_metrics.wasm_memory_size, 65_536u32);
    assert_eq!(status.cycles, 100_000_000_000_000u64);
    let error = pic.canister_status(id, Some(user(1))).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterInvalidController);
    pic.set_controllers(id, None, vec![user(1)]).unwrap();
    assert_eq!(pic.get_controllers(id), [user(1)]);
    assert!(pic.canister_status(id, Some(user(1))).is_ok());
    assert!(pic.canister_status(id, None).is_err());
}

#[test]
fn a_canister_below_its_freezing_threshold_takes_no_calls() {
    let pic = instance();
    let id = installed(&pic);
    pic.update_canister_settings(
        id,
        None,
        ic_management_canister_types::CanisterSettings {
            freezing_threshold: Some(u64::MAX.into()),
            ..Default::default()
        },
    )
    .unwrap();
    let error = call(&pic, id, "inc").unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterOutOfCycles);
    let error = pic.query_call(id, ANONYMOUS, "read", vec![]).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterOutOfCycles);
    pic.add_cycles(id, u128::MAX / 2);
    assert_eq!(number(&call(&pic, id, "inc").unwrap()), 6);
    // A system subnet charges nothing, so that an empty balance is no obstacle there.
    let free = builder().with_system_subnet().build();
    let params = pocket_ic::CreateCanisterParams { cycles: Some(0), ..Default::default() };
    let id = free.create_canister_with_params(None, params).unwrap();
    free.install_canister(id, counter(), vec![], None);
    assert_eq!(free.cycle_balance(id), 0);
    assert_eq!(number(&call(&free, id, "inc").unwrap()), 1);
}

#[test]
fn large_modules_go_in_pieces() {
    let pic = instance();
    let id = pic.create_canister();
    // Nothing compresses or deduplicates: the client cuts it into pieces of 1 MiB.
    let filler: String = (0..2_500_000u32)
        .map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 27) as u8 % 26))
        .collect();
    let large = common::COUNTER.replacen(
        "(memory 1)",
        &format!("(memory 40) (data (i32.const 8192) \"{filler}\")"),
        1,
    );
    pic.install_canister(id, wasm(&large), 3u32.to_le_bytes().to_vec(), None);
    assert_eq!(number(&call(&pic, id, "inc").unwrap()), 4);
    assert_eq!(pic.stored_chunks(id, None).unwrap().len(), 3);
    pic.clear_chunk_store(id, None).unwrap();
    assert!(pic.stored_chunks(id, None).unwrap().is_empty());
}

#[test]
fn gzipped_modules_and_the_empty_one() {
    use std::io::Write;
    let pic = instance();
    let id = pic.create_canister();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&counter()).unwrap();
    let packed = gzip.finish().unwrap();
    pic.install_canister(id, packed.clone(), vec![], None);
    assert_eq!(number(&call(&pic, id, "inc").unwrap()), 1);
    let status = pic.canister_status(id, None).unwrap();
    let hash: Vec<u8> =
        sha2::Digest::finalize(sha2::Digest::chain_update(<sha2::Sha256 as sha2::Digest>::new(), &packed))
            .to_vec();
    assert_eq!(status.module_hash, Some(hash));
    let empty = pic.create_canister();
    pic.install_canister(empty, b"\0asm\x01\0\0\0".to_vec(), vec![], None);
    let error = call(&pic, empty, "inc").unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterMethodNotFound);
}

#[test]
fn inspect_message_decides_about_ingress() {
    let pic = instance();
    let id = pic.create_canister();
    let gate = wasm(
        r#"(module
            (import "ic0" "msg_method_name_size" (func $size (result i32)))
            (import "ic0" "accept_message" (func $accept))
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "trap" (func $trap (param i32 i32)))
            (memory 1) (data (i32.const 0) "go away")
            (func (export "canister_inspect_message")
                (if (i32.eq (call $size) (i32.const 2)) (then (call $accept)))
                (if (i32.eq (call $size) (i32.const 4))
                    (then (call $trap (i32.const 0) (i32.const 7)))))
            (func (export "canister_update ok") (call $reply))
            (func (export "canister_update not") (call $reply))
            (func (export "canister_update trap") (call $reply)))"#,
    );
    pic.install_canister(id, gate, vec![], None);
    assert!(call(&pic, id, "ok").is_ok());
    let error = call(&pic, id, "not").unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterRejectedMessage);
    assert!(error.reject_message.contains("Canister rejected the message"));
    assert!(!error.certified);
    let error = call(&pic, id, "trap").unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterCalledTrap);
    assert!(!error.certified);
}

#[test]
fn instances_do_not_see_each_other() {
    let first = instance();
    let second = builder().with_application_subnet().build();
    let id = installed(&first);
    assert!(!second.canister_exists(id));
    assert_eq!(second.create_canister(), id);
    let error = call(&second, id, "inc").unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterWasmModuleNotFound);
}
