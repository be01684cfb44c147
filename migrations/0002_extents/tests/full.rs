//! Stable memory without room for a second copy of the payload: the chunk map never releases a bucket.

use ic_stable_structures::Memory as _;

use super::*;
use crate::stable::{Memories, memory_ids};

const PAGE: u64 = 64 * 1024;

/// Maximum number of pages of the memory manager: 32,768 buckets, in test canisters of one page each.
const MAX_PAGES: u64 = 32_768;

/// Chunks of the file to move: more than the 8 MiB by which the region grows at once.
const CHUNKS: usize = 6;

/// Returns a [`finalized_canister`] with a blob, and the locator of the blob. With its buckets of one page, the
/// canister has at most 2 GiB of memory.
fn small_canister_with_blob() -> (TestCanister, String) {
    let mut canister = finalized_canister();
    let locator = upload(&mut canister, &file(CHUNKS * CHUNK), "a");
    (canister, locator)
}

/// Lets the chunk map take all of the memory except this many bytes.
fn fill_all_but(canister: &mut TestCanister, left: u64) {
    // All pages but the memory manager's header.
    let taken = canister.raw.size() - 1;
    let chunk_map = Memories::init(canister.raw.clone()).get(memory_ids::CHUNKS);
    assert!(chunk_map.grow(MAX_PAGES - taken - left / PAGE) >= 0);
    canister.restart(Box::<crate::upload::path::direct::DirectPath>::default());
}

#[test]
fn migration_2_waits_while_the_payload_does_not_fit() {
    let (mut canister, locator) = small_canister_with_blob();
    let size = (CHUNKS * CHUNK) as u64;
    assert_eq!(MIGRATION.waits_for(&canister.storage), Ok(None));
    fill_all_but(&mut canister, size - CHUNK as u64);
    let waits = MIGRATION.waits_for(&canister.storage).unwrap().unwrap();
    assert!(waits.contains(&format!("{size} bytes")), "{waits}");
    let message = MessageBudget { now: canister.now.into(), meter: &OneChunk, budget: 0 };
    let forecast = Engine::dry_run_of(&MIGRATION, &canister.storage, message, None, None).unwrap();
    assert_eq!(forecast.waits_for, Some(waits));
    assert_eq!(run_message(&mut canister), RunOutcome::Done);
    assert_eq!(
        (state(&canister), canister.storage.layout.get()),
        (MigrationState::default(), Ok(Some(Layout::SPLIT)))
    );
    assert!(read_back(&canister, &locator) == file(CHUNKS * CHUNK));

    let id = BlobId::from_locator(&locator).unwrap();
    crate::memories::delete_blob(&mut canister.storage, person(OWNER), id).unwrap();
    assert_eq!(run_to_end(&mut canister).phase, Phase::Converted, "without the blob, the payload fits");
}

#[test]
fn a_memory_that_fills_up_does_not_make_a_blob_damaged() {
    let (mut canister, locator) = small_canister_with_blob();
    assert_eq!(run_until_in_progress(&mut canister), BlobId::from_locator(&locator).unwrap().0);
    fill_all_but(&mut canister, 64 * PAGE);
    let state = run_to_end(&mut canister);
    assert_eq!(
        (state.phase, state.quarantined, state.unit.as_ref()),
        (Phase::Stuck, 0, None),
        "{}",
        state.note
    );
    assert!(state.note.contains("bytes of stable memory"), "{}", state.note);
    assert_eq!(canister.storage.blobs.extents().taken_bytes(), Ok(0));
    assert!(read_back(&canister, &locator) == file(CHUNKS * CHUNK));
}
