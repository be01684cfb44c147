//! Fixtures: a network whose time is the host's, with a canister on each of two subnets, and envelopes
//! made without an agent.

use crate::common::{builder, counter, read_counter};
use candid::Principal;
use ic_agent::agent::{Envelope, EnvelopeContent};
use ic_agent::hash_tree::Label;
use ic_agent::identity::{AnonymousIdentity, BasicIdentity, Delegation, SignedDelegation};
use ic_agent::{Agent, Certificate, Identity};
use ic_transport_types::{ReadStateResponse, RequestId};
use k256::pkcs8::der::{Encode, asn1::BitStringRef};
use k256::pkcs8::{AlgorithmIdentifierRef, ObjectIdentifier, SubjectPublicKeyInfoRef};
use pocket_ic::PocketIc;
use reqwest::blocking::{Client, Response};
use std::future::Future;
use std::time::{Duration, SystemTime};
use tokio::runtime::Runtime;

/// Metadata sections: one that anyone may read, and one that only controllers may read.
const SECTIONS: [(&str, &[u8]); 2] = [("icp:public open", b"for all"), ("icp:private shut", b"for some")];

/// An NNS, which is the root subnet, and an application subnet.
pub struct Network {
    pub pic: PocketIc,
    /// The URL at which agents reach the network, with a slash at the end.
    pub url: String,
    /// A counter on the root subnet, and one on the application subnet.
    pub canisters: [Principal; 2],
    runtime: Runtime,
}

impl Network {
    pub fn new() -> Self {
        Self::with(builder())
    }

    /// Adds the two subnets to those of `builder`.
    pub fn with(builder: pocket_ic::PocketIcBuilder) -> Self {
        let pic = builder.with_nns_subnet().with_application_subnet().build();
        let url = pic.auto_progress().to_string();
        let subnets = [pic.topology().get_nns().unwrap(), pic.topology().get_app_subnets()[0]];
        let canisters = subnets.map(|subnet| {
            let id = pic.create_canister_on_subnet(None, None, subnet);
            pic.install_canister(id, with_sections(counter()), vec![], None);
            id
        });
        Self { pic, url, canisters, runtime: Runtime::new().unwrap() }
    }

    /// Returns the canister on the application subnet.
    pub fn canister(&self) -> Principal {
        self.canisters[1]
    }

    pub fn agent(&self, identity: impl Identity + 'static) -> Agent {
        let agent = Agent::builder().with_url(&self.url).with_identity(identity).build().unwrap();
        self.run(agent.fetch_root_key()).unwrap();
        agent
    }

    pub fn anonymous(&self) -> Agent {
        self.agent(AnonymousIdentity)
    }

    pub fn run<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Sends a body to the interface for agents; `path` is the part of the address after `/api/`.
    pub fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> Response {
        let request = Client::new().post(format!("{}api/{path}", self.url));
        request.header("content-type", "application/cbor").body(body.into()).send().unwrap()
    }

    /// Sends a call to the address of [`Self::canister`] in a version of the interface (`v2`, `v4`), and returns the
    /// HTTP status and the body.
    pub fn send_call(&self, version: &str, envelope: &Envelope<'_>) -> (u16, Vec<u8>) {
        let path = format!("{version}/canister/{}/call", self.canister());
        let response = self.post(&path, envelope.encode_bytes());
        (response.status().as_u16(), response.bytes().unwrap().to_vec())
    }

    /// Reads a path of the state tree without an agent, which would refuse a certificate whose time is not the present.
    pub fn read_without_agent(&self, sender: &dyn Identity, path: &[&[u8]]) -> Certificate {
        let content = EnvelopeContent::ReadState {
            ingress_expiry: self.pic.get_time().as_nanos_since_unix_epoch() + 60_000_000_000,
            sender: sender.sender().unwrap(),
            paths: vec![path.iter().map(|label| Label::from_bytes(label)).collect()],
        };
        let address = format!("v3/canister/{}/read_state", self.canister());
        let response = self.post(&address, signed(sender, content).encode_bytes());
        assert_eq!(response.status(), 200);
        let answer: ReadStateResponse = serde_cbor::from_slice(&response.bytes().unwrap()).unwrap();
        serde_cbor::from_slice(&answer.certificate).unwrap()
    }

