//! Creates a canister of the first public release, as large as an operator's may be, and reads it back once adopted.

use std::path::Path;

use candid::Principal;
use pocket_ic::{PocketIc, Time};
use serde_bytes::ByteBuf;
use serde_json::Value;
use session_migrate::build::{self, Build, Module};
use session_migrate::client::{Canister, ClientError};
use session_migrate::server;
use session_migrate::snapshot::{METADATA, STABLE_MEMORY};
use sha2::{Digest, Sha256};
use upload_canister::api::{ChunkRange, Error, MigrationPhase};
use upload_model::public_release::{self, PublicRelease, blob_of};

use crate::error::BenchError;
use crate::metered_canister::{BEGINNING_SECONDS, NO_ARGUMENTS};
use crate::payload::{CHUNK_BYTES, File as Payload};

use super::snapshot::download;

/// Number of capsules, each with a small file of 1 to `SMALL_BYTES` bytes.
pub(super) const CAPSULES: u64 = 10_000;

const SMALL_BYTES: u64 = 1_000;

/// Number of chunks of the only large file, which has 100 MB.
const LARGE_CHUNKS: u32 = 56;

/// Number of uploads in flight, each of two chunks. The second chunk of those with an odd number has arrived.
pub(super) const IN_FLIGHT: u64 = 30;

/// Number of the first session in flight. The sessions with lower numbers, from 1, have uploaded the files of
/// [`files_of`].
const FIRST_IN_FLIGHT: u64 = CAPSULES + 2;

/// Nanoseconds since 1970.
const NOW: u64 = BEGINNING_SECONDS * 1_000_000_000;

const CYCLES: u128 = 1_000_000_000_000_000;

const BENCH: &str = "adoption";

/// Returns the owner of the capsule of this number.
fn owner(number: u64) -> Principal {
    Principal::self_authenticating(number.to_be_bytes())
}

fn controller() -> Principal {
    Principal::self_authenticating("controller")
}

/// Returns the files of a capsule, each with the number of its session.
fn files_of(number: u64) -> Vec<(u64, Vec<u8>)> {
    let length = 1 + number % SMALL_BYTES;
    let small = number.to_be_bytes().into_iter().cycle().take(length as usize).collect();
    let mut files = vec![(number + 1, small)];
    if number == 0 {
        let large = Payload::of_chunks(LARGE_CHUNKS, 1);
        files.push((CAPSULES + 1, (0..LARGE_CHUNKS).flat_map(|index| large.chunk(index)).collect()));
    }
    files
}

/// Returns the file of an upload in flight, in its two chunks.
fn chunks_in_flight(number: u64) -> [Vec<u8>; 2] {
    [Payload::of_chunks(1, number + 2).chunk(0), number.to_be_bytes().to_vec()]
}

/// Writes the snapshot folder of a canister that runs a stand-in for the first public release, with uploads in flight.
pub(super) fn make(folder: &Path) -> Result<(), BenchError> {
    let mut release = PublicRelease::new(128);
    let mut capsules = Vec::new();
    for number in 0..CAPSULES {
        let capsule = release.create_capsule(owner(number), NOW + number);
        for (session, bytes) in files_of(number) {
            release.upload(&capsule, session, &bytes, NOW + CAPSULES + session);
        }
        capsules.push(capsule);
    }
    let wasm = pocket_ic_fixtures::public_release()?;
    let module = std::fs::read(&wasm).map_err(BenchError::file("read", &wasm))?;
    let pic = server::pocket_ic()?;
    // Until a canister opens its tables, its heap does not depend on stable memory, which can therefore be replaced.
    let empty = pic.create_canister_with_settings(Some(controller()), None);
    pic.install_canister(empty, module, NO_ARGUMENTS.to_vec(), Some(controller()));
    let fresh = folder.with_extension("fresh");
    download(&pic, empty, controller(), &fresh)?;
    replace_stable_memory(&fresh, &release.stable_memory())?;
    drop(release);
    let id = load_into_new_canister(&pic, &fresh)?;
    let old = Canister::new(&pic, id);
    old.update::<()>(controller(), "set_last_session_number", (FIRST_IN_FLIGHT - 1,)).map_err(call_error)?;
    for (number, capsule) in (0..IN_FLIGHT).zip(&capsules) {
        let chunks = chunks_in_flight(number);
        let bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let args = (capsule, public_release::metadata(bytes, NOW), 2_u32, format!("in flight {number}"));
        let session: u64 = old.update(owner(number), "uploads_begin", args).map_err(call_error)?;
        check_equal("number of a session", FIRST_IN_FLIGHT + number, session)?;
        if number % 2 == 1 {
            let args = (session, 1_u32, ByteBuf::from(chunks[1].as_slice()));
            old.update::<()>(owner(number), "uploads_put_chunk", args).map_err(call_error)?;
        }
    }
    download(&pic, id, controller(), folder)?;
    drop(pic);
    std::fs::remove_dir_all(&fresh).map_err(BenchError::file("remove", &fresh))
}

fn replace_stable_memory(folder: &Path, stable: &[u8]) -> Result<(), BenchError> {
    let path = folder.join(METADATA);
    let text = std::fs::read(&path).map_err(BenchError::file("read", &path))?;
    let mut metadata: Value = serde_json::from_slice(&text).map_err(BenchError::file("read", &path))?;
    metadata["stable_memory_size"] = stable.len().into();
    std::fs::write(&path, metadata.to_string()).map_err(BenchError::file("write", &path))?;
    let path = folder.join(STABLE_MEMORY);
    std::fs::write(&path, stable).map_err(BenchError::file("write", &path))
}

