//! Chunks of units that have moved: they stay in the chunk map until everything has moved, and the map is then emptied
//! in one step, unless room is short or chunks in it are still in use.

use ic_stable_structures::Memory as _;

use super::*;
use crate::stable::{Memories, memory_ids, preflight};

/// Returns the number of chunks in the chunk map, and of objects whose chunks must still be removed from it.
fn chunk_map_counts(canister: &TestCanister) -> [u64; 2] {
    [canister.storage.blobs.chunk_total(), canister.storage.blobs.release_total()]
}

/// Runs messages until this many units are converted.
fn run_until_converted(canister: &mut TestCanister, units: u64) {
    while state(canister).converted < units {
        assert_eq!(run_message(canister), RunOutcome::More);
    }
}

/// Sweeps until no released chunk is left, or the removal is deferred; returns the number of sweeps.
fn sweep_to_end(canister: &mut TestCanister) -> usize {
    (1..).find(|_| canister.service().sweep().unwrap()).unwrap()
}

/// Uploads blobs of two, three and three chunks.
fn upload_three_blobs(canister: &mut TestCanister) -> Vec<String> {
    (0..3).map(|n| upload(canister, &file(2 * CHUNK + n), &n.to_string())).collect()
}

#[test]
fn moved_chunks_stay_until_all_have_moved() {
    let mut canister = finalized_canister();
    let blobs = upload_three_blobs(&mut canister);
    let content = file(2 * CHUNK);
    let begun = canister.begin(content.len(), "in flight");
    canister.put(begun, &content, 1).unwrap();
    let chunks = canister.storage.blobs.chunk_total();
    for units in 1..4 {
        run_until_converted(&mut canister, units);
        assert_eq!(canister.service().sweep(), Ok(true), "there is nothing to remove now");
        assert_eq!(chunk_map_counts(&canister), [chunks, units]);
        for (n, locator) in blobs.iter().enumerate() {
            assert!(read_back(&canister, locator) == file(2 * CHUNK + n));
        }
    }
    assert_eq!(run_to_end(&mut canister).phase, Phase::Converted);
    assert_eq!(chunk_map_counts(&canister), [chunks, 4]);
    assert_eq!((sweep_to_end(&mut canister), chunk_map_counts(&canister)), (1, [0, 0]));
    // A later build can open the memory.
    preflight::open_existing(canister.raw.clone()).unwrap();
    for (n, locator) in blobs.iter().enumerate() {
        assert!(read_back(&canister, locator) == file(2 * CHUNK + n));
    }
    canister.put(begun, &content, 0).unwrap();
    let finished = canister.finish(begun, &content).unwrap();
    assert!(read_back(&canister, &finished.blob_id) == content);
    assert_eq!(run_message(&mut canister), RunOutcome::Done);
}

#[test]
fn chunks_are_removed_while_the_migration_is_paused() {
    let mut canister = finalized_canister();
    upload_three_blobs(&mut canister);
    run_until_converted(&mut canister, 1);
    control(&mut canister).pause().unwrap();
    let [before, pending] = chunk_map_counts(&canister);
    assert_eq!(pending, 1);
    sweep_to_end(&mut canister);
    let [after, pending] = chunk_map_counts(&canister);
    assert!(after + 2 <= before && pending == 0, "{before} chunks before and {after} after the pause");
    control(&mut canister).resume().unwrap();
    assert_eq!(run_to_end(&mut canister).converted, 3);
    assert_eq!((sweep_to_end(&mut canister), chunk_map_counts(&canister)), (1, [0, 0]));
}

