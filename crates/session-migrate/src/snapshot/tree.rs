//! Walks a map of ic-stable-structures, and reports damaged bytes instead of panicking.
//!
//! ```text
//! byte 0       "BTR", version: 1 or 2
//! byte 4..12   maximum lengths of keys and values; in version 2 also: page size, u32::MAX
//! byte 12..28  root, number of entries
//! byte 52..    allocator: "BTA", 1, 4 bytes, page size, pages taken, first free page
//! byte 100..   pages, each after a header of 16 bytes: "CHK", 1, taken, 3 bytes, next free page
//!
//! node         "BTN", 2, kind, u16 entries, next page; children, keys, values; continues in its overflow pages
//! overflow     "NOF", next page, bytes of the node
//! ```
//! All numbers are little-endian. A page that two nodes share is damage and visited only once, so a walk ends
//! regardless of the bytes.

use ic_stable_structures::Memory;
use upload_canister::stable::fixed_len;

use super::{Damage, Key, PAGE_BYTES};

const ALLOCATOR: u64 = 52;
const FIRST_PAGE: u64 = 100;
const PAGE_HEADER: u64 = 16;
const NODE_HEADER: u64 = 15;
const OVERFLOW_HEADER: u64 = 11;
/// Maximum number of entries of a node.
const CAPACITY: usize = 11;
/// Minimum page size of the library, bytes.
const SHORTEST_PAGE: u64 = 128;
/// Maximum depth of a node. Even a tree of 2^64 entries is less deep.
const DEEPEST: usize = 64;

fn bytes_of(memory: &impl Memory) -> u64 {
    memory.size().saturating_mul(PAGE_BYTES)
}

/// A map, with the contents of its header.
pub struct Tree<'m, M> {
    memory: &'m M,
    bytes: u64,
    page_bytes: u64,
    root: u64,
    /// Number of entries according to the header.
    pub len: u64,
    /// Number of allocated pages according to the allocator.
    pub pages: u64,
}

/// The result of a walk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Number of entries.
    pub entries: u64,
    /// Number of pages, overflow pages included.
    pub pages: u64,
    /// The damage that was found. Nodes below a damaged node were not visited.
    pub damage: Vec<Damage>,
}

/// An entry. Its value is read on demand.
pub struct Entry<'t, M> {
    node: &'t Node<'t, M>,
    /// Offset of the entry's node in the memory.
    pub offset: u64,
    value: u64,
    /// Length of the value, bytes.
    pub len: u32,
}

impl<M: Memory> Entry<'_, M> {
    /// Returns the bytes of the value.
    pub fn value(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        self.node.read(self.value, &mut bytes);
        bytes
    }
}

/// A node and its overflow pages.
struct Node<'m, M> {
    memory: &'m M,
    page_bytes: u64,
    pages: Vec<u64>,
}

