//! Room in stable memory: how much is left, and how much of it is the reserve, for removals, finishes, conversions and
//! a rollback.
//!
//! A map of ic-stable-structures cannot refuse an operation: it traps if its memory cannot grow. Even removing an entry
//! can grow the memory, because two nodes may be merged into a new one before they are freed. So the room is checked
//! before anything is written, and additions to the canister are refused while there is still enough room for removals.
//!
//! ```text
//! byte 52..56    "BTA", 1    header of the allocator of a map, as ic-stable-structures 0.7 writes it
//! byte 60..68                bytes of a node page without its header of 16 bytes, little-endian
//! byte 68..76                number of pages in use, little-endian
//! ```

use std::rc::Rc;

use ic_stable_structures::Memory as _;
use ic_stable_structures::memory_manager::MemoryId;

use super::buckets::{MAX_BUCKETS, allocated_buckets};
use super::memory_ids::{self, Structure};
use super::{Memories, Memory, RawMemory};

const PAGE_BYTES: u64 = 64 * 1024;

/// Bytes that removing an entry from the chunk map may need temporarily: two nodes are merged into a node of eleven
/// entries, and until the old nodes are freed, six entries exist twice, each of at most 2 MiB, the size of a message.
const MERGE_BYTES: u64 = 13 << 20;

/// Bytes by which each table must still be able to grow after an addition. Finishing, ending and moving sessions adds
/// records, too, but less than this to each table before something is removed.
const RESERVED_BYTES: u64 = 1 << 20;

/// Bytes by which each table must be able to grow before a session is converted or rolled back: more than the largest
/// record of any table.
const STEP_BYTES: u64 = 128 << 10;

/// Upper bound of the bytes that storing a chunk takes in addition to the bytes of the chunk: its share of a node, and
/// new pages if nodes are split.
const NODE_BYTES: u64 = 16 << 10;

/// Bytes of a map before its first page.
const FIRST_PAGE_OFFSET: u64 = 100;

/// Bytes of a page of the chunk map, with the allocator's header.
const MAP_PAGE_BYTES: u64 = 1_040;

/// Bytes of a page of the chunk map that hold a node's contents.
const MAP_PAGE_CONTENTS: u64 = 1_013;

/// Stable memory has no room for a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{needed} bytes of stable memory are needed, including the reserve for removals, but only {left} are left"
)]
pub struct NoRoom {
    /// Bytes needed, including the reserve.
    pub needed: u64,
    /// Bytes that are left.
    pub left: u64,
}

/// How full the memory of a map is, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fill {
    /// Bytes of the pages in use.
    taken: u64,
    /// Bytes of further pages that fit before the memory needs another bucket.
    free: u64,
}

/// The bytes that a planned write adds.
#[derive(Clone, Copy, Debug, Default)]
struct Additions {
    /// To the chunk map.
    chunks: u64,
    /// To the payload region.
    region: u64,
    /// To each table: the bytes by which it must still be able to grow.
    records: u64,
}

/// Checks whether writes fit into the canister's stable memory. Clones share one memory.
#[derive(Clone)]
pub struct StableRoom(Rc<Inner>);

struct Inner {
    raw: RawMemory,
    bucket_bytes: u64,
    chunks: Memory,
    legacy: Memory,
    sessions: Memory,
    metas: Memory,
    /// All maps but the chunk map and the tables of sessions.
    tables: Vec<Memory>,
}

impl StableRoom {
    /// Returns the room in the memory of this memory manager.
    pub fn of(memories: &Memories, raw: RawMemory) -> Self {
        const UPLOAD_MAPS: [MemoryId; 4] =
            [memory_ids::CHUNKS, memory_ids::LEGACY_SESSIONS, memory_ids::SESSIONS, memory_ids::UPLOAD_META];
        let [_, pages] = allocated_buckets(&raw);
        let maps = memory_ids::ALL.iter().filter(|(.., structure)| *structure == Structure::Map);
        let tables = maps.map(|(id, ..)| MemoryId::new(*id)).filter(|id| !UPLOAD_MAPS.contains(id));
        let [chunks, legacy, sessions, metas] = UPLOAD_MAPS.map(|id| memories.get(id));
        let tables = tables.map(|id| memories.get(id)).collect();
        let bucket_bytes = pages.max(1).saturating_mul(PAGE_BYTES);
        Self(Rc::new(Inner { raw, bucket_bytes, chunks, legacy, sessions, metas, tables }))
    }

    /// Returns the error for a structure whose memory could not get a bucket; reports 0 bytes left without counting.
    pub fn no_bucket(&self) -> NoRoom {
        NoRoom { needed: self.0.bucket_bytes, left: 0 }
    }

    /// Returns the bytes in buckets that no memory has yet.
    pub fn bytes_left(&self) -> u64 {
        let [allocated_buckets, _] = allocated_buckets(&self.0.raw);
        MAX_BUCKETS.saturating_sub(allocated_buckets).saturating_mul(self.0.bucket_bytes)
    }

