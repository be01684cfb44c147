//! The envelopes that agents send.

use super::public_key::is_ed25519;
use super::refusal::Refusal;
use crate::engine::CallerInfo;
use crate::ic::UserCall;
use crate::threads::Work;
use candid::Principal;
use ic_certification::Label;
use ic_transport_types::{SenderInfo, SignedDelegation};
use pocket_ic::common::rest::RawEffectivePrincipal;
use serde::{Deserialize, Serialize};

/// Maximum length of a nonce, bytes.
const MAX_NONCE_BYTES: usize = 32;

/// The types of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Call,
    Query,
    ReadState,
}

impl Action {
    /// Returns the value of the field `request_type`.
    pub fn request_type(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Query => "query",
            Self::ReadState => "read_state",
        }
    }
}

/// A request as received.
#[derive(Clone, Debug, Deserialize)]
pub struct Envelope {
    pub content: Content,
    /// The public key that the sender's principal is derived from, DER.
    #[serde(default, with = "serde_bytes")]
    pub sender_pubkey: Option<Vec<u8>>,
    /// The signature of the content, by the last key of the delegations; by `sender_pubkey` if there are none.
    #[serde(default, with = "serde_bytes")]
    pub sender_sig: Option<Vec<u8>>,
    /// A chain of delegations: the first is signed by `sender_pubkey`, each names a key, and this key signs the next.
    #[serde(default)]
    pub sender_delegation: Option<Vec<SignedDelegation>>,
}

/// The fields of all kinds of requests. Absent fields are not part of the request's id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Content {
    request_type: String,
    pub sender: Principal,
    /// Expiry, nanoseconds since 1970.
    pub ingress_expiry: u64,
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    nonce: Option<Vec<u8>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    canister_id: Option<Principal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method_name: Option<String>,
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    arg: Option<Vec<u8>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sender_info: Option<SenderInfo>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paths: Option<Vec<Vec<Label>>>,
}

impl Envelope {
    /// Returns how long the verification of this envelope may take: far less than a millisecond if there is at most one
    /// signature, by an Ed25519 key.
    pub fn verification_work(&self) -> Work {
        let is_quick =
            self.sender_delegation.is_none() && self.sender_pubkey.as_deref().is_none_or(is_ed25519);
        Work::long_if(!is_quick)
    }
}

impl Content {
    /// Checks the type of the request and the length of the nonce.
    pub fn check(&self, action: Action) -> Result<(), Refusal> {
        if self.request_type != action.request_type() {
            return Err(Refusal::bad_request(format!(
                "Expected a request of type {}, got {:.50}",
                action.request_type(),
                self.request_type
            )));
        }
        match self.nonce.as_ref().map_or(0, Vec::len) {
            ..=MAX_NONCE_BYTES => Ok(()),
            got => Err(Refusal::bad_request(format!(
                "Nonce of {got} bytes: at most {MAX_NONCE_BYTES} are allowed"
            ))),
        }
    }

    /// Returns the canister that is called; `None` in requests to read the state.
    pub fn canister_id(&self) -> Option<Principal> {
        self.canister_id
    }

    /// Returns the `sender_info`: a canister's statement about the sender.
    pub fn sender_info(&self) -> Option<&SenderInfo> {
        self.sender_info.as_ref()
    }

    /// Returns the call or query; an error if a field is missing.
    pub fn into_call(self) -> Result<UserCall, Refusal> {
        let missing = |field: &str| Refusal::bad_request(format!("The content has no field {field}"));
        let caller_info = self.sender_info.map(|info| CallerInfo { data: info.info, signer: info.signer });
        Ok(UserCall {
            sender: self.sender,
            callee: self.canister_id.ok_or_else(|| missing("canister_id"))?,
            effective: RawEffectivePrincipal::None,
            method: self.method_name.ok_or_else(|| missing("method_name"))?,
            arg: self.arg.ok_or_else(|| missing("arg"))?,
            caller_info: caller_info.unwrap_or_default(),
            target: Default::default(),
        })
    }

    /// Returns the paths to read; an error if the content has none.
    pub fn into_paths(self) -> Result<Vec<Vec<Vec<u8>>>, Refusal> {
        let paths = self.paths.ok_or_else(|| Refusal::bad_request("The content has no field paths"))?;
        let labels = |path: Vec<Label>| path.iter().map(|label| label.as_bytes().to_vec()).collect();
        Ok(paths.into_iter().map(labels).collect())
    }
}
