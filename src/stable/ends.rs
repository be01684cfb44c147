//! Reads the header, the first and the last entry of a map, and the value of a cell, without the library.
//!
//! The library asserts what it reads, and a failed assertion in `post_upgrade` names neither the memory nor a remedy.
//! Here every number is checked before use, and the work is bounded whatever the bytes are. The format is the one in
//! which this canister creates maps: version 2, in pages of 1,024 bytes, since the values have no maximum size.
//!
//! ```text
//! map       byte 0..4     "BTR", 2
//!           byte 4..8     page size
//!           byte 8..12    all ones: the page size is not derived from bounds of keys and values
//!           byte 12..20   address of the root, 0 for none
//!           byte 20..28   number of entries
//!           byte 52..56   "BTA", 1: the allocator
//!           byte 60..68   page size
//!           byte 68..84   number of pages in use; address of the next free page
//!           byte 100..    pages; before each, 16 bytes of the allocator
//! node      byte 0..4     "BTN", 2
//!           byte 4..7     0 leaf, 1 internal; number of entries, at most 11
//!           byte 7..15    address of the node's next page, 0 for none
//!           byte 15..     addresses of children, keys, values; a key or value of variable length is
//!                         preceded by its length
//! next page byte 0..11    "NOF", address of the next page
//! ```
//! All numbers are little-endian. (`map_keys.rs` reads all keys of a map, also without the library, and reports no
//! damage.)

use ic_stable_structures::Memory;
use ic_stable_structures::storable::Bound;

use super::Key;

const PAGE: u32 = 1_024;

const HEADER: usize = 100;

/// The allocator's bytes before each page.
const PAGE_HEADER: u64 = 16;

const NODE_HEADER: u64 = 15;

const NEXT_HEADER: u64 = 11;

const MAX_ENTRIES: u16 = 11;

/// Maximum depth of a tree. A deeper one would have more nodes than there are addresses, since every inner node but the
/// root has at least six children.
const MAX_DEPTH: u32 = 32;

/// Maximum number of pages followed in a node; eleven records of the maximum decoded length need fewer.
const MAX_PAGES: u32 = 512;

/// Maximum length of a decoded record, and of any key, bytes. A longer record is skipped; a longer key is damage.
const MAX_RECORD: u32 = 32 * 1024;

/// Bytes that the library would not have written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Offset in the memory, bytes.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

impl Damage {
    /// Returns damage at an offset.
    pub fn at(offset: u64, what: impl Into<String>) -> Self {
        Self { offset, what: what.into() }
    }
}

fn err_at<T>(offset: u64, what: impl Into<String>) -> Result<T, Damage> {
    Err(Damage::at(offset, what))
}

/// One end of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The lowest key.
    First,
    /// The highest key.
    Last,
}

impl End {
    /// Returns the name of the end.
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Last => "last",
        }
    }
}

/// A map whose header has been checked; its nodes are checked when they are read.
pub struct RawMap<M> {
    memory: M,
    // Size of the memory.
    bytes: u64,
    root: u64,
    /// Number of entries according to the header.
    pub len: u64,
}

/// An entry that is not decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEntry {
    pub key: Vec<u8>,
    /// `None` if the value is longer than `MAX_RECORD`, and therefore not read.
    pub value: Option<Vec<u8>>,
}

/// Returns the length of the keys of a type in bytes; `None` if their lengths differ.
pub const fn fixed_len<K: Key>() -> Option<u32> {
    match K::BOUND {
        Bound::Bounded { max_size, is_fixed_size: true } => Some(max_size),
        _ => None,
    }
}

