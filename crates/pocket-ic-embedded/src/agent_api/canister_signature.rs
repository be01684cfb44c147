//! Signatures of canisters. A canister signs a message by certifying a tree that contains the message's hash.

use candid::Principal;
use ic_signature_verification::verify_canister_sig;

/// Length of a BLS public key without its DER wrapping.
const BLS_KEY_BYTES: usize = 96;
/// The DER header that the library expects before the bytes of a key. The lengths that depend on the key, of the whole
/// and of the bit string, are 0: the library ignores their values, but expects each in a single byte, which the real
/// header of a key with a long seed would not have. With this header, such keys are verified, too.
const DER_HEADER: [u8; 19] =
    [0x30, 0, 0x30, 0x0c, 0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xb8, 0x43, 0x01, 0x02, 0x03, 0, 0];

/// A key: the canister that signs, and a seed.
pub struct CanisterKey {
    canister: Principal,
    /// Length and bytes of the canister's id, followed by the seed.
    raw: Vec<u8>,
}

impl CanisterKey {
    /// Parses a key without its DER wrapping.
    pub fn parse(raw: &[u8]) -> Result<Self, String> {
        let id = raw.split_first().and_then(|(length, rest)| rest.get(..usize::from(*length)));
        let id = id.ok_or("a canister's key begins with the length and the bytes of the canister's id")?;
        let canister = Principal::try_from_slice(id).map_err(|error| error.to_string())?;
        Ok(Self { canister, raw: raw.to_vec() })
    }

    /// Returns the canister that signs with this key.
    pub fn canister(&self) -> Principal {
        self.canister
    }

    /// Verifies a signature: a certificate of the canister's subnet, and a tree with the message that the
    /// canister certified.
    pub fn verify(&self, message: &[u8], signature: &[u8], root_key: &[u8]) -> Result<(), String> {
        let root_key = root_key.last_chunk::<BLS_KEY_BYTES>().ok_or("the instance has no root key")?;
        verify_canister_sig(message, signature, &[DER_HEADER.as_slice(), &self.raw].concat(), root_key)
    }
}
