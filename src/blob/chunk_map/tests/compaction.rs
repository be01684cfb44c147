//! Compaction of a map in which few chunks are in use, and the cases in which a map is not compacted.

use super::super::compaction;
use super::*;

/// Prefix, number and bytes of a stored chunk.
type Stored = (ChunkPrefix, u32, Vec<u8>);

/// Returns a map with `released` released chunks and, between them, `in_use` chunks in use of different lengths; the
/// memories of the map; and the chunks in use. Prefixes of released chunks are even, those of chunks in use are odd.
fn map_with(released: u32, in_use: u32) -> (ChunkMap, Memories, Vec<Stored>) {
    let (mut map, memories) = with_chunks(&[]);
    let kept: Vec<_> = (0..in_use)
        .map(|n| (prefix((n * 7 % 100) as u8 * 2 + 1), n, vec![n as u8; (n as usize * 9_973) % 30_000]))
        .collect();
    for n in 0..released.max(in_use) {
        if n < released {
            map.insert(prefix((n * 13 % 100) as u8 * 2), n, &[7; 20_000]);
        }
        if let Some((prefix, idx, bytes)) = kept.get(n as usize) {
            map.insert(*prefix, *idx, bytes);
        }
    }
    (0..released).for_each(|n| map.release_copied(prefix((n * 13 % 100) as u8 * 2)));
    (map, memories, kept)
}

/// Sweeps until the survey of all keys is complete. The last of these sweeps already acts on the result: it marks a
/// compaction, or removes chunks one by one.
fn sweep_through_survey(map: &mut ChunkMap) {
    for _ in 0..(map.total() as usize).div_ceil(KEYS_AT_ONCE) - 1 {
        let total = map.total();
        assert!(!map.sweep());
        assert_eq!(map.total(), total);
    }
    map.sweep();
}

#[test]
fn few_chunks_in_use_are_stored_again_in_the_emptied_map() {
    for (released, in_use) in [(2, 1), (300, 1), (22, 11), (24, 12), (64, 32), (300, 32)] {
        let (mut map, memories, kept) = map_with(released, in_use);
        let pages = memories.get(memory_ids::CHUNKS).size();
        let room = map.room.clone();
        sweep_through_survey(&mut map);
        assert_eq!(map.total(), u64::from(released + in_use), "the compaction is only marked");
        fill_memory(&map, &memories);
        assert!(map.sweep(), "{released} released and {in_use} in use");
        assert_eq!((map.total(), map.release_total()), (u64::from(in_use), 0));
        assert_eq!(memories.get(memory_ids::CHUNKS).size(), pages, "the memory of the map does not grow");
        for _ in 0..2 {
            for (prefix, idx, bytes) in &kept {
                assert_eq!(map.get(*prefix, *idx).as_ref(), Some(bytes));
                assert!(map.contains(*prefix, *idx) && map.stored_chunks(*prefix).contains(*idx));
            }
            // Another build opens the map.
            map = ChunkMap::open(&memories, &room);
        }
        // The map can be used and emptied like one that was never compacted.
        kept.iter().for_each(|(prefix, ..)| map.release_copied(*prefix));
        sweep_to_end(&mut map);
        assert_eq!((map.total(), map.release_total()), (0, 0));
    }
}

#[test]
fn chunks_go_one_by_one_if_many_are_in_use_or_few_released() {
    for (released, in_use) in [(300, 33), (63, 32), (1, 1)] {
        let (mut map, _, kept) = map_with(released, in_use);
        sweep_through_survey(&mut map);
        let removed = u64::from(released + in_use) - map.total();
        // One sweep removes chunks under one prefix only, so perhaps fewer than `RELEASE_AT_ONCE`.
        assert!((1..=released.min(RELEASE_AT_ONCE as u32)).contains(&(removed as u32)), "{removed} chunks");
        sweep_to_end(&mut map);
        assert_eq!((map.total(), map.release_total()), (u64::from(in_use), 0));
        assert!(kept.iter().all(|(prefix, idx, bytes)| map.get(*prefix, *idx).as_ref() == Some(bytes)));
    }
}

#[test]
fn a_compaction_that_traps_is_not_repeated() {
    let (mut map, _, kept) = map_with(80, 3);
    sweep_through_survey(&mut map);
    // The message of the compaction traps, so its mark is still set at the next two checks.
    map.watch();
    assert!(!map.compaction.has_failed(), "the message of the compaction may not have been executed yet");
    map.watch();
    assert!(!map.sweep());
    assert!(
        (80 + 3 - RELEASE_AT_ONCE as u64..80 + 3).contains(&map.total()),
        "chunks are removed one by one"
    );
    sweep_to_end(&mut map);
    assert_eq!((map.total(), map.release_total()), (3, 0));
    assert!(kept.iter().all(|(prefix, idx, bytes)| map.get(*prefix, *idx).as_ref() == Some(bytes)));
}

