//! Removal of released chunks: all at once, a few in a message, or in marked steps when there is no room.

use std::collections::{BTreeMap, BTreeSet};

use ic_stable_structures::Memory as _;
use ic_stable_structures::memory_manager::MemoryManager;
use proptest::prelude::*;

use super::compaction::MAX_IN_USE;
use super::survey::KEYS_AT_ONCE;
use super::*;
use crate::stable::RawMemory;
use crate::stable::buckets::whole_memory;

mod compaction;

const PAGE: u64 = 64 * 1024;

fn prefix(n: u8) -> ChunkPrefix {
    ChunkPrefix([n; 32])
}

/// Returns a map with these chunks (prefix and number), and the memories that contain it, in buckets of one page.
fn with_chunks(chunks: &[(u8, u32)]) -> (ChunkMap, Memories) {
    map_over(whole_memory(1), chunks)
}

/// Opens the map in `raw`, which may be empty, and adds these chunks.
fn map_over(raw: RawMemory, chunks: &[(u8, u32)]) -> (ChunkMap, Memories) {
    let memories = Memories::init(raw.clone());
    // Creates the table that every memory with a chunk map has.
    drop(Table::<[u8; 32], ()>::over(memories.get(memory_ids::RELEASED_CHUNKS)));
    let mut map = ChunkMap::open(&memories, &StableRoom::of(&memories, raw));
    chunks.iter().for_each(|(n, idx)| map.insert(prefix(*n), *idx, b"chunk"));
    (map, memories)
}

/// Leaves no bucket, and no room for a removal.
fn fill_memory(map: &ChunkMap, memories: &Memories) {
    memories.get(memory_ids::EXTENT_REGION).grow(map.room.bytes_left() / PAGE);
    assert!(!map.room.has_room_for_removal());
}

/// Prefix of chunks in use, after all other prefixes.
const IN_USE: u8 = 200;

/// With one more chunk in use than a compaction allows, the map is not emptied in one step.
const MANY: u64 = MAX_IN_USE as u64 + 1;

fn insert_in_use(map: &mut ChunkMap, count: u64) {
    (0..count as u32).for_each(|idx| map.insert(prefix(IN_USE), idx, b"in use"));
}

/// Returns a map without room for a removal, with these chunks released and [`MANY`] chunks in use.
fn without_room(chunks: &[(u8, u32)]) -> ChunkMap {
    let (mut map, memories) = with_chunks(chunks);
    insert_in_use(&mut map, MANY);
    fill_memory(&map, &memories);
    chunks.iter().for_each(|(n, _)| map.release(prefix(*n)));
    assert_eq!(map.total(), chunks.len() as u64 + MANY);
    map
}

/// Sweeps until no released chunk is left; returns the number of sweeps.
fn sweep_to_end(map: &mut ChunkMap) -> usize {
    (1..1_000).find(|_| map.sweep()).unwrap()
}

#[test]
fn a_message_removes_a_few_released_chunks() {
    const AT_ONCE: u32 = RELEASE_AT_ONCE as u32;
    for (stored, left) in [(1, 0), (AT_ONCE, 0), (AT_ONCE + 1, 1), (2 * AT_ONCE + 8, AT_ONCE + 8)] {
        let (mut map, _) = with_chunks(&(0..stored).map(|idx| (1, idx)).collect::<Vec<_>>());
        insert_in_use(&mut map, MANY);
        map.release(prefix(1));
        let total = u64::from(left) + MANY;
        assert_eq!((map.total(), map.release_total()), (total, u64::from(left > 0)), "{stored} chunks");
        // If the survey takes two messages, this is the first.
        let takes_two_messages = total > KEYS_AT_ONCE as u64;
        assert!(!takes_two_messages || !map.sweep());
        let sweeps = sweep_to_end(&mut map);
        assert_eq!((sweeps, map.total()), (left.div_ceil(AT_ONCE).max(1) as usize, MANY), "{stored} chunks");
    }
}

