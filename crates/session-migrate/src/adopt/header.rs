//! The header of the memory manager, which `pre_upgrade` of the first public release overwrites.
//!
//! ```text
//! page 0       "MGR", 1, u16 buckets, u16 pages per bucket, 32 reserved bytes, u64 pages of each of 255 memories,
//!              one byte for each bucket: its memory id, 255 if it has none
//! page 1..     buckets; the buckets of a memory are in ascending order, since the manager never frees a bucket
//! ```
//! The contents of a bucket show to which memory it belongs. The first bucket of a memory begins with the magic bytes
//! of its structure. In a later bucket of a map, each page of the map (a chunk of its allocator) begins with a header
//! ("CHK"). The offsets of these headers depend on the length of the map's pages and on the position of the
//! bucket in its memory, and distinguish most maps.

use ic_stable_structures::Memory;
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager};
use upload_canister::stable::buckets::{MAX_BUCKETS, allocated_buckets};
use upload_canister::stable::memory_ids::numbers as ids;

use crate::snapshot::{PAGE_BYTES, StableFile, Tree};

/// Number of wasm pages in a bucket, in the first public release.
const BUCKET_PAGES: u64 = 128;

/// Offset in the header of the table with the number of pages of each memory.
const MEMORY_SIZES: usize = 40;

/// Offset in the header of the table with the memory id of each bucket.
const BUCKET_OWNERS: usize = MEMORY_SIZES + 255 * 8;

/// Memory id of a bucket that belongs to no memory.
const UNALLOCATED: u8 = u8::MAX;

/// Index of the chunk map if none of the maps is recognized as the chunk map.
const NO_CHUNK_MAP: usize = usize::MAX;

/// Maximum number of assignments of ambiguous buckets that [`reconstruct`] tries for each candidate for the chunk map:
/// all assignments of the first five ambiguous buckets.
const MAX_ASSIGNMENTS: u32 = 32;

/// Length of a page in a map whose values have no maximum length, without the header of the page.
const UNBOUNDED_MAP_PAGE_BYTES: u32 = 1_024;

/// Offset of the first page of a map in the map's memory.
const FIRST_MAP_PAGE_OFFSET: u64 = 100;
/// Length of the header of a page of a map.
const MAP_PAGE_HEADER_BYTES: u64 = 16;

/// The state in which the header of the memory manager was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Header {
    /// As the memory manager wrote it.
    Intact,
    /// Overwritten by `pre_upgrade`, and reconstructed from the structures after it.
    Reconstructed,
}

/// A stable memory whose first page is read from `first_page`, if that is set, and otherwise from the file.
#[derive(Clone, Debug)]
pub(super) struct PatchedMemory {
    file: StableFile,
    first_page: Option<Vec<u8>>,
}

impl PatchedMemory {
    pub fn unpatched(file: StableFile) -> PatchedMemory {
        PatchedMemory { file, first_page: None }
    }
}

impl Memory for PatchedMemory {
    fn size(&self) -> u64 {
        self.file.size()
    }

    fn grow(&self, pages: u64) -> i64 {
        self.file.grow(pages)
    }

    fn read(&self, offset: u64, into: &mut [u8]) {
        self.file.read(offset, into);
        let Some(first_page) = &self.first_page else { return };
        if let Some(patched) = first_page.get(offset as usize..).filter(|_| offset < PAGE_BYTES) {
            let len = patched.len().min(into.len());
            into[..len].copy_from_slice(&patched[..len]);
        }
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        self.file.write(offset, bytes);
    }
}

/// Returns whether `pre_upgrade` has overwritten the header: it writes Candid, which begins with "DIDL".
pub(super) fn begins_with_candid(file: &StableFile) -> bool {
    let mut magic = [0; 4];
    file.read(0, &mut magic);
    magic == *b"DIDL"
}

/// A map whose first bucket has been found.
#[derive(Clone, Debug)]
struct Map {
    /// Distance from the beginning of one page to the next, in bytes.
    stride: u64,
    /// Memory id of the map; `None` if it is one of the three maps whose values have no maximum length.
    id: Option<u8>,
    /// Numbers of the map's buckets, in ascending order; the first one begins with the header of the map.
    buckets: Vec<u64>,
}