impl<M: Memory> RawMap<M> {
    /// Checks the header of a map; returns `None` for an empty memory.
    ///
    /// # Errors
    /// What is wrong with the header.
    pub fn open(memory: M) -> Result<Option<Self>, Damage> {
        let bytes = memory.size().saturating_mul(64 * 1024);
        if bytes == 0 {
            return Ok(None);
        }
        let mut header = [0; HEADER];
        memory.read(0, &mut header);
        let Some((map, allocator)) = header.split_at_checked(52) else { return Ok(None) };
        if !map.starts_with(b"BTR\x02") {
            return err_at(
                0,
                format!("begins with {:02x?}, expected \"BTR\" version 2", map.get(..4).unwrap_or_default()),
            );
        }
        let [page, bound] = [u32_at(map, 4), u32_at(map, 8)];
        if [page, bound] != [PAGE, u32::MAX] {
            let found = match bound {
                u32::MAX => {
                    format!("pages of {page} bytes, as for keys and values with bounds, expected {PAGE}")
                }
                _ => format!(
                    "keys of at most {page} bytes and values of at most {bound}, expected values without a bound"
                ),
            };
            return err_at(4, found);
        }
        if !allocator.starts_with(b"BTA\x01") || u64_at(allocator, 8) != u64::from(PAGE) {
            return err_at(
                52,
                format!(
                    "the allocator of pages begins with {:02x?}",
                    allocator.get(..16).unwrap_or_default()
                ),
            );
        }
        let [root, len] = [u64_at(map, 12), u64_at(map, 20)];
        let [pages_taken, next_free] = [u64_at(allocator, 16), u64_at(allocator, 24)];
        if (root == 0) != (len == 0) || (pages_taken == 0) != (len == 0) {
            return err_at(12, format!("{len} entries and {pages_taken} pages, and the root is at {root}"));
        }
        let pages_that_fit =
            bytes.saturating_sub(HEADER as u64).div_euclid(PAGE_HEADER.saturating_add(u64::from(PAGE)));
        if pages_taken > pages_that_fit || next_free > bytes {
            return err_at(
                68,
                format!(
                    "{pages_taken} pages, the next free one at {next_free}, in a memory of {bytes} bytes"
                ),
            );
        }
        Ok(Some(Self { memory, bytes, root, len }))
    }

    /// Of the entries that are short enough to be decoded, returns the one closest to `end`. Only the leaf at that end
    /// is searched, and at most `MAX_PAGES` pages of it. If all entries there are too long, returns one of them without
    /// its value; if the map is empty, `None`. `key_len` is the length of every key; `None` if lengths are stored.
    ///
    /// # Errors
    /// Damage of the nodes down to the leaf.
    pub fn entry(&self, end: End, key_len: Option<u32>) -> Result<Option<RawEntry>, Damage> {
        self.leaf(end)?.map(|mut leaf| leaf.entry(end, key_len)).transpose()
    }

    /// Returns the key at an end, and, whichever end it is, the length of the first value of that leaf; `None` if the
    /// map is empty. Each other length is stored after a value, and values are not read here.
    ///
    /// # Errors
    /// Damage of the nodes down to the leaf.
    pub fn key(&self, end: End, key_len: Option<u32>) -> Result<Option<(Vec<u8>, u32)>, Damage> {
        let Some(mut leaf) = self.leaf(end)? else { return Ok(None) };
        let mut keys = leaf.keys(key_len)?;
        let key = if end == End::First { keys.into_iter().next() } else { keys.pop() };
        Ok(key.zip(Some(leaf.cursor.take_u32()?)))
    }

