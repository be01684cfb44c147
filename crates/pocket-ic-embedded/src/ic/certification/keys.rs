//! The keys of a subnet and of its only node.
//!
//! These are TEST KEYS: they are derived from a public text, and the same in every process. Their signatures prove
//! nothing outside of a test.

use crate::locks::lock_unpoisoned;
use blst::min_sig::SecretKey;
use candid::Principal;
use ic_certification::Hash;
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Mutex;

const TEST_SEED: &[u8] =
    b"pocket-ic-embedded TEST KEYS, known to everybody: never trust them outside of a test";
/// The DER prefix of a BLS public key, which is followed by the 96 bytes of the key.
const BLS_DER_PREFIX: [u8; 37] = [
    0x30, 0x81, 0x82, 0x30, 0x1d, 0x06, 0x0d, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0xdc, 0x7c, 0x05, 0x03,
    0x01, 0x02, 0x01, 0x06, 0x0c, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0xdc, 0x7c, 0x05, 0x03, 0x02, 0x01,
    0x03, 0x61, 0x00,
];
/// The domain separation tag with which the Internet Computer maps a message to the curve.
const BLS_DOMAIN: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_";

/// The keys of one subnet and of its node, secret keys included.
pub struct SubnetKeys {
    /// The self-authenticating principal of the public key.
    pub subnet_id: Principal,
    /// The subnet's public key, DER.
    pub public_key: Vec<u8>,
    /// The self-authenticating principal of the node's public key.
    pub node_id: Principal,
    /// The node's public key, DER.
    pub node_public_key: Vec<u8>,
    subnet_secret_key: SecretKey,
    node_secret_key: ic_ed25519::PrivateKey,
}

impl fmt::Debug for SubnetKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubnetKeys({})", self.subnet_id)
    }
}

impl SubnetKeys {
    /// Returns the keys of the `index`-th subnet of any instance. They are derived once per process, which
    /// takes a millisecond.
    pub fn of(index: usize) -> &'static Self {
        static DERIVED: Mutex<Vec<&'static SubnetKeys>> = Mutex::new(Vec::new());
        let mut derived = lock_unpoisoned(&DERIVED);
        while derived.len() <= index {
            let next = Self::derive(derived.len());
            derived.push(Box::leak(Box::new(next)));
        }
        derived[index]
    }

    fn derive(index: usize) -> Self {
        let subnet_secret_key = SecretKey::from_bytes(&derive_bls_secret(index))
            .expect("the secret is positive and below the group's order");
        let public_key = [BLS_DER_PREFIX.as_slice(), &subnet_secret_key.sk_to_pk().compress()].concat();
        let node_secret_key = ic_ed25519::PrivateKey::deserialize_raw_32(&derive_secret("node", index));
        let node_public_key = node_secret_key.public_key().serialize_rfc8410_der();
        Self {
            subnet_id: Principal::self_authenticating(&public_key),
            public_key,
            node_id: Principal::self_authenticating(&node_public_key),
            node_public_key,
            subnet_secret_key,
            node_secret_key,
        }
    }

    /// Returns the subnet's signature of a state tree with this root hash.
    pub fn sign_root(&self, root: &Hash) -> Vec<u8> {
        let message = [b"\x0dic-state-root".as_slice(), root].concat();
        self.subnet_secret_key.sign(&message, BLS_DOMAIN, &[]).compress().to_vec()
    }

    /// Returns the node's signature.
    pub fn sign_as_node(&self, message: &[u8]) -> Vec<u8> {
        self.node_secret_key.sign_message(message).to_vec()
    }
}

/// Returns the hash of the public seed, the kind of key and the number of the subnet.
fn derive_secret(kind: &str, index: usize) -> [u8; 32] {
    let index = (index as u64).to_be_bytes();
    Sha256::digest([TEST_SEED, b" ", kind.as_bytes(), b" ", &index].concat()).into()
}

/// Returns a number below the order of the group, which has 255 bits: the two highest of the 256 bits are cleared.
fn derive_bls_secret(index: usize) -> [u8; 32] {
    let mut secret = derive_secret("subnet", index);
    secret[0] &= 0x3f;
    secret
}

#[cfg(test)]
mod tests {
    use super::*;
    use ic_verify_bls_signature as bls;

    #[test]
    fn keys_are_the_same_at_every_call_and_differ_by_subnet() {
        let (first, second) = (SubnetKeys::of(0), SubnetKeys::of(1));
        assert_eq!(first.subnet_id, SubnetKeys::of(0).subnet_id);
        assert_ne!(first.subnet_id, second.subnet_id);
        assert_ne!(first.node_id, second.node_id);
        assert_eq!((first.public_key.len(), first.node_public_key.len()), (133, 44));
        assert_eq!(first.subnet_id, Principal::self_authenticating(&first.public_key));
    }

    #[test]
    fn signatures_verify_with_the_public_keys() {
        let keys = SubnetKeys::of(0);
        let signature = keys.sign_root(&[7; 32]);
        let message = [b"\x0dic-state-root".as_slice(), &[7; 32]].concat();
        bls::verify_bls_signature(&signature, &message, &keys.public_key[BLS_DER_PREFIX.len()..]).unwrap();
        let node = ic_ed25519::PublicKey::deserialize_rfc8410_der(&keys.node_public_key).unwrap();
        node.verify_signature(b"message", &keys.sign_as_node(b"message")).unwrap();
        assert!(node.verify_signature(b"messagf", &keys.sign_as_node(b"message")).is_err());
    }

    /// The secret key determines the public key, and together with the message the signature, so two correct libraries
    /// return the same bytes.
    #[test]
    fn bls_keys_and_signatures_equal_those_of_another_library() {
        for index in 0..4 {
            let keys = SubnetKeys::of(index);
            let reference = bls::PrivateKey::deserialize(&derive_bls_secret(index)).unwrap();
            assert_eq!(reference.public_key().serialize(), keys.public_key[BLS_DER_PREFIX.len()..]);
            for byte in 0..8 {
                let root = [byte; 32];
                let message = [b"\x0dic-state-root".as_slice(), &root].concat();
                assert_eq!(reference.sign(&message).serialize(), keys.sign_root(&root).as_slice());
            }
        }
    }
}
