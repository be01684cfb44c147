//! A set of chunk numbers, stored as ranges.
//!
//! Chunks mostly arrive in order, so most sets consist of one range. The worst case is that every second chunk has
//! arrived: with 16,384 chunks, the most that an upload may have, these are 8,192 ranges of two `u32` each, 64 KiB.

use std::collections::BTreeMap;

/// Chunk numbers as disjoint, non-adjacent, ascending ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkSet {
    /// Inclusive ranges: the first number of each, mapped to its last.
    ranges: BTreeMap<u32, u32>,
}

impl ChunkSet {
    /// Returns the empty set.
    pub const fn new() -> Self {
        Self { ranges: BTreeMap::new() }
    }

    /// Returns the set of the numbers in inclusive ranges; `None` if a range is empty (its first number is above its
    /// last), or if the ranges are not ascending, overlap or are adjacent. No ranges at all give the empty set.
    pub fn from_ranges(ranges: &[(u32, u32)]) -> Option<Self> {
        let is_well_formed = ranges.iter().all(|(first, last)| first <= last)
            && ranges.windows(2).all(|pair| match pair {
                [(_, last), (next, _)] => last.checked_add(1).is_some_and(|end| end < *next),
                _ => false,
            });
        is_well_formed.then(|| Self { ranges: ranges.iter().copied().collect() })
    }

    /// Adds a number. Returns `true` if it is new, `false` if it was already in the set.
    pub fn insert(&mut self, idx: u32) -> bool {
        let before = self.ranges.range(..=idx).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| last >= idx) {
            return false;
        }
        let first = match before {
            Some((first, last)) if last.checked_add(1) == Some(idx) => first,
            _ => idx,
        };
        let next = idx.checked_add(1);
        let last = next.and_then(|next| self.ranges.remove(&next)).unwrap_or(idx);
        self.ranges.insert(first, last);
        true
    }

    /// Returns whether the number is in the set.
    pub fn contains(&self, idx: u32) -> bool {
        self.ranges.range(..=idx).next_back().is_some_and(|(_, last)| *last >= idx)
    }

    /// Returns how many numbers (not ranges) are in the set.
    pub fn len(&self) -> u64 {
        self.ranges().map(|(first, last)| range_len(first, last)).sum()
    }

    /// Returns whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Iterates over the ranges `(first, last)`, inclusive, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.ranges.iter().map(|(first, last)| (*first, *last))
    }

    /// Returns whether the set contains all numbers of `0..count`; it may contain more. `true` if `count` is 0.
    pub fn contains_all_below(&self, count: u32) -> bool {
        let Some(last_needed) = count.checked_sub(1) else {
            return true;
        };
        self.ranges.get(&0).is_some_and(|last| *last >= last_needed)
    }

    /// Iterates over the numbers of `0..count` that are not in the set, as inclusive ranges, ascending.
    pub fn missing_below(&self, count: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        // One gap, possibly empty, precedes each range, and one follows the last range.
        let starts = std::iter::once(Some(0)).chain(self.ranges.values().map(|last| last.checked_add(1)));
        let ends = self.ranges.keys().copied().map(Some).chain(std::iter::once(None));
        starts.zip(ends).filter_map(move |(start, end)| {
            let start = start?;
            let end = end.unwrap_or(count).min(count);
            (start < end).then(|| (start, end.saturating_sub(1)))
        })
    }
}

/// Returns how many numbers an inclusive range has. `first` must not be above `last`.
pub(super) fn range_len(first: u32, last: u32) -> u64 {
    u64::from(last).saturating_sub(u64::from(first)).saturating_add(1)
}

impl FromIterator<u32> for ChunkSet {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut set = Self::new();
        for idx in numbers {
            set.insert(idx);
        }
        set
    }
}