/// Returns the memory with a reconstructed header, by which the structures after the header can be read. Of the maps
/// whose values have no maximum length, only the chunk map is included: the Candid that overwrote the header contains
/// the capsules.
pub(super) fn reconstruct(file: &StableFile) -> Result<PatchedMemory, String> {
    let buckets = (file.size().saturating_sub(1) / BUCKET_PAGES).min(MAX_BUCKETS);
    let firsts = first_buckets(file, buckets);
    let candidates = (0..firsts.maps.len()).filter(|index| firsts.maps[*index].id.is_none());
    for chunk_map in candidates {
        // The chunk map is by far the largest, so it gets every bucket that may belong to it, except the few whose bits
        // are set in `exceptions`.
        for exceptions in 0..MAX_ASSIGNMENTS {
            let Some(header) = assign_buckets(file, buckets, &firsts, chunk_map, exceptions) else { break };
            let patched = PatchedMemory { file: file.clone(), first_page: Some(header) };
            if has_chunks(&patched) {
                return Ok(patched);
            }
        }
    }
    match firsts.maps.iter().any(|map| map.id == Some(ids::BLOB_META)) {
        // No map is recognized as the chunk map. An empty chunk map has no page by which it could be
        // recognized.
        true => {
            let header = assign_buckets(file, buckets, &firsts, NO_CHUNK_MAP, 0);
            Ok(PatchedMemory { file: file.clone(), first_page: header })
        }
        false => Err("its `pre_upgrade` has overwritten the header of the memory manager, and no structures of that release are found after it".into()),
    }
}

/// The first bucket of each map, and the bucket of the cell with the blob counter (`None` if there is no such cell).
struct FirstBuckets {
    maps: Vec<Map>,
    blob_counter: Option<u64>,
}

fn first_buckets(file: &StableFile, buckets: u64) -> FirstBuckets {
    let mut firsts = FirstBuckets { maps: Vec::new(), blob_counter: None };
    for bucket in 0..buckets {
        let mut header = [0; 64];
        file.read(bucket_offset(bucket), &mut header);
        // A cell with a value of eight bytes.
        if header.starts_with(b"SCL\x01\x08\0\0\0") {
            firsts.blob_counter.get_or_insert(bucket);
        } else if let Some((stride, id)) = map_header(&header) {
            firsts.maps.push(Map { stride, id, buckets: vec![bucket] });
        }
    }
    firsts
}

/// Assigns every bucket other than the first buckets to a map to which it may belong, if any, and returns the header
/// page. `chunk_map` is the index of the chunk map. A bucket that may belong to the chunk map or to another map is
/// ambiguous: it is assigned to the chunk map, unless its bit in `exceptions` is set. Returns `None` if `exceptions`
/// has more bits than there are ambiguous buckets.
fn assign_buckets(
    file: &StableFile,
    buckets: u64,
    firsts: &FirstBuckets,
    chunk_map: usize,
    exceptions: u32,
) -> Option<Vec<u8>> {
    let mut maps = firsts.maps.clone();
    let is_first = |bucket: &u64| {
        firsts.blob_counter == Some(*bucket) || firsts.maps.iter().any(|map| map.buckets.contains(bucket))
    };
    let mut ambiguous = 0;
    for bucket in (0..buckets).filter(|bucket| !is_first(bucket)) {
        let fits = |map: &Map| {
            let begins_before = map.buckets.first().is_some_and(|first| *first < bucket);
            begins_before && has_page(file, bucket_offset(bucket), map.stride, map.buckets.len() as u64)
        };
        let candidates: Vec<usize> = (0..maps.len()).filter(|index| fits(&maps[*index])).collect();
        let other = candidates.iter().copied().find(|index| *index != chunk_map);
        let chosen = match (candidates.contains(&chunk_map), other) {
            (true, Some(other)) => {
                ambiguous += 1;
                // From the 32nd ambiguous bucket on, all share bit 31, which `reconstruct` never sets.
                let is_exception = exceptions >> (ambiguous - 1).min(31) & 1 == 1;
                Some(if is_exception { other } else { chunk_map })
            }
            (true, None) => Some(chunk_map),
            (false, other) => other,
        };
        if let Some(map) = chosen.and_then(|index| maps.get_mut(index)) {
            map.buckets.push(bucket);
        }
    }
    let all_bits_apply = exceptions.checked_ilog2().is_none_or(|highest| highest < ambiguous);
    all_bits_apply.then(|| header_page(buckets, &maps, chunk_map, firsts.blob_counter))
}

fn bucket_offset(bucket: u64) -> u64 {
    (1 + bucket * BUCKET_PAGES) * PAGE_BYTES
}

