//! Tests of reading maps and cells: intact ones, ones at a limit, and damaged ones with one fault each.

use ic_stable_structures::{StableBTreeMap, VectorMemory};

use super::*;

const FIRST_PAGE: u64 = HEADER as u64 + PAGE_HEADER;

/// Length of a page including the allocator's bytes before it.
const PAGE_STRIDE: u64 = PAGE as u64 + PAGE_HEADER;

/// Returns the memory of a map of 100 entries, several nodes; [`map_of_one_leaf`] returns an open map.
fn map_of_100() -> VectorMemory {
    let memory = VectorMemory::default();
    let mut map: StableBTreeMap<u64, Vec<u8>, _> = StableBTreeMap::init(memory.clone());
    (0..100).for_each(|n| drop(map.insert(n, vec![7; 100])));
    memory
}

/// Offset of the only node of [`map_of_one_leaf`].
const LEAF: u64 = FIRST_PAGE;

/// Opens a map of three entries under keys of eight bytes, after `change` has changed its memory.
fn map_of_one_leaf(change: impl FnOnce(&VectorMemory)) -> RawMap<VectorMemory> {
    let memory = VectorMemory::default();
    let mut map: StableBTreeMap<u64, Vec<u8>, _> = StableBTreeMap::init(memory.clone());
    (1..4).for_each(|n| drop(map.insert(n, vec![7; 100])));
    change(&memory);
    RawMap::open(memory).unwrap().unwrap()
}

#[test]
fn each_end_has_its_key() {
    let map = RawMap::open(map_of_100()).unwrap().unwrap();
    for (end, key) in [(End::First, 0_u64), (End::Last, 99)] {
        assert_eq!(map.key(end, Some(8)), Ok(Some((key.to_be_bytes().to_vec(), 100))));
    }
}

#[test]
fn each_part_of_a_node_header_is_checked() {
    for (at, bytes) in [(0, &b"BTX"[..]), (3, &[1]), (4, &[2]), (5, &[0, 0]), (5, &[12, 0])] {
        let map = map_of_one_leaf(|memory| memory.write(LEAF + at, bytes));
        let damage = map.key(End::First, Some(8)).unwrap_err();
        assert_eq!(damage.offset, LEAF, "{bytes:?} at {at}: {}", damage.what);
        assert!(damage.what.contains("a node begins with"), "{bytes:?} at {at}: {}", damage.what);
    }
}

#[test]
fn a_key_twice_in_a_node_is_damage() {
    let key_offset = |n: u64| LEAF + NODE_HEADER + 8 * n;
    let map = map_of_one_leaf(|memory| memory.write(key_offset(1), &1_u64.to_be_bytes()));
    let damage = map.key(End::First, Some(8)).unwrap_err();
    assert!(damage.what.contains("do not ascend"), "{}", damage.what);
}

#[test]
fn a_key_of_an_impossible_length_is_damage() {
    for (len, is_allowed) in [(MAX_RECORD, true), (MAX_RECORD + 1, false), (u32::MAX, false)] {
        // Keys of a fixed length are stored without their length. Without `key_len`, the first four bytes of the first
        // key are read as its length. If that length is allowed, the node ends before the key, which is other damage.
        let map = map_of_one_leaf(|memory| memory.write(LEAF + NODE_HEADER, &len.to_le_bytes()));
        let damage = map.key(End::First, None).unwrap_err();
        let is_reported = damage.what == format!("a key of {len} bytes");
        assert_eq!(is_reported, !is_allowed, "{}", damage.what);
    }
}

#[test]
fn a_cell_holds_what_fits_into_its_memory() {
    let check_len = |pages: u64, len: u64| {
        let memory = VectorMemory::default();
        memory.grow(pages);
        memory.write(0, &[&b"SCL\x01"[..], &(len as u32).to_le_bytes()].concat());
        check_cell(&memory)
    };
    for pages in [1, 2] {
        let max = pages * 64 * 1024 - CELL_HEADER;
        assert_eq!(check_len(pages, max), Ok(Some(max as u32)));
        for len in [max + 1, max + 100_000] {
            assert_eq!(check_len(pages, len).unwrap_err().offset, 4, "{len} bytes in {pages} pages");
        }
    }
}

/// Opens the map of 100 entries with a number of its header replaced.
fn open_changed(offset: u64, number: u64) -> Result<Option<RawMap<VectorMemory>>, Damage> {
    let memory = map_of_100();
    memory.write(offset, &number.to_le_bytes());
    RawMap::open(memory)
}

#[test]
fn a_map_header_that_contradicts_itself_is_damage() {
    let bytes = map_of_100().size() * 64 * 1024;
    let pages = (bytes - HEADER as u64) / PAGE_STRIDE;
    // The highest numbers that are accepted.
    assert_eq!(open_changed(76, bytes).unwrap().unwrap().len, 100);
    assert_eq!(open_changed(68, pages).unwrap().unwrap().len, 100);
    // Offsets: 12 address of the root, 20 number of entries, 60 page size, 68 pages in use, 76 address of the next free
    // page.
    for (offset, number, found_at) in [
        (12, 0, 12),
        (20, 0, 12),
        (68, 0, 12),
        (60, u64::from(PAGE) + 1, 52),
        (68, pages + 1, 68),
        (76, bytes + 1, 68),
    ] {
        let damage = open_changed(offset, number).err().unwrap();
        assert_eq!(damage.offset, found_at, "{number} at {offset}: {}", damage.what);
    }
}

#[test]
fn an_address_where_no_page_can_be_is_damage() {
    let bytes = map_of_100().size() * 64 * 1024;
    let after_last = FIRST_PAGE + (bytes - HEADER as u64) / PAGE_STRIDE * PAGE_STRIDE;
    for root in [1, FIRST_PAGE - 1, FIRST_PAGE + 1, after_last, after_last + PAGE_STRIDE, u64::MAX] {
        let map = open_changed(12, root).unwrap().unwrap();
        let damage = map.key(End::First, Some(8)).unwrap_err();
        assert_eq!(damage.offset, 12, "a root at {root}: {}", damage.what);
    }
}
