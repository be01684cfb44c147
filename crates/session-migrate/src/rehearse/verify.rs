//! The checks at the end of a rehearsal: every byte is read back, memories are compared with the uploads, and the bytes
//! in stable memory are counted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use upload_canister::api;
use upload_canister::stable::layout::Layout;
use upload_canister::storage::Storage;

use super::upload_run::{Clients, UploadRun};
use crate::client::{Canister, ClientError};
use crate::progress::Progress;

/// Reads every finished upload back as its client, and records what differs from the file. An upload that was neither
/// finished nor aborted is a problem.
pub(super) fn read_back(canister: &Canister<'_>, clients: &mut Clients, progress: &Progress) {
    for run in &mut clients.runs {
        if run.uploader.aborted() {
            continue;
        }
        let Some(result) = run.uploader.result().cloned() else {
            if run.is_sound() {
                run.record_problem("it was never finished");
            }
            continue;
        };
        match hash_blob(canister, run, &result.blob_id, progress) {
            Ok((bytes, sha256)) => {
                run.read_back = Some(sha256);
                let (file_bytes, file_sha256) = (run.uploader.asset.bytes, run.uploader.asset.sha256);
                if bytes != file_bytes {
                    run.record_problem(format!(
                        "{bytes} bytes were read back, but the file has {file_bytes}"
                    ));
                }
                if sha256 != file_sha256 {
                    run.record_problem(format!(
                        "what was read back has the SHA-256 {}, but the file has {}",
                        hex::encode(sha256),
                        hex::encode(file_sha256)
                    ));
                }
                check_result(run, &result);
            }
            Err(error) => run.record_problem(error),
        }
    }
}

/// Reads a blob, and returns its length and SHA-256.
fn hash_blob(
    canister: &Canister<'_>,
    run: &UploadRun,
    blob: &str,
    progress: &Progress,
) -> Result<(u64, [u8; 32]), ClientError> {
    let client = run.uploader.client;
    let meta = canister.blob_get_meta(client, blob)?;
    let mut hasher = Sha256::new();
    let mut bytes = 0;
    for index in 0..meta.chunk_count {
        let chunk = canister.blob_read_chunk(client, blob, index)?;
        hasher.update(&chunk);
        bytes += chunk.len() as u64;
        progress.add_bytes(chunk.len() as u64);
    }
    Ok((bytes, hasher.finalize().into()))
}

fn check_result(run: &mut UploadRun, result: &api::UploadFinishResult) {
    let asset = &run.uploader.asset;
    let (size, hash) = (asset.bytes, asset.sha256);
    if result.size != size {
        run.record_problem(format!("finish returned {} bytes, but the file has {size}", result.size));
    }
    // A result without a SHA-256 is not wrong.
    if result.checksum_sha256.as_ref().is_some_and(|claimed| claimed.as_slice() != hash) {
        run.record_problem("finish returned a SHA-256 other than the file's");
    }
}

/// Checks that every finished upload is one memory of its capsule, and that the rehearsal has created no other
/// memories.
pub(super) fn check_memories(canister: &Canister<'_>, clients: &mut Clients) {
    for (number, client, capsule) in clients.principals() {
        let Some(listed) = clients.ok_or_problem(canister.memories_all(client, &capsule)) else { continue };
        let is_of_client = |run: &&mut UploadRun| run.client == number;
        let mut finished_memories = Vec::new();
        for run in clients.runs.iter_mut().filter(is_of_client) {
            if let Some(result) = run.uploader.result().cloned() {
                check_memory(run, &result, &listed);
                finished_memories.push(result.memory_id);
            }
        }
        let existed_before = |memory: &&api::Memory| clients.known_memories.contains(&memory.id);
        let strays: Vec<api::Memory> = listed
            .iter()
            .filter(|memory| !finished_memories.contains(&memory.id) && !existed_before(memory))
            .cloned()
            .collect();
        for memory in &strays {
            let name = &memory.asset_metadata.base().name;
            let stray = format!("the capsule has a memory {} that no finish returned", memory.id);
            // No upload caused the memory for certain; one with the same name is the most likely cause.
            let run_of_same_name =
                clients.runs.iter_mut().filter(is_of_client).find(|run| run.uploader.asset.name == *name);
            match run_of_same_name {
                Some(run) => run.record_problem(stray),
                None => clients.problems.push(format!("client {number}: {stray}")),
            }
        }
    }
}

