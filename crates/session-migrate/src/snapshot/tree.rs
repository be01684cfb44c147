//! Walks a map of ic-stable-structures, and reports damaged bytes instead of panicking.
//!
//! ```text
//! byte 0       "BTR", version: 1 or 2
//! byte 4..12   maximum lengths of keys and values; in version 2 these, or page size and u32::MAX
//! byte 12..28  root, number of entries
//! byte 52..    allocator: "BTA", 1, 4 unused bytes, page size, pages taken, first free page
//! byte 100..   pages, each after a header of 16 bytes: "CHK", 1, taken, 3 unused bytes, next free page
//!
//! node         "BTN", 2, kind (0: leaf, 1: internal), u16 entries, next page; children, keys, values;
//!              continues in its overflow pages
//! overflow     "NOF", next page, bytes of the node
//! ```
//! All numbers are little-endian. A page that two nodes share is damage and visited only once, so a walk ends
//! regardless of the bytes.

use ic_stable_structures::Memory;
use upload_canister::stable::fixed_len;

use super::{Damage, Key, PAGE_BYTES};

const ROOT_OFFSET: u64 = 12;
const LEN_OFFSET: u64 = 20;
const ALLOCATOR_OFFSET: u64 = 52;
const PAGES_OFFSET: u64 = 100;
const PAGE_HEADER_BYTES: u64 = 16;
/// Offset of the address of the next page in a node.
const NEXT_PAGE_OFFSET: u64 = 7;
const NODE_HEADER_BYTES: u64 = NEXT_PAGE_OFFSET + 8;
/// In version 1, a node has no address of a next page: its header ends where that address would be.
const V1_NODE_HEADER_BYTES: u64 = NEXT_PAGE_OFFSET;
const OVERFLOW_HEADER_BYTES: u64 = 11;
/// Maximum number of entries of a node.
const MAX_ENTRIES: usize = 11;
/// Minimum page size of the library, bytes.
const MIN_PAGE_BYTES: u64 = 128;
/// Maximum depth of a node. Even a tree of 2^64 entries is less deep.
const MAX_DEPTH: usize = 64;

fn memory_bytes(memory: &impl Memory) -> u64 {
    memory.size().saturating_mul(PAGE_BYTES)
}

/// A map of ic-stable-structures, which is a B-tree, with the contents of its header.
pub struct Tree<'m, M> {
    memory: &'m M,
    /// Size of the memory.
    bytes: u64,
    page_bytes: u64,
    root: u64,
    /// Number of entries according to the header; [`Walked::entries`] counts those that a walk finds.
    pub len: u64,
    /// Number of allocated pages according to the allocator.
    pub pages: u64,
}

/// The result of a walk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Number of sound entries that were found.
    pub entries: u64,
    /// Number of pages that were visited, overflow pages included.
    pub pages: u64,
    /// The damage that was found. Nodes below a damaged node were not visited.
    pub damage: Vec<Damage>,
}

/// An entry. Its value is read on demand.
pub struct Entry<'t, M> {
    node: &'t Node<'t, M>,
    /// Offset of the entry's node in the memory.
    pub offset: u64,
    /// Offset of the value in the node.
    value_at: u64,
    /// Length of the value, bytes.
    pub len: u32,
}

impl<M: Memory> Entry<'_, M> {
    /// Returns the bytes of the value.
    pub fn value(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        self.node.read(self.value_at, &mut bytes);
        bytes
    }
}

/// A node and its overflow pages.
struct Node<'m, M> {
    memory: &'m M,
    page_bytes: u64,
    /// Addresses of the node itself and of its overflow pages, in the order of the node's bytes.
    pages: Vec<u64>,
}

impl<M: Memory> Node<'_, M> {
    /// Returns how many bytes of the node an overflow page has room for.
    fn overflow_capacity(&self) -> u64 {
        self.page_bytes - OVERFLOW_HEADER_BYTES
    }

    /// Returns how many bytes of the node all of its pages have room for.
    fn capacity(&self) -> u64 {
        (self.pages.len() as u64 - 1) * self.overflow_capacity() + self.page_bytes
    }

    /// Reads bytes of the node. Bytes after its last page are zeros.
    fn read(&self, at: u64, into: &mut [u8]) {
        let overflow_capacity = self.overflow_capacity();
        let (mut at, mut rest) = (at, into);
        while !rest.is_empty() {
            let (page, within, room) = if at < self.page_bytes {
                (0, at, self.page_bytes - at)
            } else {
                let beyond = at - self.page_bytes;
                let within = beyond % overflow_capacity;
                (beyond / overflow_capacity + 1, within + OVERFLOW_HEADER_BYTES, overflow_capacity - within)
            };
            let (now, later) = rest.split_at_mut(room.min(rest.len() as u64) as usize);
            match self.pages.get(page as usize) {
                Some(address) => self.memory.read(address + within, now),
                None => now.fill(0),
            }
            at += now.len() as u64;
            rest = later;
        }
    }
}

