//! Snapshots: taken, loaded, replaced, read and written in pieces.

use super::common::{
    ANONYMOUS, builder, call, call_management, counter, encode_canister_id, install_counter_with, instance,
    parse_u32, parse_u64, query_number, read_counter, user, wasm,
};
use candid::{Principal, decode_one, encode_one};
use ic_management_canister_types as types;
use pocket_ic::common::rest::RawEffectivePrincipal;
use pocket_ic::{CanisterSettings, ErrorCode, PocketIc};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

#[test]
fn a_snapshot_restores_everything() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    call(&pic, id, "inc", &[]).unwrap();
    call(&pic, id, "stable_inc", &[]).unwrap();
    let snapshot = pic.take_canister_snapshot(id, None, None).unwrap();
    assert_eq!(
        snapshot.total_size,
        counter().len() as u64 + 2 * 65_536,
        "the snapshot has the module and a page of each memory"
    );
    call(&pic, id, "inc", &[]).unwrap();
    call(&pic, id, "stable_inc", &[]).unwrap();
    let before = parse_u64(&call(&pic, id, "version", &[]).unwrap());
    pic.load_canister_snapshot(id, None, snapshot.id.clone()).unwrap();
    assert!(parse_u64(&call(&pic, id, "version", &[]).unwrap()) > before);
    assert_eq!(read_counter(&pic, id), 6);
    assert_eq!(query_number(&pic, id, "hidden"), 8);
    assert_eq!(query_number(&pic, id, "stable_read"), 1);
    // Loading the snapshot again restores the same state: messages executed since have not changed the snapshot.
    call(&pic, id, "inc", &[]).unwrap();
    pic.load_canister_snapshot(id, None, snapshot.id.clone()).unwrap();
    assert_eq!(read_counter(&pic, id), 6);
    assert_eq!(pic.list_canister_snapshots(id, None).unwrap(), std::slice::from_ref(&snapshot));
    pic.delete_canister_snapshot(id, None, snapshot.id.clone()).unwrap();
    assert!(pic.list_canister_snapshots(id, None).unwrap().is_empty());
    let error = pic.load_canister_snapshot(id, None, snapshot.id).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterSnapshotNotFound);
}

#[test]
fn a_snapshot_restores_chunks_and_certified_data() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    let bare = pic.take_canister_snapshot(id, None, None).unwrap().total_size;
    call(&pic, id, "certify", b"then").unwrap();
    let hash = pic.upload_chunk(id, None, b"a chunk".to_vec()).unwrap();
    let snapshot = pic.take_canister_snapshot(id, None, None).unwrap();
    assert_eq!(snapshot.total_size - bare, b"a chunk".len() as u64 + b"then".len() as u64);
    let snapshot = snapshot.id;
    call(&pic, id, "certify", b"now").unwrap();
    pic.clear_chunk_store(id, None).unwrap();
    pic.load_canister_snapshot(id, None, snapshot).unwrap();
    assert_eq!(pic.stored_chunks(id, None).unwrap(), [hash]);
    assert_eq!(taken_metadata(&pic, id).certified_data, b"then");
}

#[test]
fn snapshots_are_limited_replaced_and_belong_to_their_canister() {
    let pic = instance();
    let (id, other) = (install_counter_with(&pic, 5), install_counter_with(&pic, 5));
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
    // The snapshot can be loaded into another canister of the same controller.
    call(&pic, id, "inc", &[]).unwrap();
    let snapshot = pic.take_canister_snapshot(id, None, Some(replaced.id)).unwrap();
    pic.load_canister_snapshot(other, None, snapshot.id).unwrap();
    assert_eq!(read_counter(&pic, other), 6);
}

