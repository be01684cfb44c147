//! Senders that sign with an authenticator, by WebAuthn.

use crate::network::{Network, delegated, ed25519, expect_refused, expiring, key_der, signed};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use candid::Principal;
use ic_agent::Identity;
use ic_agent::agent::EnvelopeContent;
use ic_agent::identity::{DelegatedIdentity, Delegation, Signature};
use p256::ecdsa::signature::Signer;
use rsa::BoxedUint;
use serde_cbor::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Last arc of the object identifier of COSE keys.
const COSE_KEY_ARC: u8 = 1;

/// The primes of an RSA key of 2,048 bits: they are constant, since generating a key takes seconds.
const PRIMES: [&str; 2] = [
    "feed3737e1279dda5cbe8a80752b6eab1b13c95d5642f698b8012fac14d8fbf78921cce23568bdb17feb59139b959778aca202c563c5984ee37339ce1a94f40d270d1f2b2551c061351f062c23df16e590a037573b2979e22d3dc8e9b3b41d13d887b092f3b0057b257611138986a7dabe4adbaec14099ca3e631318f44bf0fd",
    "c79e15b6846fc820fa05c52de05a6f3c760864bb5bca2bb5320d1bcb7ac242937770e1230bc6beab08004cd3bfc0dfe88895ccba319f9ae950b61aca68a79d13191abf310e8857a603ec0add401b8795b19fc96e6c4462faca3e2acc7459075e3c361293bd07e5a8651e664c874203d7ec770f4505301dd4af25d1c13ddc02c3",
];

/// An authenticator in software, together with the browser that uses it.
enum Authenticator {
    P256(p256::ecdsa::SigningKey),
    Rsa(Box<rsa::PrivateKey>),
}

impl Authenticator {
    fn p256(n: u8) -> Self {
        Self::P256(p256::ecdsa::SigningKey::from_slice(&[n; 32]).unwrap())
    }

    fn rsa() -> Self {
        let [p, q] = PRIMES.map(|prime| BoxedUint::from_be_slice_vartime(&hex::decode(prime).unwrap()));
        Self::Rsa(Box::new(rsa::PrivateKey::from_p_q(p, q, BoxedUint::from(65_537_u64)).unwrap()))
    }

    /// Returns the public key as COSE. Its labels: 1 is the type of the key, and 3 the algorithm. For ECDSA, -1 is the
    /// curve, -2 and -3 are the coordinates; for RSA, -1 is the modulus, and -2 the exponent.
    fn cose(&self) -> Vec<u8> {
        use rsa::traits::PublicKeyParts;
        match self {
            Self::P256(key) => {
                let point = key.verifying_key().to_encoded_point(false);
                let [x, y] = [point.x().unwrap().to_vec(), point.y().unwrap().to_vec()];
                cose(&[
                    (1, 2.into()),
                    (3, (-7).into()),
                    (-1, 1.into()),
                    (-2, Value::Bytes(x)),
                    (-3, Value::Bytes(y)),
                ])
            }
            Self::Rsa(key) => {
                let [n, e] = [key.n_bytes().to_vec(), vec![1, 0, 1]];
                cose(&[(1, 3.into()), (3, (-257).into()), (-1, Value::Bytes(n)), (-2, Value::Bytes(e))])
            }
        }
    }

    /// Signs these bytes, as the hardware does.
    fn sign_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(bytes);
                signature.to_der().to_bytes().to_vec()
            }
            Self::Rsa(key) => key.pkcs1v15_sign::<Sha256>(bytes).unwrap(),
        }
    }

    /// Returns what the authenticator answers to a browser that sends this client data.
    fn assertion(&self, client_data: &str) -> Assertion {
        // The hash of the host name, the flags (one byte: the user is present) and a counter (four bytes).
        let authenticator_data = [Sha256::digest("localhost").as_slice(), &[1, 0, 0, 0, 7]].concat();
        let signed = [authenticator_data.as_slice(), &Sha256::digest(client_data)].concat();
        Assertion {
            authenticator_data,
            client_data: Value::Text(client_data.into()),
            signature: self.sign_bytes(&signed),
        }
    }
}

impl Identity for Authenticator {
    fn sender(&self) -> Result<Principal, String> {
        Ok(Principal::self_authenticating(key_der(COSE_KEY_ARC, &self.cose())))
    }

