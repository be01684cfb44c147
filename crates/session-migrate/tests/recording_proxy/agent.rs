//! An agent like those of front ends: it uses the interface of the Internet Computer, and waits as agents do.

use std::borrow::Cow;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};

use candid::Principal;
use candid::utils::{ArgumentEncoder, encode_args};
use ic_certification::{Certificate, LookupResult};
use ic_transport_types::{
    Envelope, EnvelopeContent, QueryResponse, ReadStateResponse, RequestId, TransportCallResponse,
};
use reqwest::{StatusCode, Url};
use serde::de::DeserializeOwned;

/// The reply, or the error code of the rejection.
pub type AgentResult = Result<Vec<u8>, String>;

/// Counter that makes every call different.
static NONCES: AtomicU64 = AtomicU64::new(0);

pub struct Agent {
    client: reqwest::blocking::Client,
    /// URL of a gateway, or of an instance on the server.
    url: Url,
    canister: Principal,
    /// The part of a request's path that names a canister or a subnet.
    place: String,
    sender: Principal,
}

impl Agent {
    pub fn new(url: Url, canister: Principal, sender: Principal) -> Agent {
        let place = format!("canister/{canister}");
        Agent { client: reqwest::blocking::Client::new(), url, canister, place, sender }
    }

    /// Returns an agent that calls the management canister about the canister.
    pub fn managing(self) -> Agent {
        Agent { canister: Principal::management_canister(), ..self }
    }

    /// Returns an agent whose requests name a subnet in their path instead of a canister.
    pub fn at_subnet(self, subnet: Principal) -> Agent {
        Agent { place: format!("subnet/{subnet}"), ..self }
    }

    /// Returns a call, without sending it.
    pub fn call(&self, method: &str, args: impl ArgumentEncoder) -> EnvelopeContent {
        EnvelopeContent::Call {
            nonce: Some(NONCES.fetch_add(1, Ordering::Relaxed).to_be_bytes().to_vec()),
            ingress_expiry: u64::MAX,
            sender: self.sender,
            canister_id: self.canister,
            method_name: method.into(),
            arg: encode_args(args).unwrap(),
            sender_info: None,
        }
    }

    /// Sends a call and waits for its outcome. If the server does not support version 4, the call is sent again with
    /// version 2.
    pub fn send(&self, call: &EnvelopeContent) -> AgentResult {
        let (status, body) = match self.post("v4", "call", call) {
            (StatusCode::NOT_FOUND, _) => self.post("v2", "call", call),
            answer => answer,
        };
        match status {
            StatusCode::ACCEPTED => self.poll(call),
            StatusCode::OK => match serde_cbor::from_slice(&body).unwrap() {
                TransportCallResponse::Replied { certificate } => {
                    outcome(&certificate, call.to_request_id()).unwrap()
                }
                TransportCallResponse::NonReplicatedRejection(reject) => Err(reject.error_code.unwrap()),
                TransportCallResponse::Accepted => self.poll(call),
            },
            status => panic!("{status}: {}", String::from_utf8_lossy(&body)),
        }
    }

    /// Sends a call whose outcome will be requested later.
    pub fn submit(&self, method: &str, args: impl ArgumentEncoder) -> EnvelopeContent {
        let call = self.call(method, args);
        let (status, body) = self.post("v2", "call", &call);
        assert_eq!(status, StatusCode::ACCEPTED, "{}", String::from_utf8_lossy(&body));
        call
    }

    /// Asks about a call until it is answered.
    pub fn poll(&self, call: &EnvelopeContent) -> AgentResult {
        let id = call.to_request_id();
        let path = vec!["request_status".into(), id.to_vec().into()];
        let content =
            EnvelopeContent::ReadState { ingress_expiry: u64::MAX, sender: self.sender, paths: vec![path] };
        loop {
            let (status, body) = self.post("v3", "read_state", &content);
            assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
            let ReadStateResponse { certificate } = serde_cbor::from_slice(&body).unwrap();
            if let Some(outcome) = outcome(&certificate, id) {
                return outcome;
            }
        }
    }

    /// Sends a call, calls `then`, and hangs up without having read an answer.
    pub fn send_and_hang_up(&self, call: &EnvelopeContent, then: impl FnOnce()) {
        let url = self.url(&self.path("v4", "call"));
        let (host, port) = (url.host_str().unwrap(), url.port().unwrap());
        let body = envelope(call);
        let head =
            format!("POST {} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {}\r\n\r\n", url.path(), body.len());
        let mut connection = TcpStream::connect((host, port)).unwrap();
        connection.write_all(&[head.into_bytes(), body].concat()).unwrap();
        then();
    }

    pub fn query(&self, method: &str, args: impl ArgumentEncoder) -> AgentResult {
        let content = EnvelopeContent::Query {
            ingress_expiry: u64::MAX,
            sender: self.sender,
            canister_id: self.canister,
            method_name: method.into(),
            arg: encode_args(args).unwrap(),
            nonce: None,
            sender_info: None,
        };
        let (status, body) = self.post("v3", "query", &content);
        assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
        match serde_cbor::from_slice(&body).unwrap() {
            QueryResponse::Replied { reply, .. } => Ok(reply.arg),
            QueryResponse::Rejected { reject, .. } => Err(reject.error_code.unwrap()),
        }
    }

    pub fn update<T: DeserializeOwned + candid::CandidType>(
        &self,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> T {
        decode(self.send(&self.call(method, args)))
    }

    fn path(&self, version: &str, what: &str) -> String {
        format!("api/{version}/{}/{what}", self.place)
    }

    fn url(&self, path: &str) -> Url {
        self.url.join(path).unwrap()
    }

    fn post(&self, version: &str, what: &str, content: &EnvelopeContent) -> (StatusCode, Vec<u8>) {
        let request = self.client.post(self.url(&self.path(version, what)));
        let answer =
            request.header("content-type", "application/cbor").body(envelope(content)).send().unwrap();
        (answer.status(), answer.bytes().unwrap().to_vec())
    }
}

pub fn decode<T: DeserializeOwned + candid::CandidType>(outcome: AgentResult) -> T {
    candid::decode_one(&outcome.unwrap()).unwrap()
}

fn envelope(content: &EnvelopeContent) -> Vec<u8> {
    let content = Cow::Borrowed(content);
    Envelope { content, sender_pubkey: None, sender_sig: None, sender_delegation: None }.encode_bytes()
}

/// Returns the outcome of a call in a certificate; `None` if the call is still in progress.
fn outcome(certificate: &[u8], id: RequestId) -> Option<AgentResult> {
    let Certificate { tree, .. } = serde_cbor::from_slice::<Certificate>(certificate).unwrap();
    let field = |what: &str| match tree.lookup_path([&b"request_status"[..], id.as_slice(), what.as_bytes()])
    {
        LookupResult::Found(value) => value.to_vec(),
        other => panic!("{what}: {other:?}"),
    };
    match field("status").as_slice() {
        b"replied" => Some(Ok(field("reply"))),
        b"rejected" => Some(Err(String::from_utf8(field("error_code")).unwrap())),
        b"received" => None,
        other => panic!("status {other:?}"),
    }
}
