//! Digests: of one record, and of a set of records, which does not depend on their order.

use sha2::{Digest as _, Sha256};

use crate::Record;

/// A digest of 32 bytes. The digests that the engine computes are SHA-256; a migration may digest its units otherwise.
///
/// ```
/// use ic_stable_migrate::{Digest, digest_of};
///
/// let digest: Digest = digest_of(b"cents: 100");
/// assert_ne!(digest, digest_of(b"cents: 101"));
/// ```
pub type Digest = [u8; 32];

/// Returns the SHA-256 of some bytes.
///
/// ```
/// use ic_stable_migrate::digest_of;
///
/// // A fixed-size number has one encoding, so the digest may be that of its bytes.
/// let (before, after) = (100_u64, 1_000_000_u128);
/// assert_eq!(digest_of(&before.to_be_bytes()), digest_of(&u64::try_from(after / 10_000)?.to_be_bytes()));
/// # Ok::<(), std::num::TryFromIntError>(())
/// ```
#[must_use]
pub fn digest_of(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// Returns the digest of a stored record's content, which is the same whichever release wrote the record: decodes the
/// record, encodes it with [`Record::encode`], and digests the result. If the record does not decode, digests the
/// stored bytes.
///
/// Two releases may write different bytes for the same content: an optional field that one of them does not know, or
/// Candid's table of types. If a migration digests the stored bytes before the conversion, and newly encoded bytes
/// after it, the digests differ, and the migration is stuck although nothing was lost.
///
/// ```
/// use candid::{CandidType, Deserialize};
/// use ic_stable_migrate::{Record, digest_of, digest_of_record};
///
/// #[derive(CandidType, Deserialize)]
/// struct Todo {
///     text: String,
///     due: Option<u64>,
/// }
///
/// impl Record for Todo {
///     const NAME: &'static str = "todo";
///
///     fn encode(&self) -> Vec<u8> {
///         candid::encode_one(self).unwrap_or_default()
///     }
///
///     fn decode(bytes: &[u8]) -> Result<Self, String> {
///         candid::decode_one(bytes).map_err(|error| error.to_string())
///     }
/// }
///
/// // An early release had only the text.
/// #[derive(CandidType)]
/// struct First {
///     text: String,
/// }
/// let early = candid::encode_one(First { text: "buy milk".into() })?;
/// let late = Todo { text: "buy milk".into(), due: None }.encode();
/// assert_ne!(digest_of(&early), digest_of(&late));
/// assert_eq!(digest_of_record::<Todo>(&early), digest_of_record::<Todo>(&late));
/// assert_eq!(digest_of_record::<Todo>(b"damaged"), digest_of(b"damaged"));
/// # Ok::<(), candid::Error>(())
/// ```
#[must_use]
pub fn digest_of_record<V: Record>(stored: &[u8]) -> Digest {
    V::decode(stored).map_or_else(|_| digest_of(stored), |record| digest_of(&record.encode()))
}

/// The digest of a set of records: the sum of their digests, in four lanes of 64 bits each.
///
/// Records leave one store and enter another in any order, so the digest must not depend on the order. Unlike XOR, a
/// sum also distinguishes one copy of a record from three. Equal digests prove that nothing was lost or changed by
/// accident; they do not protect against someone who can choose the contents of records.
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
/// // As `MigrationStatus` shows them.
/// assert_eq!(before.to_bytes(), after.to_bytes());
/// after.remove(digest_of(b"one"));
/// assert_ne!(before, after);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cfg_attr(all(test, feature = "_schema"), derive(stable_schema::StableSchema))]
#[cbor(transparent)]
pub struct MultisetDigest([u64; 4]);

impl MultisetDigest {
    /// Adds a record, given by its digest.
    pub fn add(&mut self, member: Digest) {
        let (words, _) = member.as_chunks::<8>();
        for (lane, word) in self.0.iter_mut().zip(words) {
            *lane = lane.wrapping_add(u64::from_be_bytes(*word));
        }
    }

    /// Removes a record, given by its digest. The caller must make sure that the record was added.
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