    /// Returns a lower bound of [`Self::bytes_left`], from the size of stable memory: unlike a header, the size costs
    /// nothing to read.
    fn bytes_left_at_least(&self) -> u64 {
        let used = self.0.raw.size().saturating_sub(1).saturating_mul(PAGE_BYTES);
        MAX_BUCKETS.saturating_mul(self.0.bucket_bytes).saturating_sub(used)
    }

    /// Returns `Ok(())` if a chunk of this many bytes can be stored in the chunk map, and everything stored could
    /// still be removed afterwards.
    pub fn check_for_chunk(&self, bytes: u64) -> Result<(), NoRoom> {
        self.check(Additions { chunks: bytes_in_map(bytes), records: RESERVED_BYTES, ..Additions::default() })
    }

    /// Returns `Ok(())` if the payload region can grow by this many bytes, and the reserve stays.
    pub fn check_for_region(&self, bytes: u64) -> Result<(), NoRoom> {
        self.check(Additions { region: bytes, records: RESERVED_BYTES, ..Additions::default() })
    }

    /// Returns `Ok(())` if records can be added (sessions, memories, capsules), and the reserve stays.
    pub fn check_for_records(&self) -> Result<(), NoRoom> {
        self.check(Additions { records: RESERVED_BYTES, ..Additions::default() })
    }

    /// Returns `Ok(())` if a session can be converted or rolled back and its outcome recorded, in the room that
    /// [`Self::check_for_records`] reserves.
    pub fn check_for_step(&self) -> Result<(), NoRoom> {
        let Inner { chunks, legacy, sessions, metas, .. } = &*self.0;
        let upload_maps = [chunks, legacy, sessions, metas];
        let at_most_for_maps = self.round_up_to_buckets(STEP_BYTES).saturating_mul(upload_maps.len() as u64);
        if self.needed_by_tables_at_most(STEP_BYTES).saturating_add(at_most_for_maps)
            <= self.bytes_left_at_least()
        {
            return Ok(());
        }
        let needed_by_maps = upload_maps
            .map(|memory| self.round_up_to_buckets(STEP_BYTES.saturating_sub(self.fill_of(memory).free)));
        self.check_needed(
            needed_by_maps.into_iter().fold(self.needed_by_tables(STEP_BYTES), u64::saturating_add),
        )
    }

    /// Returns whether a chunk can be removed from the chunk map, however that changes its nodes.
    pub fn has_room_for_removal(&self) -> bool {
        let missing = |free| self.round_up_to_buckets(MERGE_BYTES.saturating_sub(free));
        missing(0) <= self.bytes_left_at_least()
            || missing(self.fill_of(&self.0.chunks).free) <= self.bytes_left()
    }

    /// Returns whether the chunk map could hold chunks of these lengths, and no others, in the buckets that it has.
    pub fn can_hold(&self, lens: impl Iterator<Item = u64>) -> bool {
        let pages = lens.map(pages_in_map).fold(0, u64::saturating_add);
        let has = self.round_up_to_buckets(self.0.chunks.size().saturating_mul(PAGE_BYTES));
        // After the last page in use comes the header of the next one, as in `fill_of`.
        FIRST_PAGE_OFFSET.saturating_add(MAP_PAGE_BYTES.saturating_mul(pages.saturating_add(1))) <= has
    }

    /// Returns how many bytes of payload the canister can hold in all, including those stored, at most `limit`: in the
    /// chunk map, or, if `region_capacity` is given, in the payload region, which has that many bytes and can still
    /// grow.
    pub fn payload_limit(&self, region_capacity: Option<u64>, limit: u64) -> u64 {
        // With `chunks` above 0, the room for removing a chunk is reserved, too. These bytes themselves are not for a
        // chunk but for records, which a session that begins now writes before its last chunk arrives.
        let room_for_chunk = if region_capacity.is_none() { RESERVED_BYTES } else { 0 };
        let reserve = self.needed_at_most(Additions {
            chunks: room_for_chunk,
            records: RESERVED_BYTES,
            ..Additions::default()
        });
        // In layout 3 the chunk map takes no new payload, although it keeps its memory. Payload that is still in it
        // will move into the region and must fit there, so the map adds no room.
        let in_map = if region_capacity.is_none() { assume_full(&self.0.chunks).taken } else { 0 };
        let capacity = |left: u64| {
            let room = in_map
                .saturating_add(left)
                .saturating_add(region_capacity.unwrap_or(0))
                .saturating_sub(reserve);
            match region_capacity {
                Some(_) => room,
                // The inverse of `bytes_in_map`, apart from the nodes.
                None => room.div_euclid(33).saturating_mul(32),
            }
        };
        match capacity(self.bytes_left_at_least()) {
            enough if enough >= limit => limit,
            _ => capacity(self.bytes_left()).min(limit),
        }
    }

