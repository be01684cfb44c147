//! Uploads from begin to finish, and the calls before and afterwards.

use std::time::Duration;

use serde_bytes::{ByteBuf, Bytes};
use session_migrate::build::Build;
use session_migrate::client::ClientError;
use sha2::{Digest, Sha256};
use upload_canister::api::{
    self, BlobMeta, Capsule, HashAlgorithm, PersonRef, UploadFinishResult, UploadStatus,
};

use crate::bench::{Bench, Recorder};
use crate::error::BenchError;
use crate::metered_canister::{MeteredCanister, NO_ARGUMENTS, Wasm};
use crate::payload::{CHUNK_BYTES, File};

use super::populated::create_inline;

/// Number of chunks of the largest upload that the canister accepts.
pub const MAX_CHUNKS: u32 = 16_384;

pub fn create_capsule(canister: &MeteredCanister) -> Result<String, BenchError> {
    let created: Capsule = canister.update("capsules_create", (None::<PersonRef>,))?;
    Ok(created.id)
}

/// Creates a capsule of the client, and the tables that the direct build creates with the first capsule and the first
/// record in it, so that they are not measured. [`first_calls`] measures their creation.
pub fn create_capsule_and_tables(canister: &MeteredCanister, build: Build) -> Result<String, BenchError> {
    let capsule = create_capsule(canister)?;
    if build == Build::Direct {
        let memory = create_inline(canister, &capsule, 1, "first")?;
        canister.update::<()>("memories_delete", (&memory,))?;
    }
    Ok(capsule)
}

pub fn begin(canister: &MeteredCanister, capsule: &str, file: &File, idem: &str) -> Result<u64, BenchError> {
    canister.update("uploads_begin", (capsule, file.metadata(), file.chunks(), idem))
}

fn begin_blake3(canister: &MeteredCanister, capsule: &str, file: &File) -> Result<u64, BenchError> {
    let hash = Some(HashAlgorithm::Blake3);
    canister.update("uploads_begin", (capsule, file.metadata(), file.chunks(), "a", hash))
}

pub fn put(canister: &MeteredCanister, session: u64, file: &File, index: u32) -> Result<(), BenchError> {
    let bytes = file.chunk(index);
    canister.update("uploads_put_chunk", (session, index, Bytes::new(&bytes), None::<ByteBuf>))
}

/// Calls `uploads_finish` repeatedly while the canister reports that its hashing progresses; returns the last answer.
pub fn finish(
    canister: &MeteredCanister,
    session: u64,
    digest: &[u8; 32],
    bytes: u64,
) -> Result<UploadFinishResult, BenchError> {
    let mut hashed_before = None;
    loop {
        match canister.update("uploads_finish", (session, Bytes::new(digest), bytes)) {
            Err(BenchError::Call {
                source: ClientError::Refused { error: api::Error::Hashing { hashed, .. }, .. },
                ..
            }) if hashed_before.is_none_or(|before| hashed > before) => hashed_before = Some(hashed),
            other => return other,
        }
    }
}

/// Measures the first calls to a canister, which create its tables, and the second upload.
pub fn first_calls(wasm: &Wasm) -> Result<Bench, BenchError> {
    let mut run = Recorder::new("first_upload", wasm)?;
    let file = File { bytes: 1024, seed: 1 };
    run.set_payload(file.bytes);
    let capsule = run.measure("capsules_create", create_capsule)?;
    let session = run.measure("begin", |canister| begin(canister, &capsule, &file, "a"))?;
    run.measure("put", |canister| put(canister, session, &file, 0))?;
    run.measure("finish", |canister| finish(canister, session, &file.sha256(), file.bytes))?;
    let other = File { bytes: 1024, seed: 2 };
    let session = run.measure("second_begin", |canister| begin(canister, &capsule, &other, "b"))?;
    run.measure("second_put", |canister| put(canister, session, &other, 0))?;
    run.measure("second_finish", |canister| finish(canister, session, &other.sha256(), other.bytes))?;
    Ok(run.finish())
}

