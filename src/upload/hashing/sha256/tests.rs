//! SHA-256 four blocks at a time against the `sha2` crate.

use proptest::prelude::*;
use sha2::Digest;
use sha2::digest::common::hazmat::SerializableState;

use super::*;

/// Returns pseudo-random bytes, the same in every run.
fn bytes(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn expected_digest(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}

/// The examples of FIPS 180-4 and its companion "Descriptions of SHA-256, SHA-384, and SHA-512".
#[test]
fn published_examples_have_their_digests() {
    let two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    for (message, expected) in [
        (&b""[..], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (two_blocks, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
        (&vec![b'a'; 1_000_000], "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ] {
        assert_eq!(hex::encode(Sha256::digest(message)), expected);
    }
}

/// The Monte Carlo test of the SHA Validation System. The `sha2` crate takes the place of its answer file.
#[test]
fn the_monte_carlo_chain_is_that_of_the_sha2_crate() {
    let mut seeds = [[7_u8; 32]; 3];
    for _ in 0..10_000 {
        let message = seeds.concat();
        let digest: [u8; 32] = Sha256::digest(&message).into();
        assert_eq!(digest, expected_digest(&message));
        seeds = [seeds[1], seeds[2], digest];
    }
}

#[test]
fn messages_of_every_length_to_1024_have_their_digests() {
    let message = bytes(1_024);
    for len in 0..=message.len() {
        let message = &message[..len];
        let digest: [u8; 32] = Sha256::digest(message).into();
        assert_eq!(digest, expected_digest(message), "{len} bytes");
    }
}

/// Flips each bit of four blocks in turn. Every flip must change the digest, so no bit is lost between the lanes.
#[test]
fn every_bit_of_four_blocks_counts() {
    let message = bytes(256);
    let mut digests = std::collections::BTreeSet::new();
    for bit in 0..256 * 8 {
        let mut message = message.clone();
        message[bit / 8] ^= 1 << (bit % 8);
        let digest: [u8; 32] = Sha256::digest(&message).into();
        assert_eq!(digest, expected_digest(&message), "bit {bit}");
        assert!(digests.insert(digest), "the digest after flipping bit {bit} is new");
    }
}

#[test]
fn the_state_is_that_of_the_sha2_crate_and_either_resumes() {
    let message = bytes(1_024);
    for len in 0..=message.len() {
        let (head, tail) = message.split_at(len);
        let (ours, theirs) = (Sha256::new().chain_update(head), sha2::Sha256::new().chain_update(head));
        let state = ours.serialize();
        assert_eq!(state[..], theirs.serialize()[..], "after {len} bytes");
        let resumed = Sha256::deserialize(&theirs.serialize()).unwrap().chain_update(tail).finalize();
        assert_eq!(resumed[..], expected_digest(&message), "ours from theirs after {len} bytes");
        let resumed = sha2::Sha256::deserialize(&state).unwrap().chain_update(tail).finalize();
        assert_eq!(resumed[..], expected_digest(&message), "theirs from ours after {len} bytes");
    }
}

#[test]
fn the_length_counts_beyond_32_bits() {
    let mut theirs = sha2::Sha256::new().serialize();
    // The number of blocks, after the 32 bytes of the state: the highest for which the number of bits fits into 64
    // bits.
    theirs[32..40].copy_from_slice(&(u64::MAX >> 9).to_le_bytes());
    let ours = Sha256::deserialize(&theirs).unwrap().chain_update(b"abc").finalize();
    assert_eq!(ours, sha2::Sha256::deserialize(&theirs).unwrap().chain_update(b"abc").finalize());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cuts_and_resumptions_give_the_digest_of_the_whole(
        message in prop::collection::vec(any::<u8>(), 0..5_000),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..12),
    ) {
        let mut cuts: Vec<_> = cuts.into_iter().map(|(at, resumed)| (at.index(message.len() + 1), resumed)).collect();
        cuts.sort_unstable();
        let mut hash = Sha256::new();
        let mut from = 0;
        for (at, resumed) in cuts {
            hash.update(&message[from..at]);
            from = at;
            if resumed {
                hash = Sha256::deserialize(&hash.serialize()).unwrap();
            }
        }
        hash.update(&message[from..]);
        prop_assert_eq!(hash.finalize()[..].to_vec(), expected_digest(&message).to_vec());
    }
}

#[test]
fn a_reset_state_is_that_of_an_empty_message() {
    let mut sha256 = Sha256::new().chain_update(bytes(100));
    Digest::reset(&mut sha256);
    assert_eq!(sha256.finalize()[..], expected_digest(b""));
}
