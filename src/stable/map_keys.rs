//! Reads the keys of a map with large values, without the library and without reading the values.
//!
//! To load a node the library follows the list of all its pages, about 20,000 reads for eleven values of 1.8 MB,
//! although all keys are in the first page. Here only that first page is read. The map must be in version 2 of the
//! library's format, with keys of fixed length; for any other format the result is `None`, and the caller must use
//! the library.
//!
//! ```text
//! map     byte 0..4    "BTR", 2
//!         byte 4..8    page size
//!         byte 8..12   all ones: the page size is not derived from bounds of keys and values
//!         byte 12..20  address of the root, 0 for none
//! node    byte 0..4    "BTN", 2
//!         byte 4       0 leaf, 1 internal
//!         byte 5..7    number of entries, at most 11
//!         byte 15..    in an internal node: addresses of the children, one more than entries;
//!                      then, in every node: keys, ascending
//! ```
//! All numbers are little-endian.

use ic_stable_structures::Memory as _;

use super::Memory;

const MAX_ENTRIES: usize = 11;

const ENTRIES_OFFSET: usize = 15;

const ADDRESS_BYTES: usize = 8;

/// Maximum depth of a tree. A deeper one would have more nodes than there are addresses, since every inner node but the
/// root has at least six children.
const MAX_DEPTH: u32 = 32;

/// The keys of a map, `N` bytes each.
pub struct MapKeys<const N: usize> {
    memory: Memory,
}

/// The parts of a node that are read.
struct Node<'b, const N: usize> {
    /// Addresses of the children; empty in a leaf.
    children: &'b [[u8; ADDRESS_BYTES]],
    keys: &'b [[u8; N]],
}

impl<const N: usize> MapKeys<N> {
    /// Number of bytes at the beginning of a node that contain all keys of the node.
    const NODE_BYTES: usize = ENTRIES_OFFSET + (MAX_ENTRIES + 1) * ADDRESS_BYTES + MAX_ENTRIES * N;

    /// Returns the keys of the map in this memory.
    pub const fn of(memory: Memory) -> Self {
        Self { memory }
    }

    /// Passes the keys from `low` to `high`, inclusive, to `take`, ascending, until `take` returns false. Returns
    /// `Some` in both cases; `None` if there is no map, or one that cannot be read here: some keys may have been passed
    /// by then.
    pub fn between(
        &self,
        low: &[u8; N],
        high: &[u8; N],
        take: &mut dyn FnMut(&[u8; N]) -> bool,
    ) -> Option<()> {
        let mut header = [0; 20];
        if self.memory.size() == 0 {
            return None;
        }
        self.memory.read(0, &mut header);
        let (format, root) = header.split_last_chunk()?;
        let (magic, page) = format.split_first_chunk::<4>()?;
        let (page_bytes, marker) = page.split_first_chunk()?;
        let keys_fit = u32::from_le_bytes(*page_bytes) as usize > Self::NODE_BYTES;
        if magic != b"BTR\x02" || !keys_fit || marker.iter().any(|byte| *byte != u8::MAX) {
            return None;
        }
        match u64::from_le_bytes(*root) {
            0 => Some(()),
            root => self.walk(root, low, high, take, MAX_DEPTH).map(drop),
        }
    }

    /// Returns whether the map has this key; `None` if there is no map, or one that cannot be read here.
    pub fn contains(&self, key: &[u8; N]) -> Option<bool> {
        let mut found = false;
        self.between(key, key, &mut |_| {
            found = true;
            false
        })?;
        Some(found)
    }

    /// Does what [`Self::between`] does, for the keys of a node and of its descendants. Returns `Some(false)` if no
    /// more keys are wanted: `take` returned false, or a key is above `high`.
    fn walk(
        &self,
        address: u64,
        low: &[u8; N],
        high: &[u8; N],
        take: &mut dyn FnMut(&[u8; N]) -> bool,
        depth: u32,
    ) -> Option<bool> {
        let depth = depth.checked_sub(1)?;
        let mut bytes = vec![0; Self::NODE_BYTES];
        self.memory.read(address, &mut bytes);
        let Node { children, keys } = Node::parse(&bytes)?;
        let first = keys.partition_point(|key| key < low);
        let mut children = children.iter().skip(first);
        for key in keys.iter().skip(first) {
            // If `key` is `low`, all keys of the child before it are below the requested range.
            if let Some(child) = children.next().filter(|_| key != low)
                && !self.walk(u64::from_le_bytes(*child), low, high, take, depth)?
            {
                return Some(false);
            }
            if key > high || !take(key) {
                return Some(false);
            }
        }
        match children.next() {
            Some(child) => self.walk(u64::from_le_bytes(*child), low, high, take, depth),
            None => Some(true),
        }
    }
}