#[test]
fn without_room_each_removal_is_marked_first() {
    let mut map = without_room(&[(1, 0), (1, 1), (2, 0)]);
    let mut done = Vec::new();
    for _ in 0..100 {
        if map.sweep() {
            break;
        }
        // If nothing is marked, this sweep removed a prefix that had no chunks left.
        let Some(marked) = map.attempt.mark.step() else { continue };
        done.push(marked);
        let before = map.total();
        // One check between the two messages does not count as a failure.
        map.watch();
        assert_eq!((map.attempt.mark.step(), map.total()), (Some(marked), before), "the step is only marked");
        map.sweep();
        assert_eq!((map.attempt.mark.step(), map.attempt.failures), (None, 0));
        map.watch();
    }
    let key = |n, idx| (prefix(n).0, idx);
    let first =
        [Step::Empty(key(1, 0)), Step::Empty(key(1, 1)), Step::Remove(key(1, 0)), Step::Remove(key(1, 1))];
    assert_eq!(done, [&first[..], &[Step::Empty(key(2, 0)), Step::Remove(key(2, 0))]].concat());
    assert_eq!(map.total(), MANY);
}

#[test]
fn a_step_whose_message_traps_is_skipped() {
    let mut map = without_room(&[(1, 0), (1, 1), (2, 0)]);
    let mut tried = Vec::new();
    for _ in 0..6 {
        assert!(!map.sweep());
        let marked = map.attempt.mark.step();
        tried.extend(marked);
        // The message of the step traps, so its mark is still set at the next two checks.
        map.watch();
        assert_eq!(map.attempt.mark.step(), marked, "the message of the step may not have been executed yet");
        map.watch();
    }
    let key = |n, idx| (prefix(n).0, idx);
    let both = |key| [Step::Empty(key), Step::Remove(key)];
    assert_eq!(tried, [both(key(1, 0)), both(key(2, 0)), both(key(1, 1))].concat());
    assert_eq!(map.total(), 3 + MANY);
}

#[test]
fn a_map_in_which_nothing_is_in_use_is_emptied_at_once() {
    for has_room in [true, false] {
        let (mut map, memories) = with_chunks(&[(1, 0), (1, 1), (3, 7)]);
        let room = map.room.clone();
        [1, 3].iter().for_each(|n| map.release_copied(prefix(*n)));
        assert_eq!((map.total(), map.release_total()), (3, 2), "copied chunks stay");
        if !has_room {
            fill_memory(&map, &memories);
        }
        assert!(map.sweep());
        assert_eq!((map.total(), map.release_total(), map.stored_chunks(prefix(1)).len()), (0, 0, 0));

        // Another build opens the empty map, and can store chunks in it.
        drop(map);
        let mut map = ChunkMap::open(&memories, &room);
        assert_eq!((map.total(), map.release_total(), map.get(prefix(3), 7)), (0, 0, None));
        let bytes = if has_room { 30_000 } else { 30 };
        (0..40).for_each(|idx| map.insert(prefix(5), idx, &vec![idx as u8; bytes]));
        assert!((0..40).all(|idx| map.get(prefix(5), idx) == Some(vec![idx as u8; bytes])));
    }
}

#[test]
fn copied_chunks_are_removed_as_released_ones_if_room_is_short() {
    let (mut map, memories) = with_chunks(&[(1, 0), (1, 1), (2, 0)]);
    let left = map.room.bytes_left() - AMPLE_BYTES;
    memories.get(memory_ids::EXTENT_REGION).grow(left / PAGE);
    assert!(map.room.has_room_for_removal() && !map.has_ample_room());
    map.release_copied(prefix(1));
    assert_eq!((map.total(), map.release_total()), (1, 0));
}

#[test]
fn a_prefix_without_chunks_is_not_listed_for_removal() {
    let (mut map, _) = with_chunks(&[(1, 0)]);
    map.release_copied(prefix(2));
    assert_eq!(map.release_total(), 0);
}

