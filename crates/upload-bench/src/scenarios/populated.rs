//! Costs that depend on the state of the canister: calls with ten to a hundred thousand sessions and memories, upgrades
//! that open these states, migrations, and expiry.

use std::ops::Range;
use std::time::Duration;

use candid::Principal;
use serde_bytes::{ByteBuf, Bytes};
use session_migrate::build::Build;
use upload_canister::api::{
    AdminStats, Capsule, CapsuleAccess, HttpRequest, Memory, MigrationPhase, SmallFile, StorageBackend,
    UploadFinishResult, UploadStatus,
};
use upload_canister::stable::layout::Layout;

use crate::bench::{Bench, Recorder};
use crate::error::BenchError;
use crate::metered_canister::{MeteredCanister, NO_ARGUMENTS, Wasm, client};
use crate::payload::{CHUNK_BYTES, File, metadata};
use crate::seed::{Population, Seed};

use super::uploads::{begin, create_capsule_and_tables, finish, put};
use super::{MOVE_WITH_QUARANTINE, Seeds};

/// Measures the upgrade that opens a state of this many sessions and memories in the build's layout, and calls on it.
pub fn calls(wasm: &Wasm, seeds: &Seeds, count: u32) -> Result<Vec<Bench>, BenchError> {
    let seed = seeds.get(Population::of(wasm.build, count, count))?;
    let mut run = Recorder::new(format!("open_{count}"), wasm)?;
    measure_open(&mut run, &seed)?;
    let stats: AdminStats = run.unmeasured(|canister| {
        canister.settle();
        canister.controller_query("admin_stats", ())
    })?;
    run.canister.check_equal(
        "sessions and memories",
        (u64::from(count), u64::from(count)),
        (stats.sessions, stats.memories),
    )?;
    let mut done = vec![run.finish_and_start(format!("calls_{count}"))];
    measure_upload_calls(&mut run, &seed)?;
    measure_other_calls(&mut run, &seed)?;
    done.push(run.finish());
    Ok(done)
}

fn measure_open(run: &mut Recorder, seed: &Seed) -> Result<(), BenchError> {
    run.canister.set_stable_memory(&seed.gz);
    run.measure("post_upgrade", |canister| canister.upgrade(NO_ARGUMENTS))
}

fn measure_upload_calls(run: &mut Recorder, seed: &Seed) -> Result<(), BenchError> {
    let file = File { bytes: 1024, seed: 1 };
    let Seed { capsule, .. } = seed;
    let session = run.measure("begin", |canister| begin(canister, capsule, &file, "a"))?;
    run.measure("put", |canister| put(canister, session, &file, 0))?;
    run.measure("status", |canister| canister.query::<UploadStatus>("uploads_status", (session,)))?;
    run.measure("list", |canister| {
        canister.query::<Vec<UploadStatus>>("uploads_list", (None::<u64>, None::<u32>))
    })?;
    run.measure("finish", |canister| finish(canister, session, &file.sha256(), file.bytes))?;
    // A session of the state, not the one that was just finished.
    run.measure("abort", |canister| canister.update::<()>("uploads_abort", (seed.session,)))
}

fn measure_other_calls(run: &mut Recorder, seed: &Seed) -> Result<(), BenchError> {
    let Seed { capsule, memory, .. } = seed;
    let created =
        run.measure("memories_create", |canister| create_inline(canister, capsule, 1024, "inline"))?;
    run.measure("memories_read", |canister| canister.query::<Memory>("memories_read", (memory,)))?;
    run.measure("memories_list", |canister| {
        canister.query::<Vec<Memory>>("memories_list", (capsule, None::<String>, Some(10u32)))
    })?;
    run.measure("memories_update", |canister| {
        canister.update::<Memory>("memories_update", (memory, metadata(1000)))
    })?;
    run.measure("memories_delete", |canister| canister.update::<()>("memories_delete", (&created,)))?;
    run.measure("capsules_read", |canister| canister.query::<Capsule>("capsules_read", (capsule,)))?;
    run.measure("admin_stats", |canister| canister.controller_query::<AdminStats>("admin_stats", ()))?;
    run.measure("metrics", get_metrics)
}

