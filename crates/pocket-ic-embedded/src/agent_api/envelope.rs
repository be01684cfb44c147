//! Decodes and checks the envelopes that agents send.

use super::public_key::is_ed25519;
use super::refusal::Refusal;
use super::sender::{Action, Sender};
use crate::engine::CallerInfo;
use crate::http::Slot;
use crate::ic::clock;
use crate::ic::{Instance, UserCall};
use crate::threads::{self, Work};
use candid::Principal;
use ic_certification::Label;
use ic_transport_types::{RequestId, SenderInfo, SignedDelegation, to_request_id};
use pocket_ic::common::rest::RawEffectivePrincipal;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use time::OffsetDateTime;

/// Maximum distance of an expiry in the future, as on the Internet Computer.
const MAX_EXPIRY: Duration = Duration::from_secs(5 * 60 + 30);
/// Difference between an instance's time and the host's at which agents refuse the instance's certificates.
const MAX_CLOCK_SKEW: u64 = 5 * 60 * 1_000_000_000;
/// Maximum length of a nonce, bytes.
const MAX_NONCE: usize = 32;

/// A request as received.
#[derive(Clone, Debug, Deserialize)]
pub struct Envelope {
    /// What is requested.
    pub content: Content,
    /// The public key that the sender's principal is derived from, DER.
    #[serde(default, with = "serde_bytes")]
    pub sender_pubkey: Option<Vec<u8>>,
    /// The signature of the content, by the last key of the delegations.
    #[serde(default, with = "serde_bytes")]
    pub sender_sig: Option<Vec<u8>>,
    /// Delegations, each to the next key.
    #[serde(default)]
    pub sender_delegation: Option<Vec<SignedDelegation>>,
}

/// The fields of all kinds of requests. Absent fields are not part of the request's id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Content {
    request_type: String,
    /// The sender's principal.
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

/// A well-formed request with a verified signature.
pub struct Checked {
    /// What is requested.
    pub content: Content,
    /// The id of the request: the hash of its content.
    pub id: RequestId,
    /// What the sender's delegations allow.
    pub sender: Sender,
}

/// Decodes a request and verifies its sender.
///
/// # Errors
/// A request that is malformed or not signed by its sender.
pub fn check(slot: &Slot, action: Action, body: &[u8]) -> Result<Checked, Refusal> {
    let envelope: Envelope = serde_cbor::from_slice(body)
        .map_err(|error| Refusal::bad(format!("Could not parse body as CBOR of a request: {error}")))?;
    envelope.content.check(action)?;
    let id = to_request_id(&envelope.content).map_err(Refusal::fault)?;
    if !slot.checks_envelopes() {
        return Ok(Checked { content: envelope.content, id, sender: Sender::unlimited() });
    }
    let root_key = slot.root_key();
    let verify = || Sender::authenticate(&envelope, &id, action, root_key);
    let sender = threads::run(envelope.verification(), verify).map_err(Refusal::fault)??;
    Ok(Checked { content: envelope.content, id, sender })
}

impl Envelope {
    /// Returns how long its verification may take: far less than a millisecond if it has at most one signature, with
    /// Ed25519.
    fn verification(&self) -> Work {
        let is_quick =
            self.sender_delegation.is_none() && self.sender_pubkey.as_deref().is_none_or(is_ed25519);
        Work::long_if(!is_quick)
    }
}

impl Content {
    fn check(&self, action: Action) -> Result<(), Refusal> {
        if self.request_type != action.request_type() {
            return Err(Refusal::bad(format!(
                "Expected a request of type {}, got {:.50}",
                action.request_type(),
                self.request_type
            )));
        }
        match self.nonce.as_ref().map_or(0, Vec::len) {
            ..=MAX_NONCE => Ok(()),
            got => Err(Refusal::bad(format!("Nonce of {got} bytes: at most {MAX_NONCE} are allowed"))),
        }
    }

