//! Pairs and triples as keys. `ic-stable-structures` stores them, but its functions for reading them trap on damaged
//! bytes. This module reads the same format:
//!
//! ```text
//! (A, B)      A, padded to its bound; B, padded to its bound; length of A; length of B
//! (A, B, C)   lengths of the lengths, one byte; length of A; A; length of B; B; C
//! ```
//! The length of a type of fixed size is omitted. The byte for the lengths of the lengths is omitted if both `A` and
//! `B` are of fixed size.

use ic_stable_structures::Storable;
use ic_stable_structures::storable::Bound;

use super::{Key, count_bytes};

impl<A: Key, B: Key> Key for (A, B) {
    fn from_stored(bytes: &[u8]) -> Result<Self, String> {
        // Fails for types without a bound: the library does not store pairs of these.
        let (a, b) = (Size::of::<A>()?, Size::of::<B>()?);
        let mut unread = Unread(bytes);
        let (first, second) = (unread.take(a.max)?, unread.take(b.max)?);
        let (a_len, b_len) = (unread.len_of(&a)?, unread.len_of(&b)?);
        unread.end()?;
        let key = (A::from_stored(prefix(first, a_len)?)?, B::from_stored(prefix(second, b_len)?)?);
        checked(key, bytes)
    }
}

impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    fn from_stored(bytes: &[u8]) -> Result<Self, String> {
        let (a, b) = (fixed_size::<A>(), fixed_size::<B>());
        let mut unread = Unread(bytes);
        let lens = match (a, b) {
            (Some(_), Some(_)) => 0,
            _ => unread.number(1)?,
        };
        // Two bits each for `A` and `B`: how many bytes the length of this key takes, minus one.
        let (a_width, b_width) = ((lens >> 2 & 3).saturating_add(1), (lens & 3).saturating_add(1));
        let a_len = a.map_or_else(|| unread.number(a_width), Ok)?;
        let first = unread.take(a_len)?;
        let b_len = b.map_or_else(|| unread.number(b_width), Ok)?;
        let second = unread.take(b_len)?;
        let key = (A::from_stored(first)?, B::from_stored(second)?, C::from_stored(unread.0)?);
        checked(key, bytes)
    }
}

/// Returns an error unless these are the bytes of the key: others are damaged, or of another release of the library.
fn checked<K: Storable>(key: K, bytes: &[u8]) -> Result<K, String> {
    if key.to_bytes().as_ref() == bytes {
        Ok(key)
    } else {
        Err("not the bytes that the key is stored as".into())
    }
}

struct Size {
    max: usize,
    is_fixed: bool,
}

impl Size {
    fn of<K: Storable>() -> Result<Self, String> {
        match K::BOUND {
            Bound::Bounded { max_size, is_fixed_size } => {
                Ok(Self { max: usize::try_from(max_size).unwrap_or(usize::MAX), is_fixed: is_fixed_size })
            }
            Bound::Unbounded => Err("a pair of keys without a bound".into()),
        }
    }
}

fn fixed_size<K: Storable>() -> Option<usize> {
    Size::of::<K>().ok().filter(|size| size.is_fixed).map(|size| size.max)
}

fn prefix(bytes: &[u8], len: usize) -> Result<&[u8], String> {
    bytes.get(..len).ok_or_else(|| format!("a part of {len} bytes, expected at most {}", bytes.len()))
}

struct Unread<'a>(&'a [u8]);

impl<'a> Unread<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let found = self.0.len();
        let (taken, rest) =
            self.0.split_at_checked(len).ok_or_else(|| format!("{found} bytes are left, expected {len}"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, width: usize) -> Result<usize, String> {
        Ok(self.take(width)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// Reads the length of one key of a pair; a fixed length is not stored.
    fn len_of(&mut self, size: &Size) -> Result<usize, String> {
        let width = match size.max {
            max if size.is_fixed => return Ok(max),
            0..=0xff => 1,
            0x100..=0xffff => 2,
            _ => 4,
        };
        self.number(width)
    }

    fn end(&self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("{} after the key", count_bytes(self.0))) }
    }
}
