//! Stable memory that cannot grow any more: a call is refused whole, and what is stored can still be
//! finished.

use ic_stable_structures::Memory as _;
use ic_stable_structures::memory_manager::MemoryId;

use super::*;
use crate::memories::{self, NewContent};
use crate::stable::{Memories, memory_ids};

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

/// A canister that gets no more memory could otherwise neither end an upload nor delete a file.
#[test]
fn after_the_first_capsule_only_payload_makes_a_memory() {
    let made = |canister: &TestCanister| {
        let memories = Memories::init(canister.raw.clone());
        let ids = memory_ids::ALL.iter().map(|(id, ..)| *id);
        ids.filter(|id| memories.get(MemoryId::new(*id)).size() > 0).collect::<Vec<_>>()
    };
    for mut canister in [TestCanister::extents(), TestCanister::extents().with_blake3()] {
        let before = made(&canister);
        let (long, capsule) = (file(3 * CHUNK), canister.capsule.clone());
        let finished = ["a", "the same content"].map(|idem| {
            let id = canister.begin(long.len(), idem);
            [2, 0, 1].into_iter().for_each(|idx| canister.put(id, &long, idx).unwrap());
            canister.finish(id, &long).unwrap()
        });
        let whole = small(&canister, b"whole", "whole");
        canister.service().put_whole(whole).unwrap();
        let inline = NewContent { inline: Some(ByteBuf::from("inline")), blob: None, external: None };
        let now = canister.now;
        memories::create(
            &mut canister.storage,
            person(OWNER),
            now,
            capsule.clone(),
            inline,
            metadata(6),
            "inline",
        )
        .unwrap();
        memories::delete(&mut canister.storage, person(OWNER), &finished[0].memory_id).unwrap();
        let [aborted, _expired] = ["aborted", "expired"].map(|idem| {
            let id = canister.begin(long.len(), idem);
            canister.put(id, &long, 1).unwrap();
            id
        });
        canister.service().abort(aborted).unwrap();
        canister.storage.capsules.delete(person(OWNER), &capsule).unwrap();
        while !memories::sweep(&mut canister.storage, &Unmetered).unwrap() {}
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        while !canister.service().sweep().unwrap() {}
        assert_eq!((canister.live(), canister.storage.capsules.memory_total()), ([0; 5], 0));
        let new: Vec<_> = made(&canister).into_iter().filter(|id| !before.contains(id)).collect();
        assert_eq!(new, [memory_ids::numbers::EXTENT_REGION]);
    }
}
