//! Long tests: two uploads interleaved at random, a file read back a hundred times right after it was finished, the
//! heap during a large upload, and a file too large to be hashed in one message. The first three were planned for the
//! first public release and never written.

use crate::support::upload::{CHUNK, chunk_count, file, metadata, sha256};
use crate::support::{InstalledCanister, controller, owner};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use session_migrate::build::Build;
use sha2::{Digest, Sha256};
use upload_canister::api::Error;

/// Bytes by which the heap may grow once it has settled, until the end of an upload of a hundred or more chunks: room
/// for the session's record, and for the allocator.
const HEAP_GROWTH_BYTES: u64 = 1 << 20;

/// Maximum heap of the direct build, in bytes. The heap never holds more than a few blocks of payload.
const MAX_HEAP_ON_DIRECT: u64 = 4 << 20;

/// Maximum heap of the legacy build, in bytes. Its chunks are in the nodes of a B-tree, up to eleven in each. When a
/// node is split, two nodes are on the heap, 40 MB, and the allocator never returns a page. So the heap is that large
/// after some tens of chunks, and no larger after a thousand.
const MAX_HEAP_ON_LEGACY: u64 = 64 << 20;

/// Number of chunks from one measurement of the heap to the next.
const MEASURED_CHUNKS: u32 = 10;

/// Bytes that are sent until the first measurement.
const FIRST_MEASURED: u64 = MEASURED_CHUNKS as u64 * CHUNK as u64;

/// Generates the order in which the chunks of two files are sent, and a seed for their bytes. Each element of the list
/// stands for a call, which sends a chunk of the second file if the element is `true`, and of the first file otherwise.
/// If the boolean after the list is `true`, the first file is sent from its first chunk to its last, otherwise from its
/// last to its first; the second file is always sent from its last chunk to its first.
fn interleavings() -> impl Strategy<Value = (Vec<bool>, bool, u64)> {
    (prop::collection::vec(any::<bool>(), 6), any::<bool>(), 1..1_000_000u64)
}

