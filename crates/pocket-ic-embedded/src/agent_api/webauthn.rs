//! WebAuthn: keys of authenticators in COSE, and their signatures, whose challenge is the signed message.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Verifier;
use rsa::BoxedUint;
use serde::Deserialize;
use serde_cbor::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Display;

/// Labels and values of COSE (RFC 9052, RFC 9053 and RFC 8230). The meaning of negative labels depends on the type of
/// the key: those from `CURVE` on are for elliptic curves, `MODULUS` and `EXPONENT` for RSA.
mod cose {
    pub const KEY_TYPE: i128 = 1;
    pub const ALGORITHM: i128 = 3;
    pub const ELLIPTIC: i128 = 2;
    pub const RSA: i128 = 3;
    pub const ES256: i128 = -7;
    pub const RS256: i128 = -257;
    pub const CURVE: i128 = -1;
    pub const P256: i128 = 1;
    pub const X: i128 = -2;
    pub const Y: i128 = -3;
    pub const MODULUS: i128 = -1;
    pub const EXPONENT: i128 = -2;
}

/// Maximum number of bytes of a wrong challenge that an error shows: more than a correct challenge has.
const SHOWN_BYTES: usize = 64;
/// The SEC 1 tag of a point whose two coordinates follow.
const SEC1_UNCOMPRESSED: u8 = 4;

/// A key of an authenticator.
pub enum CoseKey {
    /// ECDSA on P-256, with SHA-256.
    P256(p256::ecdsa::VerifyingKey),
    /// RSA PKCS #1 v1.5, with SHA-256.
    Rsa(Box<rsa::PublicKey>),
}

/// The answer of an authenticator and its browser to a challenge.
#[derive(Deserialize)]
struct Assertion {
    #[serde(with = "serde_bytes")]
    authenticator_data: Vec<u8>,
    /// A text according to the specification; bytes are accepted as well, as on the Internet Computer.
    #[serde(with = "serde_bytes")]
    client_data_json: Vec<u8>,
    #[serde(with = "serde_bytes")]
    signature: Vec<u8>,
}

/// The only field of the browser's data that is needed here.
#[derive(Deserialize)]
struct ClientData {
    challenge: String,
}

impl CoseKey {
    /// Parses a key in COSE.
    pub fn parse(cose: &[u8]) -> Result<Self, String> {
        let fields: BTreeMap<i128, Value> =
            serde_cbor::from_slice(cose).map_err(|error| format!("not COSE: {error}"))?;
        let number = |label| match fields.get(&label) {
            Some(Value::Integer(number)) => Some(*number),
            _ => None,
        };
        let bytes = |label| match fields.get(&label) {
            Some(Value::Bytes(bytes)) => Ok(bytes.as_slice()),
            _ => Err(format!("no bytes at COSE label {label}")),
        };
        match (number(cose::KEY_TYPE), number(cose::ALGORITHM)) {
            (Some(cose::ELLIPTIC), Some(cose::ES256)) if number(cose::CURVE) == Some(cose::P256) => {
                let point = [[SEC1_UNCOMPRESSED].as_slice(), bytes(cose::X)?, bytes(cose::Y)?].concat();
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point);
                key.map(Self::P256).map_err(|error| error.to_string())
            }
            (Some(cose::RSA), Some(cose::RS256)) => {
                let big_integer = |label| bytes(label).map(BoxedUint::from_be_slice_vartime);
                let key = rsa::PublicKey::new(big_integer(cose::MODULUS)?, big_integer(cose::EXPONENT)?);
                key.map(|key| Self::Rsa(Box::new(key))).map_err(|error| error.to_string())
            }
            (kind, algorithm) => Err(format!(
                "only ECDSA on curve P-256 and RSA PKCS #1 v1.5 are supported for WebAuthn, got COSE key type {} and algorithm {}",
                number_text(kind),
                number_text(algorithm)
            )),
        }
    }

    /// Verifies an assertion: its signature, and that its challenge is the message.
    pub fn verify(&self, message: &[u8], encoded_assertion: &[u8]) -> Result<(), String> {
        let assertion: Assertion = serde_cbor::from_slice(encoded_assertion)
            .map_err(|error| format!("Signature CBOR parsing failed with: {error}"))?;
        let Assertion { authenticator_data, client_data_json, signature } = assertion;
        let signed = [authenticator_data.as_slice(), &Sha256::digest(&client_data_json)].concat();
        let wrong = |error: &dyn Display| format!("Verifying signature failed. Error: {error}");
        match self {
            Self::P256(key) => {
                let signature = p256::ecdsa::Signature::from_der(&signature)
                    .map_err(|error| format!("Failed to parse EcdsaP256 signature: {error}"))?;
                key.verify(&signed, &signature).map_err(|error| wrong(&error))?;
            }
            Self::Rsa(key) => {
                key.pkcs1v15_verify::<Sha256>(&signed, &signature).map_err(|error| wrong(&error))?;
            }
        }
        let malformed = |error: &dyn Display| format!("WebAuthn envelope creation failed: {error}");
        let data: ClientData =
            serde_json::from_slice(&client_data_json).map_err(|error| malformed(&error))?;
        let challenge = URL_SAFE_NO_PAD.decode(data.challenge).map_err(|error| malformed(&error))?;
        if challenge != message {
            let shown = &challenge[..challenge.len().min(SHOWN_BYTES)];
            return Err(format!("Challenge in webauthn is {shown:?} while it is expected to be {message:?}"));
        }
        Ok(())
    }
}

fn number_text(number: Option<i128>) -> String {
    number.map_or_else(|| "(none)".to_owned(), |number| number.to_string())
}