/// Returns [`Map::stride`] and [`Map::id`]. Returns `None` if the bucket does not begin with a valid header of a map.
fn map_header(header: &[u8; 64]) -> Option<(u64, Option<u8>)> {
    let u32_at =
        |at: usize| header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    // The maximum lengths of key and value; or, if `second` is `u32::MAX`, `first` is the length of a page.
    let (first, second) = (u32_at(4)?, u32_at(8)?);
    if !header.starts_with(b"BTR") || !header[52..].starts_with(b"BTA") {
        return None;
    }
    // The header of the map's allocator begins at offset 52.
    let page_bytes = u64::from(u32_at(52 + 8)?);
    // If both keys and values have a maximum length, the library makes a page three quarters of the longest node: a
    // header of 7 bytes, 11 entries with the lengths of key and value, and the addresses of 12 children.
    let page_bytes_for = |key: u32, value: u32| (7 + 11 * (key + value + 8) + 12 * 8) / 4 * 3;
    let has_bounds = |key, value| match second {
        u32::MAX => first.abs_diff(page_bytes_for(key, value)) < 4,
        _ => (first, second) == (key, value),
    };
    let id = match (first, second) {
        _ if has_bounds(8, 512) => Some(ids::BLOB_META),
        _ if has_bounds(284, 0) => Some(ids::RESERVED_BY_OWNER),
        (UNBOUNDED_MAP_PAGE_BYTES, u32::MAX) => None,
        // The only other map whose keys and values have maximum lengths.
        _ => Some(ids::RESERVED_ADMINS),
    };
    (page_bytes > 0).then_some((page_bytes + MAP_PAGE_HEADER_BYTES, id))
}

/// Returns whether the bucket at offset `at` can be bucket `ordinal`, counted from 0, of a map with this `stride`: the
/// first page that would begin in this bucket must have the header of a page.
fn has_page(file: &StableFile, at: u64, stride: u64, ordinal: u64) -> bool {
    let bytes_before = ordinal * BUCKET_PAGES * PAGE_BYTES;
    let from_first_page = bytes_before.saturating_sub(FIRST_MAP_PAGE_OFFSET).next_multiple_of(stride);
    let offset_in_bucket = FIRST_MAP_PAGE_OFFSET + from_first_page - bytes_before;
    let mut magic = [0; 4];
    file.read(at + offset_in_bucket, &mut magic);
    magic == *b"CHK\x01"
}

/// Creates the header page. `chunk_map` is the index of the chunk map; the two other maps whose values have no maximum
/// length are omitted.
fn header_page(buckets: u64, maps: &[Map], chunk_map: usize, blob_counter: Option<u64>) -> Vec<u8> {
    let mut header = vec![0; PAGE_BYTES as usize];
    header[..4].copy_from_slice(b"MGR\x01");
    header[4..6].copy_from_slice(&(buckets as u16).to_le_bytes());
    header[6..8].copy_from_slice(&(BUCKET_PAGES as u16).to_le_bytes());
    header[BUCKET_OWNERS..BUCKET_OWNERS + MAX_BUCKETS as usize].fill(UNALLOCATED);
    let mut assign_to = |id: u8, map_buckets: &[u64]| {
        let pages = map_buckets.len() as u64 * BUCKET_PAGES;
        let size = MEMORY_SIZES + usize::from(id) * 8;
        header[size..size + 8].copy_from_slice(&pages.to_le_bytes());
        map_buckets.iter().for_each(|bucket| header[BUCKET_OWNERS + *bucket as usize] = id);
    };
    for (index, map) in maps.iter().enumerate() {
        match map.id {
            Some(id) => assign_to(id, &map.buckets),
            None if index == chunk_map => assign_to(ids::CHUNKS, &map.buckets),
            None => {}
        }
    }
    blob_counter.iter().for_each(|bucket| assign_to(ids::RESERVED_BLOB_COUNTER, &[*bucket]));
    header
}

/// Returns whether the chunk map has entries, and all its nodes can be read without damage.
fn has_chunks(patched: &PatchedMemory) -> bool {
    let memory = MemoryManager::init(patched.clone()).get(MemoryId::new(ids::CHUNKS));
    let Ok(Some(tree)) = Tree::open(&memory) else { return false };
    let walked = tree.walk(&mut |_: ([u8; 32], u32), _| ());
    tree.len > 0 && walked.damage.is_empty()
}

/// Describes in one line how many pages after the allocated buckets are not empty; `None` if there are none, or if the
/// header was reconstructed. An upgrade of that release to itself leaves such pages: afterwards, its memory manager
/// finds no header, begins from scratch and loses the earlier buckets.
pub(super) fn lost_pages(file: &StableFile, header: Header) -> Option<String> {
    if header != Header::Intact {
        return None;
    }
    let [buckets, pages_per_bucket] = allocated_buckets(file);
    let allocated = 1 + buckets * pages_per_bucket;
    let unallocated = file.size().saturating_sub(allocated);
    let mut page = vec![0; PAGE_BYTES as usize];
    let mut used = 0_u64;
    for number in allocated..file.size() {
        file.read(number * PAGE_BYTES, &mut page);
        used += u64::from(page.iter().any(|byte| *byte != 0));
    }
    (used > 0).then(|| {
        format!(
            "{used} of the last {unallocated} pages are not empty and belong to no memory: that release was upgraded to itself, which loses all blobs; look for a snapshot from before that"
        )
    })
}
