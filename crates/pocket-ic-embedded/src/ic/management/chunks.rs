//! The methods of the management canister for the chunk store, which is itself in `ic/chunks.rs`.

use super::{ManagementCall, Reply, empty_reply, encode_reply};
use crate::ic::error::UserError;
use crate::ic::instance::Instance;
use ic_management_canister_types::{CanisterIdRecord, ChunkHash, UploadChunkArgs};

/// `upload_chunk`
pub(super) fn upload(instance: &mut Instance, call: &mut ManagementCall) -> Result<Reply, UserError> {
    let args: UploadChunkArgs = call.decode()?;
    let canister = instance.own_or_controlled_canister(args.canister_id, call.caller)?;
    let hash = canister.chunks.insert(&args.chunk)?.to_vec();
    encode_reply(call.method, (ChunkHash { hash },)).map(Reply::Now)
}

/// `stored_chunks`
pub(super) fn list(instance: &mut Instance, call: &mut ManagementCall) -> Result<Reply, UserError> {
    let args: CanisterIdRecord = call.decode()?;
    let canister = instance.own_or_controlled_canister(args.canister_id, call.caller)?;
    let hashes: Vec<ChunkHash> =
        canister.chunks.hashes().map(|hash| ChunkHash { hash: hash.to_vec() }).collect();
    encode_reply(call.method, (hashes,)).map(Reply::Now)
}

/// `clear_chunk_store`
pub(super) fn clear(instance: &mut Instance, call: &mut ManagementCall) -> Result<Reply, UserError> {
    let args: CanisterIdRecord = call.decode()?;
    instance.own_or_controlled_canister(args.canister_id, call.caller)?.chunks.clear();
    Ok(Reply::Now(empty_reply()))
}