/// The contents of a node; a leaf has no children.
struct NodeContents {
    children: Vec<u64>,
    /// Key, offset and length of the value.
    entries: Vec<(Vec<u8>, u64, u32)>,
}

impl<'m, M: Memory> Tree<'m, M> {
    /// Opens the map in a memory; returns `None` if the memory is empty.
    ///
    /// # Errors
    /// The damage of an invalid header.
    pub fn open(memory: &'m M) -> Result<Option<Tree<'m, M>>, Damage> {
        let bytes = memory_bytes(memory);
        if bytes == 0 {
            return Ok(None);
        }
        let mut header = [0; PAGES_OFFSET as usize];
        memory.read(0, &mut header);
        let u64_at = |at: u64| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&header[at as usize..at as usize + 8]);
            u64::from_le_bytes(bytes)
        };
        if header[..3] != *b"BTR" || !(1..=2).contains(&header[3]) {
            return Err(Damage::at(
                0,
                format!("begins with {:02x?}, expected \"BTR\" version 1 or 2", &header[..4]),
            ));
        }
        let [first, second] = [u64_at(4) & 0xffff_ffff, u64_at(4) >> 32];
        let page_bytes = match second {
            0xffff_ffff if header[3] == 2 => first,
            // Keys and values have maximum lengths, `first` and `second`. Every page has room for the largest node: its
            // entries, with two lengths of 4 bytes each, and the addresses of its children.
            _ => {
                V1_NODE_HEADER_BYTES
                    + MAX_ENTRIES as u64 * (first + second + 8)
                    + (MAX_ENTRIES as u64 + 1) * 8
            }
        };
        let allocator = ALLOCATOR_OFFSET as usize;
        if header[allocator..allocator + 4] != *b"BTA\x01" {
            let found = &header[allocator..allocator + 4];
            return Err(Damage::at(
                ALLOCATOR_OFFSET,
                format!("found {found:02x?}, expected \"BTA\" version 1"),
            ));
        }
        let allocator_page_bytes = u64_at(ALLOCATOR_OFFSET + 8);
        if allocator_page_bytes != page_bytes || !(MIN_PAGE_BYTES..bytes).contains(&page_bytes) {
            let what = format!(
                "pages of {page_bytes} bytes according to the map, of {allocator_page_bytes} according \
                to its allocator"
            );
            return Err(Damage::at(ALLOCATOR_OFFSET + 8, what));
        }
        let (root, len, pages) = (u64_at(ROOT_OFFSET), u64_at(LEN_OFFSET), u64_at(ALLOCATOR_OFFSET + 16));
        if (root == 0) != (len == 0) {
            return Err(Damage::at(ROOT_OFFSET, format!("{len} entries, and the root is at {root}")));
        }
        Ok(Some(Tree { memory, bytes, page_bytes, root, len, pages }))
    }

    /// Passes every entry to `each`, in ascending order. Damaged nodes and entries are skipped, and reported
    /// at the end.
    pub fn walk<K: Key>(&self, each: &mut dyn FnMut(K, &Entry<'_, M>)) -> Walked {
        let page_count = (self.bytes - PAGES_OFFSET) / (self.page_bytes + PAGE_HEADER_BYTES) + 1;
        let mut walk = Walk {
            tree: self,
            seen: vec![0; (page_count / 64 + 1) as usize],
            walked: Walked::default(),
            last: None,
            leaf_depth: None,
            each,
        };
        if self.root != 0 {
            walk.visit_node(self.root, ROOT_OFFSET, 0);
        }
        let mut walked = walk.walked;
        // If nodes or entries are damaged, the counts differ for that reason already.
        if walked.damage.is_empty() {
            if walked.entries != self.len {
                let what = format!("{} entries by the header, {} in the nodes", self.len, walked.entries);
                walked.damage.push(Damage::at(LEN_OFFSET, what));
            }
            if walked.pages != self.pages {
                let what =
                    format!("{} pages allocated by the allocator, {} in the nodes", self.pages, walked.pages);
                walked.damage.push(Damage::at(ALLOCATOR_OFFSET + 16, what));
            }
        }
        walked
    }
}

