//! The entry points of uploads.

use std::marker::PhantomData;
use std::time::Duration;

use serde_bytes::ByteBuf;

use super::message::MessageChunk;
use super::put_args::{self, ChunkBytes, PutArgs};
use super::{page, streams, uploads};
use crate::api::*;
use crate::blob::CHUNK_SIZE;
use crate::upload::limits;

#[ic_cdk::query]
fn upload_config() -> UploadConfig {
    limits::upload_config()
}

#[ic_cdk::update(manual_reply = true)]
fn uploads_begin(
    capsule_id: String,
    asset_metadata: AssetMetadata,
    expected_chunks: u32,
    idem: String,
    hash: Option<HashAlgorithm>,
) -> PhantomData<Result<u64>> {
    let hash = hash.unwrap_or_default();
    streams::reply(&uploads(|uploads| {
        uploads.begin(capsule_id, asset_metadata, expected_chunks, idem, hash)
    }));
    PhantomData
}

/// Reads its arguments itself: the chunk goes from the message to where it is stored in blocks.
#[ic_cdk::update(name = "uploads_put_chunk", hidden = true, manual_reply = true)]
fn put_chunk() {
    match put_args::read(&streams::Argument) {
        Ok(args) => streams::reply(&put(args)),
        Err(error) => streams::reject(&error),
    }
}

fn put(args: PutArgs) -> Result<()> {
    let PutArgs { session, idx, chunk, sha256 } = args;
    uploads(|uploads| match chunk {
        ChunkBytes::InMessage { at, len } => {
            let offset = u64::from(idx).saturating_mul(u64::from(CHUNK_SIZE));
            let mut chunk = MessageChunk::new(&streams::Argument, at, len, offset);
            uploads.put_chunk(session, idx, &mut chunk, sha256)
        }
        ChunkBytes::Owned(bytes) => uploads.put_chunk(session, idx, &mut bytes.as_slice(), sha256),
    })
}

/// Reads its argument itself: the file is borrowed from the message.
#[ic_cdk::update(name = "uploads_put_whole", hidden = true, manual_reply = true)]
fn put_whole() {
    let message = ic_cdk::api::msg_arg_data();
    match streams::decode::<(SmallFile<'_>,)>(&message) {
        Ok((file,)) => streams::reply(&logged(uploads(|uploads| uploads.put_whole(file)))),
        Err(error) => streams::reject(&error),
    }
}

/// As [`put_whole`], for many files; each is taken or refused on its own.
#[ic_cdk::update(name = "uploads_put_many", hidden = true, manual_reply = true)]
fn put_many() {
    let message = ic_cdk::api::msg_arg_data();
    match streams::decode::<(Vec<SmallFile<'_>>,)>(&message) {
        Ok((files,)) => streams::reply(&uploads(|uploads| uploads.put_many(files))),
        Err(error) => streams::reject(&error),
    }
}

#[ic_cdk::update(manual_reply = true)]
fn uploads_finish(session: u64, sha256: ByteBuf, total_len: u64) -> PhantomData<Result<UploadFinishResult>> {
    let finished = uploads(|uploads| uploads.finish(session, &sha256, total_len));
    if let Err(Error::Hashing { .. }) = &finished {
        // The caller may ask again at once or later; the work goes on either way.
        ic_cdk_timers::set_timer(Duration::ZERO, async move { hash_on(session) });
    }
    streams::reply(&logged(finished));
    PhantomData
}

/// One line for each finished upload.
fn logged(finished: Result<UploadFinishResult>) -> Result<UploadFinishResult> {
    if let Ok(finished) = &finished {
        ic_cdk::api::debug_print(format!("finished {} with {} bytes", finished.memory_id, finished.size));
    }
    finished
}

#[ic_cdk::update(manual_reply = true)]
fn uploads_abort(session: u64) -> PhantomData<Result<()>> {
    streams::reply(&uploads(|uploads| uploads.abort(session)));
    PhantomData
}

#[ic_cdk::query]
fn uploads_list(after: Option<u64>, limit: Option<u32>) -> Result<Vec<UploadStatus>> {
    uploads(|uploads| uploads.list(after, page(limit)))
}

#[ic_cdk::query]
fn uploads_status(session: u64) -> Result<UploadStatus> {
    uploads(|uploads| uploads.status(session))
}

/// Hashes another message's worth of a large upload.
fn hash_on(session: u64) {
    match uploads(|uploads| uploads.hash_on(session)) {
        Ok(true) => {}
        Ok(false) => {
            ic_cdk_timers::set_timer(Duration::ZERO, async move { hash_on(session) });
        }
        Err(error) => ic_cdk::api::debug_print(format!("hashing session {session}: {error}")),
    }
}