fn get_metrics(canister: &MeteredCanister) -> Result<(), BenchError> {
    let request = HttpRequest {
        method: "GET".into(),
        url: "/metrics".into(),
        headers: Vec::new(),
        body: ByteBuf::new(),
    };
    let status = canister.http_request(request)?.status_code;
    canister.check_equal("status of /metrics", 200, status)
}

/// Creates a memory with this many bytes in its record.
pub(super) fn create_inline(
    canister: &MeteredCanister,
    capsule: &str,
    bytes: u64,
    idem: &str,
) -> Result<String, BenchError> {
    let file = File { bytes, seed: 3 };
    let inline = file.chunk(0);
    let none = None::<String>;
    let args = (
        capsule,
        Some(Bytes::new(&inline)),
        None::<upload_canister::api::BlobRef>,
        None::<StorageBackend>,
        &none,
        &none,
        Some(bytes),
        None::<ByteBuf>,
        file.metadata(),
        idem,
    );
    canister.update("memories_create", args)
}

/// Measures files of 1 KiB: one in three calls, as a memory with inline bytes, and in one call; a hundred in one call;
/// and a thousand in one call to a capsule with 3,000 members.
pub fn small(wasm: &Wasm) -> Result<Vec<Bench>, BenchError> {
    let mut run = Recorder::new("file_1_kib", wasm)?;
    let file = File { bytes: 1024, seed: 1 };
    run.set_payload(file.bytes);
    let capsule = run.unmeasured(|canister| create_capsule_and_tables(canister, wasm.build))?;
    let session = run.measure("begin", |canister| begin(canister, &capsule, &file, "a"))?;
    run.measure("put", |canister| put(canister, session, &file, 0))?;
    run.measure("finish", |canister| finish(canister, session, &file.sha256(), file.bytes))?;
    let uploaded = run.finish_and_start("inline_1_kib");
    run.set_payload(file.bytes);
    run.measure("memories_create", |canister| create_inline(canister, &capsule, file.bytes, "inline"))?;
    let inline = run.finish_and_start("whole_1_kib");
    run.set_payload(file.bytes);
    run.measure("put_whole", |canister| put_whole(canister, &capsule, 10))?;
    let one = run.finish_and_start("whole_100_of_1_kib");
    run.set_payload(100 * file.bytes);
    run.measure("put_many", |canister| put_many(canister, &capsule, 100..200))?;
    let many = run.finish_and_start("whole_1000_for_3000_members");
    run.set_payload(1_000 * file.bytes);
    run.unmeasured(|canister| open_to_many(canister, &capsule))?;
    run.measure("put_many", |canister| put_many(canister, &capsule, 1_000..2_000))?;
    Ok(vec![uploaded, inline, one, many, run.finish()])
}

/// Number of principals in the access lists after [`open_to_many`]: the maximum.
pub const MEMBERS: u32 = 3_000;

/// Fills the access lists of a capsule; the client is the last of its owners.
pub fn open_to_many(canister: &MeteredCanister, capsule: &str) -> Result<(), BenchError> {
    let list = |kind: u32, len: u32| -> Vec<Principal> {
        (0..len)
            .map(|n| Principal::self_authenticating([kind.to_be_bytes(), n.to_be_bytes()].concat()))
            .collect()
    };
    let each = MEMBERS / 3;
    let mut owners = list(0, each - 1);
    owners.push(client());
    let access = CapsuleAccess { owners, writers: list(1, each), readers: list(2, each) };
    canister.update::<Capsule>("capsules_set_access", (capsule, access)).map(drop)
}