    /// Returns the content of a call to [`Self::canister`], which is neither signed nor sent. With another nonce, it is
    /// another call.
    pub fn call(&self, sender: Principal, method: &str, nonce: u8) -> EnvelopeContent {
        EnvelopeContent::Call {
            nonce: Some(vec![nonce; 8]),
            ingress_expiry: from_now(Duration::from_secs(240)),
            sender,
            canister_id: self.canister(),
            method_name: method.into(),
            arg: vec![],
            sender_info: None,
        }
    }
}

/// Returns a time in the future, in nanoseconds since 1970.
pub fn from_now(ahead: Duration) -> u64 {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + ahead;
    u64::try_from(time.as_nanos()).unwrap()
}

/// Returns the identity of user `n`, who is not `common::user(n)`.
pub fn ed25519(n: u8) -> BasicIdentity {
    BasicIdentity::from_raw_key(&[n; 32])
}

/// Returns the envelope of this content, signed by this identity; without a signature if the identity is anonymous.
pub fn signed(identity: &dyn Identity, content: EnvelopeContent) -> Envelope<'static> {
    let signature = identity.sign(&content).unwrap();
    Envelope {
        content: std::borrow::Cow::Owned(content),
        sender_pubkey: signature.public_key,
        sender_sig: signature.signature,
        sender_delegation: signature.delegations,
    }
}

/// Returns an unsigned delegation to the key of `to`, which expires in ten minutes.
pub fn expiring(to: &dyn Identity) -> Delegation {
    Delegation {
        pubkey: to.public_key().unwrap(),
        expiration: from_now(Duration::from_secs(600)),
        targets: None,
        permissions: None,
    }
}

/// Sends a call, and checks that it is refused with a text that contains `part` and is not executed: no call of the
/// test may have changed the counter before.
pub fn expect_refused(network: &Network, envelope: &Envelope<'_>, part: &str) {
    let (status, body) = network.send_call("v4", envelope);
    let text = String::from_utf8_lossy(&body);
    assert_eq!(status, 400, "{text}");
    assert!(text.contains(part), "expected {part:?}, got {text}");
    assert_eq!(read_counter(&network.pic, network.canister()), 0);
}

/// Wraps a key in DER, with the object identifier 1.3.6.1.4.1.56387.1.`arc`, which marks the Internet Computer's own
/// kinds of keys.
pub fn key_der(arc: u8, key: &[u8]) -> Vec<u8> {
    let oid = ObjectIdentifier::new(&format!("1.3.6.1.4.1.56387.1.{arc}")).unwrap();
    let algorithm = AlgorithmIdentifierRef { oid, parameters: None };
    let subject_public_key = BitStringRef::from_bytes(key).unwrap();
    SubjectPublicKeyInfoRef { algorithm, subject_public_key }.to_der().unwrap()
}

/// Signs a delegation with the key of `from`.
pub fn delegated(from: &dyn Identity, delegation: Delegation) -> SignedDelegation {
    let signature = from.sign_delegation(&delegation).unwrap().signature.unwrap();
    SignedDelegation { delegation, signature }
}

pub fn request_id(bytes: [u8; 32]) -> RequestId {
    RequestId::new(&bytes)
}

/// Appends the metadata sections. In wasm, a custom section is the id 0, the length of the rest, the length of the
/// name, the name and the data.
fn with_sections(mut module: Vec<u8>) -> Vec<u8> {
    for (name, data) in SECTIONS {
        let length = 1 + name.len() + data.len();
        module.extend([0, u8::try_from(length).unwrap(), u8::try_from(name.len()).unwrap()]);
        module.extend(name.as_bytes());
        module.extend(data);
    }
    module
}
