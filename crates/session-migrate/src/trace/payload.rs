//! References to bytes that a trace does not contain: generated from a seed, or in a file named by their digest.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

/// Maximum length of blobs that are written into the trace, bytes: digests and other small values.
pub(super) const INLINE_BYTES: usize = 64;

/// Bytes in one word of the generator.
const WORD_BYTES: u64 = 4;

/// Returns `length` bytes of file `seed` from `offset` on.
///
/// File `seed` is the stream of ChaCha8 keyed by `seed`, so any part of it can be generated without the
/// preceding bytes.
pub fn seeded(seed: u64, offset: u64, length: usize) -> Vec<u8> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_word_pos(u128::from(offset / WORD_BYTES));
    // Less than a word.
    let skip = (offset % WORD_BYTES) as usize;
    let mut bytes = vec![0; skip + length];
    generator.fill_bytes(&mut bytes);
    bytes.drain(..skip);
    bytes
}

/// A reference to bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadRef {
    /// A part of a seeded file: `@seed:SEED:OFFSET:LENGTH`.
    Seed {
        /// The file.
        seed: u64,
        /// Where the part begins, bytes.
        offset: u64,
        /// Length of the part, bytes.
        length: u64,
    },
    /// A file with this SHA-256: `@sha256:DIGEST:LENGTH`. If a reply contains the reference, the file need not exist.
    Sha256 {
        /// The digest.
        digest: [u8; 32],
        /// Length of the file, bytes.
        length: u64,
    },
}

impl fmt::Display for PayloadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PayloadRef::Seed { seed, offset, length } => write!(f, "@seed:{seed}:{offset}:{length}"),
            PayloadRef::Sha256 { digest, length } => write!(f, "@sha256:{}:{length}", hex::encode(digest)),
        }
    }
}

impl PayloadRef {
    /// Creates a reference to these bytes by their digest.
    pub fn of(bytes: &[u8]) -> PayloadRef {
        PayloadRef::Sha256 { digest: Sha256::digest(bytes).into(), length: bytes.len() as u64 }
    }

    /// Returns the number of bytes.
    pub fn length(&self) -> u64 {
        match self {
            PayloadRef::Seed { length, .. } | PayloadRef::Sha256 { length, .. } => *length,
        }
    }

    /// Parses the text that [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<PayloadRef> {
        let parts: Vec<&str> = text.split(':').collect();
        match parts.as_slice() {
            ["@seed", seed, offset, length] => Some(PayloadRef::Seed {
                seed: seed.parse().ok()?,
                offset: offset.parse().ok()?,
                length: length.parse().ok()?,
            }),
            ["@sha256", digest, length] => Some(PayloadRef::Sha256 {
                digest: hex::decode(digest).ok()?.try_into().ok()?,
                length: length.parse().ok()?,
            }),
            _ => None,
        }
    }
}

/// Returns the folder of the payload files of the trace at `path`. The folder is next to the trace.
pub(super) fn folder(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".payload");
    path.with_file_name(name)
}

/// Seeds of known bytes: added when bytes are generated, looked up when they are written.
#[derive(Clone, Debug, Default)]
pub struct Seeds(HashMap<[u8; 32], PayloadRef>);

impl Seeds {
    /// Generates bytes of a seeded file and remembers their seed.
    pub fn generate(&mut self, seed: u64, offset: u64, length: usize) -> Vec<u8> {
        let bytes = seeded(seed, offset, length);
        let reference = PayloadRef::Seed { seed, offset, length: length as u64 };
        self.0.insert(Sha256::digest(&bytes).into(), reference);
        bytes
    }

    /// Returns the reference to these bytes: by seed, or otherwise by digest.
    pub fn reference_to(&self, bytes: &[u8]) -> PayloadRef {
        let by_digest = PayloadRef::of(bytes);
        match &by_digest {
            PayloadRef::Sha256 { digest, .. } => self.0.get(digest).cloned().unwrap_or(by_digest),
            PayloadRef::Seed { .. } => by_digest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_seeded_file_is_the_same_as_in_the_whole() {
        let whole = seeded(7, 0, 1000);
        for (offset, length) in [(0, 0), (0, 1), (1, 2), (3, 10), (64, 64), (255, 745), (997, 3)] {
            assert_eq!(seeded(7, offset as u64, length), whole[offset..offset + length], "{offset}+{length}");
        }
        assert_ne!(seeded(8, 0, 100), whole[..100]);
    }

    #[test]
    fn references_are_read_as_they_are_written() {
        let seed = PayloadRef::Seed { seed: 1, offset: 2, length: 3 };
        for reference in [seed, PayloadRef::of(b"abc")] {
            assert_eq!(PayloadRef::parse(&reference.to_string()), Some(reference));
        }
        for bad in ["", "@seed:1:2", "@seed:a:2:3", "@sha256:00:3", "seed:1:2:3", "@session:1"] {
            assert_eq!(PayloadRef::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn generated_bytes_are_identified_by_their_seed() {
        let mut seeds = Seeds::default();
        let generated = seeds.generate(3, 100, 200);
        assert_eq!(seeds.reference_to(&generated), PayloadRef::Seed { seed: 3, offset: 100, length: 200 });
        assert_eq!(seeds.reference_to(b"others"), PayloadRef::of(b"others"));
    }
}
