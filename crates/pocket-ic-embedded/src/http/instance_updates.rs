//! Routes that change an instance.

use super::progress;
use super::reply::{
    MAX_BODY_BYTES, canister_result, error_response, json_response, operate, operate_with, parse_json,
};
use super::slot::AutoProgressState;
use super::state::{Blob, ServerState};
use crate::engine::StableMemory;
use crate::ic::{
    DownloadRequest, OpError, StableFile, UploadRequest, UserCall, parse_canister_id, parse_principal,
};
use crate::threads::{self, Work};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use flate2::read::MultiGzDecoder;
use pocket_ic::common::rest::{
    AutoProgressConfig, RawAddCycles, RawCanisterCall, RawCanisterSnapshotDownload, RawCanisterSnapshotId,
    RawCanisterSnapshotUpload, RawCycles, RawMessageId, RawSetStableMemory, RawTickConfigs, RawTime,
};
use serde::Deserialize;
use std::io::Read;
use std::sync::Arc;

/// Maximum size of a gzipped blob after unpacking: the same as of a blob that is not gzipped.
const MAX_UNPACKED_BYTES: u64 = MAX_BODY_BYTES as u64;

type Server = State<Arc<ServerState>>;

/// Submits a message. That is brief work unless the canister inspects the message or its argument is large.
pub(super) async fn submit(State(state): Server, Path(id): Path<usize>, body: Bytes) -> Response {
    operate(&state, id, Work::for_request(&body), |instance| {
        let call: UserCall = parse_json::<RawCanisterCall>(&body)?.try_into()?;
        let submitted =
            threads::run_part(Work::long_if(instance.is_inspected(&call)), || instance.submit(call))?;
        Ok(submitted.map_err(|rejection| rejection.into_response(false)))
    })
    .await
}

pub(super) async fn await_message(State(state): Server, Path(id): Path<usize>, body: Bytes) -> Response {
    operate_with(&state, id, body, |instance, raw: RawMessageId| {
        let answer = instance.await_message(&raw)?;
        Ok(canister_result(answer, true))
    })
    .await
}

pub(super) async fn tick(State(state): Server, Path(id): Path<usize>, body: Bytes) -> Response {
    operate_with(&state, id, body, |instance, raw: RawTickConfigs| {
        if raw.blockmakers.is_some_and(|list| !list.is_empty()) {
            return Err(OpError::Unsupported("Choosing blockmakers".into()));
        }
        instance.round();
        Ok(())
    })
    .await
}

pub(super) async fn set_time(State(state): Server, Path(id): Path<usize>, body: Bytes) -> Response {
    operate_with(&state, id, body, |instance, raw: RawTime| instance.set_time(raw.nanos_since_epoch)).await
}

pub(super) async fn set_certified_time(State(state): Server, Path(id): Path<usize>, body: Bytes) -> Response {
    operate_with(&state, id, body, |instance, raw: RawTime| {
        instance.set_certified_time(raw.nanos_since_epoch)
    })
    .await
}

pub(super) async fn add_cycles(State(state): Server, Path(id): Path<usize>, body: Bytes) -> Response {
    operate_with(&state, id, body, |instance, raw: RawAddCycles| {
        let canister = parse_principal(&raw.canister_id, "Bad canister id")?;
        let cycles = instance.add_cycles(canister, raw.amount)?;
        Ok(RawCycles { cycles })
    })
    .await
}

pub(super) async fn set_stable_memory(State(state): Server, Path(id): Path<usize>, body: Bytes) -> Response {
    let server = state.clone();
    operate(&state, id, Work::Long, move |instance| {
        let raw: RawSetStableMemory = parse_json(&body)?;
        let canister = parse_principal(&raw.canister_id, "Bad canister id")?;
        let blob = server.blob(&raw.blob_id.0).ok_or_else(|| OpError::Other("Bad blob id".into()))?;
        instance.set_stable_memory(canister, unpack(&blob)?)
    })
    .await
}