fn load_into_new_canister(pic: &PocketIc, path: &Path) -> Result<Principal, BenchError> {
    let id = pic.create_canister_with_settings(Some(controller()), None);
    pic.add_cycles(id, CYCLES);
    pic.set_time(Time::from_nanos_since_unix_epoch(pic.get_time().as_nanos_since_unix_epoch().max(NOW)));
    let snapshot = pic.canister_snapshot_upload(id, controller(), None, path.to_path_buf());
    pic.load_canister_snapshot(id, Some(controller()), snapshot)
        .map_err(|reject| BenchError::file("load", path)(reject.reject_message))?;
    Ok(id)
}

/// Loads an adopted canister, and upgrades it through all builds to the direct one. On every build, reads each file of
/// the capsules as its owner, compares every byte, checks that a stranger is refused, and finishes a third of the
/// uploads in flight.
///
/// # Errors
/// If a call, an upgrade or a build fails, or an answer is not the expected one.
pub fn read_back(folder: &Path, done: &dyn Fn(&str)) -> Result<(), BenchError> {
    let module = |build: Build| Module::read(&build::ensure_one(build)?.wasm_gz);
    let pic = server::pocket_ic()?;
    let canister = Canister::new(&pic, load_into_new_canister(&pic, folder)?);
    for (step, build) in (0..).zip(Build::ALL) {
        if build != Build::Legacy {
            upgrade(&canister, build, &module(build)?)?;
        }
        let mut read = 0;
        for number in 0..CAPSULES {
            for (session, bytes) in files_of(number) {
                read_file(&canister, number, &format!("blob_{}", blob_of(session)), &bytes)?;
                read += bytes.len();
            }
        }
        for number in (step..IN_FLIGHT).step_by(Build::ALL.len()) {
            complete_upload(&canister, number)?;
        }
        done(&format!("{build}: {read} bytes read back"));
    }
    Ok(())
}

fn upgrade(canister: &Canister<'_>, build: Build, module: &Module) -> Result<(), BenchError> {
    if build == Build::Direct {
        canister.migration_verify(controller()).map_err(call_error)?;
        check_converted(canister)?;
        canister.migration_finalize(controller(), false).map_err(call_error)?;
    }
    canister.upgrade(controller(), build.name(), module).map_err(|reject| BenchError::Install {
        bench: BENCH.into(),
        module: build.to_string(),
        message: reject.reject_message,
    })?;
    check_converted(canister)
}

fn check_converted(canister: &Canister<'_>) -> Result<(), BenchError> {
    let status = canister.migration_status().map_err(call_error)?;
    let status = canister.wait_until_settled::<ClientError>(status, || Ok(())).map_err(call_error)?;
    check_equal("migration", (MigrationPhase::Converted, 0), (status.phase, status.quarantined))
}

fn read_file(canister: &Canister<'_>, number: u64, blob: &str, bytes: &[u8]) -> Result<(), BenchError> {
    let meta = canister.blob_get_meta(owner(number), blob).map_err(call_error)?;
    check_equal("size of a blob", bytes.len() as u64, meta.size)?;
    for (index, expected) in (0..).zip(bytes.chunks(CHUNK_BYTES as usize)) {
        let read = canister.blob_read_chunk(owner(number), blob, index).map_err(call_error)?;
        let found = if read == expected { "the same bytes" } else { "different bytes" };
        check_equal("a chunk read back", "the same bytes", found)?;
    }
    let refused = match canister.blob_read_chunk(owner(CAPSULES), blob, 0) {
        Err(error) if matches!(error.refusal(), Some(Error::NotFound { .. })) => "NotFound".to_owned(),
        Err(error) => error.to_string(),
        Ok(_) => "bytes".to_owned(),
    };
    check_equal("answer to a stranger", "NotFound".to_owned(), refused)
}

/// Sends the missing chunks of an upload in flight, finishes it, and reads it back.
fn complete_upload(canister: &Canister<'_>, number: u64) -> Result<(), BenchError> {
    let (session, chunks) = (FIRST_IN_FLIGHT + number, chunks_in_flight(number));
    let status = canister.uploads_status(owner(number), session).map_err(call_error)?;
    let last_missing = if number % 2 == 1 { 0 } else { 1 };
    check_equal("missing chunks", vec![ChunkRange { first: 0, last: last_missing }], status.missing)?;
    for (index, chunk) in (0..=last_missing).zip(&chunks) {
        canister.uploads_put_chunk(owner(number), session, index, chunk.clone(), None).map_err(call_error)?;
    }
    let bytes = chunks.concat();
    let digest = Sha256::digest(&bytes).into();
    let finished = canister.uploads_finish(owner(number), session, digest, bytes.len() as u64);
    read_file(canister, number, &finished.map_err(call_error)?.blob_id, &bytes)
}

fn call_error(source: ClientError) -> BenchError {
    BenchError::Call { bench: BENCH.into(), source }
}

fn check_equal<T: PartialEq + std::fmt::Debug>(
    what: &'static str,
    expected: T,
    got: T,
) -> Result<(), BenchError> {
    BenchError::check_equal(BENCH, what, expected, got)
}