    /// Returns the leaf at an end; `None` if the map is empty.
    fn leaf(&self, end: End) -> Result<Option<Node<'_, M>>, Damage> {
        // 12 is the offset of the root's address in the header.
        let (mut address, mut referrer) = (self.root, 12);
        if address == 0 {
            return Ok(None);
        }
        for _ in 0..MAX_DEPTH {
            let mut node = self.node(address, referrer)?;
            if node.is_leaf {
                return Ok(Some(node));
            }
            if end == End::Last {
                node.cursor.skip(u64::from(node.entries).saturating_mul(8))?;
            }
            referrer = address;
            address = node.cursor.take_u64()?;
        }
        err_at(referrer, format!("a node {MAX_DEPTH} levels below the root"))
    }

    /// Reads the header of the node at `address`. `referrer` is the offset of what refers to this address, for errors.
    fn node(&self, address: u64, referrer: u64) -> Result<Node<'_, M>, Damage> {
        self.check_page(address, referrer)?;
        let mut header = [0; NODE_HEADER as usize];
        self.memory.read(address, &mut header);
        let [b, t, n, version, kind, low, high, next @ ..] = header;
        let entries = u16::from_le_bytes([low, high]);
        if [b, t, n, version] != *b"BTN\x02" || kind > 1 || !(1..=MAX_ENTRIES).contains(&entries) {
            return err_at(
                address,
                format!("a node begins with {:02x?}", header.get(..7).unwrap_or_default()),
            );
        }
        let cursor = Cursor {
            map: self,
            at: address.saturating_add(NODE_HEADER),
            left: u64::from(PAGE).saturating_sub(NODE_HEADER),
            next_address: u64::from_le_bytes(next),
            pages: 1,
        };
        Ok(Node { address, is_leaf: kind == 0, entries, cursor })
    }

    /// Returns `Ok(())` if a page can begin at `address`, after the allocator's bytes.
    fn check_page(&self, address: u64, referrer: u64) -> Result<(), Damage> {
        let first = (HEADER as u64).saturating_add(PAGE_HEADER);
        let is_page = address
            .checked_sub(first)
            .is_some_and(|place| place.is_multiple_of(u64::from(PAGE).saturating_add(PAGE_HEADER)));
        if is_page && address.saturating_add(u64::from(PAGE)) <= self.bytes {
            return Ok(());
        }
        err_at(referrer, format!("leads to {address}, where no page is"))
    }
}

struct Node<'m, M> {
    address: u64,
    is_leaf: bool,
    entries: u16,
    cursor: Cursor<'m, M>,
}

impl<M: Memory> Node<'_, M> {
    /// Takes all keys of a leaf; afterwards the cursor is at the first value.
    fn keys(&mut self, key_len: Option<u32>) -> Result<Vec<Vec<u8>>, Damage> {
        let cursor = &mut self.cursor;
        let mut key = || {
            let len = key_len.map_or_else(|| cursor.take_u32(), Ok)?;
            // The longest keys of this canister have a few hundred bytes; the check only bounds the allocation.
            if len > MAX_RECORD {
                err_at(cursor.at, format!("a key of {len} bytes"))
            } else {
                cursor.take_bytes(len)
            }
        };
        let keys = (0..self.entries).map(|_| key()).collect::<Result<Vec<_>, _>>()?;
        // The bytes of fixed-length keys sort in the order of the keys.
        if key_len.is_some() && !keys.is_sorted_by(|key, next| key < next) {
            return err_at(self.address, "a node whose keys do not ascend");
        }
        Ok(keys)
    }

    /// Does what [`RawMap::entry`] does, in this leaf.
    fn entry(&mut self, end: End, key_len: Option<u32>) -> Result<RawEntry, Damage> {
        let keys = self.keys(key_len)?;
        let mut values = self.cursor.clone();
        let mut found = None;
        let mut too_long_key = Vec::new();
        for key in keys {
            if values.pages >= MAX_PAGES {
                break;
            }
            let len = values.take_u32()?;
            if len <= MAX_RECORD {
                found = Some((key, values.clone(), len));
                if end == End::First {
                    break;
                }
            } else {
                too_long_key = key;
            }
            values.skip(u64::from(len))?;
        }
        let Some((key, mut value, len)) = found else {
            return Ok(RawEntry { key: too_long_key, value: None });
        };
        Ok(RawEntry { key, value: Some(value.take_bytes(len)?) })
    }
}

/// A position in a node, across its pages.
struct Cursor<'m, M> {
    map: &'m RawMap<M>,
    at: u64,
    /// Bytes left in the page.
    left: u64,
    /// Address of the next page of the node, 0 for none.
    next_address: u64,
    /// Number of pages of the node up to this position, including the page of the position.
    pages: u32,
}

