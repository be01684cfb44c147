//! The allocator of the payload region.
//!
//! Best fit with coalescing: an object gets the smallest free extent that holds all of it. If no free extent does, the
//! object gets the largest ones, except those shorter than a sixteenth of the object, and the remainder goes into the
//! smallest free extent that holds it, or to the end of the region. An object has at most [`MAX_EXTENTS`] extents.

use minicbor::{Decode, Encode};

use crate::stable::{Memories, Register, StableError, Table, codec, memory_ids};

use super::{Extent, Extents, MAX_EXTENTS};

/// Extents begin and end at multiples of this, bytes: small files share a page, and no free extent is shorter.
const UNIT: u64 = 64;

/// Maximum size of the region, bytes: the memory manager can allocate 256 GiB in all, and the tables need their share.
pub const REGION_BYTES: u64 = 240 << 30;

/// Why nothing was allocated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllocateError {
    /// The region would exceed its limit.
    #[error("the payload region would grow to {needed} bytes, at most {REGION_BYTES} fit")]
    RegionFull {
        /// The size that the region would need, bytes.
        needed: u64,
    },
    /// A damaged table.
    #[error(transparent)]
    Stable(#[from] StableError),
}

/// Free and allocated bytes.
pub struct Allocator {
    free_by_offset: Table<u64, u64>,
    free_by_len: Table<(u64, u64), ()>,
    state: Register<AllocatorState>,
}

/// The end of the allocated bytes, and the number of bytes allocated.
#[derive(Encode, Decode, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct AllocatorState {
    /// Offset after the last allocated byte.
    #[n(0)]
    pub end: u64,
    /// Allocated bytes before the end.
    #[n(1)]
    pub taken: u64,
}

impl Allocator {
    /// Opens the tables; a table that does not exist yet is created with its first record.
    pub fn open(memories: &Memories) -> Self {
        Self {
            free_by_offset: Table::open(memories, memory_ids::FREE_EXTENTS),
            free_by_len: Table::open(memories, memory_ids::FREE_EXTENTS_BY_LEN),
            state: Register::open(memories, memory_ids::EXTENT_STATE),
        }
    }

    /// Allocates `len` bytes.
    ///
    /// # Errors
    /// [`AllocateError`]; nothing is allocated then.
    pub fn allocate(&mut self, len: u64) -> Result<Extents, AllocateError> {
        let mut state = self.state()?;
        let rounded_len = len.checked_next_multiple_of(UNIT).unwrap_or(u64::MAX);
        let (holes, bytes_at_end) = self.choose_extents(rounded_len);
        let needed = state.end.saturating_add(bytes_at_end);
        if needed > REGION_BYTES {
            return Err(AllocateError::RegionFull { needed });
        }
        let mut pieces = Vec::with_capacity(MAX_EXTENTS);
        let mut missing = rounded_len.saturating_sub(bytes_at_end);
        for hole in holes {
            self.remove_free(hole);
            let piece = Extent { offset: hole.offset, len: hole.len.min(missing) };
            missing = missing.saturating_sub(piece.len);
            self.insert_free(Extent { offset: piece.end(), len: hole.len.saturating_sub(piece.len) });
            pieces.push(piece);
        }
        if bytes_at_end > 0 {
            pieces.push(Extent { offset: state.end, len: bytes_at_end });
            state.end = needed;
        }
        state.taken = state.taken.saturating_add(rounded_len);
        self.state.set(&state);
        Ok(pieces.into_iter().collect())
    }

    /// Chooses the free extents to use for `wanted` bytes, and how many bytes to take at the end of the region.
    fn choose_extents(&self, wanted: u64) -> (Vec<Extent>, u64) {
        let mut holes = Vec::new();
        let mut missing = wanted;
        // An extent shorter than this is not worth an entry in the record.
        let shortest_useful = wanted.div_ceil(MAX_EXTENTS as u64);
        // Length and offset of the last extent chosen. The longest are chosen first, so all entries below this one are
        // still free to be chosen.
        let mut shorter_than = (u64::MAX, u64::MAX);
        while missing > 0 {
            // The smallest extent that holds everything that is missing.
            if let Some((len, offset)) =
                self.free_by_len.next_key(Some(&(missing.saturating_sub(1), u64::MAX)))
                && (len, offset) < shorter_than
            {
                holes.push(Extent { offset, len });
                return (holes, 0);
            }
            // The last of an object's extents is reserved for bytes at the end of the region.
            if holes.len().saturating_add(1) >= MAX_EXTENTS {
                break;
            }
            match self.free_by_len.keys(..shorter_than).next_back() {
                Some((len, offset)) if len >= shortest_useful => {
                    holes.push(Extent { offset, len });
                    missing = missing.saturating_sub(len);
                    shorter_than = (len, offset);
                }
                _ => break,
            }
        }
        (holes, missing)
    }

    /// Frees an extent, and merges it with its free neighbors.
    ///
    /// # Errors
    /// A damaged table, or an extent that is not completely allocated; nothing is changed then.
    pub fn free(&mut self, extent: Extent) -> Result<(), StableError> {
        if extent.len == 0 {
            return Ok(());
        }
        let mut state = self.state()?;
        let [before, next] = self.free_neighbors(extent, state)?;
        let mut joined = extent;
        if let Some(before) = before.filter(|before| before.end() == extent.offset) {
            self.remove_free(before);
            joined = Extent { offset: before.offset, len: before.len.saturating_add(joined.len) };
        }
        if let Some(next) = next.filter(|next| next.offset == extent.end()) {
            self.remove_free(next);
            joined.len = joined.len.saturating_add(next.len);
        }
        if joined.end() == state.end {
            state.end = joined.offset;
        } else {
            self.insert_free(joined);
        }
        state.taken = state.taken.saturating_sub(extent.len);
        self.state.set(&state);
        Ok(())
    }

