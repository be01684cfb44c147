//! The types of the management canister's replies: every reply must decode as the type that the interface specification
//! declares, in which a field that the specification requires is not `opt`.

use super::common::{ANONYMOUS, call_management, encode_canister_id, install_wasm, instance, user, wasm};
use super::management::{MESSENGER, install_messenger, send};
use candid::types::TypeInner;
use candid::{CandidType, Decode, IDLArgs, Principal, encode_one};
use candid_parser::{IDLProg, check_prog};
use ic_management_canister_types as types;
use pocket_ic::common::rest::RawEffectivePrincipal;
use pocket_ic::{ErrorCode, PocketIc};
use std::collections::BTreeMap;

/// Replies of the management canister, by method.
struct CollectedReplies {
    pic: PocketIc,
    /// Calls the management canister; its controllers are the anonymous principal and itself.
    asker: Principal,
    replies: BTreeMap<&'static str, Vec<u8>>,
}

impl CollectedReplies {
    /// Makes a call by the anonymous user, with [`Self::asker`] as the effective canister id, and records the reply.
    fn call_as_user(&mut self, method: &'static str, args: impl CandidType) -> Vec<u8> {
        let arg = encode_one(args).unwrap();
        let reply = call_management(&self.pic, self.asker, ANONYMOUS, method, arg).unwrap();
        self.replies.insert(method, reply.clone());
        reply
    }

    /// Makes a call by [`Self::asker`], with 10 cycles, and records the reply.
    fn call_as_canister(&mut self, method: &'static str, args: impl CandidType) -> Vec<u8> {
        let reply = send(&self.pic, self.asker, 10, method, (args,)).unwrap();
        self.replies.insert(method, reply.clone());
        reply
    }

    /// Makes a query by the anonymous user, and records the reply.
    fn query(&mut self, method: &'static str, args: impl CandidType) {
        let place = RawEffectivePrincipal::CanisterId(self.asker.as_slice().to_vec());
        let arg = encode_one(args).unwrap();
        let management = Principal::management_canister();
        let reply =
            self.pic.query_call_with_effective_principal(management, place, ANONYMOUS, method, arg).unwrap();
        self.replies.insert(method, reply);
    }
}

/// Calls every method that `replies.did` declares. `canister_info` is called after the methods that change the
/// canister, so that the history has entries of different kinds.
fn ask_for_everything() -> CollectedReplies {
    let pic = instance();
    let asker = install_messenger(&pic);
    pic.set_controllers(asker, None, vec![ANONYMOUS, asker]).unwrap();
    let record = types::CanisterIdRecord { canister_id: asker };
    let mut all = CollectedReplies { pic, asker, replies: BTreeMap::new() };
    let named = types::CanisterSettings {
        environment_variables: Some(vec![types::EnvironmentVariable { name: "a".into(), value: "b".into() }]),
        ..Default::default()
    };
    let args = types::ProvisionalCreateCanisterWithCyclesArgs { settings: Some(named), ..Default::default() };
    all.call_as_user("provisional_create_canister_with_cycles", args);
    let top_up = types::ProvisionalTopUpCanisterArgs { canister_id: asker, amount: 1u8.into() };
    all.call_as_user("provisional_top_up_canister", top_up);
    let settings = types::CanisterSettings::default();
    let args = types::UpdateSettingsArgs { canister_id: asker, settings, sender_canister_version: None };
    all.call_as_user("update_settings", args);
    all.call_as_user("upload_chunk", types::UploadChunkArgs { canister_id: asker, chunk: wasm(MESSENGER) });
    let chunks = Decode!(&all.call_as_user("stored_chunks", record.clone()), Vec<types::ChunkHash>).unwrap();
    let upgrade = types::CanisterInstallMode::Upgrade(None);
    let args = types::InstallChunkedCodeArgs {
        mode: upgrade,
        target_canister: asker,
        store_canister: None,
        wasm_module_hash: chunks[0].hash.clone(),
        chunk_hashes_list: chunks,
        arg: vec![],
        sender_canister_version: None,
    };
    all.call_as_user("install_chunked_code", args);
    all.call_as_user("clear_chunk_store", record.clone());
    let args = types::InstallCodeArgs {
        mode: upgrade,
        canister_id: asker,
        wasm_module: wasm(MESSENGER),
        arg: vec![],
        sender_canister_version: None,
    };
    all.call_as_user("install_code", args);
    call_snapshot_methods(&mut all);
    all.call_as_user("canister_status", record.clone());
    all.call_as_user("canister_metrics", record.clone());
    all.query("fetch_canister_logs", record.clone());

    let settings = None;
    let args = types::CreateCanisterArgs { settings, sender_canister_version: Some(1) };
    let child = Decode!(&all.call_as_canister("create_canister", args), types::CanisterIdRecord).unwrap();
    all.call_as_canister("deposit_cycles", child.clone());
    all.call_as_canister("raw_rand", ());
    let args = types::CanisterMetadataArgs { canister_id: asker, name: "colour".into() };
    all.call_as_canister("canister_metadata", args);
    let subnet_id = all.pic.get_subnet(asker).unwrap();
    all.call_as_canister("subnet_info", types::SubnetInfoArgs { subnet_id });
    all.call_as_canister("stop_canister", child.clone());
    all.call_as_canister("start_canister", child.clone());
    all.call_as_canister(
        "uninstall_code",
        types::UninstallCodeArgs { canister_id: child.canister_id, sender_canister_version: None },
    );
    let args = types::CanisterInfoArgs { canister_id: asker, num_requested_changes: Some(20) };
    all.call_as_canister("canister_info", args);
    all.call_as_canister("stop_canister", child.clone());
    all.call_as_canister("delete_canister", child);
    all
}