/// A chunk that arrives during a survey may come before keys that have already been checked.
#[test]
fn a_chunk_that_arrives_during_a_survey_is_not_lost() {
    const CHUNKS: u32 = 200;
    for is_replaced in [false, true] {
        let (mut map, _) = with_chunks(&(0..CHUNKS).map(|idx| (100, idx)).collect::<Vec<_>>());
        map.release_copied(prefix(100));
        assert!(!map.sweep(), "there are more keys than a message checks");
        assert_eq!(map.total(), u64::from(CHUNKS), "nothing is removed before the end of the survey");
        map.insert(prefix(7), 0, b"new");
        if is_replaced {
            // The number of chunks stays the same, and the removal is not reported to the survey.
            map.remove_unreported(prefix(100), CHUNKS - 1);
        }
        sweep_to_end(&mut map);
        assert_eq!((map.total(), map.get(prefix(7), 0)), (1, Some(b"new".to_vec())));
    }
}

/// If every new chunk made the survey start over, the survey would not end while clients keep uploading.
#[test]
fn chunks_that_keep_arriving_do_not_hold_up_removal() {
    const CHUNKS: u32 = 500;
    // If few chunks arrive, the map is compacted after the survey; if many arrive, chunks are removed one by one. To
    // check 500 keys, 50 in a sweep, takes 10 sweeps, and at most 12 with the keys that arrive. The compaction takes 2:
    // one marks it, one performs it. To remove 500 chunks, 32 in a sweep, takes 16.
    for (arriving, sweeps) in [(1, 10 + 2), (4, 12 + 16)] {
        let (mut map, _) = with_chunks(&(0..CHUNKS).map(|idx| (100, idx)).collect::<Vec<_>>());
        map.release_copied(prefix(100));
        let mut arrived = 0;
        let is_done = (1..=sweeps).any(|_| {
            for _ in 0..arriving {
                arrived += 1;
                // Alternately before and after the keys that have been checked.
                map.insert(prefix(if arrived % 2 == 0 { 50 } else { 150 }), arrived, b"new");
            }
            map.sweep()
        });
        assert!(is_done, "{} chunks are left, {arrived} of them in use", map.total());
        assert_eq!((map.total(), map.release_total()), (u64::from(arrived), 0));
    }
}

#[test]
fn a_survey_of_many_keys_takes_several_messages() {
    let (mut map, _) = with_chunks(&(0..125).map(|n| ((n % 25) as u8, n / 25)).collect::<Vec<_>>());
    (0..25).for_each(|n| map.release_copied(prefix(n)));
    assert_eq!(sweep_to_end(&mut map), 3);
    assert_eq!((map.total(), map.release_total()), (0, 0));
}

#[test]
fn a_chunk_in_use_that_is_released_later_is_found() {
    let (mut map, _) = with_chunks(&(0..49).map(|idx| (1, idx)).collect::<Vec<_>>());
    insert_in_use(&mut map, MANY);
    map.release_copied(prefix(1));
    assert!(!map.sweep(), "the first message of the survey");
    assert!(!map.sweep());
    assert_eq!(
        map.total(),
        49 + MANY - RELEASE_AT_ONCE as u64,
        "chunks are removed one by one, since many are in use"
    );
    map.release_copied(prefix(IN_USE));
    assert!(map.sweep());
    assert_eq!((map.total(), map.release_total()), (0, 0));
}