#[test]
fn snapshots_are_read_and_written_in_pieces() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    call(&pic, id, "inc", &[]).unwrap();
    let taken = pic.take_canister_snapshot(id, None, None).unwrap();
    let args = types::ReadCanisterSnapshotMetadataArgs { canister_id: id, snapshot_id: taken.id.clone() };
    let reply =
        call_management(&pic, id, ANONYMOUS, "read_canister_snapshot_metadata", encode_one(args).unwrap())
            .unwrap();
    let metadata: types::ReadCanisterSnapshotMetadataResult = decode_one(&reply).unwrap();
    assert_eq!(metadata.wasm_module_size, counter().len() as u64);
    let slice = |offset, size| {
        let args = types::ReadCanisterSnapshotDataArgs {
            canister_id: id,
            snapshot_id: taken.id.clone(),
            kind: types::SnapshotDataKind::WasmMemory { offset, size },
        };
        call_management(&pic, id, ANONYMOUS, "read_canister_snapshot_data", encode_one(args).unwrap())
    };
    // The heap counter is at address 512.
    let data: types::ReadCanisterSnapshotDataResult = decode_one(&slice(512, 4).unwrap()).unwrap();
    assert_eq!(parse_u32(&data.chunk), 6);
    // The limit applies to a piece, whatever the size of the memory: 2,000,000 bytes are refused only because this
    // memory has fewer.
    let error = slice(0, 2_000_001).unwrap_err();
    assert!(error.reject_message.contains("at most 2000000 bytes"), "{error}");
    let error = slice(0, 2_000_000).unwrap_err();
    assert!(!error.reject_message.contains("at most"), "{error}");
    let error = slice(65_536, 1).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::InvalidManagementPayload);
    assert!(error.reject_message.contains("offset: 65536, size: 1"), "{error}");
    let write = types::UploadCanisterSnapshotDataArgs {
        canister_id: id,
        snapshot_id: taken.id.clone(),
        kind: types::SnapshotDataOffset::WasmMemory { offset: 512 },
        chunk: vec![0; 4],
    };
    let error =
        call_management(&pic, id, ANONYMOUS, "upload_canister_snapshot_data", encode_one(write).unwrap())
            .unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterSnapshotImmutable);
}

#[test]
fn snapshots_are_read_by_their_viewers() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    let snapshot_id = pic.take_canister_snapshot(id, None, None).unwrap().id;
    let settings = types::CanisterSettings {
        snapshot_visibility: Some(types::SnapshotVisibility::AllowedViewers(vec![user(1)])),
        ..Default::default()
    };
    let args = types::UpdateSettingsArgs { canister_id: id, settings, sender_canister_version: None };
    call_management(&pic, id, ANONYMOUS, "update_settings", encode_one(args).unwrap()).unwrap();
    let args = types::ReadCanisterSnapshotMetadataArgs { canister_id: id, snapshot_id };
    let read = encode_one(args).unwrap();
    for (method, arg) in
        [("list_canister_snapshots", encode_canister_id(id)), ("read_canister_snapshot_metadata", read)]
    {
        for reader in [ANONYMOUS, user(1)] {
            call_management(&pic, id, reader, method, arg.clone()).unwrap();
        }
        let error = call_management(&pic, id, user(2), method, arg).unwrap_err();
        assert_eq!(error.error_code, ErrorCode::CanisterInvalidController);
    }
}