impl<M: Memory> Node<'_, M> {
    fn capacity(&self) -> u64 {
        let overflow = self.page_bytes - OVERFLOW_HEADER;
        (self.pages.len() as u64 - 1) * overflow + self.page_bytes
    }

    /// Reads bytes of the node, within its capacity.
    fn read(&self, at: u64, into: &mut [u8]) {
        let overflow = self.page_bytes - OVERFLOW_HEADER;
        let (mut at, mut rest) = (at, into);
        while !rest.is_empty() {
            let (page, within, room) = if at < self.page_bytes {
                (0, at, self.page_bytes - at)
            } else {
                let beyond = at - self.page_bytes;
                let within = beyond % overflow;
                (beyond / overflow + 1, within + OVERFLOW_HEADER, overflow - within)
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

struct Layout {
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
        let bytes = bytes_of(memory);
        if bytes == 0 {
            return Ok(None);
        }
        let mut header = [0; FIRST_PAGE as usize];
        memory.read(0, &mut header);
        let number = |at: u64| {
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
        let [first, second] = [number(4) & 0xffff_ffff, number(4) >> 32];
        let page_bytes = match second {
            0xffff_ffff if header[3] == 2 => first,
            // Keys and values have maximum lengths, and every page has room for the largest node.
            _ => 7 + CAPACITY as u64 * (first + second + 8) + (CAPACITY as u64 + 1) * 8,
        };
        let allocator = ALLOCATOR as usize;
        if header[allocator..allocator + 4] != *b"BTA\x01" {
            let found = &header[allocator..allocator + 4];
            return Err(Damage::at(ALLOCATOR, format!("found {found:02x?}, expected \"BTA\" version 1")));
        }
        let allocated = number(ALLOCATOR + 8);
        if allocated != page_bytes || !(SHORTEST_PAGE..bytes).contains(&page_bytes) {
            let what = format!(
                "pages of {page_bytes} bytes according to the map, of {allocated} according \
                to its allocator"
            );
            return Err(Damage::at(ALLOCATOR + 8, what));
        }
        let (root, len, pages) = (number(12), number(20), number(ALLOCATOR + 16));
        if (root == 0) != (len == 0) {
            return Err(Damage::at(12, format!("{len} entries, and the root is at {root}")));
        }
        Ok(Some(Tree { memory, bytes, page_bytes, root, len, pages }))
    }

    /// Passes every entry to `each`, in ascending order. Damaged nodes and entries are skipped, and reported
    /// at the end.
    pub fn walk<K: Key>(&self, each: &mut dyn FnMut(K, &Entry<'_, M>)) -> Walked {
        let places = (self.bytes - FIRST_PAGE) / (self.page_bytes + PAGE_HEADER) + 1;
        let mut walk = Walk {
            tree: self,
            seen: vec![0; (places / 64 + 1) as usize],
            walked: Walked::default(),
            last: None,
            leaves_at: None,
            each,
        };
        if self.root != 0 {
            walk.node(self.root, 12, 0);
        }
        let mut walked = walk.walked;
        if walked.damage.is_empty() {
            if walked.entries != self.len {
                let what = format!("{} entries by the header, {} in the nodes", self.len, walked.entries);
                walked.damage.push(Damage::at(20, what));
            }
            if walked.pages != self.pages {
                let what =
                    format!("{} pages allocated by the allocator, {} in the nodes", self.pages, walked.pages);
                walked.damage.push(Damage::at(ALLOCATOR + 16, what));
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
    /// The key of the last entry.
    last: Option<K>,
    /// The depth of the leaves, once one was visited.
    leaves_at: Option<usize>,
    each: &'w mut dyn FnMut(K, &Entry<'_, M>),
}

impl<M: Memory, K: Key> Walk<'_, '_, M, K> {
    /// Visits the node at `address`, which the bytes at `from` refer to, and everything below it.
    fn node(&mut self, address: u64, from: u64, depth: usize) {
        if let Err(damage) = self.try_node(address, from, depth) {
            self.walked.damage.push(damage);
        }
    }

    fn try_node(&mut self, address: u64, from: u64, depth: usize) -> Result<(), Damage> {
        if depth > DEEPEST {
            return Err(Damage::at(address, format!("a node {depth} levels below the root")));
        }
        self.take_page(address, from)?;
        let mut header = [0; NODE_HEADER as usize];
        self.tree.memory.read(address, &mut header);
        let (kind, count) = (header[4], usize::from(u16::from_le_bytes([header[5], header[6]])));
        if header[..3] != *b"BTN" || !(1..=2).contains(&header[3]) || kind > 1 {
            let what = format!("a node begins with {:02x?}, expected \"BTN\" version 1 or 2", &header[..5]);
            return Err(Damage::at(address, what));
        }
        if count == 0 || count > CAPACITY {
            return Err(Damage::at(
                address + 5,
                format!("a node of {count} entries, expected 1 to {CAPACITY}"),
            ));
        }
        if kind == 0 && *self.leaves_at.get_or_insert(depth) != depth {
            return Err(Damage::at(
                address,
                format!(
                    "a leaf {depth} levels below the root, unlike the \
                others"
                ),
            ));
        }
        let mut node =
            Node { memory: self.tree.memory, page_bytes: self.tree.page_bytes, pages: vec![address] };
        let layout = match header[3] {
            1 => self.layout_of_old(&node, count, kind == 1)?,
            _ => {
                self.overflows(&mut node, address)?;
                layout(&node, address, count, kind == 1, fixed_len::<K>())?
            }
        };
        let mut children = layout.children.iter();
        for (key, value, len) in layout.entries {
            if let Some(child) = children.next() {
                self.node(*child, address, depth + 1);
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
            (self.each)(key, &Entry { node: &node, offset: address, value, len });
        }
        if let Some(child) = children.next() {
            self.node(*child, address, depth + 1);
        }
        Ok(())
    }

    /// Checks that `address`, to which the bytes at `from` point, is a page in use that was not visited before, and
    /// marks the page as visited.
    fn take_page(&mut self, address: u64, from: u64) -> Result<(), Damage> {
        let Tree { bytes, page_bytes, memory, .. } = self.tree;
        let place = address.checked_sub(FIRST_PAGE + PAGE_HEADER);
        let place = place.filter(|place| place % (page_bytes + PAGE_HEADER) == 0);
        let place = place.map(|place| place / (page_bytes + PAGE_HEADER));
        let fits = address.checked_add(*page_bytes).is_some_and(|end| end <= *bytes);
        let Some(place) = place.filter(|_| fits) else {
            return Err(Damage::at(from, format!("points to {address}, where there is no page")));
        };
        let mut header = [0; 5];
        memory.read(address - PAGE_HEADER, &mut header);
        if header != *b"CHK\x01\x01" {
            let what = format!("the header of a page in use is {header:02x?}, expected \"CHK\", 1, 1");
            return Err(Damage::at(address - PAGE_HEADER, what));
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

    fn overflows(&mut self, node: &mut Node<'_, M>, address: u64) -> Result<(), Damage> {
        let mut next = [0; 8];
        node.memory.read(address + 7, &mut next);
        let mut from = address + 7;
        let mut next = u64::from_le_bytes(next);
        while next != 0 {
            self.take_page(next, from)?;
            let mut header = [0; OVERFLOW_HEADER as usize];
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

    /// Reads a node of version 1: entries of one length, then children, all in one page.
    fn layout_of_old(&self, node: &Node<'_, M>, count: usize, is_internal: bool) -> Result<Layout, Damage> {
        let address = node.pages[0];
        let mut bounds = [0; 8];
        self.tree.memory.read(4, &mut bounds);
        let [a, b, c, d, e, f, g, h] = bounds;
        let [key_max, value_max] = [[a, b, c, d], [e, f, g, h]].map(u32::from_le_bytes);
        let number = |at: u64| {
            let mut bytes = [0; 4];
            node.read(at, &mut bytes);
            u32::from_le_bytes(bytes)
        };
        let mut at = 7;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let (key_len, value_at) = (number(at), at + 4 + u64::from(key_max));
            let value_len = number(value_at);
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
        Ok(Layout { children, entries })
    }
}

fn read_children<M: Memory>(node: &Node<'_, M>, at: u64, count: usize) -> Vec<u64> {
    let mut bytes = vec![0; count * 8];
    node.read(at, &mut bytes);
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

/// Reads a node of version 2: children, then keys, then values, in one or more pages.
fn layout<M: Memory>(
    node: &Node<'_, M>,
    address: u64,
    count: usize,
    is_internal: bool,
    fixed: Option<u32>,
) -> Result<Layout, Damage> {
    let room = node.capacity();
    let too_long = |what: &str| {
        Damage::at(address, format!("{what} of a node end after its last page, at {room} bytes"))
    };
    let number = |at: u64| {
        let mut bytes = [0; 4];
        node.read(at, &mut bytes);
        u32::from_le_bytes(bytes)
    };
    let mut at = NODE_HEADER;
    let mut children = Vec::new();
    if is_internal {
        let end = at + (count as u64 + 1) * 8;
        if end > room {
            return Err(too_long("the children"));
        }
        children = read_children(node, at, count + 1);
        at = end;
    }
    let mut keys = Vec::with_capacity(count);
    for _ in 0..count {
        let len = match fixed {
            Some(len) => len,
            None if at + 4 > room => return Err(too_long("the keys")),
            None => {
                at += 4;
                number(at - 4)
            }
        };
        let end = at + u64::from(len);
        if end > room {
            return Err(too_long("the keys"));
        }
        let mut key = vec![0; len as usize];
        node.read(at, &mut key);
        keys.push(key);
        at = end;
    }
    let mut entries = Vec::with_capacity(count);
    for key in keys {
        if at + 4 > room {
            return Err(too_long("the values"));
        }
        let len = number(at);
        let end = at + 4 + u64::from(len);
        if end > room {
            return Err(too_long("the values"));
        }
        entries.push((key, at + 4, len));
        at = end;
    }
    Ok(Layout { children, entries })
}
