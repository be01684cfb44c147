//! Tests of the allocator against a simple model, of the bytes that it loses to gaps, and of bytes in several extents.

use std::collections::BTreeMap;

use ic_stable_structures::Memory as _;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::stable::buckets::whole_memory;
use crate::stable::{RawMemory, StableRoom, Table, memory_ids};

fn empty_store() -> ExtentStore {
    let raw = RawMemory::default();
    let memories = Memories::init(raw.clone());
    ExtentStore::open(&memories, &StableRoom::of(&memories, raw))
}

/// The model: offset and length of each allocated extent; no byte is in two of them.
#[derive(Default)]
struct AllocatedRanges(BTreeMap<u64, u64>);

impl AllocatedRanges {
    fn add(&mut self, extents: &Extents) {
        for extent in extents.iter() {
            let before = self.0.range(..extent.end()).next_back();
            assert!(
                before.is_none_or(|(offset, len)| offset + len <= extent.offset),
                "{extent:?} is allocated twice"
            );
            self.0.insert(extent.offset, extent.len);
        }
    }

    fn remove(&mut self, extents: &Extents) {
        for extent in extents.iter() {
            assert_eq!(self.0.remove(&extent.offset), Some(extent.len));
        }
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Allocate(u64),
    Free(prop::sample::Index),
}

fn operation() -> impl Strategy<Value = Operation> {
    let size = prop_oneof![0..300_u64, 0..1_000_000_u64, (1_u64 << 20)..(1 << 30)];
    prop_oneof![
        3 => size.prop_map(Operation::Allocate),
        2 => any::<prop::sample::Index>().prop_map(Operation::Free),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_byte_is_allocated_twice_and_all_are_freed(operations in prop::collection::vec(operation(), 1..120)) {
        let mut allocator = Allocator::open(&Memories::init(RawMemory::default()));
        let (mut live, mut taken) = (Vec::new(), AllocatedRanges::default());
        for operation in operations {
            match operation {
                Operation::Allocate(size) => {
                    let extents = allocator.allocate(size).unwrap();
                    prop_assert!(extents.size() >= size && extents.size() < size + 64);
                    prop_assert!(extents.iter().count() <= MAX_EXTENTS);
                    taken.add(&extents);
                    live.push(extents);
                }
                Operation::Free(_) if live.is_empty() => {}
                Operation::Free(index) => {
                    let extents: Extents = live.swap_remove(index.index(live.len()));
                    taken.remove(&extents);
                    extents.iter().try_for_each(|extent| allocator.free(*extent)).unwrap();
                }
            }
            prop_assert_eq!(allocator.check(), Ok(()));
            prop_assert_eq!(allocator.taken_bytes().unwrap(), taken.0.values().sum::<u64>());
        }
        for extents in live {
            extents.iter().try_for_each(|extent| allocator.free(*extent)).unwrap();
        }
        prop_assert_eq!((allocator.end(), allocator.taken_bytes()), (Ok(0), Ok(0)));
    }
}

/// Otherwise a second attempt would free extents that belong to another object by then.
#[test]
fn extents_of_an_object_are_freed_all_or_none() {
    let mut store = empty_store();
    let sound = store.allocate(64).unwrap();
    let foreign = Extent { offset: 1 << 20, len: 64 };
    let both: Extents = sound.iter().copied().chain([foreign]).collect();
    let refused = store.free(&both).unwrap_err();
    assert!(refused.reason.contains("not allocated"), "{refused}");
    assert_eq!(store.taken_bytes(), Ok(64));
    store.free(&sound).unwrap();
    assert_eq!(store.taken_bytes(), Ok(0));
}

/// What an allocator has stored. The free extents by offset are raw records, which need not decode.
#[derive(Debug, PartialEq, Eq)]
struct Stored {
    by_offset: Vec<(u64, Vec<u8>)>,
    by_len: Vec<(u64, u64)>,
    end: u64,
    taken: u64,
}

impl Stored {
    fn read(memories: &Memories) -> Self {
        let by_offset = Table::<u64, u64>::open(memories, memory_ids::FREE_EXTENTS);
        let by_len = Table::<(u64, u64), ()>::open(memories, memory_ids::FREE_EXTENTS_BY_LEN);
        let allocator = Allocator::open(memories);
        Self {
            by_offset: by_offset.raw_after(None).collect(),
            by_len: by_len.keys(..).collect(),
            end: allocator.end().unwrap(),
            taken: allocator.taken_bytes().unwrap(),
        }
    }
}

#[test]
fn a_discarded_object_leaves_the_tables_as_they_were() {
    const PART: u64 = 100 << 10;
    let memories = Memories::init(RawMemory::default());
    let mut allocator = Allocator::open(&memories);
    let parts: Vec<Extents> = (0..8).map(|_| allocator.allocate(PART).unwrap()).collect();
    for part in parts.iter().step_by(2) {
        part.iter().try_for_each(|extent| allocator.free(*extent)).unwrap();
    }
    let before = Stored::read(&memories);
    // In one of the free extents, in all of it, in several of them, and also at the end of the region.
    for (bytes, pieces) in [(0, 0), (64, 1), (PART, 1), (3 * PART + 64, 4), (9 * PART, 5)] {
        let object = allocator.allocate(bytes).unwrap();
        assert_eq!(object.iter().count(), pieces, "{bytes} bytes: {object:?}");
        allocator.discard(&object).unwrap();
        assert_eq!(Stored::read(&memories), before, "{bytes} bytes");
        assert_eq!(allocator.check(), Ok(()), "{bytes} bytes");
    }
}

#[test]
fn an_object_is_discarded_though_its_neighbor_is_damaged() {
    let memories = Memories::init(RawMemory::default());
    let mut allocator = Allocator::open(&memories);
    let parts = [128, 64, 192, 64].map(|bytes| allocator.allocate(bytes).unwrap());
    for part in [&parts[0], &parts[2]] {
        part.iter().try_for_each(|extent| allocator.free(*extent)).unwrap();
    }
    drop(allocator);
    Table::<u64, u64>::open(&memories, memory_ids::FREE_EXTENTS).insert_raw(192, b"rubbish".to_vec());
    let before = Stored::read(&memories);
    let mut allocator = Allocator::open(&memories);
    let object = allocator.allocate(128).unwrap();
    let extent = *object.iter().next().unwrap();
    assert!(allocator.free(extent).is_err(), "the free extent after it does not decode");
    allocator.discard(&object).unwrap();
    assert_eq!(Stored::read(&memories), before);
}

/// Blobs of 1 B to 1 GiB, with log-uniform sizes, are stored and deleted at random while about 100 GiB are live. The
/// largest number of live bytes is at least nine tenths of the region's largest size.
#[test]
fn at_most_a_tenth_is_lost_to_gaps() {
    const BLOBS: usize = 100_000;
    const LIVE_BYTES: u64 = 100 << 30;
    let mut random = StdRng::seed_from_u64(7);
    let mut allocator = Allocator::open(&Memories::init(RawMemory::default()));
    let mut live: Vec<(u64, Extents)> = Vec::new();
    let (mut bytes, mut most_bytes, mut most_end, mut most_pieces) = (0_u64, 0, 0, 0);
    for _ in 0..BLOBS {
        let size = random.random_range(0.0..30.0_f64).exp2() as u64 + 1;
        while bytes + size > LIVE_BYTES || (random.random_bool(0.2) && !live.is_empty()) {
            let (size, extents) = live.swap_remove(random.random_range(0..live.len()));
            extents.iter().try_for_each(|extent| allocator.free(*extent)).unwrap();
            bytes -= size;
        }
        let extents = allocator.allocate(size).unwrap();
        most_pieces = most_pieces.max(extents.iter().count());
        live.push((size, extents));
        bytes += size;
        most_bytes = most_bytes.max(bytes);
        most_end = most_end.max(allocator.end().unwrap());
    }
    allocator.check().unwrap();
    let lost = 1.0 - most_bytes as f64 / most_end as f64;
    println!(
        "{BLOBS} blobs: {most_bytes} bytes in a region of {most_end}: {:.1} % lost, {} blobs live, at most {most_pieces} pieces",
        100.0 * lost,
        live.len()
    );
    assert!(lost <= 0.1, "{lost}");
    assert!(most_pieces > 1, "no blob has several extents, so the test shows nothing");
}

#[test]
fn unallocated_bytes_cannot_be_freed() {
    let mut allocator = Allocator::open(&Memories::init(RawMemory::default()));
    let [a, b, c] = [100, 200, 300].map(|size| *allocator.allocate(size).unwrap().iter().next().unwrap());
    allocator.free(b).unwrap();
    let (end, taken) = (allocator.end(), allocator.taken_bytes());
    for extent in [b, Extent { offset: a.offset, len: a.len + 64 }, Extent { offset: c.end(), len: 64 }] {
        let error = allocator.free(extent).unwrap_err();
        assert!(error.to_string().contains(&format!("offset {}", extent.offset)), "{error}");
    }
    assert_eq!((allocator.end(), allocator.taken_bytes()), (end, taken));
    assert!(allocator.allocate(0).unwrap().iter().next().is_none(), "an empty object has no extent");
    assert_eq!(allocator.check(), Ok(()));
}

#[test]
fn the_shortest_hole_that_fits_is_taken() {
    let mut allocator = Allocator::open(&Memories::init(RawMemory::default()));
    let mut allocate = |size| *allocator.allocate(size).unwrap().iter().next().unwrap();
    let [short, _, long, _, middle, _] = [64, 1, 256, 1, 128, 1].map(&mut allocate);
    [short, long, middle].iter().for_each(|hole| allocator.free(*hole).unwrap());
    for (size, hole) in [(100, middle), (200, long), (64, short)] {
        let taken: Vec<Extent> = allocator.allocate(size).unwrap().iter().copied().collect();
        assert_eq!(taken, [hole], "{size} bytes");
    }
}

#[test]
fn an_object_without_bytes_has_no_extent() {
    let mut allocator = Allocator::open(&Memories::init(RawMemory::default()));
    let [hole, _] = [64, 64].map(|bytes| allocator.allocate(bytes).unwrap());
    allocator.free(*hole.iter().next().unwrap()).unwrap();
    assert_eq!(allocator.allocate(0).unwrap(), Extents::default());
}

#[test]
fn a_gap_too_short_to_be_worth_an_entry_stays() {
    let mut allocator = Allocator::open(&Memories::init(RawMemory::default()));
    let [gap, _] = [64, 64].map(|bytes| allocator.allocate(bytes).unwrap());
    allocator.free(*gap.iter().next().unwrap()).unwrap();
    let taken = allocator.allocate(200 * MAX_EXTENTS as u64).unwrap();
    assert_eq!(taken.iter().count(), 1, "{taken:?}");
}

#[test]
fn damaged_tables_are_found() {
    let damage: [fn(&Memories); 6] = [
        // A free extent of no bytes.
        |memories| {
            Table::<u64, u64>::open(memories, memory_ids::FREE_EXTENTS).insert(448, &0);
            Table::<(u64, u64), ()>::open(memories, memory_ids::FREE_EXTENTS_BY_LEN).insert((0, 448), &());
        },
        // Two adjacent free extents instead of one.
        |memories| {
            let mut free = Table::<u64, u64>::open(memories, memory_ids::FREE_EXTENTS);
            let mut by_len = Table::<(u64, u64), ()>::open(memories, memory_ids::FREE_EXTENTS_BY_LEN);
            by_len.remove(&(256, 128));
            for half in [128, 256] {
                free.insert(half, &128);
                by_len.insert((128, half), &());
            }
        },
        // Different lengths in the two tables.
        |memories| {
            Table::<u64, u64>::open(memories, memory_ids::FREE_EXTENTS).insert(128, &64);
        },
        // An extent that only the table by length has.
        |memories| {
            Table::<(u64, u64), ()>::open(memories, memory_ids::FREE_EXTENTS_BY_LEN).insert((1, 1), &());
        },
        // The same, for the only free extent: the table by offset is empty.
        |memories| {
            Table::<u64, u64>::open(memories, memory_ids::FREE_EXTENTS).remove(&128);
        },
        // An extent that only the table by offset has.
        |memories| {
            Allocator::open(memories).allocate(1 << 20).unwrap();
            Table::<u64, u64>::open(memories, memory_ids::FREE_EXTENTS).insert(1 << 19, &64);
        },
    ];
    for (n, damage) in damage.iter().enumerate() {
        let memories = Memories::init(RawMemory::default());
        let mut allocator = Allocator::open(&memories);
        let extents = [100, 200, 300].map(|size| allocator.allocate(size).unwrap());
        allocator.free(*extents[1].iter().next().unwrap()).unwrap();
        assert_eq!(allocator.check(), Ok(()));
        drop(allocator);
        damage(&memories);
        assert!(Allocator::open(&memories).check().is_err(), "damage {n}");
    }
}

#[test]
fn a_region_that_would_be_too_large_takes_nothing() {
    let mut allocator = Allocator::open(&Memories::init(RawMemory::default()));
    for size in [REGION_BYTES + 1, u64::MAX] {
        assert!(matches!(allocator.allocate(size), Err(AllocateError::RegionFull { .. })));
    }
    allocator.allocate(REGION_BYTES).unwrap();
    let full = allocator.allocate(1).unwrap_err();
    assert_eq!(full, AllocateError::RegionFull { needed: REGION_BYTES + 64 });
    assert_eq!(allocator.taken_bytes(), Ok(REGION_BYTES));
}

/// Allocates an object in several extents, since none of the free ones (100 KiB each) is large enough.
fn allocate_in_pieces(store: &mut ExtentStore) -> Extents {
    let parts: Vec<Extents> = (0..8).map(|_| store.allocate(100 << 10).unwrap()).collect();
    for part in parts.iter().step_by(2) {
        store.free(part).unwrap();
    }
    let object = store.allocate(350 << 10).unwrap();
    assert!(object.iter().count() > 2, "{object:?}");
    object
}

#[test]
fn bytes_are_written_and_read_across_pieces() {
    let mut store = empty_store();
    let object = allocate_in_pieces(&mut store);
    let bytes: Vec<u8> = (0..350_u32 << 10).map(|n| (n % 251) as u8).collect();
    for (n, block) in bytes.chunks(7_777).enumerate() {
        store.write_at(&object, (n * 7_777) as u64, block).unwrap();
    }
    for (at, len) in [(0, bytes.len()), (1, 5), (90 << 10, 200 << 10), (0, 0), (bytes.len(), 0)] {
        let mut read = Vec::new();
        let mut take = |block: &[u8]| {
            assert!(block.len() <= BLOCK_BYTES);
            read.extend_from_slice(block);
            Ok(())
        };
        store.read_at(&object, at as u64, len, &mut take).unwrap();
        assert!(read == bytes[at..at + len], "{len} bytes at {at}");
        assert_eq!(store.holds_at(&object, at as u64, &bytes[at..at + len]), Ok(true));
    }
    let mut changed = bytes.clone();
    changed[123_456] ^= 1;
    assert_eq!(store.holds_at(&object, 0, &changed), Ok(false));
}

#[test]
fn a_range_has_a_piece_in_each_extent_with_its_bytes() {
    let mut store = empty_store();
    let object = allocate_in_pieces(&mut store);
    let first = object.iter().next().unwrap().len;
    let pieces = |at, len| object.pieces(at, len).unwrap().count();
    let ends = [pieces(0, 0), pieces(0, first as usize), pieces(first, 1), pieces(first - 1, 2)];
    assert_eq!((ends, pieces(0, 350 << 10)), ([0, 1, 1, 2], object.iter().count()));
}

#[test]
fn bytes_outside_of_an_object_are_refused() {
    let mut store = empty_store();
    let object = store.allocate(100).unwrap();
    let size = object.size();
    for (at, len) in [(0, size as usize + 1), (size, 1), (u64::MAX, 1)] {
        let refused = Err(SinkError::OutOfRange { offset: at, got: len, size });
        assert_eq!(store.write_at(&object, at, &vec![1; len]), refused);
        assert_eq!(
            store.read_at(&object, at, len, &mut |_| panic!("bytes outside of the object were read")),
            refused
        );
    }
}

#[test]
fn the_region_says_how_much_fits_without_growing() {
    let mut store = empty_store();
    assert_eq!((store.capacity(), store.bytes_left()), (0, Ok(0)));
    let extents = store.allocate(100).unwrap();
    assert_eq!((store.capacity(), store.bytes_left()), (0, Ok(0)), "the region grows when it is written");
    assert_eq!(store.end(), Ok(128));
    store.write_at(&extents, 0, &[7; 100]).unwrap();
    let bytes = store.capacity();
    assert_eq!(bytes, (8 << 20) - HEADER_BYTES, "the region has grown by a bucket");
    assert_eq!(store.bytes_left(), Ok(bytes - 128));
    store.free(&extents).unwrap();
    assert_eq!(store.bytes_left(), Ok(bytes));
}

#[test]
fn unwritten_bytes_read_as_zeros() {
    let mut store = empty_store();
    let object = store.allocate(1 << 20).unwrap();
    assert_eq!(store.holds_at(&object, 1_000_000, &[0; 100]), Ok(true), "before the first write");
    store.write_at(&object, 0, b"x").unwrap();
    assert_eq!(store.holds_at(&object, 1_000_000, &[0; 100]), Ok(true), "after the end of the memory");
}

#[test]
fn bytes_within_the_region_take_no_room() {
    const PAGE: u64 = 64 * 1024;
    let raw = whole_memory(1);
    let memories = Memories::init(raw.clone());
    let room = StableRoom::of(&memories, raw);
    let mut store = ExtentStore::open(&memories, &room);
    let large = store.allocate(20 << 20).unwrap();
    // The region grows in steps of 8 MiB: two of them here.
    [0, 9 << 20].iter().for_each(|at| store.write_at(&large, *at, b"bytes").unwrap());
    memories.get(memory_ids::CHUNKS).grow(room.bytes_left() / PAGE);
    store.write_at(&large, 10 << 20, b"bytes").unwrap();
    let refused = store.write_at(&large, 17 << 20, b"bytes");
    assert!(matches!(refused, Err(SinkError::MemoryFull { .. })), "{refused:?}");
}