#[test]
fn declared_snapshot_sizes_are_checked() {
    let pic = instance();
    let id = pic.create_canister();
    let declare_with = |wasm_memory_size, stable_memory_size, certified_data| {
        let args = types::UploadCanisterSnapshotMetadataArgs {
            canister_id: id,
            replace_snapshot: None,
            wasm_module_size: 8,
            globals: vec![],
            wasm_memory_size,
            stable_memory_size,
            certified_data,
            global_timer: None,
            on_low_wasm_memory_hook_status: None,
        };
        call_management(&pic, id, ANONYMOUS, "upload_canister_snapshot_metadata", encode_one(args).unwrap())
    };
    let declare =
        |wasm_memory_size, stable_memory_size| declare_with(wasm_memory_size, stable_memory_size, vec![]);
    // The largest wasm memory.
    let largest = 6 << 30;
    // Bytes of wasm memory, and of certified data (at most 32).
    for (wasm_memory, certified) in [(largest, 0), (0, 32)] {
        declare_with(wasm_memory, 0, vec![7; certified]).unwrap();
    }
    for (wasm_memory, certified) in [(largest + 65_536, 0), (0, 33)] {
        let error = declare_with(wasm_memory, 0, vec![7; certified]).unwrap_err();
        assert_eq!(error.error_code, ErrorCode::InvalidManagementPayload, "{error}");
    }
    // Sizes that are not whole pages, and sizes above the limits.
    for (wasm_memory, stable_memory) in [(1, 0), (0, 1), (7 << 30, 0), (0, 501 << 30)] {
        let error = declare(wasm_memory, stable_memory).unwrap_err();
        assert_eq!(error.error_code, ErrorCode::InvalidManagementPayload, "{error}");
    }
    let reply = declare(0, 65_536).unwrap();
    let upload: types::UploadCanisterSnapshotMetadataResult = decode_one(&reply).unwrap();
    // Eight zero bytes are not a module; the canister is unchanged.
    let error = pic.load_canister_snapshot(id, None, upload.snapshot_id.clone()).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterInvalidWasm);
    let piece = types::UploadCanisterSnapshotDataArgs {
        canister_id: id,
        snapshot_id: upload.snapshot_id.clone(),
        kind: types::SnapshotDataOffset::WasmModule { offset: 0 },
        chunk: b"\0asm\x01\0\0\0".to_vec(),
    };
    call_management(&pic, id, ANONYMOUS, "upload_canister_snapshot_data", encode_one(piece).unwrap())
        .unwrap();
    pic.load_canister_snapshot(id, None, upload.snapshot_id).unwrap();
    assert_eq!(pic.get_stable_memory(id), vec![0; 65_536]);
}

/// Neither the timer nor the status of the hook is restored, since a timer that was set after the snapshot must not be
/// reverted without the canister's knowledge.
#[test]
fn a_taken_snapshot_does_not_restore_timer_and_hook() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    let now = pic.get_time().as_nanos_since_unix_epoch();
    let later = |seconds: u64| (now + seconds * 1_000_000_000).to_le_bytes();
    call(&pic, id, "set_timer", &later(10)).unwrap();
    let with_timer = pic.take_canister_snapshot(id, None, None).unwrap().id;
    call(&pic, id, "set_timer", &0u64.to_le_bytes()).unwrap();
    let without_timer = pic.take_canister_snapshot(id, None, None).unwrap().id;
    pic.load_canister_snapshot(id, None, with_timer).unwrap();
    pic.advance_time(Duration::from_secs(20));
    pic.tick();
    assert_eq!(read_counter(&pic, id), 5);
    call(&pic, id, "set_timer", &later(30)).unwrap();
    pic.load_canister_snapshot(id, None, without_timer).unwrap();
    pic.advance_time(Duration::from_secs(20));
    pic.tick();
    // The counter has been 5 from the start; the timer has added 100, although the loaded snapshot has no timer.
    assert_eq!(read_counter(&pic, id), 105);
    // The new settings make the hook due. It stays due: the different status in the snapshot is neither restored nor
    // compared.
    let hook = CanisterSettings { wasm_memory_threshold: Some((4u64 << 30).into()), ..Default::default() };
    let before = pic.take_canister_snapshot(id, None, None).unwrap().id;
    pic.update_canister_settings(id, None, hook).unwrap();
    pic.load_canister_snapshot(id, None, before).unwrap();
    let status = taken_metadata(&pic, id).on_low_wasm_memory_hook_status;
    assert!(matches!(status, Some(types::OnLowWasmMemoryHookStatus::Ready)), "{status:?}");
}

/// Returns the metadata of a snapshot that is taken now.
fn taken_metadata(pic: &PocketIc, id: Principal) -> types::ReadCanisterSnapshotMetadataResult {
    let snapshot = pic.take_canister_snapshot(id, None, None).unwrap().id;
    metadata(pic, id, snapshot)
}