#[test]
fn a_quarantined_blob_keeps_its_chunks_and_the_others_go() {
    let mut canister = finalized_canister();
    let blobs = upload_three_blobs(&mut canister);
    let torn = BlobId::from_locator(&blobs[1]).unwrap();
    let Place::Chunks(prefix) = canister.storage.blobs.blob(torn).unwrap().place else {
        panic!("the blob has moved")
    };
    canister.storage.blobs.write_chunk(prefix, 1, b"torn");
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.converted, state.quarantined), (Phase::Converted, 2, 1), "{}", state.note);
    sweep_to_end(&mut canister);
    assert_eq!(chunk_map_counts(&canister), [3, 0], "the chunks of the blob in quarantine");
    assert!(canister.storage.blobs.read_chunk(torn, 0).unwrap() == file(CHUNK));

    canister.storage.blobs.write_chunk(prefix, 1, &file(2 * CHUNK)[CHUNK..]);
    control(&mut canister).retry(None).unwrap();
    assert_eq!(run_to_end(&mut canister).converted, 3);
    assert_eq!(chunk_map_counts(&canister), [3, 1]);
    assert_eq!((sweep_to_end(&mut canister), chunk_map_counts(&canister)), (1, [0, 0]));
    assert!(read_back(&canister, &blobs[1]) == file(2 * CHUNK + 1));
}

/// Six chunks have moved, and only the two of the quarantined blob are still in use.
#[test]
fn a_quarantined_blob_is_stored_again_in_the_emptied_map() {
    let mut canister = finalized_canister();
    let moved = upload(&mut canister, &file(6 * CHUNK), "moved");
    let [torn, unrelated] = [CHUNK + 1, 2 * CHUNK].map(file);
    let locator = upload(&mut canister, &torn, "torn");
    let id = BlobId::from_locator(&locator).unwrap();
    let Place::Chunks(prefix) = canister.storage.blobs.blob(id).unwrap().place else {
        panic!("the blob has moved")
    };
    canister.storage.blobs.write_chunk(prefix, 1, b"");
    assert_eq!((run_to_end(&mut canister).quarantined, chunk_map_counts(&canister)), (1, [8, 1]));
    assert_eq!(
        (canister.service().sweep(), chunk_map_counts(&canister)),
        (Ok(false), [8, 1]),
        "the first sweep marks the compaction"
    );
    // The migration runs again for a while.
    let converted = state(&canister);
    let converting = MigrationState { phase: Phase::Converting, ..converted.clone() };
    canister.storage.migration.set_state(2, &converting);
    for _ in 0..3 {
        canister.storage.blobs.watch_removals();
        assert_eq!(
            (canister.service().sweep(), chunk_map_counts(&canister)),
            (Ok(true), [8, 1]),
            "the removal waits for the migration"
        );
    }
    canister.storage.migration.set_state(2, &converted);
    assert_eq!(
        (canister.service().sweep(), chunk_map_counts(&canister)),
        (Ok(false), [8, 1]),
        "the next sweep marks the compaction again"
    );
    assert_eq!((canister.service().sweep(), chunk_map_counts(&canister)), (Ok(true), [2, 0]));
    assert!(canister.storage.blobs.read_chunk(id, 0).unwrap() == torn[..CHUNK]);
    assert!(read_back(&canister, &moved) == file(6 * CHUNK));

    let session = canister.begin(unrelated.len(), "unrelated");
    (0..2).for_each(|idx| canister.put(session, &unrelated, idx).unwrap());
    canister.finish(session, &unrelated).unwrap();

    canister.storage.blobs.write_chunk(prefix, 1, &torn[CHUNK..]);
    control(&mut canister).retry(None).unwrap();
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.quarantined), (Phase::Converted, 0));
    assert_eq!((sweep_to_end(&mut canister), chunk_map_counts(&canister)), (1, [0, 0]));
    assert!(read_back(&canister, &locator) == torn);
}

