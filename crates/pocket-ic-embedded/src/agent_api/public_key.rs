//! Verifies signatures of users by their public keys.

use k256::pkcs8::DecodePublicKey;
use std::fmt;

/// The supported kinds of keys.
pub enum PublicKey {
    /// Ed25519.
    Ed25519(ic_ed25519::PublicKey),
    /// ECDSA on secp256k1, with SHA-256.
    Secp256k1(k256::ecdsa::VerifyingKey),
    /// ECDSA on P-256, with SHA-256.
    P256(p256::ecdsa::VerifyingKey),
}

/// Why a key or a signature is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError(String);

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The object identifiers of algorithm and curve in the DER encoding of each kind of key.
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
const SECP256K1: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const WEBAUTHN: &[u8] = &[0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xb8, 0x43, 0x01, 0x01];
const CANISTER: &[u8] = &[0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xb8, 0x43, 0x01, 0x02];
/// Length of the prefix that contains the identifiers.
const HEAD: usize = 32;

impl PublicKey {
    /// Parses a key from its DER.
    ///
    /// # Errors
    /// Bytes that are not a key, or a key of an unsupported kind.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let head = &der[..der.len().min(HEAD)];
        let is = |oid: &[u8]| head.windows(oid.len()).any(|part| part == oid);
        let malformed = |kind: &str, error: &dyn fmt::Display| {
            KeyError(format!("Malformed {kind} public key {}: {error}", hex::encode(head)))
        };
        let unsupported = |kind: &str| {
            Err(KeyError(format!(
                "{kind} are not supported by the embedded server: sign with Ed25519, secp256k1 or P-256"
            )))
        };
        if is(WEBAUTHN) {
            unsupported("WebAuthn signatures")
        } else if is(CANISTER) {
            unsupported("Canister signatures")
        } else if is(SECP256K1) {
            let key = k256::ecdsa::VerifyingKey::from_public_key_der(der);
            key.map(Self::Secp256k1).map_err(|error| malformed("secp256k1", &error))
        } else if is(P256) {
            let key = p256::ecdsa::VerifyingKey::from_public_key_der(der);
            key.map(Self::P256).map_err(|error| malformed("P-256", &error))
        } else if is(ED25519) {
            let key = ic_ed25519::PublicKey::deserialize_rfc8410_der(der);
            key.map(Self::Ed25519).map_err(|error| malformed("Ed25519", &error))
        } else {
            Err(KeyError(format!("Unknown kind of public key: {}", hex::encode(head))))
        }
    }

    /// Returns `Ok(())` if the signature matches the message.
    ///
    /// # Errors
    /// If it does not.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        use k256::ecdsa::signature::Verifier;
        let wrong = |kind: &str| KeyError(format!("{kind} signature could not be verified"));
        match self {
            Self::Ed25519(key) => key.verify_signature(message, signature).map_err(|_| wrong("Ed25519")),
            Self::Secp256k1(key) => k256::ecdsa::Signature::from_slice(signature)
                // Both values of s are valid; the library accepts only the lower one.
                .map(|signature| signature.normalize_s().unwrap_or(signature))
                .and_then(|signature| key.verify(message, &signature))
                .map_err(|_| wrong("ECDSA secp256k1")),
            Self::P256(key) => p256::ecdsa::Signature::from_slice(signature)
                .and_then(|signature| key.verify(message, &signature))
                .map_err(|_| wrong("ECDSA P-256")),
        }
    }
}