/// Measures an upload in file order; then a repeated begin and finish, as after a lost reply, reads, an upgrade, and
/// the deletion.
pub fn in_order(wasm: &Wasm, chunks: u32) -> Result<Vec<Bench>, BenchError> {
    let mut run = Recorder::new(format!("upload_{chunks}"), wasm)?;
    let file = File::of_chunks(chunks, 1);
    let sha256 = file.sha256();
    run.set_payload(file.bytes);
    let capsule = run.unmeasured(|canister| create_capsule_and_tables(canister, wasm.build))?;
    let session = run.measure("begin", |canister| begin(canister, &capsule, &file, "a"))?;
    for index in 0..chunks {
        // A file of one chunk has only a first put.
        let step = match index {
            0 => "put_first",
            _ if index + 1 == chunks => "put_last",
            _ => "put_between",
        };
        run.measure(step, |canister| put(canister, session, &file, index))?;
    }
    let finished = run.measure("finish", |canister| finish(canister, session, &sha256, file.bytes))?;
    let mut done = vec![run.finish_and_start(format!("lost_reply_{chunks}"))];

    run.measure("begin", |canister| begin(canister, &capsule, &file, "a"))?;
    run.measure("finish", |canister| finish(canister, session, &sha256, file.bytes))?;
    done.push(run.finish_and_start(format!("read_{chunks}")));

    measure_reads(&mut run, &finished.blob_id, chunks)?;
    done.push(run.finish_and_start(format!("upgrade_{chunks}")));

    run.measure("post_upgrade", |canister| canister.upgrade(NO_ARGUMENTS))?;
    done.push(run.finish_and_start(format!("delete_{chunks}")));

    run.measure("memories_delete", |canister| {
        canister.update::<()>("memories_delete", (&finished.memory_id,))
    })?;
    measure_sweep(&mut run)?;
    done.push(run.finish());
    Ok(done)
}

fn measure_reads(run: &mut Recorder, blob: &str, chunks: u32) -> Result<(), BenchError> {
    let meta: BlobMeta = run.measure("blob_get_meta", |canister| canister.query("blob_get_meta", (blob,)))?;
    run.canister.check_equal("chunks of the blob", chunks, meta.chunk_count)?;
    let chunk = |index: u32| {
        move |canister: &MeteredCanister| canister.query::<ByteBuf>("blob_read_chunk", (blob, index))
    };
    run.measure("chunk_first", chunk(0))?;
    run.measure("chunk_last", chunk(chunks - 1))?;
    let range = |from: u64, len: u64| {
        move |canister: &MeteredCanister| {
            let read: ByteBuf = canister.query("blob_read_range", (blob, from, len))?;
            canister.check_equal("bytes read", len, read.len() as u64)
        }
    };
    run.measure("range_1_kib", range(CHUNK_BYTES / 2, 1024))?;
    if chunks > 1 {
        run.measure("range_across_chunks", range(CHUNK_BYTES / 2, CHUNK_BYTES))?;
    }
    Ok(())
}

/// Measures the timers until no removal is pending.
fn measure_sweep(run: &mut Recorder) -> Result<(), BenchError> {
    // Each run of the timer removes some of the chunks.
    for _ in 0..MAX_CHUNKS {
        let stats: api::AdminStats =
            run.unmeasured(|canister| canister.controller_query("admin_stats", ()))?;
        if stats.releases_pending == 0 {
            return run.canister.check_equal("chunks left", 0, stats.chunks);
        }
        run.measure("sweep", |canister| {
            canister.pass_time(Duration::from_secs(61));
            Ok(())
        })?;
    }
    // The two texts always differ: this returns the error of a sweep that does not end.
    run.canister.check_equal("the sweep", "finished", "still running")
}

/// Measures an upload in reverse order: nothing can be hashed until the last put, which sends the first chunk of the
/// file and begins to hash the others.
pub fn out_of_order(wasm: &Wasm, chunks: u32) -> Result<Bench, BenchError> {
    let mut run = Recorder::new(format!("out_of_order_{chunks}"), wasm)?;
    let file = File::of_chunks(chunks, 1);
    run.set_payload(file.bytes);
    let capsule = run.unmeasured(|canister| create_capsule_and_tables(canister, wasm.build))?;
    let session = run.measure("begin", |canister| begin(canister, &capsule, &file, "a"))?;
    for index in (0..chunks).rev() {
        run.measure("put", |canister| put(canister, session, &file, index))?;
    }
    run.measure("finish", |canister| finish(canister, session, &file.sha256(), file.bytes))?;
    Ok(run.finish())
}