struct Walk<'w, 'm, M, K> {
    tree: &'w Tree<'m, M>,
    /// A bit for each page: whether it was visited.
    seen: Vec<u64>,
    walked: Walked,
    /// The key of the last sound entry, which the next key must exceed.
    last: Option<K>,
    /// The depth of the leaves, once one was visited.
    leaf_depth: Option<usize>,
    each: &'w mut dyn FnMut(K, &Entry<'_, M>),
}

impl<M: Memory, K: Key> Walk<'_, '_, M, K> {
    /// Visits the node at `address` and everything below it. The reference to `address` is stored at offset `from`.
    fn visit_node(&mut self, address: u64, from: u64, depth: usize) {
        if let Err(damage) = self.try_visit_node(address, from, depth) {
            self.walked.damage.push(damage);
        }
    }

    fn try_visit_node(&mut self, address: u64, from: u64, depth: usize) -> Result<(), Damage> {
        if depth > MAX_DEPTH {
            return Err(Damage::at(address, format!("a node {depth} levels below the root")));
        }
        self.take_page(address, from)?;
        let mut header = [0; NODE_HEADER_BYTES as usize];
        self.tree.memory.read(address, &mut header);
        let (kind, count) = (header[4], usize::from(u16::from_le_bytes([header[5], header[6]])));
        if header[..3] != *b"BTN" || !(1..=2).contains(&header[3]) || kind > 1 {
            let what = format!("a node begins with {:02x?}, expected \"BTN\" version 1 or 2", &header[..5]);
            return Err(Damage::at(address, what));
        }
        if count == 0 || count > MAX_ENTRIES {
            return Err(Damage::at(
                address + 5,
                format!("a node of {count} entries, expected 1 to {MAX_ENTRIES}"),
            ));
        }
        if kind == 0 && *self.leaf_depth.get_or_insert(depth) != depth {
            return Err(Damage::at(
                address,
                format!("a leaf {depth} levels below the root, unlike the others"),
            ));
        }
        let mut node =
            Node { memory: self.tree.memory, page_bytes: self.tree.page_bytes, pages: vec![address] };
        let contents = match header[3] {
            1 => self.read_old_node(&node, count, kind == 1)?,
            _ => {
                self.add_overflow_pages(&mut node, address)?;
                read_node(&node, address, count, kind == 1, fixed_len::<K>())?
            }
        };
        let mut children = contents.children.iter();
        for (key, value_at, len) in contents.entries {
            if let Some(child) = children.next() {
                self.visit_node(*child, address, depth + 1);
            }
            let Some(key) = K::parse(&key) else {
                let what = format!("an invalid key: {}", hex::encode(&key[..key.len().min(64)]));
                self.walked.damage.push(Damage::at(address, what));
                continue;
            };
            if self.last.as_ref().is_some_and(|last| *last >= key) {
                let last = self.last.as_ref().map(K::shown).unwrap_or_default();
                let what = format!("the key {} comes after {last}", key.shown());
                self.walked.damage.push(Damage::at(address, what));
                continue;
            }
            self.walked.entries += 1;
            self.last = Some(key.clone());
            (self.each)(key, &Entry { node: &node, offset: address, value_at, len });
        }
        if let Some(child) = children.next() {
            self.visit_node(*child, address, depth + 1);
        }
        Ok(())
    }

    /// Checks that `address`, a reference to which is stored at offset `from`, is a page in use that was not visited
    /// before, and marks the page as visited.
    fn take_page(&mut self, address: u64, from: u64) -> Result<(), Damage> {
        let Tree { bytes, page_bytes, memory, .. } = self.tree;
        let place = address.checked_sub(PAGES_OFFSET + PAGE_HEADER_BYTES);
        let place = place.filter(|place| place % (page_bytes + PAGE_HEADER_BYTES) == 0);
        let place = place.map(|place| place / (page_bytes + PAGE_HEADER_BYTES));
        let fits = address.checked_add(*page_bytes).is_some_and(|end| end <= *bytes);
        let Some(place) = place.filter(|_| fits) else {
            return Err(Damage::at(from, format!("points to {address}, where there is no page")));
        };
        let mut header = [0; 5];
        memory.read(address - PAGE_HEADER_BYTES, &mut header);
        if header != *b"CHK\x01\x01" {
            let what = format!("the header of a page in use is {header:02x?}, expected \"CHK\", 1, 1");
            return Err(Damage::at(address - PAGE_HEADER_BYTES, what));
        }
        let (word, bit) = ((place / 64) as usize, 1 << (place % 64));
        match self.seen.get_mut(word) {
            Some(word) if *word & bit == 0 => *word |= bit,
            _ => {
                return Err(Damage::at(
                    from,
                    format!("points to the page at {address}, which belongs to another node"),
                ));
            }
        }
        self.walked.pages += 1;
        Ok(())
    }

