//! Synthetic files, whose chunks are generated one by one when they are sent.

use sha2::{Digest, Sha256};
use upload_canister::api::{AssetMetadata, AssetMetadataBase, AssetType};
use upload_canister::session::Chunking;

/// Length of every chunk but the last, in bytes, as in `upload_config`.
pub const CHUNK_BYTES: u64 = 1_800_000;

/// A generated file. No two of its chunks have a page in common, so that the heap delta, which counts only pages that
/// change, includes every page of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Its size in bytes.
    pub bytes: u64,
    /// Each seed gives a different file.
    pub seed: u64,
}

impl File {
    /// Returns a file of this many full chunks.
    pub fn of_chunks(chunks: u32, seed: u64) -> Self {
        Self { bytes: u64::from(chunks) * CHUNK_BYTES, seed }
    }

    fn chunking(&self) -> Chunking {
        Chunking::new(self.bytes, CHUNK_BYTES)
    }

    /// Returns the number of chunks.
    pub fn chunks(&self) -> u32 {
        self.chunking().count()
    }

    /// Returns the bytes of a chunk.
    pub fn chunk(&self, index: u32) -> Vec<u8> {
        // The length of a chunk fits into `usize` on every platform.
        let length = self.chunking().len(index) as usize;
        let mut number = splitmix64(self.seed.wrapping_mul(1 << 32).wrapping_add(u64::from(index)));
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            number = splitmix64(number);
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// Returns the SHA-256 of the file.
    pub fn sha256(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for index in 0..self.chunks() {
            hasher.update(self.chunk(index));
        }
        hasher.finalize().into()
    }

    /// Returns the BLAKE3 of the file.
    pub fn blake3(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for index in 0..self.chunks() {
            hasher.update(&self.chunk(index));
        }
        hasher.finalize().into()
    }

    /// Returns the metadata with which an upload of the file begins.
    pub fn metadata(&self) -> AssetMetadata {
        metadata(self.bytes)
    }
}

/// Returns metadata of a file of this many bytes.
pub fn metadata(bytes: u64) -> AssetMetadata {
    let base = AssetMetadataBase::new("file.bin", "application/octet-stream", AssetType::Original, bytes, 0);
    AssetMetadata::document(base)
}

/// Returns the first number of the SplitMix64 generator with this seed.
fn splitmix64(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_divided_into_different_chunks() {
        let file = File { bytes: CHUNK_BYTES + 5, seed: 1 };
        assert_eq!(file.chunks(), 2);
        let (first, last) = (file.chunk(0), file.chunk(1));
        assert_eq!((first.len(), last.len()), (1_800_000, 5));
        assert_eq!(file.sha256(), <[u8; 32]>::from(Sha256::digest([first, last].concat())));
        let (one, other) = (File::of_chunks(2, 1), File::of_chunks(1, 2));
        for (a, b) in [(one.chunk(0), one.chunk(1)), (one.chunk(0), other.chunk(0))] {
            assert!(a.chunks(4096).zip(b.chunks(4096)).all(|(a, b)| a != b), "no page in common");
        }
    }
}
