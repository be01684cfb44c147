//! Key types of two parts, at least one of them a text. The library's own tuples support no parts of unbounded length.
//!
//! `from_bytes` turns damaged bytes into a key that nobody looks up; the record under it stays where it is.
//! `Key::parse` (`key.rs`) rejects such bytes.

use std::borrow::Cow;

use ic_stable_structures::Storable;
use ic_stable_structures::storable::Bound;

/// A number followed by a text.
///
/// ```text
/// byte 0..8    number, big-endian
/// byte 8..     text, UTF-8
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NumberAndText(pub u64, pub String);

/// Two texts.
///
/// ```text
/// byte 0..4    length of the first text in bytes, big-endian
/// byte 4..     first text, second text, UTF-8
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TwoTexts(pub String, pub String);

impl Storable for NumberAndText {
    const BOUND: Bound = Bound::Unbounded;

    fn to_bytes(&self) -> Cow<'_, [u8]> {
        Cow::Owned([&self.0.to_be_bytes(), self.1.as_bytes()].concat())
    }

    fn into_bytes(self) -> Vec<u8> {
        self.to_bytes().into_owned()
    }

    fn from_bytes(bytes: Cow<'_, [u8]>) -> Self {
        let (number, text) = bytes.split_first_chunk().unwrap_or((&[0; 8], &[]));
        Self(u64::from_be_bytes(*number), text_of(text))
    }
}

impl Storable for TwoTexts {
    const BOUND: Bound = Bound::Unbounded;

    fn to_bytes(&self) -> Cow<'_, [u8]> {
        let len = u32::try_from(self.0.len()).unwrap_or(u32::MAX).to_be_bytes();
        Cow::Owned([&len, self.0.as_bytes(), self.1.as_bytes()].concat())
    }

    fn into_bytes(self) -> Vec<u8> {
        self.to_bytes().into_owned()
    }

    fn from_bytes(bytes: Cow<'_, [u8]>) -> Self {
        let (len, texts) = bytes.split_first_chunk().unwrap_or((&[0; 4], &[]));
        let len = u32::from_be_bytes(*len) as usize;
        let (first, second) = texts.split_at_checked(len).unwrap_or((texts, &[]));
        Self(text_of(first), text_of(second))
    }
}

#[cfg(test)]
impl stable_schema::PlainBytes for NumberAndText {
    fn name() -> String {
        "(u64, text)".into()
    }
}

#[cfg(test)]
impl stable_schema::PlainBytes for TwoTexts {
    fn name() -> String {
        "(text after its u32 length, text)".into()
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
