//! Removal of released chunks: how many a message removes, and the steps that are tried one by one when the map
//! has no room.

use ic_stable_structures::Memory as _;

use super::*;
use crate::stable::buckets::whole_memory;

const PAGE: u64 = 64 * 1024;

fn prefix(n: u8) -> ChunkPrefix {
    ChunkPrefix([n; 32])
}

/// Returns a map with these chunks, and the memories around it, in buckets of one page.
fn with_chunks(chunks: &[(u8, u32)]) -> (ChunkMap, Memories) {
    let raw = whole_memory(1);
    let memories = Memories::init(raw.clone());
    // As in every memory that has a chunk map.
    drop(Table::<[u8; 32], ()>::over(memories.get(memory_ids::RELEASED_CHUNKS)));
    let mut map = ChunkMap::open(&memories, &StableRoom::of(&memories, raw));
    chunks.iter().for_each(|(n, idx)| map.insert(prefix(*n), *idx, b"chunk"));
    (map, memories)
}

/// Returns a map with these chunks and no room for a removal, and releases them.
fn without_room(chunks: &[(u8, u32)]) -> ChunkMap {
    let (mut map, memories) = with_chunks(chunks);
    memories.get(memory_ids::EXTENT_REGION).grow(map.room.bytes_left() / PAGE);
    assert!(!map.room.for_removal());
    chunks.iter().for_each(|(n, _)| map.release(prefix(*n)));
    assert_eq!(map.total(), chunks.len() as u64);
    map
}

#[test]
fn a_message_removes_a_few_released_chunks() {
    const AT_ONCE: u32 = RELEASE_AT_ONCE as u32;
    for (stored, left) in [(1, 0), (AT_ONCE, 0), (AT_ONCE + 1, 1), (2 * AT_ONCE + 8, AT_ONCE + 8)] {
        let (mut map, _) = with_chunks(&(0..stored).map(|idx| (1, idx)).collect::<Vec<_>>());
        map.release(prefix(1));
        assert_eq!((map.total(), map.release_total()), (left.into(), u64::from(left > 0)), "{stored} chunks");
        let sweeps = (1..).find(|_| map.sweep()).unwrap();
        assert_eq!((sweeps, map.total()), (left.div_ceil(AT_ONCE).max(1), 0), "{stored} chunks");
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
        // A message in between removes a prefix that has no chunks left.
        let Some(marked) = map.attempt.announced else { continue };
        done.push(marked);
        let before = map.total();
        // One check between the two messages is no failure.
        map.watch();
        assert_eq!((map.attempt.announced, map.total()), (Some(marked), before), "it is only marked");
        map.sweep();
        assert_eq!((map.attempt.announced, map.attempt.failures), (None, 0));
        map.watch();
    }
    let key = |n, idx| (prefix(n).0, idx);
    let first =
        [Step::Empty(key(1, 0)), Step::Empty(key(1, 1)), Step::Remove(key(1, 0)), Step::Remove(key(1, 1))];
    assert_eq!(done, [&first[..], &[Step::Empty(key(2, 0)), Step::Remove(key(2, 0))]].concat());
    assert_eq!(map.total(), 0);
}

#[test]
fn a_step_whose_message_traps_is_skipped() {
    let mut map = without_room(&[(1, 0), (1, 1), (2, 0)]);
    let mut tried = Vec::new();
    for _ in 0..6 {
        assert!(!map.sweep());
        let marked = map.attempt.announced;
        tried.extend(marked);
        // Its message traps, so nothing of it is kept, at the next check and the one after.
        map.watch();
        assert_eq!(map.attempt.announced, marked, "its message may be yet to come");
        map.watch();
    }
    let key = |n, idx| (prefix(n).0, idx);
    let both = |key| [Step::Empty(key), Step::Remove(key)];
    assert_eq!(tried, [both(key(1, 0)), both(key(2, 0)), both(key(1, 1))].concat());
    assert_eq!(map.total(), 3);
}