/// Uploads a file of 1 KiB in one call.
fn put_whole(canister: &MeteredCanister, capsule: &str, seed: u64) -> Result<(), BenchError> {
    let file = File { bytes: 1024, seed };
    let bytes = file.chunk(0);
    let small = small_file(capsule, &file, &bytes);
    canister.update::<UploadFinishResult>("uploads_put_whole", (small,)).map(drop)
}

/// Uploads a file of 1 KiB for each of these seeds, all in one call.
fn put_many(canister: &MeteredCanister, capsule: &str, seeds: Range<u64>) -> Result<(), BenchError> {
    let files: Vec<File> = seeds.clone().map(|seed| File { bytes: 1024, seed }).collect();
    let bytes: Vec<Vec<u8>> = files.iter().map(|file| file.chunk(0)).collect();
    let small: Vec<SmallFile<'_>> =
        files.iter().zip(&bytes).map(|(file, bytes)| small_file(capsule, file, bytes)).collect();
    let answers: Vec<upload_canister::api::Result<UploadFinishResult>> =
        canister.update("uploads_put_many", (small,))?;
    // The count that is expected is that of the seeds, for which the figures are published: the list of files could be
    // too short itself.
    canister.check_equal("files stored", seeds.count(), answers.iter().flatten().count())
}

fn small_file<'a>(capsule: &str, file: &File, bytes: &'a [u8]) -> SmallFile<'a> {
    SmallFile {
        capsule_id: capsule.to_owned(),
        asset_metadata: file.metadata(),
        idem: format!("whole {}", file.seed),
        bytes: Bytes::new(bytes),
        digest: ByteBuf::from(file.sha256()),
        hash: None,
    }
}

/// Measures the conversion of legacy sessions in `post_upgrade` and, if some are left, by timer.
pub fn migration(wasm: &Wasm, seeds: &Seeds, count: u32) -> Result<Bench, BenchError> {
    migrate(format!("migrate_{count}"), wasm, seeds, Population::of(Build::Legacy, count, 10))
}

/// Measures the conversion of legacy sessions with this many stored chunks of 1.8 MB each.
pub fn migration_with_chunks(
    wasm: &Wasm,
    seeds: &Seeds,
    sessions: u32,
    chunks: u32,
) -> Result<Bench, BenchError> {
    let population = Population::with_chunks(Layout::LEGACY, sessions, chunks);
    migrate(format!("migrate_chunks_{chunks}"), wasm, seeds, population)
}

fn migrate(name: String, wasm: &Wasm, seeds: &Seeds, population: Population) -> Result<Bench, BenchError> {
    let seed = seeds.get(population)?;
    let mut run = Recorder::new(name, wasm)?;
    measure_open(&mut run, &seed)?;
    loop {
        let status = run.unmeasured(|canister| {
            canister.typed_client().migration_status().map_err(|e| canister.call_error(e))
        })?;
        match status.phase {
            MigrationPhase::Validating | MigrationPhase::Converting | MigrationPhase::Verifying => {}
            phase => {
                run.canister.check_equal("phase", MigrationPhase::Converted, phase)?;
                run.canister.check_equal(
                    "converted sessions",
                    u64::from(population.sessions),
                    status.converted,
                )?;
                return Ok(run.finish());
            }
        }
        run.measure("timer", |canister| {
            canister.tick();
            Ok(())
        })?;
    }
}

