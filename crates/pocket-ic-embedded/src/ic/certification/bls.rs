//! BLS signatures of keys that need not be kept secret.
//!
//! The library's multiplication takes the same time for every key, so that the time tells nothing about the key. Here it
//! takes half as long, and an answer to an agent waits for it.

use ic_bls12_381::hash_to_curve::{ExpandMsgXmd, HashToCurve};
use ic_bls12_381::{G1Affine, G1Projective};

/// The domain of the Internet Computer's signatures.
const DOMAIN: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_";
/// Number of bits of a window: digits are odd and between -15 and 15.
const WINDOW: usize = 5;
/// Number of odd multiples of a point that digits refer to.
const MULTIPLES: usize = 1 << (WINDOW - 2);
const BITS: usize = 256;

/// A key, as the digits of its number in non-adjacent form, the lowest first: of `WINDOW` digits in a row, at most one is
/// not zero.
pub struct SigningKey {
    digits: [i8; BITS],
}

impl SigningKey {
    /// Returns the key with this number, big-endian, which must be below the order of the group.
    pub fn new(secret: &[u8; 32]) -> Self {
        let bit = |place: usize| i8::from(secret[31 - place / 8] >> (place % 8) & 1 == 1);
        let mut digits = [0; BITS];
        let (mut place, mut carry) = (0, 0);
        while place < BITS {
            if bit(place) == carry {
                place += 1;
                continue;
            }
            let width = WINDOW.min(BITS - place);
            let window = (0..width).fold(carry, |sum, index| sum + (bit(place + index) << index));
            carry = window >> (WINDOW - 1) & 1;
            digits[place] = window - (carry << WINDOW);
            place += width;
        }
        Self { digits }
    }

    /// Returns the signature of a message, 48 bytes.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let hashed =
            <G1Projective as HashToCurve<ExpandMsgXmd<sha2_10::Sha256>>>::hash_to_curve(message, DOMAIN);
        let twice = hashed.double();
        let mut multiples = [hashed; MULTIPLES];
        for index in 1..MULTIPLES {
            multiples[index] = multiples[index - 1] + twice;
        }
        let multiple = |digit: i8| multiples[usize::from(digit.unsigned_abs()) / 2];
        let signature = self.digits.iter().rev().fold(G1Projective::identity(), |sum, digit| {
            let sum = sum.double();
            match digit {
                0 => sum,
                1.. => sum + multiple(*digit),
                _ => sum - multiple(*digit),
            }
        });
        G1Affine::from(signature).to_compressed().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ic_verify_bls_signature::PrivateKey;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn check(secret: [u8; 32], message: &[u8]) {
        let expected = PrivateKey::deserialize(&secret).unwrap().sign(message).serialize();
        assert_eq!(SigningKey::new(&secret).sign(message), expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn signatures_are_those_of_the_library(mut secret: [u8; 32], message in vec(any::<u8>(), 0..80)) {
            secret[0] &= 0x3f;
            check(secret, &message);
        }
    }

    #[test]
    fn signatures_of_extreme_keys_are_those_of_the_library() {
        let largest =
            hex::decode("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000000").unwrap();
        let mut all_ones = [0xff; 32];
        all_ones[0] = 0x3f;
        let mut one = [0; 32];
        one[31] = 1;
        for secret in [largest.try_into().unwrap(), all_ones, one, [0x10; 32]] {
            check(secret, b"message");
        }
    }
}