    /// Adds the overflow pages of a node at `address`, which refer to each other like a list.
    fn add_overflow_pages(&mut self, node: &mut Node<'_, M>, address: u64) -> Result<(), Damage> {
        let mut next = [0; 8];
        let mut from = address + NEXT_PAGE_OFFSET;
        node.memory.read(from, &mut next);
        let mut next = u64::from_le_bytes(next);
        while next != 0 {
            self.take_page(next, from)?;
            let mut header = [0; OVERFLOW_HEADER_BYTES as usize];
            node.memory.read(next, &mut header);
            let [n, o, f, rest @ ..] = header;
            if [n, o, f] != *b"NOF" {
                let what = format!("an overflow page begins with {:02x?}, expected \"NOF\"", &header[..3]);
                return Err(Damage::at(next, what));
            }
            node.pages.push(next);
            from = next + 3;
            next = u64::from_le_bytes(rest);
        }
        Ok(())
    }

    /// Reads a node of version 1: entries, for each of which the maximum lengths are reserved, then children, all in
    /// one page.
    fn read_old_node(
        &self,
        node: &Node<'_, M>,
        count: usize,
        is_internal: bool,
    ) -> Result<NodeContents, Damage> {
        let address = node.pages[0];
        let mut bounds = [0; 8];
        self.tree.memory.read(4, &mut bounds);
        let [a, b, c, d, e, f, g, h] = bounds;
        let [key_max, value_max] = [[a, b, c, d], [e, f, g, h]].map(u32::from_le_bytes);
        let u32_at = |at: u64| {
            let mut bytes = [0; 4];
            node.read(at, &mut bytes);
            u32::from_le_bytes(bytes)
        };
        let mut at = V1_NODE_HEADER_BYTES;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let (key_len, value_at) = (u32_at(at), at + 4 + u64::from(key_max));
            let value_len = u32_at(value_at);
            if key_len > key_max || value_len > value_max {
                let what =
                    format!("an entry of {key_len} and {value_len} bytes, at most {key_max} and {value_max}");
                return Err(Damage::at(address + at, what));
            }
            let mut key = vec![0; key_len as usize];
            node.read(at + 4, &mut key);
            entries.push((key, value_at + 4, value_len));
            at = value_at + 4 + u64::from(value_max);
        }
        let children = if is_internal { read_children(node, at, count + 1) } else { Vec::new() };
        Ok(NodeContents { children, entries })
    }
}

fn read_children<M: Memory>(node: &Node<'_, M>, at: u64, count: usize) -> Vec<u64> {
    let mut bytes = vec![0; count * 8];
    node.read(at, &mut bytes);
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

/// Reads a node of version 2: children, then keys, then values, in one or more pages.
fn read_node<M: Memory>(
    node: &Node<'_, M>,
    address: u64,
    count: usize,
    is_internal: bool,
    fixed_key_len: Option<u32>,
) -> Result<NodeContents, Damage> {
    let capacity = node.capacity();
    let too_long = |what: &str| {
        Damage::at(address, format!("{what} of a node end after its last page, at {capacity} bytes"))
    };
    let u32_at = |at: u64| {
        let mut bytes = [0; 4];
        node.read(at, &mut bytes);
        u32::from_le_bytes(bytes)
    };
    let mut at = NODE_HEADER_BYTES;
    let mut children = Vec::new();
    if is_internal {
        let end = at + (count as u64 + 1) * 8;
        if end > capacity {
            return Err(too_long("the children"));
        }
        children = read_children(node, at, count + 1);
        at = end;
    }
    let mut keys = Vec::with_capacity(count);
    for _ in 0..count {
        let len = match fixed_key_len {
            Some(len) => len,
            None if at + 4 > capacity => return Err(too_long("the keys")),
            None => {
                at += 4;
                u32_at(at - 4)
            }
        };
        let end = at + u64::from(len);
        if end > capacity {
            return Err(too_long("the keys"));
        }
        let mut key = vec![0; len as usize];
        node.read(at, &mut key);
        keys.push(key);
        at = end;
    }
    let mut entries = Vec::with_capacity(count);
    for key in keys {
        if at + 4 > capacity {
            return Err(too_long("the values"));
        }
        let len = u32_at(at);
        let end = at + 4 + u64::from(len);
        if end > capacity {
            return Err(too_long("the values"));
        }
        entries.push((key, at + 4, len));
        at = end;
    }
    Ok(NodeContents { children, entries })
}
