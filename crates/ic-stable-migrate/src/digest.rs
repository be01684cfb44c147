//! A digest of a set of records that does not depend on their order.

use sha2::{Digest as _, Sha256};

/// The SHA-256 of what must survive of a unit.
pub type Digest = [u8; 32];

/// Returns the SHA-256 of some bytes.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// The sum of the digests of the members, in four lanes of 64 bits each.
///
/// Records leave one store and enter another in any order, so the digest must not depend on it; a sum, unlike
/// XOR, also distinguishes one copy of a member from three. It proves that nothing was lost or changed by
/// accident; it does not protect against someone who can choose records.
///
/// ```
/// use ic_stable_migrate::{MultisetDigest, digest_of};
///
/// let (mut before, mut after) = (MultisetDigest::default(), MultisetDigest::default());
/// for record in ["one", "two", "three"] {
///     before.add(digest_of(record.as_bytes()));
/// }
/// for record in ["three", "one"] {
///     after.add(digest_of(record.as_bytes()));
/// }
/// assert_ne!(before, after);
/// after.add(digest_of(b"two"));
/// assert_eq!(before, after);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
#[cbor(transparent)]
pub struct MultisetDigest([u64; 4]);

impl MultisetDigest {
    /// Adds a member by its digest.
    pub fn add(&mut self, member: Digest) {
        let (words, _) = member.as_chunks::<8>();
        for (lane, word) in self.0.iter_mut().zip(words) {
            *lane = lane.wrapping_add(u64::from_be_bytes(*word));
        }
    }

    /// Takes a member out again.
    pub fn remove(&mut self, member: Digest) {
        let (words, _) = member.as_chunks::<8>();
        for (lane, word) in self.0.iter_mut().zip(words) {
            *lane = lane.wrapping_sub(u64::from_be_bytes(*word));
        }
    }

    /// Returns the digest as 32 bytes.
    #[must_use]
    pub fn to_bytes(self) -> Digest {
        let mut bytes = [0; 32];
        let (words, _) = bytes.as_chunks_mut::<8>();
        for (lane, word) in self.0.iter().zip(words) {
            *word = lane.to_be_bytes();
        }
        bytes
    }
}