    fn check(&self, additions: Additions) -> Result<(), NoRoom> {
        if self.needed_at_most(additions) <= self.bytes_left_at_least() {
            return Ok(());
        }
        self.check_needed(self.needed(additions))
    }

    fn check_needed(&self, needed: u64) -> Result<(), NoRoom> {
        let left = self.bytes_left();
        if needed <= left { Ok(()) } else { Err(NoRoom { needed, left }) }
    }

    /// Returns the bytes of free buckets that these additions need.
    fn needed(&self, additions: Additions) -> u64 {
        self.needed_by_uploads(additions, |memory| self.fill_of(memory))
            .saturating_add(self.needed_by_tables(additions.records))
    }

    /// Returns an upper bound of [`Self::needed`] without reading any header.
    fn needed_at_most(&self, additions: Additions) -> u64 {
        self.needed_by_uploads(additions, assume_full)
            .saturating_add(self.needed_by_tables_at_most(additions.records))
    }

    /// Returns the bytes of free buckets needed by the chunk map, the tables of sessions and the payload region.
    fn needed_by_uploads(&self, additions: Additions, fill: impl Fn(&Memory) -> Fill) -> u64 {
        let Inner { chunks, legacy, sessions, metas, .. } = &*self.0;
        let [chunks, legacy, sessions, metas] = [chunks, legacy, sessions, metas].map(fill);
        let is_used = additions.chunks > 0 || chunks.taken > 0;
        let merge = if is_used { MERGE_BYTES } else { 0 };
        // Every session must also fit into the tables of the other layout, since it may be converted either way.
        let split = sessions.taken.saturating_add(metas.taken);
        let room = [
            (chunks, merge.saturating_add(additions.chunks)),
            (legacy, split),
            (sessions, legacy.taken),
            (metas, legacy.taken),
        ];
        let missing = |(fill, bytes): (Fill, u64)| {
            self.round_up_to_buckets(bytes.saturating_add(additions.records).saturating_sub(fill.free))
        };
        room.into_iter().map(missing).fold(self.round_up_to_buckets(additions.region), u64::saturating_add)
    }

    /// Returns the bytes of free buckets needed for each of `tables` (all maps that [`Self::needed_by_uploads`] does
    /// not count) to grow by `bytes`.
    fn needed_by_tables(&self, bytes: u64) -> u64 {
        let missing = |memory| self.round_up_to_buckets(bytes.saturating_sub(self.fill_of(memory).free));
        self.0.tables.iter().map(missing).fold(0, u64::saturating_add)
    }

    fn needed_by_tables_at_most(&self, bytes: u64) -> u64 {
        self.round_up_to_buckets(bytes).saturating_mul(self.0.tables.len() as u64)
    }

    fn round_up_to_buckets(&self, bytes: u64) -> u64 {
        bytes.checked_next_multiple_of(self.0.bucket_bytes).unwrap_or(u64::MAX)
    }

    /// Reads the header of the allocator of a map. A memory with an unknown header counts as full.
    fn fill_of(&self, memory: &Memory) -> Fill {
        const ALLOCATOR_OFFSET: u64 = 52;
        let size = memory.size().saturating_mul(PAGE_BYTES);
        let mut header = [0; 24];
        if size > 0 {
            memory.read(ALLOCATOR_OFFSET, &mut header);
        }
        let (magic, numbers) = header.split_at(8);
        let (page, taken) = numbers.split_at(8);
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        if !magic.starts_with(b"BTA\x01") {
            return Fill { taken: size, free: 0 };
        }
        let page = number(page).saturating_add(16);
        let taken = number(taken).saturating_mul(page);
        // After the last page in use comes the header of the next one.
        let used = taken.saturating_add(page).saturating_add(FIRST_PAGE_OFFSET);
        Fill { taken, free: self.round_up_to_buckets(size).saturating_sub(used) }
    }
}

/// Assumes that a memory is full, without reading its header.
fn assume_full(memory: &Memory) -> Fill {
    Fill { taken: memory.size().saturating_mul(PAGE_BYTES), free: 0 }
}

/// Returns an upper bound of the bytes by which adding a chunk fills the map further, even if nodes are split. Of the
/// 1,040 bytes of a page, 1,013 hold contents; the other 27 are less than 1/32 of the contents.
const fn bytes_in_map(bytes: u64) -> u64 {
    bytes.saturating_add(bytes >> 5).saturating_add(NODE_BYTES)
}

/// Returns an upper bound of the chunk's share of the pages of a map that has no other chunks than those counted, for
/// [`StableRoom::can_hold`]; splits are not included. A chunk is stored after its length, four bytes.
/// The additional page has room for the header of a node and all of its keys; every node has at least one chunk.
const fn pages_in_map(bytes: u64) -> u64 {
    bytes.saturating_add(4).div_ceil(MAP_PAGE_CONTENTS).saturating_add(1)
}

#[cfg(test)]
mod tests;