/// Number of sweeps in which the canister may free what is left of aborted uploads.
const SWEEPS: u32 = 5;
/// Time between two sweeps.
const SWEEP_SECONDS: u64 = 60;

/// Extents are allocated in multiples of this many bytes.
const UNIT_BYTES: u64 = 64;

/// Checks that nothing is left of aborted uploads: extents hold exactly the bytes of the finished uploads, and the
/// chunk map is empty. This is true only if the canister was empty before the rehearsal. Checks nothing if an upload
/// has a problem, since the upload's bytes may still be stored.
pub(super) fn check_aborted_are_freed(canister: &Canister<'_>, clients: &mut Clients) {
    if !clients.runs.iter().all(UploadRun::is_sound) {
        return;
    }
    for _ in 0..SWEEPS {
        canister.pass(Duration::from_secs(SWEEP_SECONDS), 1);
    }
    let finished =
        clients.runs.iter().map(|run| &run.uploader).filter(|uploader| uploader.result().is_some());
    // A capsule stores identical content once.
    let distinct: BTreeMap<_, u64> =
        finished.map(|uploader| ((&uploader.capsule, uploader.asset.sha256), uploader.asset.bytes)).collect();
    let expected: u64 = distinct.values().map(|bytes| bytes.next_multiple_of(UNIT_BYTES)).sum();
    let stable = canister.pic().get_stable_memory(canister.id());
    let stable_contents = Storage::open_accepting(Rc::new(RefCell::new(stable)), &[Layout::EXTENTS])
        .map_err(|error| error.to_string())
        .and_then(|storage| {
            let taken = storage.blobs.extents().taken_bytes().map_err(|error| error.to_string())?;
            Ok((storage.blobs.chunk_total(), taken))
        });
    let (chunks, stored) = match stable_contents {
        Ok(contents) => contents,
        Err(error) => {
            clients.problems.push(format!("the stable memory cannot be read: {error}"));
            return;
        }
    };
    if (chunks, stored) == (0, expected) {
        return;
    }
    let difference = format!(
        "{stored} bytes are in extents and {chunks} chunks still in the chunk map, but the finished uploads \
        have {expected} bytes"
    );
    let mut aborted = clients.runs.iter_mut().filter(|run| run.uploader.aborted()).peekable();
    if stored < expected || aborted.peek().is_none() {
        clients.problems.push(difference);
    } else {
        aborted.for_each(|run| {
            run.record_problem(format!("it was aborted, but its bytes may still be stored: {difference}"))
        });
    }
}

fn check_memory(run: &mut UploadRun, result: &api::UploadFinishResult, listed: &[api::Memory]) {
    let asset = run.uploader.asset.clone();
    let found: Vec<&api::Memory> = listed.iter().filter(|memory| memory.id == result.memory_id).collect();
    let [memory] = found.as_slice() else {
        run.record_problem(format!(
            "its memory {} is in the capsule {} times, expected once",
            result.memory_id,
            found.len()
        ));
        return;
    };
    if memory.asset_metadata != asset.metadata() {
        run.record_problem("its memory has other metadata than those given at begin");
    }
    if memory.blob.len != asset.bytes {
        run.record_problem(format!(
            "its memory has {} bytes, but the file has {}",
            memory.blob.len, asset.bytes
        ));
    }
    if memory.blob.hash.as_ref().is_some_and(|hash| hash.as_slice() != asset.sha256) {
        run.record_problem("its memory has a SHA-256 other than the file's");
    }
    if !memory.blob.locator.ends_with(&result.blob_id) {
        run.record_problem(format!(
            "its memory refers to {}, but finish returned {}",
            memory.blob.locator, result.blob_id
        ));
    }
}
