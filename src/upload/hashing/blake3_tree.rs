//! BLAKE3 in parts: the chaining values of subtrees, and their merging into one digest.
//!
//! BLAKE3 hashes leaves of 1,024 bytes, which its specification calls chunks, and joins them in a binary tree, so parts
//! of a file can be hashed separately, in any order. A chunk of an upload need not begin or end at a leaf boundary; a
//! leaf that spans two chunks is hashed when both are stored.

use blake3::Hasher;
use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use minicbor::{Decode, Encode};

pub const LEAF_BYTES: u64 = blake3::CHUNK_LEN as u64;

/// A subtree of `1 << height` leaves, represented by its chaining value.
#[derive(Encode, Decode, Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
#[cbor(array)]
pub struct Subtree {
    #[n(0)]
    height: u8,
    #[cbor(n(1), with = "minicbor::bytes")]
    value: ChainingValue,
}

/// Returns the number of leaves of a file of this many bytes, 0 for an empty file.
pub const fn leaf_count(bytes: u64) -> u64 {
    bytes.div_ceil(LEAF_BYTES)
}

/// Returns the leaves that lie entirely within the bytes `from..to` of a file of `total` bytes: the first leaf, and the
/// one after the last. The last leaf of the file may be shorter than the others; it lies within if `to` is `total`.
pub fn leaf_range_within(from: u64, to: u64, total: u64) -> (u64, u64) {
    let end = if to == total { leaf_count(total) } else { to.div_euclid(LEAF_BYTES) };
    (leaf_count(from).min(end), end)
}

/// Returns the height of the largest subtree that begins at leaf `first` and lies within the leaves `first..end`; 0 is
/// a single leaf. In a tree of two or more leaves, the subtree is never the whole tree, since the root is finalized
/// differently.
fn largest_height_at(first: u64, end: u64, total_leaves: u64) -> u8 {
    let fits = |height: u8| {
        let leaves = 1_u64 << height;
        first & leaves.saturating_sub(1) == 0 && first.saturating_add(leaves) <= end && leaves < total_leaves
    };
    // Up to height 61, no shift overflows; no file has a higher subtree.
    (1..62).take_while(|height| fits(*height)).last().unwrap_or(0)
}

/// Iterates over the heights of the subtrees into which [`LeafHasher`] divides the leaves `first..end`.
pub fn subtree_heights(first: u64, end: u64, total_leaves: u64) -> impl Iterator<Item = u8> {
    let mut next = first;
    std::iter::from_fn(move || {
        (next < end).then(|| {
            let height = largest_height_at(next, end, total_leaves);
            next = next.saturating_add(1 << height);
            height
        })
    })
}

/// A hasher of consecutive leaves. It takes their bytes in blocks of any length.
#[derive(Clone)]
pub struct LeafHasher {
    /// The first leaf of the next subtree.
    next_leaf: u64,
    end_leaf: u64,
    total_leaves: u64,
    /// How many bytes are left to skip before the first leaf: they end a leaf that begins in the previous chunk.
    skip: u64,
    current: Option<PartialSubtree>,
    finished: Vec<Subtree>,
}

/// A subtree being hashed.
#[derive(Clone)]
struct PartialSubtree {
    hasher: Box<Hasher>,
    height: u8,
    /// How many bytes of the subtree, if all its leaves are full, are not hashed yet.
    missing: u64,
}

impl PartialSubtree {
    fn finish(self) -> Subtree {
        Subtree { height: self.height, value: self.hasher.finalize_non_root() }
    }
}

