//! Identity of begin calls: idempotency key and fingerprint.

use candid::Principal;
use sha2::{Digest, Sha256};

use crate::api::{AssetMetadata, HashAlgorithm};
use crate::session::{SessionId, Time};

/// Identifies a call of begin: the capsule, the caller and the key that the caller chose, hashed to 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdemKey(pub [u8; 32]);

impl IdemKey {
    /// Makes the key. Each part is preceded by its length, so that no two triples run into one another.
    pub fn of(capsule_id: &str, caller: &Principal, idem: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [capsule_id.as_bytes(), caller.as_slice(), idem.as_bytes()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// Returns where in key space this key lies, 0 to 99: distributes new sessions over two paths such that a
    /// retry takes the same one.
    pub fn percentile(&self) -> u8 {
        let [first, second, ..] = self.0;
        let scaled = u32::from(u16::from_be_bytes([first, second])).saturating_mul(100) >> 16;
        u8::try_from(scaled).unwrap_or(99)
    }
}

/// The parameters of a begin, hashed: a repeated call must have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Makes the fingerprint of the parameters that are not part of the [`IdemKey`].
    pub fn of(asset_metadata: &AssetMetadata, expected_chunks: u32, hash: HashAlgorithm) -> Self {
        let mut digest = Sha256::new()
            .chain_update(expected_chunks.to_be_bytes())
            .chain_update(crate::stable::codec::encode(1, asset_metadata));
        if hash != HashAlgorithm::Sha256 {
            // Receipts from before there was a choice have SHA-256 and nothing here. The `Debug` text is
            // stored data: it must not change.
            digest.update(format!("{hash:?}"));
        }
        Self(digest.finalize().into())
    }
}

/// A memory id that no other has or will have: the number is given out once, and is part of the id.
pub fn memory_id(number: SessionId, key: IdemKey, now: Time) -> String {
    let digest = Sha256::new()
        .chain_update(key.0)
        .chain_update(number.0.to_be_bytes())
        .chain_update(now.as_nanos().to_be_bytes())
        .finalize();
    let hex = hex::encode(digest);
    // Half of the digest is unique enough, and short enough for a person.
    // All digits of the number, so that lists by id are in the order in which uploads were begun.
    format!("mem_{:020}_{hex:.32}", number.0)
}