    fn public_key(&self) -> Option<Vec<u8>> {
        Some(key_der(COSE_KEY_ARC, &self.cose()))
    }

    fn sign(&self, content: &EnvelopeContent) -> Result<Signature, String> {
        self.sign_arbitrary(&content.to_request_id().signable())
    }

    fn sign_delegation(&self, content: &Delegation) -> Result<Signature, String> {
        self.sign_arbitrary(&content.signable())
    }

    fn sign_arbitrary(&self, content: &[u8]) -> Result<Signature, String> {
        Ok(Signature {
            public_key: self.public_key(),
            signature: Some(self.assertion(&client_data(content)).encode()),
            delegations: None,
        })
    }
}

/// The signature of an authenticator, with the data that are signed. `client_data` is text, or bytes.
struct Assertion {
    authenticator_data: Vec<u8>,
    client_data: Value,
    signature: Vec<u8>,
}

impl Assertion {
    fn encode(self) -> Vec<u8> {
        let fields = [
            ("authenticator_data", Value::Bytes(self.authenticator_data)),
            ("client_data_json", self.client_data),
            ("signature", Value::Bytes(self.signature)),
        ];
        let fields: BTreeMap<Value, Value> =
            fields.into_iter().map(|(name, value)| (Value::Text(name.into()), value)).collect();
        [&[0xd9, 0xd9, 0xf7], serde_cbor::to_vec(&Value::Map(fields)).unwrap().as_slice()].concat()
    }
}

/// Encodes a key as COSE.
fn cose(fields: &[(i128, Value)]) -> Vec<u8> {
    let fields = fields.iter().map(|(label, value)| (Value::Integer(*label), value.clone()));
    serde_cbor::to_vec(&Value::Map(fields.collect())).unwrap()
}

/// Returns the client data that a browser creates for a challenge.
fn client_data(challenge: &[u8]) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(challenge);
    format!(r#"{{"type":"webauthn.get","challenge":"{challenge}","origin":"http://localhost"}}"#)
}

#[test]
fn authenticators_sign_calls_queries_and_delegations() {
    let network = Network::new();
    let id = network.canister();
    let kinds: [fn() -> Authenticator; 2] = [|| Authenticator::p256(1), Authenticator::rsa];
    for (first_count, authenticator) in (1_u32..).step_by(2).zip(kinds) {
        let sender = authenticator().sender().unwrap();
        let session = delegated(&authenticator(), expiring(&ed25519(9)));
        let by_session = DelegatedIdentity::new_unchecked(
            authenticator().public_key().unwrap(),
            Box::new(ed25519(9)),
            vec![session],
        );
        // A call by the authenticator itself, and one by a session.
        for (count, agent) in (first_count..).zip([network.agent(authenticator()), network.agent(by_session)])
        {
            let reply = network.run(agent.update(&id, "inc").call_and_wait()).unwrap();
            assert_eq!(reply, count.to_le_bytes());
            let caller = network.run(agent.query(&id, "caller").call()).unwrap();
            assert_eq!(Principal::from_slice(&caller), sender);
        }
    }
}

#[test]
fn data_of_the_browser_may_be_sent_as_bytes() {
    let network = Network::new();
    let authenticator = Authenticator::p256(1);
    let content = network.call(authenticator.sender().unwrap(), "inc", 1);
    let text = client_data(&content.to_request_id().signable());
    let mut envelope = signed(&authenticator, content);
    let bytes =
        Assertion { client_data: Value::Bytes(text.clone().into_bytes()), ..authenticator.assertion(&text) };
    envelope.sender_sig = Some(bytes.encode());
    assert_eq!(network.send_call("v4", &envelope).0, 200);
}

