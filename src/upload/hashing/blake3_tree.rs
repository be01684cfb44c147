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
pub const fn leaves(bytes: u64) -> u64 {
    bytes.div_ceil(LEAF_BYTES)
}

/// Returns the range of the leaves that lie entirely within the bytes `from..to` of a file of `total` bytes. The last
/// leaf of the file may be shorter than the others.
pub fn leaves_within(from: u64, to: u64, total: u64) -> (u64, u64) {
    let end = if to == total { leaves(total) } else { to.div_euclid(LEAF_BYTES) };
    (leaves(from).min(end), end)
}

/// Returns the height of the largest subtree of the leaves `at..end` that begins at leaf `at`. In a tree of two or more
/// leaves, the subtree is never the whole tree, since the root is finalized differently.
fn height_at(at: u64, end: u64, total_leaves: u64) -> u8 {
    let fits = |height: u8| {
        let size = 1_u64 << height;
        at & size.saturating_sub(1) == 0 && at.saturating_add(size) <= end && size < total_leaves
    };
    (1..62).take_while(|height| fits(*height)).last().unwrap_or(0)
}

/// Iterates over the heights of the subtrees into which [`LeafHasher`] divides the leaves `at..end`.
pub fn heights(at: u64, end: u64, total_leaves: u64) -> impl Iterator<Item = u8> {
    let mut at = at;
    std::iter::from_fn(move || {
        (at < end).then(|| {
            let height = height_at(at, end, total_leaves);
            at = at.saturating_add(1 << height);
            height
        })
    })
}

/// A hasher of consecutive leaves. It takes their bytes in blocks of any length.
#[derive(Clone)]
pub struct LeafHasher {
    at: u64,
    end: u64,
    total_leaves: u64,
    /// How many bytes are left to skip before the first leaf. They belong to a leaf that begins in the previous chunk.
    skip: u64,
    /// The subtree being hashed: its hasher, its height, and how many of its bytes are not hashed yet.
    current: Option<(Box<Hasher>, u8, u64)>,
    done: Vec<Subtree>,
}

impl LeafHasher {
    /// Creates a hasher of the leaves that lie entirely within the bytes `from..to` of a file of `total` bytes.
    pub fn new(from: u64, to: u64, total: u64) -> Self {
        let (at, end) = leaves_within(from, to, total);
        let skip = at.saturating_mul(LEAF_BYTES).saturating_sub(from);
        Self { at, end, total_leaves: leaves(total), skip, current: None, done: Vec::new() }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len() as u64);
        self.skip = self.skip.saturating_sub(skipped);
        let mut remaining = bytes.get(skipped as usize..).unwrap_or_default();
        while !remaining.is_empty() && (self.current.is_some() || self.at < self.end) {
            let (mut hasher, height, missing) = self.current.take().unwrap_or_else(|| self.next_subtree());
            let part = remaining.get(..missing as usize).unwrap_or(remaining);
            hasher.update(part);
            remaining = remaining.get(part.len()..).unwrap_or_default();
            let missing = missing.saturating_sub(part.len() as u64);
            if missing == 0 {
                self.done.push(Subtree { height, value: hasher.finalize_non_root() });
            } else {
                self.current = Some((hasher, height, missing));
            }
        }
    }

    pub fn finish(mut self) -> Vec<Subtree> {
        // The last subtree of a file is not full if the last leaf is short.
        if let Some((hasher, height, _)) = self.current.take() {
            self.done.push(Subtree { height, value: hasher.finalize_non_root() });
        }
        self.done
    }

    fn next_subtree(&mut self) -> (Box<Hasher>, u8, u64) {
        let height = height_at(self.at, self.end, self.total_leaves);
        let mut hasher = Box::new(Hasher::new());
        hasher.set_input_offset(self.at.saturating_mul(LEAF_BYTES));
        self.at = self.at.saturating_add(1 << height);
        (hasher, height, LEAF_BYTES << height)
    }
}

/// The leaves `0..leaves` of a file, merged into as few subtrees as possible without the root, the largest first.
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

    pub fn push(&mut self, subtree: Subtree, total_leaves: u64) {
        let Subtree { mut height, mut value } = subtree;
        self.leaves = self.leaves.saturating_add(1 << height);
        while let Some(left) = self.subtrees.last().copied().filter(|left| {
            let size = 2_u64 << height;
            left.height == height && self.leaves & size.saturating_sub(1) == 0 && size < total_leaves
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

pub fn to_values(subtrees: &[Subtree]) -> Vec<u8> {
    subtrees.iter().flat_map(|subtree| subtree.value).collect()
}

/// Decodes what [`to_values`] encoded. The encoding does not contain the heights of the subtrees, see [`heights`].
pub fn from_values(values: &[u8], heights: impl Iterator<Item = u8>) -> Vec<Subtree> {
    let (values, _) = values.as_chunks::<{ blake3::OUT_LEN }>();
    heights.zip(values).map(|(height, value)| Subtree { height, value: *value }).collect()
}