    /// Returns the canister that is called or queried.
    pub fn canister_id(&self) -> Option<Principal> {
        self.canister_id
    }

    /// Returns the `sender_info`: a canister's statement about the sender.
    pub fn sender_info(&self) -> Option<&SenderInfo> {
        self.sender_info.as_ref()
    }

    /// Returns the call or query.
    ///
    /// # Errors
    /// A missing field.
    pub fn into_call(self) -> Result<UserCall, Refusal> {
        let missing = |field: &str| Refusal::bad(format!("The content has no field {field}"));
        let info = self.sender_info.map(|info| CallerInfo { data: info.info, signer: info.signer });
        Ok(UserCall {
            sender: self.sender,
            callee: self.canister_id.ok_or_else(|| missing("canister_id"))?,
            effective: RawEffectivePrincipal::None,
            method: self.method_name.ok_or_else(|| missing("method_name"))?,
            arg: self.arg.ok_or_else(|| missing("arg"))?,
            info: info.unwrap_or_default(),
        })
    }

    /// Returns the paths to read.
    ///
    /// # Errors
    /// If there are none.
    pub fn into_paths(self) -> Result<Vec<Vec<Vec<u8>>>, Refusal> {
        let paths = self.paths.ok_or_else(|| Refusal::bad("The content has no field paths"))?;
        let labels = |path: Vec<Label>| path.iter().map(|label| label.as_bytes().to_vec()).collect();
        Ok(paths.into_iter().map(labels).collect())
    }
}

impl Checked {
    /// Checks, by the instance's time, that the request and the delegations have not expired.
    ///
    /// # Errors
    /// A request that has expired, or whose expiry is too far ahead.
    pub fn check_time(&self, instance: &Instance, action: Action) -> Result<(), Refusal> {
        if !instance.checks_envelopes() {
            return Ok(());
        }
        let now = instance.time();
        if let Some(expiration) = self.sender.expires().filter(|expiration| *expiration < now) {
            return Err(Refusal::bad(format!(
                "Invalid delegation expiry: Specified sender delegation has expired: Provided expiry: {}, Local replica time: {}{}",
                readable(expiration),
                readable(now),
                advice(now)
            )));
        }
        let anonymous = self.content.sender == Principal::anonymous();
        if anonymous && action != Action::Call {
            return Ok(());
        }
        let latest = now.saturating_add(MAX_EXPIRY.as_nanos() as u64);
        if (now..=latest).contains(&self.content.ingress_expiry) {
            return Ok(());
        }
        Err(Refusal::bad(format!(
            "Invalid request expiry: Specified ingress_expiry not within expected range: Minimum allowed expiry: {}, Maximum allowed expiry: {}, Provided expiry: {}{}",
            readable(now),
            readable(latest),
            readable(self.content.ingress_expiry),
            advice(now)
        )))
    }
}

/// Returns a hint if the instance's time is not the host's: agents then refuse its certificates.
fn advice(now: u64) -> String {
    match now.abs_diff(clock::present()) {
        ..=MAX_CLOCK_SKEW => String::new(),
        _ => ". The time of this instance is not the current time, which agents require: make its time advance automatically (make_live, auto_progress)".to_owned(),
    }
}

fn readable(nanos: u64) -> String {
    match OffsetDateTime::from_unix_timestamp_nanos(nanos.into()) {
        Ok(time) => time.to_string(),
        // Only for a time beyond the year 9999.
        Err(_) => format!("{nanos} ns"),
    }
}

/// Runs an operation on the instance.
///
/// # Errors
/// The operation's, or that the instance is not usable.
pub async fn operate<T>(
    slot: &Slot,
    work: Work,
    operation: impl FnOnce(&mut Instance) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let done = slot.operate(work, |instance| Ok(operation(instance))).await;
    done.map_err(Refusal::fault)?.map_err(Refusal::from)?
}
