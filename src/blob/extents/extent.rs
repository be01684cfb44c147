//! Extents: ranges of the region, and objects that are stored in several extents.

use minicbor::{Decode, Encode};

use crate::session::SinkError;

/// Maximum number of extents of one object. If each object had one extent, a region under random use would lose a
/// quarter of its bytes to gaps that are too small for any object; with up to 16 extents it loses 3 %.
pub const MAX_EXTENTS: usize = 16;

/// A range of the region.
#[derive(Encode, Decode, Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
#[cbor(array)]
pub struct Extent {
    /// Offset of the first byte, from the end of the region's header.
    #[n(0)]
    pub offset: u64,
    /// Length, bytes.
    #[n(1)]
    pub len: u64,
}

impl Extent {
    /// Returns the offset after the last byte.
    pub const fn end(self) -> u64 {
        self.offset.saturating_add(self.len)
    }
}

/// The extents of an object, in the order of its bytes. The last one may be up to 63 bytes longer than the object
/// needs.
#[derive(Encode, Decode, Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
#[cbor(transparent)]
pub struct Extents(Vec<Extent>);

impl FromIterator<Extent> for Extents {
    fn from_iter<I: IntoIterator<Item = Extent>>(pieces: I) -> Self {
        Self(pieces.into_iter().collect())
    }
}

impl Extents {
    /// Iterates over the extents.
    pub fn iter(&self) -> impl Iterator<Item = &Extent> {
        self.0.iter()
    }

    /// Returns the bytes in all extents.
    pub fn size(&self) -> u64 {
        self.iter().fold(0, |size, extent| size.saturating_add(extent.len))
    }

    /// Returns the ranges of the region that contain `len` bytes of the object from offset `at` on. Refuses bytes
    /// beyond the last extent, not those between the end of the object and the end of that extent.
    pub fn pieces(&self, at: u64, len: usize) -> Result<impl Iterator<Item = Extent>, SinkError> {
        let size = self.size();
        let end = at.checked_add(len as u64).filter(|end| *end <= size);
        let end = end.ok_or(SinkError::OutOfRange { offset: at, got: len, size })?;
        // Offset in the object of the next extent.
        let mut next_start = 0_u64;
        Ok(self.0.iter().filter_map(move |extent| {
            let start = next_start;
            next_start = next_start.saturating_add(extent.len);
            let (from, to) = (at.max(start), end.min(next_start));
            let len = to.checked_sub(from).filter(|len| *len > 0)?;
            Some(Extent { offset: extent.offset.saturating_add(from.saturating_sub(start)), len })
        }))
    }
}