impl LeafHasher {
    /// Creates a hasher of the leaves that lie entirely within the bytes `from..to` of a file of `total` bytes.
    pub fn new(from: u64, to: u64, total: u64) -> Self {
        let (next_leaf, end_leaf) = leaf_range_within(from, to, total);
        let skip = next_leaf.saturating_mul(LEAF_BYTES).saturating_sub(from);
        Self {
            next_leaf,
            end_leaf,
            total_leaves: leaf_count(total),
            skip,
            current: None,
            finished: Vec::new(),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len() as u64);
        self.skip = self.skip.saturating_sub(skipped);
        let mut remaining = bytes.get(skipped as usize..).unwrap_or_default();
        while !remaining.is_empty() && (self.current.is_some() || self.next_leaf < self.end_leaf) {
            let mut subtree = self.current.take().unwrap_or_else(|| self.begin_subtree());
            let part = remaining.get(..subtree.missing as usize).unwrap_or(remaining);
            subtree.hasher.update(part);
            remaining = remaining.get(part.len()..).unwrap_or_default();
            subtree.missing = subtree.missing.saturating_sub(part.len() as u64);
            if subtree.missing == 0 {
                self.finished.push(subtree.finish());
            } else {
                self.current = Some(subtree);
            }
        }
    }

    pub fn finish(mut self) -> Vec<Subtree> {
        // A subtree may be unfinished here: the last one of a file whose last leaf is short.
        if let Some(subtree) = self.current.take() {
            self.finished.push(subtree.finish());
        }
        self.finished
    }

    fn begin_subtree(&mut self) -> PartialSubtree {
        let height = largest_height_at(self.next_leaf, self.end_leaf, self.total_leaves);
        let mut hasher = Box::new(Hasher::new());
        hasher.set_input_offset(self.next_leaf.saturating_mul(LEAF_BYTES));
        self.next_leaf = self.next_leaf.saturating_add(1 << height);
        PartialSubtree { hasher, height, missing: LEAF_BYTES << height }
    }
}

/// The leaves `0..leaves` of a file, merged into as few subtrees as possible, never into the root; the largest comes
/// first.
#[derive(Encode, Decode, Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
#[cbor(array)]
pub struct TreePrefix {
    #[n(0)]
    leaves: u64,
    #[n(1)]
    subtrees: Vec<Subtree>,
}

impl TreePrefix {
    pub const fn leaves(&self) -> u64 {
        self.leaves
    }

    /// Appends the next subtree. Then merges the last two subtrees, as long as they are the halves of a larger one that
    /// is not the whole tree.
    pub fn push(&mut self, subtree: Subtree, total_leaves: u64) {
        let Subtree { mut height, mut value } = subtree;
        self.leaves = self.leaves.saturating_add(1 << height);
        while let Some(left) = self.subtrees.last().copied().filter(|left| {
            let merged_leaves = 2_u64 << height;
            left.height == height
                && self.leaves & merged_leaves.saturating_sub(1) == 0
                && merged_leaves < total_leaves
        }) {
            self.subtrees.pop();
            value = merge_subtrees_non_root(&left.value, &value, Mode::Hash);
            height = height.saturating_add(1);
        }
        self.subtrees.push(Subtree { height, value });
    }

    /// Returns the digest of a file of two or more leaves, all of which must have been appended; `None` if there are
    /// fewer than two subtrees.
    pub fn digest(&self) -> Option<[u8; 32]> {
        let (first, others) = self.subtrees.split_first()?;
        let (last, between) = others.split_last()?;
        let right = between
            .iter()
            .rev()
            .fold(last.value, |right, left| merge_subtrees_non_root(&left.value, &right, Mode::Hash));
        Some(merge_subtrees_root(&first.value, &right, Mode::Hash).into())
    }
}

/// Encodes subtrees as their values, 32 bytes each, without their heights.
pub fn to_chaining_values(subtrees: &[Subtree]) -> Vec<u8> {
    subtrees.iter().flat_map(|subtree| subtree.value).collect()
}

/// Decodes what [`to_chaining_values`] encoded. The encoding does not contain the heights of the subtrees, see
/// [`subtree_heights`].
pub fn from_chaining_values(values: &[u8], heights: impl Iterator<Item = u8>) -> Vec<Subtree> {
    let (values, _) = values.as_chunks::<{ blake3::OUT_LEN }>();
    heights.zip(values).map(|(height, value)| Subtree { height, value: *value }).collect()
}
