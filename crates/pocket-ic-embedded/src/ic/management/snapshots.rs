//! The snapshot methods of the management canister, and the two operations of the server that move snapshots to and
//! from folders.

use super::{Caller, ManagementCall, Reply, code, empty_reply, encode_reply};
use crate::ic::CallResult;
use crate::ic::canister::Canister;
use crate::ic::error::{OpError, UserError};
use crate::ic::instance::Instance;
use crate::ic::records::change_origin;
use crate::ic::snapshot::{MAX_SLICE_BYTES, Snapshot, snapshot_not_found};
use crate::ic::snapshot_dir::{self, SnapshotDirError, StableFile};
use candid::Principal;
use ic_management_canister_types::{
    CanisterIdRecord, ChangeDetails, DeleteCanisterSnapshotArgs, LoadCanisterSnapshotArgs,
    LoadSnapshotRecord, ReadCanisterSnapshotDataArgs, ReadCanisterSnapshotDataResult,
    ReadCanisterSnapshotMetadataArgs, SnapshotDataKind, TakeCanisterSnapshotArgs,
    UploadCanisterSnapshotDataArgs, UploadCanisterSnapshotMetadataArgs, UploadCanisterSnapshotMetadataResult,
};
use pocket_ic::ErrorCode;
use std::path::PathBuf;

/// `take_canister_snapshot`
pub(super) fn take(instance: &mut Instance, call: &mut ManagementCall) -> Result<Reply, UserError> {
    let args: TakeCanisterSnapshotArgs = call.decode()?;
    let canister = instance.controlled_canister(args.canister_id, call.caller)?;
    check_owner(args.canister_id, args.replace_snapshot.as_deref())?;
    let snapshot = Snapshot::take(canister, call.now)?;
    let id = canister.snapshots.insert(args.canister_id, snapshot, args.replace_snapshot.as_deref())?;
    let summary = canister.snapshots.get(args.canister_id, &id)?.summary(id.clone());
    if args.uninstall_code == Some(true) {
        code::uninstall_code(
            instance,
            args.canister_id,
            call.caller,
            args.sender_canister_version,
            call.now,
        )?;
    }
    encode_reply(call.method, (summary,)).map(Reply::Now)
}

/// `load_canister_snapshot`: loads a snapshot of this canister, or of another one on its subnet that the caller also
/// controls.
pub(super) fn load(instance: &mut Instance, call: &mut ManagementCall) -> Result<Reply, UserError> {
    let args: LoadCanisterSnapshotArgs = call.decode()?;
    let id = args.canister_id;
    let owner = owner_of(instance, id, &args.snapshot_id);
    instance.controlled_canister(id, call.caller)?;
    instance.controlled_canister(owner, call.caller)?;
    let missing = || snapshot_not_found(id, &args.snapshot_id);
    if instance.find_canister(owner)?.subnet != instance.find_canister(id)?.subnet {
        return Err(missing());
    }
    let snapshots = &instance.find_canister(owner)?.snapshots;
    let snapshot = snapshots.get(owner, &args.snapshot_id).map_err(|_| missing())?.clone();
    let engine = instance.engine.clone();
    let canister = instance.controlled_canister(id, call.caller)?;
    snapshot.load_onto(canister, &engine)?;
    canister.installed_at = Some(call.now);
    canister.version += 1;
    let origin = change_origin(call.caller.id, call.caller.is_canister, args.sender_canister_version);
    let details = ChangeDetails::LoadSnapshot(LoadSnapshotRecord {
        from_canister_id: (owner != id).then_some(owner),
        snapshot_id: args.snapshot_id,
        canister_version: snapshot.version,
        taken_at_timestamp: snapshot.taken_at,
        source: snapshot.source(),
    });
    canister.history.push(call.now, canister.version, origin, details);
    Ok(Reply::Now(empty_reply()))
}

/// `list_canister_snapshots`
pub(super) fn list(instance: &Instance, call: &ManagementCall) -> CallResult {
    let args: CanisterIdRecord = call.decode()?;
    let canister = find_readable_canister(instance, args.canister_id, call.caller)?;
    encode_reply(call.method, (canister.snapshots.list(),))
}