/// The part of [`ask_for_everything`] that is about snapshots.
fn call_snapshot_methods(all: &mut CollectedReplies) {
    let canister_id = all.asker;
    let args = types::TakeCanisterSnapshotArgs {
        canister_id,
        replace_snapshot: None,
        uninstall_code: None,
        sender_canister_version: None,
    };
    let taken = Decode!(&all.call_as_user("take_canister_snapshot", args), types::Snapshot).unwrap().id;
    all.call_as_user("list_canister_snapshots", types::CanisterIdRecord { canister_id });
    let args = types::ReadCanisterSnapshotMetadataArgs { canister_id, snapshot_id: taken.clone() };
    all.call_as_user("read_canister_snapshot_metadata", args);
    let kind = types::SnapshotDataKind::WasmMemory { offset: 0, size: 4 };
    all.call_as_user(
        "read_canister_snapshot_data",
        types::ReadCanisterSnapshotDataArgs { canister_id, snapshot_id: taken.clone(), kind },
    );
    let args = types::UploadCanisterSnapshotMetadataArgs {
        canister_id,
        replace_snapshot: None,
        wasm_module_size: 8,
        globals: vec![],
        wasm_memory_size: 0,
        stable_memory_size: 0,
        certified_data: vec![],
        global_timer: None,
        on_low_wasm_memory_hook_status: None,
    };
    let reply = all.call_as_user("upload_canister_snapshot_metadata", args);
    let uploaded = Decode!(&reply, types::UploadCanisterSnapshotMetadataResult).unwrap().snapshot_id;
    all.call_as_user(
        "upload_canister_snapshot_data",
        types::UploadCanisterSnapshotDataArgs {
            canister_id,
            snapshot_id: uploaded,
            kind: types::SnapshotDataOffset::WasmModule { offset: 0 },
            chunk: vec![0; 8],
        },
    );
    all.call_as_user(
        "load_canister_snapshot",
        types::LoadCanisterSnapshotArgs {
            canister_id,
            snapshot_id: taken.clone(),
            sender_canister_version: None,
        },
    );
    let args = types::DeleteCanisterSnapshotArgs { canister_id, snapshot_id: taken };
    all.call_as_user("delete_canister_snapshot", args);
}