    /// Frees the extents that [`Self::allocate`] returned last, so that the tables are as they were before it. Reads
    /// only free extents that `allocate` has written: unlike [`Self::free`], it does not fail if a neighbor is damaged.
    ///
    /// # Errors
    /// A damaged table; nothing is changed then.
    pub fn discard(&mut self, allocated: &Extents) -> Result<(), StableError> {
        let mut state = self.state()?;
        let mut freed = Vec::with_capacity(MAX_EXTENTS);
        for extent in allocated.iter() {
            // Free extents are never adjacent, so one that begins where this extent ends is what `allocate` has left of
            // the free extent that it used.
            let len = self.free_by_offset.get(&extent.end())?.unwrap_or(0);
            freed.push((*extent, Extent { offset: extent.end(), len }));
        }
        for (extent, remainder) in freed {
            if extent.end() == state.end {
                state.end = extent.offset;
            } else {
                self.remove_free(remainder);
                self.insert_free(Extent { len: extent.len.saturating_add(remainder.len), ..extent });
            }
            state.taken = state.taken.saturating_sub(extent.len);
        }
        self.state.set(&state);
        Ok(())
    }

    /// Returns `Ok(())` if [`Self::free`] can free an extent.
    ///
    /// # Errors
    /// Those of [`Self::free`].
    pub fn check_allocated(&self, extent: Extent) -> Result<(), StableError> {
        if extent.len == 0 {
            return Ok(());
        }
        self.free_neighbors(extent, self.state()?).map(drop)
    }

    /// Returns the free extents before and after an allocated extent, adjacent or not. Fails if the extent is not
    /// completely allocated.
    fn free_neighbors(
        &self,
        extent: Extent,
        state: AllocatorState,
    ) -> Result<[Option<Extent>; 2], StableError> {
        let before = self.free_by_offset.range(..extent.offset).next_back().transpose()?;
        let before = before.map(|(offset, len)| Extent { offset, len });
        let next = self.free_by_offset.range(extent.offset..).next().transpose()?;
        let next = next.map(|(offset, len)| Extent { offset, len });
        let overlaps = before.is_some_and(|before| before.end() > extent.offset)
            || next.is_some_and(|next| next.offset < extent.end())
            || extent.end() > state.end;
        if overlaps {
            return Err(damage_at(extent.offset, format!("{} bytes there are not allocated", extent.len)));
        }
        Ok([before, next])
    }

    /// Returns the allocated bytes.
    ///
    /// # Errors
    /// A damaged state.
    pub fn taken_bytes(&self) -> Result<u64, StableError> {
        Ok(self.state()?.taken)
    }

    /// Returns the offset after which nothing is allocated.
    ///
    /// # Errors
    /// A damaged state.
    pub fn end(&self) -> Result<u64, StableError> {
        Ok(self.state()?.end)
    }

    /// Returns `Ok(())` if both tables have the same extents, no two extents are adjacent, and the free bytes and the
    /// allocated bytes add up to all bytes before the end.
    ///
    /// # Errors
    /// A description of the disagreement, with its offset, or a damaged record.
    pub fn check(&self) -> Result<(), StableError> {
        let state = self.state()?;
        let (mut free_bytes, mut last_end) = (0_u64, None);
        for entry in self.free_by_offset.range(..) {
            let (offset, len) = entry?;
            let extent = Extent { offset, len };
            if len == 0 || last_end.is_some_and(|end| end >= offset) || extent.end() >= state.end {
                return Err(damage_at(offset, format!("a free extent of {len} bytes is out of place")));
            }
            if !self.free_by_len.contains(&(len, offset)) {
                return Err(damage_at(offset, format!("no entry under its length of {len} bytes")));
            }
            free_bytes = free_bytes.saturating_add(len);
            last_end = Some(extent.end());
        }
        if self.free_by_len.len() != self.free_by_offset.len() {
            let reason = format!(
                "{} entries by length, {} by offset",
                self.free_by_len.len(),
                self.free_by_offset.len()
            );
            return Err(damage_at(0, reason));
        }
        if state.taken.saturating_add(free_bytes) != state.end {
            let reason = format!("{} bytes allocated and {free_bytes} free, of {}", state.taken, state.end);
            return Err(damage_at(0, reason));
        }
        Ok(())
    }

    fn state(&self) -> Result<AllocatorState, StableError> {
        Ok(self.state.get()?.unwrap_or_default())
    }

    fn insert_free(&mut self, extent: Extent) {
        if extent.len > 0 {
            self.free_by_offset.insert(extent.offset, &extent.len);
            self.free_by_len.insert((extent.len, extent.offset), &());
        }
    }

    fn remove_free(&mut self, extent: Extent) {
        self.free_by_offset.remove(&extent.offset);
        self.free_by_len.remove(&(extent.len, extent.offset));
    }

    /// Describes the stored structures, for the schema.
    #[cfg(test)]
    pub fn describe(&self, to: &mut crate::stable::schema::Description) {
        to.table(memory_ids::numbers::FREE_EXTENTS, &self.free_by_offset);
        to.table(memory_ids::numbers::FREE_EXTENTS_BY_LEN, &self.free_by_len);
        to.register(memory_ids::numbers::EXTENT_STATE, &self.state);
    }
}

fn damage_at(offset: u64, reason: String) -> StableError {
    StableError { name: "free extent", key: format!("offset {offset}"), reason }
}

const VERSION: u8 = 1;

codec::cbor_record!(AllocatorState, "allocator state", version VERSION);

#[cfg(test)]
crate::stable::schema::described!(AllocatorState, cbor VERSION);