/// `delete_canister_snapshot`
pub(super) fn delete(instance: &mut Instance, call: &mut ManagementCall) -> Result<Reply, UserError> {
    let args: DeleteCanisterSnapshotArgs = call.decode()?;
    let canister = instance.controlled_canister(args.canister_id, call.caller)?;
    check_owner(args.canister_id, Some(&args.snapshot_id))?;
    canister.snapshots.remove(args.canister_id, &args.snapshot_id)?;
    Ok(Reply::Now(empty_reply()))
}

/// `read_canister_snapshot_metadata`
pub(super) fn read_metadata(instance: &Instance, call: &ManagementCall) -> CallResult {
    let args: ReadCanisterSnapshotMetadataArgs = call.decode()?;
    let canister = find_readable_canister(instance, args.canister_id, call.caller)?;
    check_owner(args.canister_id, Some(&args.snapshot_id))?;
    let snapshot = canister.snapshots.get(args.canister_id, &args.snapshot_id)?;
    encode_reply(call.method, (snapshot.metadata(),))
}

/// `read_canister_snapshot_data`
pub(super) fn read_data(instance: &Instance, call: &ManagementCall) -> CallResult {
    let args: ReadCanisterSnapshotDataArgs = call.decode()?;
    let canister = find_readable_canister(instance, args.canister_id, call.caller)?;
    check_owner(args.canister_id, Some(&args.snapshot_id))?;
    if let SnapshotDataKind::WasmModule { offset, size }
    | SnapshotDataKind::WasmMemory { offset, size }
    | SnapshotDataKind::StableMemory { offset, size } = &args.kind
        && *size > MAX_SLICE_BYTES
    {
        return Err(UserError::new(
            ErrorCode::InvalidManagementPayload,
            format!(
                "Invalid subslice: offset: {offset}, size: {size}; at most {MAX_SLICE_BYTES} bytes are read at once"
            ),
        ));
    }
    let chunk = canister.snapshots.get(args.canister_id, &args.snapshot_id)?.read(&args.kind)?;
    encode_reply(call.method, (ReadCanisterSnapshotDataResult { chunk },))
}

/// `upload_canister_snapshot_metadata`
pub(super) fn upload_metadata(
    instance: &mut Instance,
    call: &mut ManagementCall,
) -> Result<Reply, UserError> {
    let args: UploadCanisterSnapshotMetadataArgs = call.decode()?;
    let canister = instance.controlled_canister(args.canister_id, call.caller)?;
    check_owner(args.canister_id, args.replace_snapshot.as_deref())?;
    let snapshot = Snapshot::with_declared_sizes(&args, canister.version, call.now)?;
    let snapshot_id =
        canister.snapshots.insert(args.canister_id, snapshot, args.replace_snapshot.as_deref())?;
    encode_reply(call.method, (UploadCanisterSnapshotMetadataResult { snapshot_id },)).map(Reply::Now)
}

/// `upload_canister_snapshot_data`
pub(super) fn upload_data(instance: &mut Instance, call: &mut ManagementCall) -> Result<Reply, UserError> {
    let args: UploadCanisterSnapshotDataArgs = call.decode()?;
    let canister = instance.controlled_canister(args.canister_id, call.caller)?;
    check_owner(args.canister_id, Some(&args.snapshot_id))?;
    canister.snapshots.get_mut(args.canister_id, &args.snapshot_id)?.write(&args.kind, &args.chunk)?;
    Ok(Reply::Now(empty_reply()))
}

/// Returns a canister; an error if the caller may not read its snapshots.
fn find_readable_canister(
    instance: &Instance,
    id: Principal,
    caller: Caller,
) -> Result<&Canister, UserError> {
    let canister = instance.find_canister(id)?;
    if !canister.settings.may_read_snapshots(caller.id) {
        // Always an error: controllers may read.
        canister.check_controller(caller.id)?;
    }
    Ok(canister)
}