fn metadata(
    pic: &PocketIc,
    id: Principal,
    snapshot_id: Vec<u8>,
) -> types::ReadCanisterSnapshotMetadataResult {
    let args = types::ReadCanisterSnapshotMetadataArgs { canister_id: id, snapshot_id };
    let arg = encode_one(args).unwrap();
    decode_one(&call_management(pic, id, ANONYMOUS, "read_canister_snapshot_metadata", arg).unwrap()).unwrap()
}

/// Uploads a snapshot of a [`counter`] whose memories are zero, and returns the snapshot's id. With `None`, the
/// snapshot says nothing about the timer or the hook.
fn uploaded(
    pic: &PocketIc,
    id: Principal,
    global_timer: Option<types::CanisterTimer>,
    hook: Option<types::OnLowWasmMemoryHookStatus>,
) -> Vec<u8> {
    let module = counter();
    let declared = types::UploadCanisterSnapshotMetadataArgs {
        canister_id: id,
        replace_snapshot: None,
        wasm_module_size: module.len() as u64,
        globals: vec![types::SnapshotMetadataGlobal::I32(7)],
        wasm_memory_size: 65_536,
        stable_memory_size: 65_536,
        certified_data: vec![],
        global_timer,
        on_low_wasm_memory_hook_status: hook,
    };
    let arg = encode_one(declared).unwrap();
    let reply = call_management(pic, id, ANONYMOUS, "upload_canister_snapshot_metadata", arg).unwrap();
    let snapshot_id = decode_one::<types::UploadCanisterSnapshotMetadataResult>(&reply).unwrap().snapshot_id;
    let piece = types::UploadCanisterSnapshotDataArgs {
        canister_id: id,
        snapshot_id: snapshot_id.clone(),
        kind: types::SnapshotDataOffset::WasmModule { offset: 0 },
        chunk: module,
    };
    call_management(pic, id, ANONYMOUS, "upload_canister_snapshot_data", encode_one(piece).unwrap()).unwrap();
    snapshot_id
}

#[test]
fn an_uploaded_snapshot_restores_its_timer() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    let due = |seconds: u64| {
        let time = pic.get_time().as_nanos_since_unix_epoch() + seconds * 1_000_000_000;
        Some(types::CanisterTimer::Active(time))
    };
    let soon = uploaded(&pic, id, due(10), None);
    let later = uploaded(&pic, id, due(30), None);
    let off = uploaded(&pic, id, Some(types::CanisterTimer::Inactive), None);
    let silent = uploaded(&pic, id, None, None);
    pic.load_canister_snapshot(id, None, soon).unwrap();
    pic.load_canister_snapshot(id, None, off).unwrap();
    pic.advance_time(Duration::from_secs(20));
    pic.tick();
    assert_eq!(read_counter(&pic, id), 0);
    pic.load_canister_snapshot(id, None, later).unwrap();
    // A snapshot that says nothing about the timer leaves the current one unchanged.
    pic.load_canister_snapshot(id, None, silent).unwrap();
    pic.advance_time(Duration::from_secs(20));
    pic.tick();
    assert_eq!(read_counter(&pic, id), 100);
}

#[test]
fn an_uploaded_hook_status_must_fit_the_canister() {
    use types::OnLowWasmMemoryHookStatus::{ConditionNotSatisfied, Executed, Ready};
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    // The setting, which decides whether memory is low; the statuses that fit it; and those that do not.
    for (threshold, fitting, others) in [
        (0u64, vec![ConditionNotSatisfied], vec![Ready, Executed]),
        (4 << 30, vec![Ready, Executed], vec![ConditionNotSatisfied]),
    ] {
        let settings =
            CanisterSettings { wasm_memory_threshold: Some(threshold.into()), ..Default::default() };
        pic.update_canister_settings(id, None, settings).unwrap();
        for status in others {
            call(&pic, id, "inc", &[]).unwrap();
            let before = (read_counter(&pic, id), pic.canister_status(id, None).unwrap().version);
            let timer = Some(types::CanisterTimer::Active(1));
            let snapshot = uploaded(&pic, id, timer, Some(status));
            let error = pic.load_canister_snapshot(id, None, snapshot.clone()).unwrap_err();
            assert_eq!(error.error_code, ErrorCode::InvalidManagementPayload);
            assert!(error.reject_message.contains("is inconsistent with the canister's state"), "{error}");
            pic.delete_canister_snapshot(id, None, snapshot).unwrap();
            // No part of the snapshot was loaded, not even the timer.
            pic.tick();
            assert_eq!((read_counter(&pic, id), pic.canister_status(id, None).unwrap().version), before);
        }
        for status in fitting {
            let wanted = format!("{status:?}");
            let snapshot = uploaded(&pic, id, None, Some(status));
            pic.load_canister_snapshot(id, None, snapshot.clone()).unwrap();
            assert_eq!(
                format!("{:?}", taken_metadata(&pic, id).on_low_wasm_memory_hook_status.unwrap()),
                wanted
            );
            pic.delete_canister_snapshot(id, None, snapshot).unwrap();
        }
    }
}