#[test]
fn every_reply_is_of_the_declared_type() {
    let asked = ask_for_everything();
    let program: IDLProg = include_str!("replies.did").parse().unwrap();
    let mut env = candid::TypeEnv::new();
    let service = check_prog(&mut env, &program).unwrap().unwrap();
    let TypeInner::Service(methods) = service.as_ref() else { panic!("{service} is not a service") };
    let declared: Vec<&str> = methods.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(asked.replies.keys().copied().collect::<Vec<_>>(), declared);
    let mut wrong = Vec::new();
    for (name, function) in methods {
        let types = &env.as_func(function).unwrap().rets;
        if let Err(error) = IDLArgs::from_bytes_with_types(&asked.replies[name.as_str()], &env, types) {
            wrong.push(format!("{name}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// [`every_reply_is_of_the_declared_type`] checks only the types; this test checks the values of the settings.
#[test]
fn the_newest_settings_are_stored_and_returned() {
    let pic = instance();
    let id = install_wasm(&pic, wasm("(module)"));
    let set = |settings: types::CanisterSettings| {
        let args = types::UpdateSettingsArgs { canister_id: id, settings, sender_canister_version: None };
        call_management(&pic, id, ANONYMOUS, "update_settings", encode_one(args).unwrap())
    };
    let status = |who| {
        let reply = call_management(&pic, id, who, "canister_status", encode_canister_id(id))?;
        Ok::<_, pocket_ic::RejectResponse>(Decode!(&reply, types::CanisterStatusResult).unwrap().settings)
    };
    let before = status(ANONYMOUS).unwrap();
    assert_eq!(before.minimum_incoming_canister_call_cycles, 0u8);
    assert_eq!(before.status_visibility, types::StatusVisibility::Controllers);
    assert_eq!(status(user(1)).unwrap_err().error_code, ErrorCode::CanisterStatusAccessDenied);
    set(types::CanisterSettings {
        minimum_incoming_canister_call_cycles: Some(u128::MAX.into()),
        status_visibility: Some(types::StatusVisibility::AllowedViewers(vec![user(1)])),
        ..Default::default()
    })
    .unwrap();
    let after = status(user(1)).unwrap();
    assert_eq!(after.minimum_incoming_canister_call_cycles, u128::MAX);
    assert_eq!(after.status_visibility, types::StatusVisibility::AllowedViewers(vec![user(1)]));
    assert_eq!(after.snapshot_visibility, types::SnapshotVisibility::Controllers);
    assert!(status(user(2)).is_err());
    set(types::CanisterSettings {
        status_visibility: Some(types::StatusVisibility::Public),
        ..Default::default()
    })
    .unwrap();
    assert!(status(user(2)).is_ok());
    // Eleven viewers, one more than allowed.
    let error = set(types::CanisterSettings {
        status_visibility: Some(types::StatusVisibility::AllowedViewers((0..11).map(user).collect())),
        ..Default::default()
    })
    .unwrap_err();
    assert_eq!(error.error_code, ErrorCode::InvalidManagementPayload);
}

#[test]
fn queries_are_answered_for_those_who_may_ask() {
    let pic = instance();
    let id = install_messenger(&pic);
    let query = |who, method: &str| {
        let place = RawEffectivePrincipal::CanisterId(id.as_slice().to_vec());
        let management = Principal::management_canister();
        pic.query_call_with_effective_principal(management, place, who, method, encode_canister_id(id))
    };
    let status = query(ANONYMOUS, "canister_status").unwrap();
    assert_eq!(Decode!(&status, types::CanisterStatusResult).unwrap().version, 1);
    assert_eq!(
        query(user(1), "canister_status").unwrap_err().error_code,
        ErrorCode::CanisterStatusAccessDenied
    );
    let metrics = query(ANONYMOUS, "canister_metrics").unwrap();
    let consumed = Decode!(&metrics, types::CanisterMetricsResult).unwrap().cycles_consumed;
    assert_eq!(consumed.burned_cycles, 0u8);
    assert_eq!(
        query(user(1), "canister_metrics").unwrap_err().error_code,
        ErrorCode::CanisterInvalidController
    );
    assert!(query(user(1), "canister_info").is_ok());
    // A method that can be called, but is not a query.
    assert_eq!(query(ANONYMOUS, "stored_chunks").unwrap_err().error_code, ErrorCode::CanisterMethodNotFound);
}

/// This server consumes only the cycles that canisters burn.
#[test]
fn metrics_report_burned_cycles() {
    let pic = instance();
    let burning = wasm(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "cycles_burn128" (func $burn (param i64 i64 i32)))
            (memory 1)
            (func $forty_two (call $burn (i64.const 0) (i64.const 42) (i32.const 0)))
            (func (export "canister_init") (call $forty_two))
            (func (export "canister_update burn") (call $forty_two) (call $reply)))"#,
    );
    let id = install_wasm(&pic, burning);
    pic.update_call(id, ANONYMOUS, "burn", vec![]).unwrap();
    let reply = call_management(&pic, id, ANONYMOUS, "canister_metrics", encode_canister_id(id)).unwrap();
    let consumed = Decode!(&reply, types::CanisterMetricsResult).unwrap().cycles_consumed;
    // 42 at the installation, and 42 by the call.
    assert_eq!(consumed.burned_cycles, 84u8);
    assert_eq!(consumed.instructions, 0u8);
}
