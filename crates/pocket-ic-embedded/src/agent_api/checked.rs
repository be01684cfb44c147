//! Checks of agents' requests and their senders; running an operation on an instance for a request.

use super::envelope::{Action, Content, Envelope};
use super::refusal::Refusal;
use super::sender::Sender;
use crate::http::Slot;
use crate::ic::{Instance, clock};
use crate::threads::{self, Work};
use candid::Principal;
use ic_transport_types::{RequestId, to_request_id};
use std::time::Duration;
use time::OffsetDateTime;

/// Maximum time between now and the expiry of a request, as on the Internet Computer: 5 minutes, and half a minute for
/// differences between clocks.
const MAX_EXPIRY: Duration = Duration::from_secs(5 * 60 + 30);
/// Maximum difference between the time of an instance and the time of the host, nanoseconds: beyond it, agents refuse
/// the instance's certificates.
const MAX_CLOCK_SKEW: u64 = 5 * 60 * 1_000_000_000;

/// A well-formed request. Its sender is verified if the instance checks envelopes.
pub struct CheckedRequest {
    pub content: Content,
    /// The id of the request: the hash of its content.
    pub id: RequestId,
    /// What the sender's delegations allow; everything if the instance does not check envelopes.
    pub sender: Sender,
}

/// Decodes a request and, if the instance checks envelopes, verifies its sender.
///
/// # Errors
/// A request that is malformed or not signed by its sender.
pub fn check_request(slot: &Slot, action: Action, body: &[u8]) -> Result<CheckedRequest, Refusal> {
    let envelope: Envelope = serde_cbor::from_slice(body).map_err(|error| {
        Refusal::bad_request(format!("Could not parse body as CBOR of a request: {error}"))
    })?;
    envelope.content.check(action)?;
    let id = to_request_id(&envelope.content).map_err(Refusal::fault)?;
    if !slot.checks_envelopes() {
        return Ok(CheckedRequest { content: envelope.content, id, sender: Sender::unlimited() });
    }
    let root_key = slot.root_key();
    let verify = || Sender::authenticate(&envelope, &id, action, root_key);
    let sender = threads::run(envelope.verification_work(), verify).map_err(Refusal::fault)??;
    Ok(CheckedRequest { content: envelope.content, id, sender })
}

impl CheckedRequest {
    /// Checks, by the instance's time, that the request and the delegations have not expired. The expiry of anonymous
    /// queries and reads does not matter, nor does any expiry if the instance does not check envelopes.
    ///
    /// # Errors
    /// A request or delegation that has expired, or a request whose expiry is too far ahead.
    pub fn check_time(&self, instance: &Instance, action: Action) -> Result<(), Refusal> {
        if !instance.checks_envelopes() {
            return Ok(());
        }
        let now = instance.time();
        if let Some(expiration) = self.sender.earliest_expiry().filter(|expiration| *expiration < now) {
            return Err(Refusal::bad_request(format!(
                "Invalid delegation expiry: Specified sender delegation has expired: Provided expiry: {}, Local replica time: {}{}",
                time_text(expiration),
                time_text(now),
                clock_advice(now)
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
        Err(Refusal::bad_request(format!(
            "Invalid request expiry: Specified ingress_expiry not within expected range: Minimum allowed expiry: {}, Maximum allowed expiry: {}, Provided expiry: {}{}",
            time_text(now),
            time_text(latest),
            time_text(self.content.ingress_expiry),
            clock_advice(now)
        )))
    }
}

/// Returns a hint if the instance's time differs so much from the host's that agents refuse its certificates, otherwise
/// an empty text.
fn clock_advice(now: u64) -> String {
    match now.abs_diff(clock::host_time()) {
        ..=MAX_CLOCK_SKEW => String::new(),
        _ => ". The time of this instance is not the current time, which agents require: make its time advance automatically (make_live, auto_progress)".to_owned(),
    }
}

fn time_text(nanos: u64) -> String {
    match OffsetDateTime::from_unix_timestamp_nanos(nanos.into()) {
        Ok(time) => time.to_string(),
        // The conversion fails only for a time beyond the year 9999.
        Err(_) => format!("{nanos} ns"),
    }
}

/// Runs an operation on the instance, like [`Slot::operate`], but with all errors as a [`Refusal`]. Fails if the
/// operation does, or if the instance is unusable.
pub async fn operate<T>(
    slot: &Slot,
    work: Work,
    operation: impl FnOnce(&mut Instance) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let done = slot.operate(work, |instance| Ok(operation(instance))).await;
    done.map_err(Refusal::fault)?.map_err(Refusal::from)?
}