/// While removals are deferred, no message performs the marked compaction, which must not count as a trap.
#[test]
fn a_compaction_that_is_deferred_has_not_trapped() {
    let (mut map, ..) = map_with(80, 3);
    sweep_through_survey(&mut map);
    for _ in 0..3 {
        map.watch();
        map.cancel_compaction();
    }
    assert!(!map.sweep(), "the compaction is marked again");
    assert_eq!(map.total(), 83);
    map.watch();
    assert!(map.sweep());
    assert_eq!(map.total(), 3);
    // A second compaction: the check above, which saw the mark of the first one, does not count for it.
    (0..80).for_each(|idx| map.insert(prefix(2), idx, b"chunk"));
    map.release_copied(prefix(2));
    sweep_through_survey(&mut map);
    map.watch();
    assert!(map.sweep());
    assert_eq!(map.total(), 3);
}

#[test]
fn chunks_that_come_and_go_before_a_compaction_are_counted() {
    // A chunk arrives.
    let (mut map, _, kept) = map_with(80, 3);
    sweep_through_survey(&mut map);
    map.insert(kept[0].0, 5, b"new");
    assert!(map.sweep());
    assert_eq!(map.total(), 4);

    // One chunk in use is released, and another one gets new bytes.
    let (mut map, _, kept) = map_with(80, 3);
    sweep_through_survey(&mut map);
    map.release_copied(kept[0].0);
    map.insert(kept[1].0, kept[1].1, b"other bytes");
    assert!(map.sweep());
    assert_eq!((map.total(), map.get(kept[1].0, kept[1].1)), (2, Some(b"other bytes".to_vec())));

    // One chunk in use is removed immediately.
    let (mut map, _, kept) = map_with(80, 3);
    sweep_through_survey(&mut map);
    map.release(kept[0].0);
    assert!(map.sweep());
    assert_eq!((map.total(), map.release_total()), (2, 0));

    // One chunk more arrives than a compaction allows.
    let (mut map, ..) = map_with(80, 32);
    sweep_through_survey(&mut map);
    map.insert(prefix(1), 1_000, b"new");
    assert!(!map.sweep());
    assert!(map.total() > 33, "chunks are removed one by one");
    (0..2).for_each(|_| map.watch());
    assert!(!map.compaction.has_failed(), "the compaction was not attempted");
    sweep_to_end(&mut map);
    assert_eq!((map.total(), map.get(prefix(1), 1_000)), (33, Some(b"new".to_vec())));
}

/// While a node is split, half of the node exists twice, for which a full memory has no room.
#[test]
fn chunks_stored_again_take_no_room_for_splitting_nodes() {
    const BYTES: usize = 30_000;
    for chunks in [1, 11, 12, 32] {
        let memories = MemoryManager::init_with_bucket_size(RawMemory::default(), 1);
        let memory = memories.get(memory_ids::CHUNKS);
        let kept: Vec<_> = (0..chunks).map(|idx| (([1; 32], idx), vec![idx as u8; BYTES])).collect();
        let mut map = Chunks::init(memory.clone());
        compaction::store(&mut map, kept.clone());
        // About a 32nd of the payload is added for the structure of the nodes.
        let pages = (u64::from(chunks) * (BYTES as u64 + BYTES as u64 / 32)).div_ceil(PAGE);
        assert!((pages..=pages + 1).contains(&memory.size()), "{} pages for {chunks} chunks", memory.size());
        assert!(
            map.len() == u64::from(chunks)
                && kept.into_iter().all(|(key, bytes)| map.get(&key) == Some(bytes))
        );
    }
}

/// `StableRoom::can_hold` overestimates the pages of small chunks: a map of one bucket counts as too small for 31 of
/// them.
#[test]
fn no_compaction_if_the_chunks_may_not_fit_again() {
    for (in_use, fits) in [(30, true), (31, false)] {
        let (mut map, memories) = with_chunks(&(0..62).map(|idx| (1, idx)).collect::<Vec<_>>());
        insert_in_use(&mut map, in_use);
        assert_eq!(memories.get(memory_ids::CHUNKS).size(), 1);
        map.release_copied(prefix(1));
        sweep_through_survey(&mut map);
        assert_eq!((map.sweep(), map.total()), if fits { (true, in_use) } else { (false, 62 + in_use) });
        sweep_to_end(&mut map);
        assert_eq!((map.total(), map.stored_chunks(prefix(IN_USE)).len()), (in_use, in_use));
    }
}

#[test]
fn no_compaction_if_the_survey_misses_a_chunk() {
    let (mut map, memories) = with_chunks(&[(1, 0), (1, 1)]);
    map.release_copied(prefix(1));
    // The header counts one chunk more than the nodes have.
    memories.get(memory_ids::CHUNKS).write(20, &3_u64.to_le_bytes());
    let room = map.room.clone();
    drop(map);
    let mut map = ChunkMap::open(&memories, &room);
    assert_eq!(map.total(), 3);
    assert!(map.sweep());
    // The header still counts the chunk that does not exist; emptying the map would have reset it.
    assert_eq!((map.total(), map.release_total()), (1, 0), "the chunks were removed one by one");
}