#[test]
fn what_clients_end_in_the_middle_is_removed_at_once() {
    let mut canister = finalized_canister();
    let blobs = upload_three_blobs(&mut canister);
    let content = file(3 * CHUNK);
    let begun = canister.begin(content.len(), "aborted");
    (0..3).for_each(|idx| canister.put(begun, &content, idx).unwrap());
    assert_eq!(run_until_in_progress(&mut canister), begun);
    let before = canister.storage.blobs.chunk_total();
    canister.service().abort(begun).unwrap();
    assert_eq!(chunk_map_counts(&canister), [before - 3, 0]);
    run_until_converted(&mut canister, 1);
    let unmoved = blobs.iter().find(|locator| !is_in_extents(&canister, locator)).unwrap();
    crate::memories::delete_blob(
        &mut canister.storage,
        person(OWNER),
        BlobId::from_locator(unmoved).unwrap(),
    )
    .unwrap();
    assert_eq!(run_to_end(&mut canister).phase, Phase::Converted);
    let remaining = blobs.iter().filter(|locator| *locator != unmoved).count();
    assert_eq!(remaining, 2);
    while !canister.service().sweep().unwrap() {}
    assert_eq!(chunk_map_counts(&canister), [0, 0]);
}

/// Lets the payload region take all of the memory except 400 MiB: too little for released chunks to stay in the chunk
/// map, but enough to remove them.
fn fill_memory(canister: &mut TestCanister) {
    const PAGE: u64 = 64 * 1024;
    let region = Memories::init(canister.raw.clone()).get(memory_ids::EXTENT_REGION);
    let left = canister.storage.room.bytes_left();
    assert!(region.grow((left - (400 << 20)) / PAGE) >= 0);
    region.write(0, b"EXT\x01");
    canister.restart(Box::<crate::upload::path::direct::DirectPath>::default());
}

#[test]
fn chunks_are_removed_as_they_move_if_room_is_short() {
    let mut canister = finalized_canister();
    let blobs = upload_three_blobs(&mut canister);
    fill_memory(&mut canister);
    for units in 1..4 {
        let before = canister.storage.blobs.chunk_total();
        run_until_converted(&mut canister, units);
        let [after, pending] = chunk_map_counts(&canister);
        assert!(after + 2 <= before && pending == 0, "{before} chunks before and {after} after unit {units}");
    }
    assert_eq!((run_to_end(&mut canister).phase, chunk_map_counts(&canister)), (Phase::Converted, [0, 0]));
    for (n, locator) in blobs.iter().enumerate() {
        assert!(read_back(&canister, locator) == file(2 * CHUNK + n));
    }
}

#[test]
fn chunks_that_wait_are_removed_when_room_gets_short() {
    let mut canister = finalized_canister();
    upload_three_blobs(&mut canister);
    run_until_converted(&mut canister, 1);
    let [before, pending] = chunk_map_counts(&canister);
    assert_eq!((before, pending), (8, 1));
    fill_memory(&mut canister);
    while !canister.service().sweep().unwrap() {}
    let [after, pending] = chunk_map_counts(&canister);
    assert!(after + 2 <= before && pending == 0, "{after} chunks are left");
    assert_eq!((run_to_end(&mut canister).phase, chunk_map_counts(&canister)), (Phase::Converted, [0, 0]));
}

/// A build without the survey removes released chunks as soon as it is installed. The test calls the sweep of the blob
/// store, which the service defers during the migration.
#[test]
fn another_build_may_sweep_in_the_middle() {
    let mut canister = finalized_canister();
    let blobs = upload_three_blobs(&mut canister);
    run_until_converted(&mut canister, 1);
    let before = canister.storage.blobs.chunk_total();
    while !canister.storage.blobs.sweep() {}
    let [chunks, pending] = chunk_map_counts(&canister);
    assert!(chunks < before && pending == 0);
    assert_eq!(run_to_end(&mut canister).converted, 3);
    assert_eq!((sweep_to_end(&mut canister), chunk_map_counts(&canister)), (1, [0, 0]));
    for (n, locator) in blobs.iter().enumerate() {
        assert!(read_back(&canister, locator) == file(2 * CHUNK + n));
    }
}
