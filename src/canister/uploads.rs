//! The entry points of uploads.

use std::cell::RefCell;
use std::collections::BTreeMap;

use macro_rules_attribute::apply;
use serde_bytes::ByteBuf;

use super::app::{now, page_limit, report, with_uploads};
use super::entry::{self, cache_candid_headers, query, update};
use super::message::MessageChunk;
use super::put_args::{self, ChunkBytes, PutArgs};
use super::streams;
use super::timers;
use crate::api::*;
use crate::blob::CHUNK_SIZE;
use crate::session::Chunking;
use crate::upload::limits;
use ic_stable_migrate::cdk::timers::Chain;

/// Returns sizes and limits that an uploader needs.
#[apply(query)]
fn upload_config() -> UploadConfig {
    limits::upload_config()
}

/// Begins an upload, or finds the one begun with the same key and parameters; returns its session id.
#[apply(update)]
fn uploads_begin(
    capsule_id: String,
    asset_metadata: AssetMetadata,
    expected_chunks: u32,
    idem: String,
    hash: Option<HashAlgorithm>,
) -> Result<u64> {
    let hash = hash.unwrap_or_default();
    with_uploads(|uploads| uploads.begin(capsule_id, asset_metadata, expected_chunks, idem, hash))
}

/// `uploads_put_chunk`. Reads its arguments itself, so that the chunk can be copied from the message in blocks. Its
/// signature for the Candid interface is in `canister.rs`.
#[ic_cdk::update(name = "uploads_put_chunk", hidden = true, manual_reply = true)]
fn put_chunk() {
    timers::restart_overdue();
    let stored = put_args::read(&streams::Argument).and_then(store_chunk);
    entry::report_internal_error("uploads_put_chunk", &stored);
    streams::reply(&stored);
}

fn store_chunk(args: PutArgs) -> Result<()> {
    let PutArgs { session, idx, chunk, sha256 } = args;
    with_uploads(|uploads| match chunk {
        ChunkBytes::InMessage { at, len } => {
            // The offset of a chunk does not depend on the size of the file.
            let offset = Chunking::new(limits::MAX_UPLOAD_BYTES, u64::from(CHUNK_SIZE)).offset(idx);
            let mut chunk = MessageChunk::new(&streams::Argument, at, len, offset);
            uploads.put_chunk(session, idx, &mut chunk, sha256)
        }
        ChunkBytes::Owned(bytes) => uploads.put_chunk(session, idx, &mut bytes.as_slice(), sha256),
    })
}

/// Uploads a file that fits into one message. Repeating the call with the same key returns the same result.
#[apply(update)]
fn uploads_put_whole(file: SmallFile<'_>) -> Result<UploadFinishResult> {
    log_finished(with_uploads(|uploads| uploads.put_whole(file)))
}

/// Same as `uploads_put_whole`, for many files; each is accepted or refused independently.
#[apply(update)]
fn uploads_put_many(files: Vec<SmallFile<'_>>) -> Result<Vec<Result<UploadFinishResult>>> {
    let results = with_uploads(|uploads| uploads.put_many(files))?;
    Ok(results.into_iter().map(log_finished).collect())
}

/// Checks the hash of the stored bytes and makes them a memory. Repeating the call with the same arguments
/// returns the same result; `Hashing` means: call again.
#[apply(update)]
fn uploads_finish(session: u64, digest: ByteBuf, total_len: u64) -> Result<UploadFinishResult> {
    let finished = with_uploads(|uploads| uploads.finish(session, &digest, total_len));
    if let Err(Error::Hashing { .. }) = &finished {
        // The caller may call again immediately or later; hashing continues either way.
        schedule_hashing(session);
    }
    log_finished(finished)
}

/// Logs a line if the upload was finished at the time of this message. A later repetition gets the original
/// `uploaded_at`, and logs nothing.
fn log_finished(finished: Result<UploadFinishResult>) -> Result<UploadFinishResult> {
    if let Ok(finished) = &finished
        && finished.uploaded_at == now().as_nanos()
    {
        ic_cdk::api::debug_print(format!("finished {} with {} bytes", finished.memory_id, finished.size));
    }
    finished
}

/// Aborts an upload and frees its bytes. Repeating it is not an error.
#[apply(update)]
fn uploads_abort(session: u64) -> Result<()> {
    with_uploads(|uploads| uploads.abort(session))
}

/// Lists the caller's uploads in flight, ordered by session, after the session `after`; at most 100.
#[apply(query)]
fn uploads_list(after: Option<u64>, limit: Option<u32>) -> Result<Vec<UploadStatus>> {
    with_uploads(|uploads| uploads.list(after, page_limit(limit)))
}

/// Returns the status of an upload: the chunks that have arrived and when it expires.
#[apply(query)]
fn uploads_status(session: u64) -> Result<UploadStatus> {
    with_uploads(|uploads| uploads.status(session))
}

/// Returns the SHA-256 of the chunks of an upload that have arrived, starting at chunk `from`. After
/// `ChecksumMismatch`, chunks that differ from the file may be sent again. `next` is the start of the next page.
#[apply(query)]
fn uploads_chunk_digests(session: u64, from: Option<u32>, limit: Option<u32>) -> Result<ChunkDigests> {
    with_uploads(|uploads| uploads.chunk_digests(session, from.unwrap_or(0), page_limit(limit)))
}

pub fn cache_candid_headers() -> std::result::Result<(), candid::Error> {
    cache_candid_headers!(
        upload_config,
        uploads_begin,
        uploads_put_whole,
        uploads_put_many,
        uploads_finish,
        uploads_abort,
        uploads_list,
        uploads_status,
        uploads_chunk_digests
    )
}

thread_local! {
    /// One chain for each session that is being hashed, however often its client calls `uploads_finish`.
    static HASHING: RefCell<BTreeMap<u64, Chain>> = const { RefCell::new(BTreeMap::new()) };
}

/// Hashes another slice of a session in the next message.
fn schedule_hashing(session: u64) {
    HASHING.with_borrow_mut(|hashing| {
        hashing.entry(session).or_insert_with(Chain::new).run_next(move || continue_hashing(session));
    });
}

/// Hashes a slice of a session, and schedules the next one if bytes are left.
fn continue_hashing(session: u64) {
    match with_uploads(|uploads| uploads.continue_hashing(session)) {
        Ok(false) => return schedule_hashing(session),
        Ok(true) => {}
        Err(error) => report("hashing", format!("session {session}: {error}")),
    }
    HASHING.with_borrow_mut(|hashing| hashing.remove(&session));
}
