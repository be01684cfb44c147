//! Identity of begin calls: idempotency key and fingerprint. Also the ids of memories.

use candid::Principal;
use sha2::{Digest, Sha256};

use crate::api::{AssetMetadata, HashAlgorithm, SessionPath};
use crate::session::{SessionId, Time};

/// The identity of a begin: capsule, caller and the key that the caller chose (the idempotency key of the glossary),
/// hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdemKey(pub [u8; 32]);

impl IdemKey {
    /// Creates the key. Each part is preceded by its length, so that no two triples give the hash the same input.
    pub fn of(capsule_id: &str, caller: &Principal, idem: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [capsule_id.as_bytes(), caller.as_slice(), idem.as_bytes()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// Returns the path on which a session with this key begins if the compat share is `compat_share_percent`.
    pub fn path(&self, compat_share_percent: u8) -> SessionPath {
        if self.percentile() < compat_share_percent { SessionPath::Compat } else { SessionPath::Direct }
    }

    /// Returns the position of this key in the range of all possible keys, in percent, 0 to 99.
    fn percentile(&self) -> u8 {
        let [first, second, ..] = self.0;
        let scaled = u32::from(u16::from_be_bytes([first, second])).saturating_mul(100) >> 16;
        u8::try_from(scaled).unwrap_or(99)
    }
}

/// A hash of the parameters of a begin that are not part of the [`IdemKey`]. A repeated begin must have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    pub fn of(asset_metadata: &AssetMetadata, expected_chunks: u32, hash: HashAlgorithm) -> Self {
        let mut digest = Sha256::new()
            .chain_update(expected_chunks.to_be_bytes())
            .chain_update(crate::stable::codec::encode(1, asset_metadata));
        match hash {
            // Receipts of releases without BLAKE3 have fingerprints that name no hash function.
            HashAlgorithm::Sha256 => {}
            // Fingerprints are stored in receipts, so this text must not change.
            HashAlgorithm::Blake3 => digest.update(b"Blake3"),
        }
        Self(digest.finalize().into())
    }
}

/// Returns an id for a new memory of a capsule. It is unique forever, since it contains `number`, which is never reused
/// and need not be a session's.
///
/// ```text
/// mem_ LETTER NUMBER _ DIGEST      NUMBER and DIGEST in base 32, with digits "0" to "9" and "a" to "v"
/// ```
/// The letter encodes how many digits the number has, "a" for one, so that ids sort by their numbers, and after the
/// ids of earlier releases, which have a decimal number after "mem_". The digest, 128 bits of a SHA-256, makes ids
/// impossible to guess. An id is kept short because it is part of the keys of four tables.
pub fn id_of_new_memory(number: SessionId, key: IdemKey, now: Time) -> String {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(key.0)
        .chain_update(number.0.to_be_bytes())
        .chain_update(now.as_nanos().to_be_bytes())
        .finalize()
        .into();
    let digits = (u64::BITS.saturating_sub(number.0.leading_zeros())).div_ceil(DIGIT_BITS).max(1);
    let mut id = String::with_capacity(64);
    id.push_str("mem_");
    id.push(char::from(b'a'.saturating_add(digits.saturating_sub(1) as u8)));
    push_digits(&mut id, number.0, digits);
    id.push('_');
    let (words, _) = digest.as_chunks();
    // Two words of 64 bits: the 128 bits of the id.
    for word in words.iter().take(2) {
        push_digits(&mut id, u64::from_be_bytes(*word), u64::BITS.div_ceil(DIGIT_BITS));
    }
    id
}

const DIGIT_BITS: u32 = 5;

/// Appends the last `digits` digits of a number in base 32.
fn push_digits(text: &mut String, number: u64, digits: u32) {
    for place in (0..digits).rev() {
        let digit = (number >> place.saturating_mul(DIGIT_BITS)) as u8 & 31;
        text.push(char::from(if digit < 10 {
            b'0'.saturating_add(digit)
        } else {
            // `W` is ten before `a`.
            b'W'.saturating_add(digit)
        }));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id_of(number: u64) -> String {
        id_of_new_memory(SessionId(number), IdemKey([7; 32]), Time::from_nanos(1))
    }

    proptest! {
        #[test]
        fn ids_are_in_the_order_of_their_numbers(one in any::<u64>(), other in any::<u64>(), bits in 0..64_u32) {
            let (one, other) = (one >> bits, other);
            prop_assert_eq!(id_of(one).cmp(&id_of(other)), one.cmp(&other));
        }
    }

    #[test]
    fn numbers_in_ids_are_in_base_32() {
        for number in 0..1_024 {
            let id = id_of(number);
            let (number_in_id, digest) = id[5..].split_once('_').unwrap();
            assert_eq!(u64::from_str_radix(number_in_id, 32), Ok(number), "{id}");
            assert!(digest.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'v')), "{id}");
        }
    }

    #[test]
    fn ids_come_after_those_of_earlier_releases() {
        for earlier in ["mem_1", "mem_99999", "mem_18446744073709551615", "mem_00000000000005242880"] {
            assert!(id_of(0) > format!("{earlier}_{}", "f".repeat(32)));
        }
    }

    #[test]
    fn chunk_keys_hash_an_id_in_one_block_of_sha256() {
        // The key of a chunk hashes the id, "#" and the eight bytes of the session. SHA-256 pads with at least one
        // byte and the eight bytes of the length, so one block of 64 bytes has room for 55.
        assert!(id_of(u64::MAX).len() + 9 <= 55, "{}", id_of(u64::MAX));
        // The second id that a message issues at canister version 5,000,000, which begins at bit 10 (`stable/ids.rs`).
        let id = id_of((5_000_000 << 10) + 1);
        assert!(id.starts_with("mem_g4oiq001_") && id.len() == 39, "{id}");
    }
}
