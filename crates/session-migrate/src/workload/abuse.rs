//! Abusive calls: beyond limits, with wrong hashes, with bytes that are not Candid, about other callers' sessions.

use candid::Principal;
use serde_bytes::ByteBuf;
use upload_canister::api;
use upload_canister::upload::limits;

use super::recorded_canister::{RecordedCanister, client_principal, controller};
use crate::client::{ClientError, Uploader};

/// Number of a client without access to any capsule.
const STRANGER: u32 = 999;

/// A session id that was never issued.
const NO_SESSION: u64 = 1 << 40;

/// Makes all kinds of abusive calls about an upload. They must not affect the upload.
pub(super) fn make_all_calls(
    canister: &mut RecordedCanister<'_>,
    victim: &Uploader,
) -> Result<(), ClientError> {
    call_as_strangers(canister, victim)?;
    begin_wrongly(canister, victim)?;
    put_wrongly(canister, victim)?;
    finish_wrongly(canister, victim)?;
    send_invalid_candid(canister, victim.client)?;
    make_administrative_calls(canister, victim.client)
}

/// Makes calls about the victim's session and capsule, as a stranger and as the anonymous principal.
pub(super) fn call_as_strangers(
    canister: &mut RecordedCanister<'_>,
    victim: &Uploader,
) -> Result<(), ClientError> {
    let Some(session) = victim.session() else { return Ok(()) };
    let chunk = ByteBuf::from(victim.asset.chunk(0, canister.chunk_size)?);
    for caller in [client_principal(STRANGER), Principal::anonymous()] {
        canister.query(caller, "uploads_status", (session,))?;
        canister.query(caller, "uploads_list", (None::<u64>, None::<u32>))?;
        canister.update(caller, "uploads_put_chunk", (session, 0u32, &chunk, None::<ByteBuf>))?;
        canister.update(caller, "uploads_finish", (session, sha256(victim), victim.asset.bytes))?;
        canister.update(caller, "uploads_abort", (session,))?;
        canister.update(
            caller,
            "uploads_begin",
            (&victim.capsule, victim.asset.metadata(), victim.chunks(), &victim.idem),
        )?;
        canister.query(caller, "capsules_read", (&victim.capsule,))?;
        canister.query(caller, "memories_list", (&victim.capsule, None::<String>, None::<u32>))?;
        canister.update(caller, "capsules_delete", (&victim.capsule,))?;
    }
    Ok(())
}

fn begin_wrongly(canister: &mut RecordedCanister<'_>, victim: &Uploader) -> Result<(), ClientError> {
    let (client, capsule, metadata) = (victim.client, &victim.capsule, victim.asset.metadata());
    let chunks = victim.chunks();
    let metadata_of_size = |bytes: u64| {
        let base = api::AssetMetadataBase::new("a.bin", "text/plain", api::AssetType::Original, bytes, 0);
        api::AssetMetadata::document(base)
    };
    // Most idempotency keys say what is wrong with the call.
    let long_idem = "x".repeat(limits::MAX_IDEM_BYTES + 1);
    canister.update(client, "uploads_begin", (capsule, &metadata, chunks + 1, "too many chunks"))?;
    canister.update(client, "uploads_begin", (capsule, &metadata, 0u32, "no chunks"))?;
    canister.update(client, "uploads_begin", (capsule, &metadata, chunks, ""))?;
    canister.update(client, "uploads_begin", (capsule, &metadata, chunks, &long_idem))?;
    canister.update(client, "uploads_begin", (capsule, metadata_of_size(u64::MAX), u32::MAX, "too large"))?;
    // The victim's key, with other parameters.
    canister.update(client, "uploads_begin", (capsule, metadata_of_size(1), 1u32, &victim.idem))?;
    canister.update(client, "uploads_begin", ("capsule_999999", &metadata, chunks, "no capsule"))
}

fn put_wrongly(canister: &mut RecordedCanister<'_>, victim: &Uploader) -> Result<(), ClientError> {
    let Some(session) = victim.session() else { return Ok(()) };
    let client = victim.client;
    let chunk = victim.asset.chunk(0, canister.chunk_size)?;
    let short = ByteBuf::from(chunk.get(1..).unwrap_or_default().to_vec());
    let chunk = ByteBuf::from(chunk);
    let mut put = |session: u64, index: u32, bytes: &ByteBuf, sha256: Option<ByteBuf>| {
        canister.update(client, "uploads_put_chunk", (session, index, bytes, sha256))
    };
    put(session, victim.chunks(), &chunk, None)?;
    put(session, u32::MAX, &chunk, None)?;
    put(session, 0, &short, None)?;
    put(session, 0, &ByteBuf::new(), None)?;
    put(session, 0, &chunk, Some(ByteBuf::from([0; 32])))?;
    put(session, 0, &chunk, Some(ByteBuf::from([0; 31])))?;
    put(NO_SESSION, 0, &chunk, None)
}

fn finish_wrongly(canister: &mut RecordedCanister<'_>, victim: &Uploader) -> Result<(), ClientError> {
    let Some(session) = victim.session() else { return Ok(()) };
    let (client, bytes) = (victim.client, victim.asset.bytes);
    canister.update(client, "uploads_finish", (session, ByteBuf::from([7; 32]), bytes))?;
    canister.update(client, "uploads_finish", (session, ByteBuf::from([7; 5]), bytes))?;
    canister.update(client, "uploads_finish", (session, sha256(victim), bytes + 1))?;
    canister.update(client, "uploads_finish", (NO_SESSION, sha256(victim), bytes))?;
    canister.update(client, "uploads_abort", (NO_SESSION,))?;
    canister.query(client, "uploads_status", (NO_SESSION,))
}

fn send_invalid_candid(canister: &mut RecordedCanister<'_>, client: Principal) -> Result<(), ClientError> {
    canister.update_raw(client, "uploads_put_chunk", b"")?;
    canister.update_raw(client, "uploads_put_chunk", b"DIDL\x00\x01\x71\x05hello")?;
    canister.update_raw(client, "uploads_finish", b"not Candid at all")?;
    canister.update_raw(client, "uploads_explode", b"DIDL\0\0")
}

/// As a client, makes calls that only a controller may make, and reads nonexistent blobs and memories. The last call is
/// one that a controller makes.
fn make_administrative_calls(
    canister: &mut RecordedCanister<'_>,
    client: Principal,
) -> Result<(), ClientError> {
    for method in ["migration_rollback", "migration_finalize", "migration_pause"] {
        canister.update(client, method, ())?;
    }
    canister.query(client, "admin_stats", ())?;
    canister.query(client, "blob_get_meta", ("blob_999999",))?;
    canister.query(client, "blob_read_chunk", ("blob_-1", 0u32))?;
    canister.query(client, "memories_read", ("nothing",))?;
    canister.query(controller(), "admin_stats", ())
}

/// Begins as many sessions as one caller may have, and one more.
pub(super) fn begin_too_many(
    canister: &mut RecordedCanister<'_>,
    client: Principal,
    capsule: &str,
) -> Result<(), ClientError> {
    let base = api::AssetMetadataBase::new("a.bin", "text/plain", api::AssetType::Original, 9, 0);
    let metadata = api::AssetMetadata::document(base);
    for number in 0..=limits::DEFAULT_MAX_SESSIONS_PER_CALLER {
        canister.update(client, "uploads_begin", (capsule, &metadata, 1u32, format!("hoarded {number}")))?;
    }
    Ok(())
}

fn sha256(upload: &Uploader) -> ByteBuf {
    ByteBuf::from(upload.asset.sha256)
}
