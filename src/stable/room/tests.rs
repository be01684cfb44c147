//! Compares the room that is counted for maps with the room that the library takes, and checks the reserves.

use ic_stable_structures::StableBTreeMap;
use ic_stable_structures::memory_manager::MemoryManager;

use super::*;
use crate::stable::buckets::whole_memory;

type Chunks = StableBTreeMap<([u8; 32], u32), Vec<u8>, Memory>;

/// Returns a stable memory, the empty chunk map in it, and its room.
fn chunk_map(bucket_pages: u16) -> (RawMemory, Chunks, StableRoom) {
    let raw = RawMemory::default();
    let memories = MemoryManager::init_with_bucket_size(raw.clone(), bucket_pages);
    let room = StableRoom::of(&memories, raw.clone());
    (raw, Chunks::init(memories.get(memory_ids::CHUNKS)), room)
}

impl StableRoom {
    fn chunk_fill(&self) -> Fill {
        self.fill_of(&self.0.chunks)
    }

    fn chunk_pages(&self) -> u64 {
        self.0.chunks.size()
    }
}

/// Creates a value whose length varies with `n`, since files end in short chunks.
fn value(n: u32) -> Vec<u8> {
    vec![7; [1, 90_000, 2_000, 90_000][n as usize % 4]]
}

#[test]
fn free_room_of_a_map_is_used_before_it_grows() {
    for bucket_pages in [1, 4] {
        let (raw, mut map, room) = chunk_map(bucket_pages);
        (0..200).for_each(|n| drop(map.insert(([1; 32], n), value(n))));
        let full = room.chunk_fill();
        (1..200).step_by(4).for_each(|n| drop(map.remove(&([1; 32], n))));
        let left = room.chunk_fill();
        assert!(left.taken < full.taken && left.free > full.free, "{full:?}, then {left:?}");
        let before = raw.size();
        let mut n = 1_000;
        while room.chunk_fill().free > 12 * bytes_in_map(90_000) {
            map.insert(([2; 32], n), vec![8; 90_000]);
            n += 1;
        }
        assert!(n > 1_020, "the free room was used");
        assert_eq!(raw.size(), before, "nothing grew for {} bytes", room.chunk_fill().free);
        map.clear_new();
        assert!(room.chunk_fill().taken < 2_000 && room.chunk_fill().free > full.taken);
    }
}

/// The keys are stored first, and then the values, so that no node is split while it holds bytes.
#[test]
fn chunks_that_are_stored_again_fit_into_what_is_counted() {
    const LENS: [u64; 8] = [0, 1, 400, 1_009, 1_010, 2_026, 5_000, 90_000];
    for count in [1, 5, 11, 12, 32] {
        // The length of every chunk; `None`: lengths vary.
        for same in LENS.map(Some).into_iter().chain([None]) {
            let (_, mut map, room) = chunk_map(1);
            let lens: Vec<u64> = (0..count).map(|n| same.unwrap_or(LENS[n % LENS.len()])).collect();
            let counted = lens.iter().map(|len| pages_in_map(*len) * MAP_PAGE_BYTES).sum::<u64>();
            (0..count as u32).for_each(|n| drop(map.insert(([1; 32], n), Vec::new())));
            for (n, len) in (0..).zip(&lens) {
                map.insert(([1; 32], n), vec![7; *len as usize]);
                let taken = room.chunk_fill().taken;
                assert!(taken <= counted, "{taken} bytes for {count} chunks of {same:?}, {counted} counted");
            }
            assert!(room.can_hold(lens.iter().copied()) || room.chunk_pages() * PAGE_BYTES < 2 * counted);
            let map_bytes = room.chunk_pages() * PAGE_BYTES;
            assert!(
                !room.can_hold(lens.iter().copied().chain([map_bytes])),
                "an additional chunk as large as the map does not fit"
            );
        }
    }
}

#[test]
fn a_removal_takes_no_more_than_its_reserve() {
    let (_, mut map, room) = chunk_map(1);
    let largest = 2 << 20;
    for n in 0..30 {
        let before = room.chunk_fill();
        map.insert(([1; 32], n), vec![7; largest]);
        assert!(
            room.chunk_fill().taken - before.taken <= bytes_in_map(largest as u64),
            "chunk {n} takes no more than is counted"
        );
    }
    let mut max = 0;
    for n in (0..30).map(|n| n * 13 % 30) {
        let (pages, free) = (room.chunk_pages(), room.chunk_fill().free);
        map.remove(&([1; 32], n));
        let grown = (room.chunk_pages() - pages) * PAGE_BYTES;
        max = max.max(if grown > 0 { grown + free } else { 0 });
    }
    assert!(max > 0, "no removal made the memory grow");
    assert!(max <= MERGE_BYTES, "a removal takes {max} bytes");
}

#[test]
fn bounds_without_reading_headers_are_on_the_safe_side() {
    let (raw, mut map, room) = chunk_map(128);
    for n in 0..300 {
        map.insert(([n as u8; 32], n), value(n));
        if n % 3 == 0 {
            map.remove(&([n as u8 / 2; 32], n / 2));
        }
        let additions = Additions { chunks: 90_000, region: 70_000, records: RESERVED_BYTES };
        assert!(room.needed_at_most(additions) >= room.needed(additions));
        assert!(room.bytes_left_at_least() <= room.bytes_left());
    }
    raw.grow(1_000);
    assert!(
        room.bytes_left_at_least() < room.bytes_left(),
        "pages that belong to no map count as used in the lower bound"
    );
}