/// Returns the canister with whose id a snapshot id begins, whether or not it exists; `None` if the snapshot id is
/// malformed. The last eight bytes are a counter.
fn canister_in(snapshot_id: &[u8]) -> Option<Principal> {
    let (owner, _) = snapshot_id.split_last_chunk::<8>()?;
    Principal::try_from_slice(owner).ok()
}

/// Returns the canister to which a snapshot id belongs; `canister` if the id names no existing canister.
fn owner_of(instance: &Instance, canister: Principal, snapshot_id: &[u8]) -> Principal {
    canister_in(snapshot_id).filter(|owner| instance.canisters.contains_key(owner)).unwrap_or(canister)
}

/// Refuses a snapshot id that names another canister.
fn check_owner(canister: Principal, snapshot_id: Option<&[u8]>) -> Result<(), UserError> {
    match snapshot_id {
        Some(id) if canister_in(id).is_some_and(|owner| owner != canister) => Err(UserError::rejected(
            format!("The snapshot {} does not belong to canister {canister}.", hex::encode(id)),
        )),
        _ => Ok(()),
    }
}

/// A request to write a snapshot into a folder.
#[derive(Clone, Debug)]
pub struct DownloadRequest {
    /// The user who requests the download, and who must be allowed to read the snapshot.
    pub sender: Principal,
    pub canister: Principal,
    pub snapshot_id: Vec<u8>,
    /// The folder, created if missing.
    pub dir: PathBuf,
}

/// A request to create a snapshot from a folder.
#[derive(Clone, Debug)]
pub struct UploadRequest {
    /// The user who requests the upload, and who must be a controller.
    pub sender: Principal,
    /// The canister that gets the snapshot.
    pub canister: Principal,
    /// The snapshot that the new one replaces, if any.
    pub replaced_id: Option<Vec<u8>>,
    pub dir: PathBuf,
    /// Whether the snapshot's stable memory is copied or read in place.
    pub stable_file: StableFile,
}

impl Instance {
    /// Writes a snapshot into a folder.
    pub fn download_snapshot(&self, request: &DownloadRequest) -> Result<(), OpError> {
        let snapshot = find_readable_canister(self, request.canister, Caller::user(request.sender))
            .and_then(|canister| {
                check_owner(request.canister, Some(&request.snapshot_id))?;
                canister.snapshots.get(request.canister, &request.snapshot_id)
            })
            .map_err(|error| OpError::Snapshot(error.message))?;
        snapshot_dir::download(snapshot, &request.dir).map_err(folder_error)
    }

    /// Creates a snapshot from a folder and returns its id.
    pub fn upload_snapshot(&mut self, request: &UploadRequest) -> Result<Vec<u8>, OpError> {
        // The time advances only if the upload is accepted.
        let mut clock = self.clock;
        let now = clock.begin_round();
        let rejected = |error: UserError| OpError::Snapshot(error.message);
        let canister =
            self.controlled_canister(request.canister, Caller::user(request.sender)).map_err(rejected)?;
        let version = canister.version;
        check_owner(request.canister, request.replaced_id.as_deref()).map_err(rejected)?;
        let declare = |args| Snapshot::with_declared_sizes(&args, version, now);
        let snapshot =
            snapshot_dir::upload(&request.dir, request.stable_file, declare).map_err(folder_error)?;
        let id = self
            .controlled_canister(request.canister, Caller::user(request.sender))
            .and_then(|canister| {
                canister.snapshots.insert(request.canister, snapshot, request.replaced_id.as_deref())
            })
            .map_err(rejected)?;
        self.clock = clock;
        Ok(id)
    }
}

fn folder_error(error: SnapshotDirError) -> OpError {
    match error {
        SnapshotDirError::Rejected(message) => OpError::Snapshot(message),
        // The reason is in the snapshot, not in the folder.
        SnapshotDirError::NotFinite { .. } => OpError::Snapshot(error.to_string()),
        other => OpError::InvalidSnapshotDirectory(other.to_string()),
    }
}
