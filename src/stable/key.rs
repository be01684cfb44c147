//! The trait of map keys that can be parsed without a panic, and its implementation for each key type of this canister.

use candid::Principal;
use ic_stable_structures::Storable;
use ic_stable_structures::storable::Blob;

use super::keys::{NumberAndText, TwoTexts};

/// A key of a map that can be parsed from untrusted bytes; the library's own decoders panic on damaged bytes.
pub trait Key: Storable + Ord + Clone + std::fmt::Debug {
    /// Parses stored bytes; `None` if they are not a key.
    fn parse(bytes: &[u8]) -> Option<Self>;

    /// Returns the key as text, for errors and reports.
    fn shown(&self) -> String {
        format!("{self:?}")
    }
}

impl Key for u16 {
    fn parse(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(u16::from_be_bytes)
    }
}

impl Key for u64 {
    fn parse(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(u64::from_be_bytes)
    }
}

impl Key for [u8; 32] {
    fn parse(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok()
    }

    fn shown(&self) -> String {
        hex::encode(self)
    }
}

impl Key for String {
    fn parse(bytes: &[u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok().map(str::to_owned)
    }

    fn shown(&self) -> String {
        self.clone()
    }
}

impl Key for Principal {
    fn parse(bytes: &[u8]) -> Option<Self> {
        Principal::try_from_slice(bytes).ok()
    }

    fn shown(&self) -> String {
        self.to_text()
    }
}

impl Key for (u64, u64) {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (first, second) = bytes.split_first_chunk()?;
        Some((u64::from_be_bytes(*first), u64::parse(second)?))
    }
}

impl Key for (u16, u64) {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (first, second) = bytes.split_first_chunk()?;
        Some((u16::from_be_bytes(*first), u64::parse(second)?))
    }
}

impl Key for ([u8; 32], u32) {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (prefix, idx) = bytes.split_first_chunk()?;
        Some((*prefix, u32::from_be_bytes(idx.try_into().ok()?)))
    }

    fn shown(&self) -> String {
        format!("{} {}", hex::encode(self.0), self.1)
    }
}

/// Length to which a principal is padded in a key of two parts, bytes.
const PRINCIPAL_BYTES: usize = 29;

/// The library stores a pair as both parts, each padded to its maximum length, and then a length byte for each part of
/// variable length: here only the principal, in the next `impl` both parts.
impl Key for (Principal, u64) {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (principal, rest) = bytes.split_at_checked(PRINCIPAL_BYTES)?;
        let (number, len) = rest.split_at_checked(8)?;
        let [len] = len else { return None };
        Some((Principal::parse(principal.get(..usize::from(*len))?)?, u64::parse(number)?))
    }

    fn shown(&self) -> String {
        format!("{} {}", self.0, self.1)
    }
}

impl Key for (Principal, Blob<32>) {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (principal, rest) = bytes.split_at_checked(PRINCIPAL_BYTES)?;
        let (text, lens) = rest.split_at_checked(32)?;
        let [len, text_len] = lens else { return None };
        let text = Blob::try_from(text.get(..usize::from(*text_len))?).ok()?;
        Some((Principal::parse(principal.get(..usize::from(*len))?)?, text))
    }

    fn shown(&self) -> String {
        format!("{} {}", self.0, String::from_utf8_lossy(self.1.as_slice()))
    }
}

impl Key for NumberAndText {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (number, text) = bytes.split_first_chunk()?;
        Some(NumberAndText(u64::from_be_bytes(*number), String::parse(text)?))
    }

    fn shown(&self) -> String {
        format!("{} {}", self.0, self.1)
    }
}

impl Key for TwoTexts {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (len, texts) = bytes.split_first_chunk()?;
        let (first, second) = texts.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        Some(TwoTexts(String::parse(first)?, String::parse(second)?))
    }

    fn shown(&self) -> String {
        format!("{} {}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<K: Key>(key: &K, text: &str) {
        let bytes = key.to_bytes();
        assert_eq!(K::parse(&bytes).as_ref(), Some(key));
        assert_eq!(key.shown(), text);
        assert_eq!(K::parse(&bytes[..1]), None);
    }

    #[test]
    fn a_key_is_parsed_and_shown_as_text() {
        let caller = Principal::from_slice(&[1, 2, 3]);
        check(&258_u16, "258");
        check(&(1_u64 << 40), "1099511627776");
        check(&(258_u64, 7_u64), "(258, 7)");
        check(&(258_u16, 7_u64), "(258, 7)");
        check(&[7; 32], &"07".repeat(32));
        // Every prefix of a text or a principal is a valid key, so `check` does not apply to them.
        assert_eq!(("text".to_owned().shown(), caller.shown()), ("text".into(), caller.to_text()));
        check(&([7; 32], 258_u32), &format!("{} 258", "07".repeat(32)));
        check(&(caller, 258_u64), &format!("{caller} 258"));
        check(&(caller, Blob::<32>::try_from(b"idem".as_slice()).unwrap()), &format!("{caller} idem"));
        check(&NumberAndText(258, "text".into()), "258 text");
        check(&TwoTexts("one".into(), "two".into()), "one two");
    }
}