#[test]
fn wrong_signatures_of_authenticators_are_refused() {
    let network = Network::new();
    let p256 = Authenticator::p256(1);
    let message = network.call(p256.sender().unwrap(), "inc", 1).to_request_id().signable();
    let good = |authenticator: &Authenticator| authenticator.assertion(&client_data(&message));
    let json = |text: &str| p256.assertion(text).encode();
    let mut flipped = good(&p256);
    *flipped.signature.last_mut().unwrap() ^= 1;
    let mut other_data = good(&p256);
    // A bit of the flags.
    other_data.authenticator_data[32] ^= 4;
    let not_der = Assertion { signature: vec![7; 64], ..good(&p256) };
    let changed =
        Assertion { client_data: Value::Text(client_data(&message).replace("http", "https")), ..good(&p256) };
    // The signature of another call, by its nonce.
    let other = signed(&p256, network.call(p256.sender().unwrap(), "inc", 2)).sender_sig.unwrap();
    // The challenge in Base64 with padding, which WebAuthn does not use.
    let padded = client_data(&message).replace(r#"","origin"#, r#"=","origin"#);
    for (signature, part) in [
        (flipped.encode(), "Verifying signature failed"),
        (other_data.encode(), "Verifying signature failed"),
        (changed.encode(), "Verifying signature failed"),
        (good(&Authenticator::p256(2)).encode(), "Verifying signature failed"),
        (not_der.encode(), "Failed to parse EcdsaP256 signature"),
        (good(&Authenticator::rsa()).encode(), "Failed to parse EcdsaP256 signature"),
        (other, "Challenge in webauthn is"),
        (json(&client_data(b"")), "Challenge in webauthn is"),
        (json("{}"), "WebAuthn envelope creation failed: missing field `challenge`"),
        (json("no JSON"), "WebAuthn envelope creation failed"),
        (json(&padded), "WebAuthn envelope creation failed"),
        (b"no CBOR".to_vec(), "Signature CBOR parsing failed"),
        (p256.sign_bytes(&message), "Signature CBOR parsing failed"),
    ] {
        let mut envelope = signed(&p256, network.call(p256.sender().unwrap(), "inc", 1));
        envelope.sender_sig = Some(signature.clone());
        expect_refused(&network, &envelope, &format!("Invalid signature: {part}"));
        let session = ed25519(2);
        let mut by_session = signed(&session, network.call(p256.sender().unwrap(), "inc", 1));
        by_session.sender_pubkey = p256.public_key();
        let mut link = delegated(&p256, expiring(&session));
        link.signature = signature;
        by_session.sender_delegation = Some(vec![link]);
        // No signature in this list has the delegation as its challenge.
        expect_refused(&network, &by_session, "Invalid delegation: ");
    }
    let rsa = Authenticator::rsa();
    let mut envelope = signed(&rsa, network.call(rsa.sender().unwrap(), "inc", 1));
    envelope.sender_sig = Some(Assertion { signature: vec![1; 256], ..good(&rsa) }.encode());
    expect_refused(&network, &envelope, "Invalid signature: Verifying signature failed");
}

#[test]
fn wrong_keys_of_authenticators_are_refused() {
    let network = Network::new();
    let p256 = Authenticator::p256(1);
    // Bytes that are no RSA key, and bytes that are not the coordinates of a point on the curve.
    let sixteen = || Value::Bytes(vec![1; 16]);
    let no_point = || Value::Bytes(vec![1; 32]);
    for (key, part) in [
        (
            cose(&[(1, 1.into()), (3, (-8).into()), (-1, 6.into()), (-2, no_point())]),
            "only ECDSA on curve P-256 and RSA",
        ),
        (cose(&[(1, 2.into()), (3, (-7).into()), (-1, 2.into())]), "only ECDSA on curve P-256 and RSA"),
        (
            cose(&[(1, 2.into()), (3, (-7).into()), (-1, 1.into()), (-2, no_point())]),
            "no bytes at COSE label -3",
        ),
        (
            cose(&[(1, 2.into()), (3, (-7).into()), (-1, 1.into()), (-2, no_point()), (-3, no_point())]),
            "malformed key",
        ),
        (cose(&[(1, 3.into()), (3, (-257).into()), (-1, sixteen()), (-2, sixteen())]), "malformed key"),
        (cose(&[]), "got COSE key type (none) and algorithm (none)"),
        (b"no COSE".to_vec(), "not COSE"),
        (vec![], "not COSE"),
    ] {
        let der = key_der(COSE_KEY_ARC, &key);
        let mut envelope = signed(&p256, network.call(Principal::self_authenticating(&der), "inc", 1));
        envelope.sender_pubkey = Some(der);
        expect_refused(&network, &envelope, "Invalid signature: Invalid public key: ");
        expect_refused(&network, &envelope, part);
    }
}