/// Measures moving a committed blob of this many chunks from the chunk map into extents.
pub fn move_to_extents(wasm: &Wasm, seeds: &Seeds, chunks: u32) -> Result<Bench, BenchError> {
    let population = Population { finished: true, ..Population::with_chunks(Layout::SPLIT, 1, chunks) };
    let seed = seeds.get(population)?;
    let mut run = Recorder::new(format!("move_{chunks}"), wasm)?;
    let bytes = u64::from(chunks) * CHUNK_BYTES;
    run.set_payload(bytes);
    measure_open(&mut run, &seed)?;
    for _ in 0..=chunks {
        let stats: AdminStats = run.unmeasured(|canister| canister.controller_query("admin_stats", ()))?;
        if stats.chunks == 0 {
            run.canister.check_equal("bytes in extents", bytes, stats.payload_bytes)?;
            return Ok(run.finish());
        }
        // The sweep, which empties the chunk map, runs once a minute.
        run.measure("timer", |canister| {
            canister.pass_time(Duration::from_secs(61));
            Ok(())
        })?;
    }
    // The two texts always differ: this returns the error of a move that does not end.
    run.canister.check_equal("the move", "finished", "still running")?;
    Ok(run.finish())
}

/// Measures moving a blob of a hundred chunks while another blob, of `quarantined` chunks, is quarantined and stays in
/// the chunk map.
pub fn move_with_quarantine(wasm: &Wasm, seeds: &Seeds, quarantined: u32) -> Result<Bench, BenchError> {
    const CHUNKS: u32 = 100;
    let population = Population {
        finished: true,
        damaged: quarantined,
        ..Population::with_chunks(Layout::SPLIT, 1, CHUNKS)
    };
    let seed = seeds.get(population)?;
    let mut run = Recorder::new(format!("{MOVE_WITH_QUARANTINE}{quarantined}"), wasm)?;
    let bytes = u64::from(CHUNKS) * CHUNK_BYTES;
    run.set_payload(bytes);
    measure_open(&mut run, &seed)?;
    for _ in 0..2 * CHUNKS {
        let (status, stats) = run.unmeasured(|canister| {
            let status = canister.typed_client().migration_status().map_err(|e| canister.call_error(e))?;
            Ok((status, canister.controller_query::<AdminStats>("admin_stats", ())?))
        })?;
        let has_moved = status.migration == 2 && status.phase == MigrationPhase::Converted;
        if has_moved && stats.releases_pending == 0 {
            let expected = (u64::from(quarantined), u64::from(quarantined > 0), bytes);
            let found = (stats.chunks, status.quarantined, stats.payload_bytes);
            run.canister.check_equal(
                "chunks and units in quarantine, and bytes in extents",
                expected,
                found,
            )?;
            return Ok(run.finish());
        }
        run.measure(if has_moved { "sweep" } else { "timer" }, |canister| {
            canister.pass_time(Duration::from_secs(if has_moved { 61 } else { 0 }));
            Ok(())
        })?;
    }
    // The two texts always differ: this returns the error of a move that does not end.
    run.canister.check_equal("the move", "finished", "still running")?;
    Ok(run.finish())
}

/// Measures the timer run that ends twenty expired sessions of one stored chunk each, and a timer run with nothing to
/// do.
pub fn expiry(wasm: &Wasm) -> Result<Bench, BenchError> {
    const SESSIONS: u64 = 20;
    let mut run = Recorder::new("expiry", wasm)?;
    let file = File { bytes: CHUNK_BYTES + 1, seed: 1 };
    let capsule = run.unmeasured(|canister| create_capsule_and_tables(canister, wasm.build))?;
    for number in 0..SESSIONS {
        let session = run.unmeasured(|canister| begin(canister, &capsule, &file, &number.to_string()))?;
        run.unmeasured(|canister| put(canister, session, &file, 0))?;
    }
    run.measure("twenty_sessions", |canister| {
        canister.pass_time(Duration::from_secs(24 * 60 * 60 + 1));
        Ok(())
    })?;
    let stats: AdminStats = run.unmeasured(|canister| canister.controller_query("admin_stats", ()))?;
    run.canister.check_equal("sessions and chunks left", (0, 0), (stats.sessions, stats.chunks))?;
    run.measure("nothing_to_do", |canister| {
        canister.pass_time(Duration::from_secs(61));
        Ok(())
    })?;
    Ok(run.finish())
}