#[test]
fn an_upload_whose_globals_do_not_fit_its_module_is_refused() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    let snapshot = uploaded(&pic, id, None, None);
    let args = types::UploadCanisterSnapshotDataArgs {
        canister_id: id,
        snapshot_id: snapshot.clone(),
        kind: types::SnapshotDataOffset::WasmModule { offset: 0 },
        chunk: padded_module(counter().len()),
    };
    call_management(&pic, id, ANONYMOUS, "upload_canister_snapshot_data", encode_one(args).unwrap()).unwrap();
    let error = pic.load_canister_snapshot(id, None, snapshot).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::InvalidManagementPayload);
    assert!(error.reject_message.contains("1 globals given; the module has 0"), "{error}");
}

/// Returns a module with a page of memory, no globals, and this length.
fn padded_module(length: usize) -> Vec<u8> {
    let module =
        |padding: usize| wasm(&format!("(module (memory 1) (@custom \"p\" \"{}\"))", "x".repeat(padding)));
    // More padding makes the length fields longer, too: `module(200)` has length fields as long as the result has.
    let padding = length - module(200).len() + 200;
    module(padding)
}

/// A snapshot has the version that its canister had when the snapshot was taken or uploaded, also if it was uploaded
/// from a folder that names another version.
#[test]
fn every_snapshot_has_the_version_of_its_canister() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    call(&pic, id, "inc", &[]).unwrap();
    let version = pic.canister_status(id, None).unwrap().version;
    assert!(version > 1);
    assert_eq!(taken_metadata(&pic, id).canister_version, version);
    let snapshot = uploaded(&pic, id, None, None);
    assert_eq!(metadata(&pic, id, snapshot.clone()).canister_version, version);
    let folder = tempfile::tempdir().unwrap();
    pic.canister_snapshot_download(id, ANONYMOUS, snapshot.clone(), folder.path().to_owned());
    call(&pic, id, "inc", &[]).unwrap();
    let from_folder = pic.canister_snapshot_upload(id, ANONYMOUS, None, folder.path().to_owned());
    assert_eq!(metadata(&pic, id, from_folder).canister_version, version + 1);
    // Loading a snapshot does not restore its version, but increases the canister's version.
    pic.load_canister_snapshot(id, None, snapshot).unwrap();
    assert_eq!(pic.canister_status(id, None).unwrap().version, version + 2);
}

#[test]
fn snapshots_of_another_subnet_are_not_found() {
    let pic = builder().with_application_subnet().with_application_subnet().build();
    let ids: Vec<Principal> = pic
        .topology()
        .get_app_subnets()
        .into_iter()
        .map(|subnet| pic.create_canister_on_subnet(None, None, subnet))
        .collect();
    pic.install_canister(ids[0], counter(), vec![], None);
    let snapshot = pic.take_canister_snapshot(ids[0], None, None).unwrap().id;
    let error = pic.load_canister_snapshot(ids[1], None, snapshot).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterSnapshotNotFound);
}