/// Returns a blob as a stable memory: unpacked if it is gzipped. (The engine has a function of this name for modules.)
fn unpack(blob: &Blob) -> Result<StableMemory, OpError> {
    if !blob.is_gzip {
        return Ok(blob.memory().clone());
    }
    let mut bytes = Vec::new();
    let failed = |cause: String| OpError::Other(format!("Decompression failed: {cause}"));
    let read = MultiGzDecoder::new(blob.to_vec().as_slice())
        .take(MAX_UNPACKED_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(error.to_string()))?;
    if read as u64 > MAX_UNPACKED_BYTES {
        return Err(failed(format!("more than {MAX_UNPACKED_BYTES} bytes")));
    }
    Ok(StableMemory::from_bytes(&bytes))
}

pub(super) async fn snapshot_download(State(state): Server, Path(id): Path<usize>, body: Bytes) -> Response {
    operate_with(&state, id, body, |instance, raw: RawCanisterSnapshotDownload| {
        instance.download_snapshot(&DownloadRequest {
            sender: parse_principal(&raw.sender.principal_id, "Bad sender principal")?,
            canister: parse_principal(&raw.canister_id.canister_id, "Bad canister id")?,
            snapshot_id: raw.snapshot_id,
            dir: raw.snapshot_dir,
        })
    })
    .await
}

pub(super) async fn snapshot_upload(State(state): Server, Path(id): Path<usize>, body: Bytes) -> Response {
    upload(&state, id, body, StableFile::Copied).await
}

/// Uploads a snapshot and uses its stable memory in place instead of copying it. Not part of the protocol.
pub(super) async fn snapshot_in_place(State(state): Server, Path(id): Path<usize>, body: Bytes) -> Response {
    upload(&state, id, body, StableFile::InPlace).await
}

async fn upload(state: &ServerState, id: usize, body: Bytes, stable_file: StableFile) -> Response {
    operate_with(state, id, body, move |instance, raw: RawCanisterSnapshotUpload| {
        let snapshot_id = instance.upload_snapshot(&UploadRequest {
            sender: parse_principal(&raw.sender.principal_id, "Bad sender principal")?,
            canister: parse_principal(&raw.canister_id.canister_id, "Bad canister id")?,
            replaced_id: raw.replace_snapshot.map(|id| id.snapshot_id),
            dir: raw.snapshot_dir,
            stable_file,
        })?;
        Ok(RawCanisterSnapshotId { snapshot_id })
    })
    .await
}

/// Number of instructions after which messages trap, unless the usual limit of their kind is lower; `null` for the
/// usual limits alone.
#[derive(Deserialize)]
struct InstructionCap {
    instructions: Option<u64>,
}

/// Limits the instructions of a canister's messages. Not part of the protocol.
pub(super) async fn cap_instructions(
    State(state): Server,
    Path((id, canister)): Path<(usize, String)>,
    body: Bytes,
) -> Response {
    operate_with(&state, id, body, move |instance, InstructionCap { instructions }| {
        instance.cap_instructions(parse_canister_id(&canister)?, instructions)
    })
    .await
}

/// `POST /instances/<id>/auto_progress`: starts to advance the instance's time automatically.
pub(super) async fn auto_progress(State(state): Server, Path(id): Path<usize>, body: Bytes) -> Response {
    let slot = match state.slot(id) {
        Ok(slot) => slot,
        Err(refusal) => return error_response(&refusal),
    };
    let config: AutoProgressConfig = match parse_json(&body) {
        Ok(config) => config,
        Err(refusal) => return error_response(&refusal),
    };
    match progress::start(&slot, config.artificial_delay_ms).await {
        Ok(()) => json_response(StatusCode::OK, &()),
        Err(refusal) => error_response(&refusal),
    }
}

/// `POST /instances/<id>/stop_progress`; the body is ignored.
pub(super) async fn stop_progress(State(state): Server, Path(id): Path<usize>) -> Response {
    match state.slot(id) {
        Ok(slot) => {
            progress::end(&slot, AutoProgressState::Off).await;
            json_response(StatusCode::OK, &())
        }
        Err(refusal) => error_response(&refusal),
    }
}
