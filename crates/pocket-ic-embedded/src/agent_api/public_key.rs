//! Verifies signatures of users by their public keys.

use super::canister_signature::CanisterKey;
use super::webauthn::CoseKey;
use k256::pkcs8::{DecodePublicKey, ObjectIdentifier, SubjectPublicKeyInfoRef};
use std::fmt::Display;

/// The kinds of keys of the interface specification.
pub enum PublicKey {
    Ed25519(ic_ed25519::PublicKey),
    /// ECDSA on secp256k1, with SHA-256.
    Secp256k1(k256::ecdsa::VerifyingKey),
    /// ECDSA on P-256, with SHA-256.
    P256(p256::ecdsa::VerifyingKey),
    /// A key of an authenticator, which signs by WebAuthn.
    WebAuthn(CoseKey),
    /// A canister, which signs by certifying data.
    Canister(CanisterKey),
}

/// Why a key or a signature is refused; `Key` is about the key, the other variants are about signatures.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("Invalid public key: {0}")]
    Key(String),
    /// An invalid signature by an Ed25519 or ECDSA key. Such keys sign the message itself, unlike authenticators and
    /// canisters.
    #[error("Invalid basic signature: {0}")]
    Basic(String),
    #[error("{0}")]
    WebAuthn(String),
    #[error("Invalid canister signature: {0}")]
    Canister(String),
}

/// The object identifiers of the algorithm or curve in the DER encoding of each kind of key.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const SECP256K1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.10");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const COSE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.56387.1.1");
const CANISTER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.56387.1.2");
/// Maximum number of bytes of a refused key that an error shows.
const SHOWN_BYTES: usize = 32;

/// Returns whether the algorithm of a key in DER is Ed25519.
pub fn is_ed25519(der: &[u8]) -> bool {
    SubjectPublicKeyInfoRef::try_from(der).is_ok_and(|info| info.algorithm.oid == ED25519)
}

impl PublicKey {
    /// Parses a key in DER, of any of the kinds.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let shown = || hex::encode(&der[..der.len().min(SHOWN_BYTES)]);
        let malformed = |error: &dyn Display| KeyError::Key(format!("malformed key {}: {error}", shown()));
        let info = SubjectPublicKeyInfoRef::try_from(der).map_err(|error| malformed(&error))?;
        let raw = || info.subject_public_key.as_bytes().unwrap_or_default();
        let (algorithm, parameters) = (info.algorithm.oid, info.algorithm.parameters);
        match (algorithm, info.algorithm.parameters_oid()) {
            (ED25519, _) => ic_ed25519::PublicKey::deserialize_rfc8410_der(der)
                .map(Self::Ed25519)
                .map_err(|error| malformed(&error)),
            (_, Ok(SECP256K1)) => k256::ecdsa::VerifyingKey::from_public_key_der(der)
                .map(Self::Secp256k1)
                .map_err(|error| malformed(&error)),
            (_, Ok(P256)) => p256::ecdsa::VerifyingKey::from_public_key_der(der)
                .map(Self::P256)
                .map_err(|error| malformed(&error)),
            (COSE, _) if parameters.is_none() => {
                CoseKey::parse(raw()).map(Self::WebAuthn).map_err(|error| malformed(&error))
            }
            (CANISTER, _) if parameters.is_none() => {
                CanisterKey::parse(raw()).map(Self::Canister).map_err(|error| malformed(&error))
            }
            _ => Err(KeyError::Key(format!("unknown kind of key {}", shown()))),
        }
    }

    /// Verifies a signature. The root key, in DER, is for the certificates in canister signatures.
    pub fn verify(&self, message: &[u8], signature: &[u8], root_key: &[u8]) -> Result<(), KeyError> {
        use k256::ecdsa::signature::Verifier;
        let wrong = |kind: &str| KeyError::Basic(format!("{kind} signature could not be verified"));
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
            Self::WebAuthn(key) => key.verify(message, signature).map_err(KeyError::WebAuthn),
            Self::Canister(key) => key.verify(message, signature, root_key).map_err(KeyError::Canister),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k256::pkcs8::AlgorithmIdentifierRef;
    use k256::pkcs8::der::{Encode, asn1::BitStringRef};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_cbor::Value;

    fn der(oid: ObjectIdentifier, key: &[u8]) -> Vec<u8> {
        let algorithm = AlgorithmIdentifierRef { oid, parameters: None };
        let subject_public_key = BitStringRef::from_bytes(key).unwrap();
        SubjectPublicKeyInfoRef { algorithm, subject_public_key }.to_der().unwrap()
    }

    /// Generates arbitrary bytes, or CBOR maps with the fields of keys and signatures.
    fn structured() -> impl Strategy<Value = Vec<u8>> {
        let value = || {
            prop_oneof![
                vec(any::<u8>(), 0..80).prop_map(Value::Bytes),
                any::<i8>().prop_map(|number| Value::Integer(number.into())),
                ".{0,40}".prop_map(Value::Text),
            ]
        };
        let names = ["authenticator_data", "client_data_json", "signature", "certificate", "tree"];
        let label = prop_oneof![
            (-3_i128..=3).prop_map(Value::Integer),
            prop::sample::select(names.to_vec()).prop_map(|name| Value::Text(name.into())),
        ];
        let map = prop::collection::btree_map(label, value(), 0..6);
        let encoded = map.prop_map(|fields| serde_cbor::to_vec(&Value::Map(fields)).unwrap());
        let tagged = encoded.prop_map(|bytes| [b"\xd9\xd9\xf7", bytes.as_slice()].concat());
        prop_oneof![vec(any::<u8>(), 0..80), tagged]
    }

    proptest! {
        /// Anyone can send keys and signatures of any bytes to the server.
        #[test]
        fn signatures_of_arbitrary_bytes_are_refused(
            canister: bool, key in structured(), signature in structured(), flip: prop::sample::Index, to: u8
        ) {
            let mut der = der(if canister { CANISTER } else { COSE }, &key);
            let place = flip.index(der.len());
            der[place] = to;
            for der in [&der[..], &der[..place]] {
                if let Ok(key) = PublicKey::from_der(der) {
                    prop_assert!(key.verify(b"message", &signature, &[7; 133]).is_err());
                }
            }
        }
    }

    #[test]
    fn a_missing_root_key_verifies_nothing() {
        let key = PublicKey::from_der(&der(CANISTER, &[1, 4, 7])).unwrap();
        let refused = key.verify(b"message", b"", b"");
        assert_eq!(refused, Err(KeyError::Canister("the instance has no root key".into())));
    }
}
