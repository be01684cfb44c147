//! Stable memory that can no longer grow: a call for which there is no room changes nothing, and sessions in flight
//! can still be finished.

use ic_stable_structures::Memory as _;
use ic_stable_structures::memory_manager::MemoryId;

use super::*;
use crate::memories::{self, NewContent};
use crate::stable::{Memories, memory_ids};

/// Creates a canister whose stable memory ends at 2 GiB: 32,768 buckets of 64 KiB.
fn small_canister() -> TestCanister {
    TestCanister::with_memory(memory_of_small_buckets(), Layout::EXTENTS, Box::<DirectPath>::default(), 0)
        .with_blake3()
}

/// A chunk that arrives out of order needs room for its chaining values: here, stable memory cannot grow to their
/// offset.
#[test]
fn a_chunk_without_room_for_its_hash_is_accepted_in_order() {
    let mut canister = small_canister();
    let file = file(2 * CHUNK);
    // The bytes of the session get the extents that are freed here. Its chaining values get extents after the 4 GiB,
    // beyond the end of the memory.
    let blobs = &mut canister.storage.blobs;
    let freed_extents = blobs.allocate(file.len() as u64).unwrap();
    blobs.allocate(4 << 30).unwrap();
    blobs.extents_mut().free(&freed_extents).unwrap();
    let id = canister.begin(file.len(), "a");
    let refused = canister.put(id, &file, 1).unwrap_err();
    assert!(matches!(refused, Error::ResourceExhausted { .. }), "{refused}");
    assert_eq!(canister.service().status(id).unwrap().bytes_received, 0);
    for idx in 0..2 {
        canister.put(id, &file, idx).unwrap();
    }
    assert!(canister.finish(id, &file).is_ok());
}

/// If ending uploads or deleting capsules took memory, a full canister could do neither.
#[test]
fn ending_uploads_and_capsules_takes_no_memory() {
    for mut canister in [TestCanister::extents(), TestCanister::extents().with_blake3()] {
        let (long, capsule) = (file(3 * CHUNK), canister.capsule.clone());
        let all = [2, 0, 1].as_slice();
        let begun = [("a", all), ("the same content", all), ("aborted", &[1]), ("expired", &[1])];
        let [finished, same, aborted, _] = begun.map(|(idem, chunks)| {
            let id = canister.begin(long.len(), idem);
            chunks.iter().for_each(|idx| canister.put(id, &long, *idx).unwrap());
            id
        });
        let before = canister.raw.size();
        let finished = [finished, same].map(|id| canister.finish(id, &long).unwrap());
        memories::delete(&mut canister.storage, person(OWNER), &finished[0].memory_id).unwrap();
        canister.service().abort(aborted).unwrap();
        canister.storage.capsules.delete(person(OWNER), &capsule).unwrap();
        while !memories::sweep(&mut canister.storage, &Unmetered).unwrap() {}
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        while !canister.service().sweep().unwrap() {}
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        while !canister.service().sweep().unwrap() {}
        assert_eq!((canister.live_counts(), canister.storage.capsules.memory_total()), ([0; 5], 0));
        assert_eq!(canister.raw.size(), before);
    }
}

/// Creates a memory with inline bytes, without an upload.
fn create_memory(canister: &mut TestCanister, idem: &str) -> String {
    let (now, capsule) = (canister.now, canister.capsule.clone());
    let inline = NewContent { inline: Some(ByteBuf::from("inline")), blob: None, external: None };
    memories::create(&mut canister.storage, person(OWNER), now, capsule, inline, metadata(6), idem).unwrap()
}

/// The first record in a capsule may come from a begin, a whole file, or the creation of a memory. Each must create the
/// tables that ending any of them needs.
#[test]
fn the_first_record_creates_all_tables_that_its_end_needs() {
    type First = fn(&mut TestCanister);
    let begin: First = |canister| _ = canister.begin(CHUNK, "first");
    let whole: First = |canister| {
        let file = small_file(canister, b"whole", "whole");
        canister.service().put_whole(file).unwrap();
    };
    let memory: First = |canister| drop(create_memory(canister, "first"));
    let nonempty_memories = |canister: &TestCanister| {
        let memories = Memories::init(canister.raw.clone());
        let ids = memory_ids::ALL.iter().map(|(id, ..)| *id);
        ids.filter(|id| memories.get(MemoryId::new(*id)).size() > 0).collect::<Vec<_>>()
    };
    for first in [begin, whole, memory] {
        let mut canister = TestCanister::extents();
        let with_capsule = nonempty_memories(&canister);
        assert!(memory_ids::CREATED_WITH_FIRST_UPLOAD.iter().all(|id| !with_capsule.contains(id)));
        let refused = canister.try_begin(usize::MAX, "too large").unwrap_err();
        assert!(matches!(refused, Error::ResourceExhausted { .. }), "{refused}");
        assert_eq!(nonempty_memories(&canister), with_capsule, "a refused call creates nothing");
        first(&mut canister);
        let before = nonempty_memories(&canister);
        [begin, whole, memory].into_iter().for_each(|next| next(&mut canister));
        let capsule = canister.capsule.clone();
        canister.storage.capsules.delete(person(OWNER), &capsule).unwrap();
        while !memories::sweep(&mut canister.storage, &Unmetered).unwrap() {}
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        while !canister.service().sweep().unwrap() {}
        // The region is not one of these tables: it is created with the first chunk in extents, which may come later.
        let new: Vec<_> =
            nonempty_memories(&canister).into_iter().filter(|id| !before.contains(id)).collect();
        assert!([&[][..], &[memory_ids::numbers::EXTENT_REGION]].contains(&new.as_slice()), "{new:?}");
    }
}

#[test]
fn deleting_an_empty_capsule_takes_no_memory() {
    let mut canister = TestCanister::extents();
    let (before, capsule) = (canister.raw.size(), canister.capsule.clone());
    canister.storage.capsules.delete(person(OWNER), &capsule).unwrap();
    while !memories::sweep(&mut canister.storage, &Unmetered).unwrap() {}
    while !canister.service().sweep().unwrap() {}
    assert_eq!(canister.raw.size(), before);
}