impl<M> Clone for Cursor<'_, M> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<M: Memory> Cursor<'_, M> {
    fn next_page(&mut self) -> Result<(), Damage> {
        if self.next_address == 0 {
            return err_at(self.at, "a node ends in the middle of an entry");
        }
        self.map.check_page(self.next_address, self.at)?;
        let mut header = [0; NEXT_HEADER as usize];
        self.map.memory.read(self.next_address, &mut header);
        let [n, o, f, next @ ..] = header;
        if [n, o, f] != *b"NOF" {
            return err_at(
                self.next_address,
                format!("a page of a node begins with {:02x?}, expected \"NOF\"", [n, o, f]),
            );
        }
        self.at = self.next_address.saturating_add(NEXT_HEADER);
        self.left = u64::from(PAGE).saturating_sub(NEXT_HEADER);
        self.next_address = u64::from_le_bytes(next);
        self.pages = self.pages.saturating_add(1);
        Ok(())
    }

    /// Takes up to `max` bytes of the page; returns their offset and their number.
    fn take_from_page(&mut self, max: u64) -> Result<(u64, u64), Damage> {
        if self.left == 0 {
            self.next_page()?;
        }
        let (at, taken) = (self.at, self.left.min(max));
        self.at = at.saturating_add(taken);
        self.left = self.left.saturating_sub(taken);
        Ok((at, taken))
    }

    fn skip(&mut self, mut bytes: u64) -> Result<(), Damage> {
        // If a value continues beyond the last page that is followed, this stops early, and no further entry is read.
        while bytes > 0 && self.pages < MAX_PAGES {
            let (_, taken) = self.take_from_page(bytes)?;
            bytes = bytes.saturating_sub(taken);
        }
        Ok(())
    }

    fn read(&mut self, mut into: &mut [u8]) -> Result<(), Damage> {
        while !into.is_empty() {
            let (at, taken) = self.take_from_page(into.len() as u64)?;
            let Some((part, rest)) = into.split_at_mut_checked(taken as usize) else { break };
            self.map.memory.read(at, part);
            into = rest;
        }
        Ok(())
    }

    fn take_bytes(&mut self, len: u32) -> Result<Vec<u8>, Damage> {
        let mut bytes = vec![0; len as usize];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    fn take_u32(&mut self) -> Result<u32, Damage> {
        let mut bytes = [0; 4];
        self.read(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn take_u64(&mut self) -> Result<u64, Damage> {
        let mut bytes = [0; 8];
        self.read(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

fn u32_at(header: &[u8], at: usize) -> u32 {
    header.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(header: &[u8], at: usize) -> u64 {
    header.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

const CELL_HEADER: u64 = 8;

/// Checks the header of a cell; returns the length of the value, `None` for an empty memory.
///
/// ```text
/// byte 0..4    "SCL", 1
/// byte 4..8    length of the value, little-endian
/// byte 8..     value
/// ```
pub fn check_cell(memory: &impl Memory) -> Result<Option<u32>, Damage> {
    let bytes = memory.size().saturating_mul(64 * 1024);
    if bytes == 0 {
        return Ok(None);
    }
    let mut header = [0; CELL_HEADER as usize];
    memory.read(0, &mut header);
    if !header.starts_with(b"SCL\x01") {
        return err_at(
            0,
            format!("begins with {:02x?}, expected \"SCL\" version 1", header.get(..4).unwrap_or_default()),
        );
    }
    let len = u32_at(&header, 4);
    if u64::from(len) > bytes.saturating_sub(CELL_HEADER) {
        return err_at(4, format!("a value of {len} bytes in a memory of {bytes}"));
    }
    Ok(Some(len))
}

/// Checks the header of a cell, and returns the value; `None` for an empty memory.
///
/// # Errors
/// What is wrong with the header.
pub fn read_cell(memory: &impl Memory) -> Result<Option<Vec<u8>>, Damage> {
    let Some(len) = check_cell(memory)? else { return Ok(None) };
    let mut value = vec![0; len as usize];
    memory.read(CELL_HEADER, &mut value);
    Ok(Some(value))
}

#[cfg(test)]
mod tests;