/// Sends the two files in this order (see [`interleavings`]), finishes both uploads, and reads both files back.
fn check_interleaved(
    build: Build,
    order: &[bool],
    first_in_order: bool,
    seed: u64,
) -> Result<(), TestCaseError> {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    let files = [file(2 * CHUNK + 9, seed), file(3 * CHUNK, seed + 1)];
    let sessions: Vec<u64> =
        (0..2).map(|n| canister.begin(owner(), &capsule, &files[n], &format!("file-{n}")).unwrap()).collect();
    let mut unsent: Vec<Vec<u32>> = files.iter().map(|file| (0..chunk_count(file.len())).collect()).collect();
    // `Vec::pop` takes the next chunk from the end.
    if first_in_order {
        unsent[0].reverse();
    }
    // The chunks that `order` leaves unsent are sent at the end.
    for index in order.iter().map(|is_second| usize::from(*is_second)).chain([0, 0, 0, 1, 1, 1]) {
        let other = canister.status(owner(), sessions[1 - index]).unwrap();
        if let Some(idx) = unsent[index].pop() {
            canister.put(owner(), sessions[index], idx, &files[index]).unwrap();
        }
        let after = canister.status(owner(), sessions[1 - index]).unwrap();
        prop_assert_eq!(other, after, "a chunk of one session does not change the other one");
    }
    // The digest of one file does not match the bytes of the other session.
    for index in 0..2 {
        let swapped = canister.finish_with_digest(
            owner(),
            sessions[index],
            &sha256(&files[1 - index]),
            files[index].len() as u64,
        );
        prop_assert!(swapped.is_err());
    }
    for (session, file) in sessions.iter().zip(&files) {
        let finished = canister.finish(owner(), *session, file).unwrap();
        prop_assert!(
            canister.read_back(owner(), &finished.blob_id) == *file,
            "bytes of the two files are mixed"
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 6,
        max_shrink_iters: 30,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("proptest-regressions/endurance.txt"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn two_sessions_interleaved_at_random_on_legacy((order, first_in_order, seed) in interleavings()) {
        check_interleaved(Build::Legacy, &order, first_in_order, seed)?;
    }

    #[test]
    fn two_sessions_interleaved_at_random_on_direct((order, first_in_order, seed) in interleavings()) {
        check_interleaved(Build::Direct, &order, first_in_order, seed)?;
    }
}

#[test]
fn a_file_is_read_a_hundred_times_right_after_it_was_finished() {
    for build in [Build::Legacy, Build::Direct] {
        let canister = InstalledCanister::new(build);
        let file = file(2 * CHUNK + 77, 5);
        let finished = canister.upload(owner(), &canister.create_capsule(), &file, "a");
        for n in 0..100_u64 {
            let idx = (n % 3) as u32;
            let chunk = canister.read_chunk(owner(), &finished.blob_id, idx).unwrap();
            assert!(chunk == file.chunks(CHUNK).nth(idx as usize).unwrap(), "{build}: chunk {idx}, read {n}");
            // Most of the ranges cross the boundary of two chunks.
            let (from, len) = ((n * 19_000 + n % 7) as usize, 1_700_000);
            let range = canister.read_range(owner(), &finished.blob_id, from as u64, len as u64).unwrap();
            assert!(range == file[from..from + len], "{build}: range from {from}, read {n}");
        }
        assert!(canister.read_back(owner(), &finished.blob_id) == file);
    }
}

/// Chunks that arrive from the last to the first cannot be hashed on arrival. A message hashes about 300 MB, so that
/// finishing this file takes three messages. After the client's first call of `finish`, the canister continues on its
/// own.
#[test]
fn a_long_finish_continues_on_its_own() {
    let canister = InstalledCanister::new(Build::Direct);
    let count: u32 = 390;
    let bytes = u64::from(count) * CHUNK as u64;
    let chunk = |idx: u32| {
        let mut chunk = vec![7; CHUNK];
        chunk[..4].copy_from_slice(&idx.to_le_bytes());
        chunk
    };
    let mut sha256 = Sha256::new();
    (0..count).for_each(|idx| sha256.update(chunk(idx)));
    let digest: [u8; 32] = sha256.finalize().into();
    let session: u64 = canister
        .update(owner(), "uploads_begin", (canister.create_capsule(), metadata(bytes), count, "a"))
        .unwrap();
    for idx in (0..count).rev() {
        canister.put_bytes(owner(), session, idx, &chunk(idx)).unwrap();
    }
    let hashing = canister.finish_with_digest(owner(), session, &digest, bytes).unwrap_err();
    let Error::Hashing { hashed, total } = hashing else { panic!("{hashing}") };
    assert_eq!(total, bytes);
    assert!(hashed > 0 && total - hashed > hashed, "one more call would not be enough: {hashed} of {total}");
    assert_eq!(canister.status(owner(), session).unwrap().bytes_received, bytes, "the session stays");
    canister.pic.tick();
    canister.pic.tick();
    let finished = canister.finish_with_digest(owner(), session, &digest, bytes).unwrap();
    assert_eq!((finished.size, finished.checksum_sha256.as_deref()), (bytes, Some(&digest.to_vec())));
}

/// Uploads a file of `count` generated chunks. Returns the number of bytes sent and the size of the heap in bytes,
/// measured after every [`MEASURED_CHUNKS`] chunks and after the finish.
fn heap_during_upload(canister: &InstalledCanister, count: u32) -> Vec<(u64, u64)> {
    let measure = |sent: u32| {
        let status = canister.pic.canister_status(canister.id, Some(controller())).unwrap();
        let heap = u64::try_from(status.memory_metrics.wasm_memory_size.0).unwrap();
        (u64::from(sent) * CHUNK as u64, heap)
    };
    let bytes = u64::from(count) * CHUNK as u64;
    let capsule = canister.create_capsule();
    let session: u64 =
        canister.update(owner(), "uploads_begin", (capsule, metadata(bytes), count, "a")).unwrap();
    let mut sha256 = Sha256::new();
    let mut chunk = file(CHUNK, 9);
    let mut measured = Vec::new();
    for idx in 0..count {
        chunk[..4].copy_from_slice(&idx.to_le_bytes());
        sha256.update(&chunk);
        canister.put_bytes(owner(), session, idx, &chunk).unwrap();
        if (idx + 1).is_multiple_of(MEASURED_CHUNKS) {
            measured.push(measure(idx + 1));
        }
    }
    let digest: [u8; 32] = sha256.finalize().into();
    canister.finish_with_digest(owner(), session, &digest, bytes).unwrap();
    measured.push(measure(count));
    measured
}

/// Uploads `count` chunks, and checks that the heap at the end is hardly larger than after `settled_after` bytes, and
/// smaller than `max_heap`.
fn check_heap_does_not_grow(build: Build, count: u32, settled_after: u64, max_heap: u64) {
    let measured = heap_during_upload(&InstalledCanister::new(build), count);
    let after = |bytes: u64| *measured.iter().find(|(sent, _)| *sent >= bytes).unwrap();
    let (first, settled, last) = (after(FIRST_MEASURED), after(settled_after), *measured.last().unwrap());
    for (sent, heap) in [first, settled, last] {
        println!("{build}: after {sent:>11} bytes the heap has {heap} bytes");
    }
    assert!(last.1 - settled.1 < HEAP_GROWTH_BYTES, "{build}: the heap grows with the file: {measured:?}");
    assert!(last.1 < max_heap, "{build}: the heap is larger than {max_heap} bytes: {measured:?}");
}

#[test]
fn the_heap_does_not_grow_with_the_file_200_mb_on_legacy() {
    check_heap_does_not_grow(Build::Legacy, 112, 150_000_000, MAX_HEAP_ON_LEGACY);
}

#[test]
fn the_heap_does_not_grow_with_the_file_500_mb_on_direct() {
    check_heap_does_not_grow(Build::Direct, 278, FIRST_MEASURED, MAX_HEAP_ON_DIRECT);
}
