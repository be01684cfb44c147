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

use super::{Key, format_byte_count};

impl<A: Key, B: Key> Key for (A, B) {
    fn from_stored(bytes: &[u8]) -> Result<Self, String> {
        // Fails for types without a bound: the library does not store pairs of these.
        let (a_size, b_size) = (Size::of::<A>()?, Size::of::<B>()?);
        let mut unread = Unread(bytes);
        let (a_padded, b_padded) = (unread.take(a_size.max)?, unread.take(b_size.max)?);
        let (a_len, b_len) = (unread.read_len(&a_size)?, unread.read_len(&b_size)?);
        unread.check_end()?;
        let key = (A::from_stored(prefix(a_padded, a_len)?)?, B::from_stored(prefix(b_padded, b_len)?)?);
        check_same_bytes(key, bytes)
    }
}

impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    fn from_stored(bytes: &[u8]) -> Result<Self, String> {
        let (a_fixed, b_fixed) = (fixed_size::<A>(), fixed_size::<B>());
        let mut unread = Unread(bytes);
        let widths = match (a_fixed, b_fixed) {
            (Some(_), Some(_)) => 0,
            _ => unread.read_number(1)?,
        };
        // Two bits each for `A` and `B`: how many bytes the length of the component takes, minus one.
        let (a_width, b_width) = ((widths >> 2 & 3).saturating_add(1), (widths & 3).saturating_add(1));
        let a_len = a_fixed.map_or_else(|| unread.read_number(a_width), Ok)?;
        let a_bytes = unread.take(a_len)?;
        let b_len = b_fixed.map_or_else(|| unread.read_number(b_width), Ok)?;
        let b_bytes = unread.take(b_len)?;
        let key = (A::from_stored(a_bytes)?, B::from_stored(b_bytes)?, C::from_stored(unread.0)?);
        check_same_bytes(key, bytes)
    }
}

/// Returns the key, or an error unless it is stored as just these bytes. Any other bytes that decode as the key are
/// damaged, or were written by another release of the library.
fn check_same_bytes<K: Storable>(key: K, bytes: &[u8]) -> Result<K, String> {
    if key.to_bytes().as_ref() == bytes {
        Ok(key)
    } else {
        Err("not the bytes that the key is stored as".into())
    }
}

/// The bound of a key type.
struct Size {
    /// Maximum size, bytes.
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

/// Returns the size of the keys of a type in bytes, if it is fixed; otherwise `None`.
fn fixed_size<K: Storable>() -> Option<usize> {
    Size::of::<K>().ok().filter(|size| size.is_fixed).map(|size| size.max)
}

/// Returns a component of a pair without its padding.
fn prefix(bytes: &[u8], len: usize) -> Result<&[u8], String> {
    bytes.get(..len).ok_or_else(|| format!("a part of {len} bytes, expected at most {}", bytes.len()))
}

/// The bytes of a key that were not read yet.
struct Unread<'a>(&'a [u8]);

impl<'a> Unread<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let left = self.0.len();
        let (taken, rest) =
            self.0.split_at_checked(len).ok_or_else(|| format!("{left} bytes are left, expected {len}"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// Reads a big-endian number of `width` bytes.
    fn read_number(&mut self, width: usize) -> Result<usize, String> {
        Ok(self.take(width)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// Returns the length of a component of a pair: the fixed one, which is not stored, or the next number.
    fn read_len(&mut self, size: &Size) -> Result<usize, String> {
        let width = match size.max {
            max if size.is_fixed => return Ok(max),
            0..=0xff => 1,
            0x100..=0xffff => 2,
            _ => 4,
        };
        self.read_number(width)
    }

    fn check_end(&self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("{} after the key", format_byte_count(self.0))) }
    }
}