#[test]
fn a_map_of_an_unknown_allocator_has_no_free_room() {
    let (_, mut map, room) = chunk_map(1);
    map.insert(([1; 32], 1), vec![7; 90_000]);
    map.remove(&([1; 32], 1));
    assert!(room.chunk_fill().free > 80_000);
    room.0.chunks.write(52, b"BTA\x02");
    assert_eq!(room.chunk_fill(), Fill { taken: room.chunk_pages() * PAGE_BYTES, free: 0 });
}

/// Additions are refused while there is still room to move or remove the stored records and chunks.
#[test]
fn each_write_is_refused_while_its_reserve_is_untouched() {
    let raw = whole_memory(1);
    let memories = Memories::init(raw.clone());
    let room = StableRoom::of(&memories, raw);
    Chunks::init(memories.get(memory_ids::CHUNKS)).insert(([1; 32], 1), vec![7; 90_000]);
    let other = memories.get(memory_ids::EXTENT_REGION);
    other.grow((room.bytes_left() - (128 << 20)) / PAGE_BYTES);
    // Memory is filled page by page. For each write: the bytes left when it was first refused.
    let mut refused = [0; 5];
    while room.bytes_left() > 0 {
        let fits = [
            room.check_for_chunk(90_000).is_ok(),
            room.check_for_region(1 << 20).is_ok(),
            room.check_for_records().is_ok(),
            room.check_for_step().is_ok(),
            room.has_room_for_removal(),
        ];
        for (refused, fits) in refused.iter_mut().zip(fits) {
            assert!(!fits || *refused == 0, "a write fits that was refused while more room was left");
            *refused = if fits { 0 } else { room.bytes_left().max(*refused) };
        }
        other.grow(1);
    }
    let [chunk, region, records, step, removal] = refused;
    let tables = room.0.tables.len() as u64 + 4;
    let maps = memory_ids::ALL.iter().filter(|(.., structure)| *structure == Structure::Map).count();
    assert_eq!(tables, maps as u64, "each map has its share of the reserve");
    assert!((90_000..190_000).contains(&(chunk - records)), "{refused:?}");
    assert_eq!(region - records, 1 << 20);
    assert_eq!(records - removal, tables * RESERVED_BYTES);
    assert!((MERGE_BYTES - 4 * PAGE_BYTES..MERGE_BYTES).contains(&removal), "{refused:?}");
    assert!(((tables - 1) * STEP_BYTES - PAGE_BYTES..tables * STEP_BYTES).contains(&step), "{refused:?}");
}

#[test]
fn an_empty_chunk_map_reserves_nothing_for_removals() {
    let (_, _map, room) = chunk_map(1);
    let needed = |chunks| room.needed(Additions { chunks, records: RESERVED_BYTES, ..Additions::default() });
    let for_one_chunk = needed(1) - needed(0);
    assert!((MERGE_BYTES..MERGE_BYTES + 2 * PAGE_BYTES).contains(&for_one_chunk), "{for_one_chunk}");
}

#[test]
fn the_other_layout_of_every_session_is_counted_without_reading() {
    let (_, _map, room) = chunk_map(1);
    let mut sessions = StableBTreeMap::<u64, Vec<u8>, _>::init(room.0.sessions.clone());
    (0..1_000).for_each(|n| drop(sessions.insert(n, vec![7; 100_000])));
    let additions = Additions { records: RESERVED_BYTES, ..Additions::default() };
    assert!(room.needed(additions) > 100 << 20, "layout 1 needs room for all sessions");
    assert!(room.needed_at_most(additions) >= room.needed(additions));
}

#[test]
fn the_payload_limit_is_what_the_reserve_leaves() {
    let raw = whole_memory(1);
    let memories = Memories::init(raw.clone());
    let room = StableRoom::of(&memories, raw);
    let all = MAX_BUCKETS * PAGE_BYTES;
    let in_region = room.payload_limit(Some(0), u64::MAX);
    let in_map = room.payload_limit(None, u64::MAX);
    let tables = room.0.tables.len() as u64 + 4;
    // Each table may need one more bucket than its records fill.
    let records = tables * RESERVED_BYTES..=tables * (RESERVED_BYTES + PAGE_BYTES);
    assert!(records.contains(&(all - in_region)), "{in_region} of {all}");
    let reserve = all - in_map.div_ceil(32) * 33;
    let for_chunks = reserve - (all - in_region);
    assert!((MERGE_BYTES..MERGE_BYTES + 2 * RESERVED_BYTES).contains(&for_chunks), "{in_map} of {all}");
    assert!(for_chunks > MERGE_BYTES + RESERVED_BYTES / 2, "{for_chunks}");
    for limit in [in_map - 1, in_map, in_map + 1] {
        assert_eq!(room.payload_limit(None, limit), limit.min(in_map));
    }
}

/// A chunk map whose chunks have moved to the payload region keeps its memory, which no longer takes payload.
#[test]
fn the_memory_of_a_chunk_map_is_no_room_in_the_region() {
    let raw = whole_memory(1);
    let memories = Memories::init(raw.clone());
    let room = StableRoom::of(&memories, raw);
    let mut map = Chunks::init(memories.get(memory_ids::CHUNKS));
    let (before, pages) = (room.payload_limit(Some(0), u64::MAX), room.chunk_pages());
    (0..100).for_each(|n| drop(map.insert(([1; 32], n), value(1))));
    map.clear_new();
    let kept_bytes = (room.chunk_pages() - pages) * PAGE_BYTES;
    assert!(kept_bytes > 90_000 * 100);
    assert_eq!(room.payload_limit(Some(0), u64::MAX), before - kept_bytes);
}