/// Measures an upload that is verified by BLAKE3, in file order or with the last chunk first.
pub fn blake3(wasm: &Wasm, chunks: u32, in_order: bool) -> Result<Bench, BenchError> {
    let name = if in_order { "upload_blake3" } else { "out_of_order_blake3" };
    let mut run = Recorder::new(format!("{name}_{chunks}"), wasm)?;
    let file = File::of_chunks(chunks, 1);
    run.set_payload(file.bytes);
    let capsule = run.unmeasured(|canister| create_capsule_and_tables(canister, wasm.build))?;
    let session = run.measure("begin", |canister| begin_blake3(canister, &capsule, &file))?;
    for n in 0..chunks {
        let index = if in_order { n } else { chunks - 1 - n };
        run.measure("put", |canister| put(canister, session, &file, index))?;
    }
    run.measure("finish", |canister| finish(canister, session, &file.blake3(), file.bytes))?;
    Ok(run.finish())
}

/// Measures a put of a chunk with its hash, of the same chunk again, and of different bytes in its place, which are
/// refused; then the status and the list of sessions.
pub fn chunk_again(wasm: &Wasm) -> Result<Bench, BenchError> {
    let mut run = Recorder::new("chunk_again", wasm)?;
    let file = File::of_chunks(10, 1);
    let capsule = run.unmeasured(|canister| create_capsule_and_tables(canister, wasm.build))?;
    let session = run.unmeasured(|canister| begin(canister, &capsule, &file, "a"))?;
    for index in (0..10).step_by(2) {
        run.unmeasured(|canister| put(canister, session, &file, index))?;
    }
    let bytes = file.chunk(5);
    let sha256 = ByteBuf::from(Sha256::digest(&bytes).to_vec());
    let args = (session, 5u32, Bytes::new(&bytes), Some(sha256));
    run.measure("with_sha256", |canister| canister.update::<()>("uploads_put_chunk", args))?;
    run.measure("same_bytes", |canister| put(canister, session, &file, 5))?;
    let other = File::of_chunks(10, 2);
    run.measure("other_bytes", |canister| match put(canister, session, &other, 5) {
        Err(BenchError::Call { source: ClientError::Refused { .. }, .. }) => Ok(()),
        Err(error) => Err(error),
        Ok(()) => canister.check_equal("other bytes for a stored chunk", "refused", "accepted"),
    })?;
    let status = |canister: &MeteredCanister| canister.query::<UploadStatus>("uploads_status", (session,));
    run.measure("status_with_holes", status)?;
    run.measure("list", |canister| {
        canister.query::<Vec<UploadStatus>>("uploads_list", (None::<u64>, None::<u32>))
    })?;
    Ok(run.finish())
}

/// Measures the abort of a session of which this many chunks have arrived.
pub fn abort(wasm: &Wasm, chunks: u32) -> Result<Bench, BenchError> {
    let mut run = Recorder::new(format!("abort_{chunks}"), wasm)?;
    let file = File::of_chunks(chunks.max(1), 1);
    let capsule = run.unmeasured(|canister| create_capsule_and_tables(canister, wasm.build))?;
    let session = run.unmeasured(|canister| begin(canister, &capsule, &file, "a"))?;
    for index in 0..chunks {
        run.unmeasured(|canister| put(canister, session, &file, index))?;
    }
    run.measure("abort", |canister| canister.update::<()>("uploads_abort", (session,)))?;
    measure_sweep(&mut run)?;
    Ok(run.finish())
}

/// Measures begin, the first, middle and last chunks, status and abort of the largest possible session. Filling the
/// session would take 29 GB.
pub fn largest(wasm: &Wasm) -> Result<Bench, BenchError> {
    let mut run = Recorder::new(format!("chunks_of_{MAX_CHUNKS}"), wasm)?;
    let file = File::of_chunks(MAX_CHUNKS, 1);
    let capsule = run.unmeasured(|canister| create_capsule_and_tables(canister, wasm.build))?;
    let session = run.measure("begin", |canister| begin(canister, &capsule, &file, "a"))?;
    run.measure("put_last", |canister| put(canister, session, &file, MAX_CHUNKS - 1))?;
    run.measure("put_first", |canister| put(canister, session, &file, 0))?;
    run.measure("put_in_the_middle", |canister| put(canister, session, &file, MAX_CHUNKS / 2))?;
    run.measure("status", |canister| canister.query::<UploadStatus>("uploads_status", (session,)))?;
    run.measure("abort", |canister| canister.update::<()>("uploads_abort", (session,)))?;
    Ok(run.finish())
}