#[derive(Clone, Debug)]
enum Operation {
    /// Prefix of a chunk, and its number in the object.
    Insert(u8, u32),
    /// Prefix of an object, and how many chunks it has.
    Upload(u8, u32),
    Release(u8),
    ReleaseCopied(u8),
    Sweep,
    /// A sweep whose message traps.
    Trap,
    Watch,
    /// As an upgrade does: what is on the heap is lost.
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0..12_u8, 0..60_u32).prop_map(|(n, idx)| Operation::Insert(n, idx)),
        3 => (0..12_u8, 2..60_u32).prop_map(|(n, chunks)| Operation::Upload(n, chunks)),
        1 => (0..12_u8).prop_map(Operation::Release),
        3 => (0..12_u8).prop_map(Operation::ReleaseCopied),
        5 => Just(Operation::Sweep),
        1 => Just(Operation::Trap),
        1 => Just(Operation::Watch),
        1 => Just(Operation::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chunks_in_use_stay_and_all_others_are_removed(operations in prop::collection::vec(operation(), 1..120)) {
        let raw = RawMemory::default();
        drop(MemoryManager::init_with_bucket_size(raw.clone(), 1));
        let (mut map, mut memories) = map_over(raw.clone(), &[]);
        let mut in_use = BTreeMap::new();
        let mut released = BTreeSet::new();
        for operation in operations {
            match operation {
                // No client uploads chunks of a released object.
                Operation::Insert(n, _) | Operation::Upload(n, _) if released.contains(&n) => {}
                Operation::Insert(..) | Operation::Upload(..) => {
                    let (n, chunks) = match operation {
                        Operation::Insert(n, idx) => (n, idx..idx + 1),
                        Operation::Upload(n, chunks) => (n, 0..chunks),
                        _ => unreachable!(),
                    };
                    for idx in chunks {
                        // Some chunks take several of the library's pages.
                        let bytes = vec![n ^ idx as u8; usize::from(n) * 100 + idx as usize];
                        map.insert(prefix(n), idx, &bytes);
                        in_use.insert((n, idx), bytes);
                    }
                }
                Operation::Release(n) | Operation::ReleaseCopied(n) => {
                    match operation {
                        Operation::Release(_) => map.release(prefix(n)),
                        _ => map.release_copied(prefix(n)),
                    }
                    released.insert(n);
                    in_use.retain(|(object, _), _| *object != n);
                }
                Operation::Sweep => {
                    map.sweep();
                }
                Operation::Trap => {
                    let before = raw.borrow().clone();
                    let heap = (map.survey.clone(), map.attempt, map.compaction);
                    map.sweep();
                    *raw.borrow_mut() = before;
                    (map, memories) = map_over(raw.clone(), &[]);
                    (map.survey, map.attempt, map.compaction) = heap;
                }
                Operation::Watch => map.watch(),
                Operation::Reopen => {
                    let room = map.room.clone();
                    map = ChunkMap::open(&memories, &room);
                }
            }
            for ((n, idx), bytes) in &in_use {
                prop_assert_eq!(&map.get(prefix(*n), *idx).unwrap_or_default(), bytes);
            }
        }
        sweep_to_end(&mut map);
        prop_assert_eq!((map.total(), map.release_total()), (in_use.len() as u64, 0));
        for ((n, idx), bytes) in &in_use {
            prop_assert_eq!(map.get(prefix(*n), *idx), Some(bytes.clone()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_chunk_is_removed_from_a_map_that_has_no_room_for_it(
        objects in prop::collection::vec(1..16_u32, 3..8),
        pages_left in 0..4_u64,
        released in prop::collection::vec(any::<prop::sample::Index>(), 1..12),
    ) {
        // Merging two nodes of the map takes more pages than are left.
        let content = |n| vec![n; 20_000];
        let (mut map, memories) = with_chunks(&[]);
        for (n, chunks) in (0..).zip(&objects) {
            (0..*chunks).for_each(|idx| map.insert(prefix(n), idx, &content(n)));
        }
        memories.get(memory_ids::EXTENT_REGION).grow(map.room.bytes_left() / PAGE - pages_left);
        // All objects but the last may be released.
        let in_use = objects.len() - 1;
        for object in released {
            map.release(prefix(object.index(in_use) as u8));
            // Performing a marked step may trap, so this test leaves marked steps alone.
            if map.attempt.mark.step().is_none() {
                map.sweep();
            }
        }
        for idx in 0..objects[in_use] {
            prop_assert_eq!(map.get(prefix(in_use as u8), idx), Some(content(in_use as u8)));
        }
    }
}
