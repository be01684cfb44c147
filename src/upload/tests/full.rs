//! Stable memory that cannot grow any more: a call is refused whole, and what is stored can still be
//! finished.

use super::*;

/// Makes a canister whose stable memory ends at 2 GiB: 32,768 buckets of 64 KiB.
fn small_canister() -> TestCanister {
    TestCanister::over(memory_of_small_buckets(), Layout::EXTENTS, Box::<DirectPath>::default(), 0)
        .with_blake3()
}

/// What is computed over a chunk out of order would be beyond the end of what stable memory can grow to.
#[test]
fn a_chunk_without_room_for_its_hash_is_accepted_in_its_turn() {
    let mut canister = small_canister();
    let file = file(2 * CHUNK);
    let blobs = &mut canister.storage.blobs;
    let room = blobs.allocate(file.len() as u64).unwrap();
    blobs.allocate(4 << 30).unwrap();
    blobs.extents_mut().free(&room).unwrap();
    let id = canister.begin(file.len(), "a");
    let refused = canister.put(id, &file, 1).unwrap_err();
    assert!(matches!(refused, Error::ResourceExhausted { .. }), "{refused}");
    assert_eq!(canister.service().status(id).unwrap().bytes_received, 0);
    for idx in 0..2 {
        canister.put(id, &file, idx).unwrap();
    }
    assert!(canister.finish(id, &file).is_ok());
}