impl<'b, const N: usize> Node<'b, N> {
    fn parse(bytes: &'b [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(ENTRIES_OFFSET)?;
        let [b'B', b'T', b'N', 2, kind, low, high, ..] = header else { return None };
        let entries = usize::from(u16::from_le_bytes([*low, *high]));
        let children = match kind {
            0 => 0,
            1 => entries.checked_add(1)?,
            _ => return None,
        };
        if entries > MAX_ENTRIES {
            return None;
        }
        let (children, keys) = rest.split_at_checked(children.checked_mul(ADDRESS_BYTES)?)?;
        Some(Self { children: children.as_chunks().0, keys: keys.as_chunks().0.get(..entries)? })
    }
}

#[cfg(test)]
mod tests {
    use ic_stable_structures::StableBTreeMap;
    use proptest::prelude::*;

    use super::*;
    use crate::stable::{Memories, RawMemory, memory_ids};

    type Key = ([u8; 32], u32);

    fn encode_key((prefix, idx): Key) -> [u8; 36] {
        let mut bytes = [0; 36];
        bytes[..32].copy_from_slice(&prefix);
        bytes[32..].copy_from_slice(&idx.to_be_bytes());
        bytes
    }

    fn key() -> impl Strategy<Value = Key> {
        (0..6_u8, 0..40_u32).prop_map(|(prefix, idx)| ([prefix; 32], idx * 7))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn keys_are_those_that_the_library_finds(
            changes in prop::collection::vec((key(), 0..5_000_usize, prop::bool::weighted(0.7)), 0..300),
            ranges in prop::collection::vec((key(), key(), 1..50_usize), 1..20),
        ) {
            let memories = Memories::init(RawMemory::default());
            let memory = || memories.get(memory_ids::CHUNKS);
            let mut map = StableBTreeMap::<Key, Vec<u8>, _>::init(memory());
            for (key, len, stays) in changes {
                map.insert(key, vec![1; len]);
                if !stays {
                    map.remove(&key);
                }
            }
            for (low, high, wanted) in ranges {
                let mut found = Vec::new();
                let mut take = |key: &[u8; 36]| {
                    found.push(*key);
                    found.len() < wanted
                };
                MapKeys::of(memory()).between(&encode_key(low), &encode_key(high), &mut take).unwrap();
                let expected: Vec<_> = if low <= high {
                    map.keys_range(low..=high).take(wanted).map(encode_key).collect()
                } else {
                    Vec::new()
                };
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn a_map_with_another_layout_is_left_to_the_library() {
        let memories = Memories::init(RawMemory::default());
        let memory = || memories.get(memory_ids::CHUNKS);
        let keys = |memory| MapKeys::<36>::of(memory).between(&[0; 36], &[255; 36], &mut |_| true);
        assert_eq!(keys(memory()), None, "there is no map");
        let mut map = StableBTreeMap::<Key, Vec<u8>, _>::init(memory());
        assert_eq!(keys(memory()), Some(()), "the map is empty");
        map.insert(([1; 32], 1), vec![2]);
        assert_eq!(keys(memory()), Some(()));
        let root = {
            let mut root = [0; 8];
            memory().read(12, &mut root);
            u64::from_le_bytes(root)
        };
        // At offset 4: a page size of 256 bytes, too few for the keys of a node.
        let changes: [(u64, &[u8]); 7] = [
            (3, &[1]),
            (4, &[0, 1]),
            (11, &[0]),
            (root, b"X"),
            (root + 3, &[1]),
            (root + 4, &[2]),
            (root + 5, &[12]),
        ];
        for (at, bytes) in changes {
            let mut before = vec![0; bytes.len()];
            memory().read(at, &mut before);
            memory().write(at, bytes);
            assert_eq!(keys(memory()), None, "byte {at}");
            memory().write(at, &before);
        }
        assert_eq!(keys(memory()), Some(()));
    }

    /// The header of a map with bounded keys and values has their maximum sizes in place of the page size and its
    /// marker.
    #[test]
    fn a_page_that_keys_may_not_fit_is_not_read() {
        let memories = Memories::init(RawMemory::default());
        let memory = memories.get(memory_ids::SESSIONS);
        drop(StableBTreeMap::<u64, u64, _>::init(memories.get(memory_ids::SESSIONS)));
        assert_eq!(MapKeys::<36>::of(memory).between(&[0; 36], &[255; 36], &mut |_| true), None);
    }
}
