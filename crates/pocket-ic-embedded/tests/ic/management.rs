//! The management canister as canisters call it, and its less common methods.

use super::common::{
    ANONYMOUS, call_management, counter, encode_canister_id, install_wasm, instance, parse_u32, user, wasm,
};
use candid::utils::ArgumentEncoder;
use candid::{CandidType, Deserialize, Principal, decode_one, encode_args, encode_one};
use ic_management_canister_types as types;
use pocket_ic::common::rest::RawEffectivePrincipal;
use pocket_ic::{ErrorCode, PocketIc, RejectResponse};

/// A canister whose `call` calls the management canister and forwards the answer: a reply as it is, a rejection as a
/// rejection with the same text. The argument is the number of cycles to attach (8 bytes), the length of the method's
/// name (1 byte), the name, and the method's argument.
pub const MESSENGER: &str = r#"
(module
  (import "ic0" "msg_reply" (func $msg_reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reject" (func $reject (param i32 i32)))
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
  (import "ic0" "msg_reject_msg_size" (func $reject_size (result i32)))
  (import "ic0" "msg_reject_msg_copy" (func $reject_copy (param i32 i32 i32)))
  (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_data_append" (func $data (param i32 i32)))
  (import "ic0" "call_cycles_add128" (func $cycles (param i64 i64)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (table funcref (elem $replied $rejected))
  (memory 4)
  (func (export "canister_update call")
    (local $name i32) (local $rest i32)
    (call $arg_copy (i32.const 1024) (i32.const 0) (call $arg_size))
    (local.set $name (i32.load8_u (i32.const 1032)))
    (local.set $rest (i32.add (i32.const 1033) (local.get $name)))
    (call $call_new (i32.const 0) (i32.const 0) (i32.const 1033) (local.get $name)
      (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
    (call $data (local.get $rest)
      (i32.sub (i32.sub (call $arg_size) (i32.const 9)) (local.get $name)))
    (call $cycles (i64.const 0) (i64.load (i32.const 1024)))
    (if (call $perform) (then unreachable)))
  (func $replied (param i32)
    (call $arg_copy (i32.const 1024) (i32.const 0) (call $arg_size))
    (call $append (i32.const 1024) (call $arg_size))
    (call $msg_reply))
  (func $rejected (param i32)
    (call $reject_copy (i32.const 1024) (i32.const 0) (call $reject_size))
    (call $reject (i32.const 1024) (call $reject_size)))
  (@custom "icp:public colour" "blue")
  (@custom "icp:private secret" "red"))
"#;

pub fn install_messenger(pic: &PocketIc) -> Principal {
    install_wasm(pic, wasm(MESSENGER))
}

/// Makes the messenger call a method of the management canister with these cycles, and returns the answer.
pub fn send(
    pic: &PocketIc,
    messenger: Principal,
    cycles: u64,
    method: &str,
    args: impl ArgumentEncoder,
) -> Result<Vec<u8>, RejectResponse> {
    let payload = encode_args(args).unwrap();
    let arg = [&cycles.to_le_bytes(), [method.len() as u8].as_slice(), method.as_bytes(), &payload].concat();
    pic.update_call(messenger, ANONYMOUS, "call", arg)
}

/// Like [`send`], but decodes the reply.
fn call_through<T: for<'de> Deserialize<'de> + CandidType>(
    pic: &PocketIc,
    messenger: Principal,
    cycles: u64,
    method: &str,
    args: impl ArgumentEncoder,
) -> Result<T, RejectResponse> {
    Ok(decode_one(&send(pic, messenger, cycles, method, args)?).unwrap())
}

/// Like [`call_through`], for methods that return nothing.
fn call_for_nothing_through(
    pic: &PocketIc,
    messenger: Principal,
    cycles: u64,
    method: &str,
    args: impl ArgumentEncoder,
) -> Result<(), RejectResponse> {
    assert_eq!(send(pic, messenger, cycles, method, args)?, b"DIDL\0\0");
    Ok(())
}

#[test]
fn a_canister_creates_installs_and_feeds_another() {
    let pic = instance();
    let parent = install_messenger(&pic);
    let before = pic.cycle_balance(parent);
    let args = types::CreateCanisterArgs { settings: None, sender_canister_version: Some(1) };
    let created: types::CanisterIdRecord =
        call_through(&pic, parent, 5_000_000_000_000, "create_canister", (args,)).unwrap();
    let child = created.canister_id;
    assert_eq!(pic.get_controllers(child), [parent]);
    assert_eq!(pic.cycle_balance(child), 5_000_000_000_000);
    assert_eq!(pic.cycle_balance(parent), before - 5_000_000_000_000);
    let install = types::InstallCodeArgs {
        mode: types::CanisterInstallMode::Install,
        canister_id: child,
        wasm_module: counter(),
        arg: 3u32.to_le_bytes().to_vec(),
        sender_canister_version: None,
    };
    call_for_nothing_through(&pic, parent, 0, "install_code", (install,)).unwrap();
    assert_eq!(parse_u32(&pic.update_call(child, ANONYMOUS, "inc", vec![]).unwrap()), 4);
    call_for_nothing_through(&pic, parent, 77, "deposit_cycles", (created.clone(),)).unwrap();
    assert_eq!(pic.cycle_balance(child), 5_000_000_000_077);
    // The anonymous user does not control the child.
    let error = pic.stop_canister(child, None).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterInvalidController);
    call_for_nothing_through(&pic, parent, 0, "stop_canister", (created.clone(),)).unwrap();
    call_for_nothing_through(&pic, parent, 0, "delete_canister", (created,)).unwrap();
    assert!(!pic.canister_exists(child));
}

#[test]
fn cycles_of_a_refused_call_are_refunded() {
    let pic = instance();
    let parent = install_messenger(&pic);
    let before = pic.cycle_balance(parent);
    // The id of no canister.
    let nobody = types::CanisterIdRecord { canister_id: user(1) };
    let error = call_for_nothing_through(&pic, parent, 99, "deposit_cycles", (nobody,)).unwrap_err();
    assert!(error.reject_message.contains("not found"), "{error}");
    assert_eq!(pic.cycle_balance(parent), before);
}

#[test]
fn history_and_metadata_are_available_to_canisters() {
    let pic = instance();
    let asker = install_messenger(&pic);
    pic.upgrade_canister(asker, wasm(MESSENGER), vec![], None).unwrap();
    pic.set_controllers(asker, None, vec![ANONYMOUS, user(2)]).unwrap();
    let args = types::CanisterInfoArgs { canister_id: asker, num_requested_changes: Some(2) };
    let info: types::CanisterInfoResult = call_through(&pic, asker, 0, "canister_info", (args,)).unwrap();
    assert_eq!(info.total_num_changes, 4, "creation, installation, upgrade, controllers");
    assert_eq!(info.recent_changes.len(), 2);
    assert!(matches!(
        &info.recent_changes[0].details,
        Some(types::ChangeDetails::CodeDeployment(record)) if record.mode == types::CodeDeploymentMode::Upgrade
    ));
    assert!(matches!(&info.recent_changes[1].details, Some(types::ChangeDetails::ControllersChange(_))));
    let section = |name: &str| {
        let args = types::CanisterMetadataArgs { canister_id: asker, name: name.into() };
        call_through::<types::CanisterMetadataResult>(&pic, asker, 0, "canister_metadata", (args,))
    };
    assert_eq!(section("colour").unwrap().value, b"blue");
    assert!(section("secret").is_err());
    assert!(section("taste").is_err());
    // A private section is for controllers, and the canister now controls itself.
    pic.set_controllers(asker, None, vec![asker]).unwrap();
    assert_eq!(section("secret").unwrap().value, b"red");
}

#[test]
fn a_canister_sees_its_own_status() {
    let pic = instance();
    let id = install_messenger(&pic);
    let own = types::CanisterIdRecord { canister_id: id };
    let status: types::CanisterStatusResult = call_through(&pic, id, 0, "canister_status", (own,)).unwrap();
    assert_eq!(status.status, types::CanisterStatusType::Running);
    let other = types::CanisterIdRecord { canister_id: install_messenger(&pic) };
    let error =
        call_through::<types::CanisterStatusResult>(&pic, id, 0, "canister_status", (other,)).unwrap_err();
    assert!(error.reject_message.contains("not allowed to call canister_status"), "{error}");
}

/// A canister can use its own chunk store even if it does not control itself.
#[test]
fn a_canister_stores_chunks_in_its_own_store() {
    let pic = instance();
    let id = install_messenger(&pic);
    let args = types::UploadChunkArgs { canister_id: id, chunk: vec![7; 100] };
    let uploaded: types::UploadChunkResult = call_through(&pic, id, 0, "upload_chunk", (args,)).unwrap();
    let about = types::CanisterIdRecord { canister_id: id };
    let stored: types::StoredChunksResult =
        call_through(&pic, id, 0, "stored_chunks", (about.clone(),)).unwrap();
    assert_eq!(stored, [uploaded]);
    call_for_nothing_through(&pic, id, 0, "clear_chunk_store", (about,)).unwrap();
    assert!(pic.stored_chunks(id, None).unwrap().is_empty());
    // The canister cannot use the chunk store of another canister.
    let args = types::UploadChunkArgs { canister_id: install_wasm(&pic, counter()), chunk: vec![7; 100] };
    call_through::<types::UploadChunkResult>(&pic, id, 0, "upload_chunk", (args,)).unwrap_err();
}

#[test]
fn anybody_tops_up() {
    let pic = instance();
    let id = pic.create_canister();
    let args = types::ProvisionalTopUpCanisterArgs { canister_id: id, amount: 5u8.into() };
    call_management(&pic, id, user(4), "provisional_top_up_canister", encode_one(args).unwrap()).unwrap();
    assert_eq!(pic.cycle_balance(id), 100_000_000_000_005);
}

#[test]
fn arguments_that_do_not_decode_are_named() {
    let pic = instance();
    let id = pic.create_canister();
    for method in ["canister_status", "install_code", "update_settings", "take_canister_snapshot"] {
        let error = call_management(&pic, id, ANONYMOUS, method, b"nonsense".to_vec()).unwrap_err();
        assert_eq!(error.error_code, ErrorCode::InvalidManagementPayload, "{method}: {error}");
        assert!(error.reject_message.contains(method), "{error}");
    }
}

#[test]
fn logs_are_for_queries() {
    let pic = instance();
    let id = install_messenger(&pic);
    let error =
        call_management(&pic, id, ANONYMOUS, "fetch_canister_logs", encode_canister_id(id)).unwrap_err();
    assert!(error.reject_message.contains("only accessible in non-replicated mode"), "{error}");
}

#[test]
fn bitcoin_is_refused_as_not_supported() {
    let pic = instance();
    let id = pic.create_canister();
    for method in ["bitcoin_get_balance", "bitcoin_get_current_fee_percentiles", "bitcoin_get_block_headers"]
    {
        let update = call_management(&pic, id, ANONYMOUS, method, vec![]).unwrap_err();
        let place = RawEffectivePrincipal::CanisterId(id.as_slice().to_vec());
        let management = Principal::management_canister();
        let query = pic
            .query_call_with_effective_principal(management, place, ANONYMOUS, method, vec![])
            .unwrap_err();
        for error in [update, query] {
            assert_eq!(error.error_code, ErrorCode::UnknownManagementMessage, "{method}: {error}");
            assert!(error.reject_message.contains("not supported by the embedded server"), "{error}");
        }
    }
}