/// Only one byte of the 6 GiB is not zero: the memory takes only the space of the pages that were written.
#[test]
fn the_largest_wasm_memory_is_uploaded_piece_by_piece() {
    let pic = instance();
    let id = pic.create_canister();
    // Enough cycles that the memory does not freeze the canister.
    pic.add_cycles(id, 1_000_000_000_000_000_000);
    // 98,304 pages are 6 GiB; a memory with 32-bit addresses can have only 4 GiB.
    let module = wasm("(module (memory i64 1 98304))");
    let bytes = 6u64 << 30;
    let declared = types::UploadCanisterSnapshotMetadataArgs {
        canister_id: id,
        replace_snapshot: None,
        wasm_module_size: module.len() as u64,
        globals: vec![],
        wasm_memory_size: bytes,
        stable_memory_size: 0,
        certified_data: vec![],
        global_timer: None,
        on_low_wasm_memory_hook_status: None,
    };
    let arg = encode_one(declared).unwrap();
    let reply = call_management(&pic, id, ANONYMOUS, "upload_canister_snapshot_metadata", arg).unwrap();
    let upload: types::UploadCanisterSnapshotMetadataResult = decode_one(&reply).unwrap();
    let pieces = [
        (types::SnapshotDataOffset::WasmModule { offset: 0 }, module),
        (types::SnapshotDataOffset::WasmMemory { offset: bytes - 1 }, vec![7]),
    ];
    for (kind, chunk) in pieces {
        let (canister_id, snapshot_id) = (id, upload.snapshot_id.clone());
        let piece = types::UploadCanisterSnapshotDataArgs { canister_id, snapshot_id, kind, chunk };
        call_management(&pic, id, ANONYMOUS, "upload_canister_snapshot_data", encode_one(piece).unwrap())
            .unwrap();
    }
    pic.load_canister_snapshot(id, None, upload.snapshot_id).unwrap();
    let taken = pic.take_canister_snapshot(id, None, None).unwrap();
    assert!(taken.total_size > bytes);
    let folder = tempfile::tempdir().unwrap();
    pic.canister_snapshot_download(id, ANONYMOUS, taken.id, folder.path().to_owned());
    let mut file = std::fs::File::open(folder.path().join("wasm_memory.bin")).unwrap();
    assert_eq!(file.metadata().unwrap().len(), bytes);
    assert!(
        file.metadata().unwrap().blocks() * 512 < 64 << 20,
        "pages that were never written take no space"
    );
    file.seek(SeekFrom::End(-1)).unwrap();
    let mut last = Vec::new();
    file.read_to_end(&mut last).unwrap();
    assert_eq!(last, [7]);
}

/// Returns the latest changes in the canister's history, oldest first.
fn changes(pic: &PocketIc, id: Principal) -> Vec<types::ChangeDetails> {
    let args = types::CanisterInfoArgs { canister_id: id, num_requested_changes: Some(20) };
    let place = RawEffectivePrincipal::CanisterId(id.as_slice().to_vec());
    let management = Principal::management_canister();
    let arg = encode_one(args).unwrap();
    let reply = pic.query_call_with_effective_principal(management, place, ANONYMOUS, "canister_info", arg);
    let info: types::CanisterInfoResult = decode_one(&reply.unwrap()).unwrap();
    info.recent_changes.into_iter().map(|change| change.details.unwrap()).collect()
}

#[test]
fn the_history_names_the_source_of_a_loaded_snapshot() {
    let pic = instance();
    let (id, other) = (install_counter_with(&pic, 5), install_counter_with(&pic, 5));
    let snapshot = pic.take_canister_snapshot(id, None, None).unwrap();
    // The source is named only if it is another canister.
    for (loaded, source) in [(id, None), (other, Some(id))] {
        pic.load_canister_snapshot(loaded, None, snapshot.id.clone()).unwrap();
        let changes = changes(&pic, loaded);
        let types::ChangeDetails::Creation(created) = &changes[0] else { panic!("{changes:?}") };
        assert_eq!(created.environment_variables_hash, None);
        let types::ChangeDetails::LoadSnapshot(record) = changes.last().unwrap() else {
            panic!("{changes:?}")
        };
        assert_eq!(record.from_canister_id, source);
        assert_eq!(record.snapshot_id, snapshot.id);
    }
}
