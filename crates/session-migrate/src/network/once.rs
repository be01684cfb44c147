//! Calls that are executed at most once, however often they are sent, even by a later process.
//!
//! The Internet Computer executes each request id at most once, and the same call with the same nonce and expiry has
//! the same id. A program that keeps nonce and expiry (in a [`Ticket`]) can therefore send the same request again after
//! a lost answer or a restart, until the request expires. Afterwards, the program can still ask for the outcome.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use candid::Principal;
use candid::utils::ArgumentEncoder;
use ic_agent::agent::agent_error::{HttpErrorPayload, TransportError};
use ic_agent::agent::{CallResponse, EnvelopeContent, RequestStatusResponse};
use ic_agent::{AgentError, NonceFactory, RequestId, TransportCallResponse, to_request_id};
use ic_certification::{Certificate, Label, LookupResult};
use ic_transport_types::Envelope;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};

use super::canister::{is_expiry_refused, to_client_error};
use super::management::certified_time;
use super::{Network, Retry};
use crate::client::{ClientError, EncodedCall};

/// Time from the first signing of a request to its expiry. The Internet Computer accepts at most five minutes; the
/// clock of this machine may be up to a minute fast.
const REQUEST_LIFETIME: Duration = Duration::from_secs(240);

/// Pause between two checks of a request's status.
const STATUS_PAUSE: Duration = Duration::from_millis(500);

/// A call to make: the canister, the method and the arguments.
#[derive(Clone, Debug)]
pub struct Target {
    /// The canister that is called.
    pub callee: Principal,
    /// The canister that the call is about: the callee, unless that is the management canister.
    pub effective: Principal,
    /// The method.
    pub method: &'static str,
    /// The encoded arguments.
    pub arg: Vec<u8>,
}

impl Target {
    /// Returns a call to the management canister about `canister`.
    ///
    /// # Errors
    /// If the arguments cannot be encoded.
    pub fn management(
        method: &'static str,
        canister: Principal,
        args: impl ArgumentEncoder,
    ) -> Result<Target, ClientError> {
        let EncodedCall { method, arg } = EncodedCall::new(method, args)?;
        Ok(Target { callee: Principal::management_canister(), effective: canister, method, arg })
    }

    /// Returns a call to `canister` itself.
    ///
    /// # Errors
    /// If the arguments cannot be encoded.
    pub fn canister(
        method: &'static str,
        canister: Principal,
        args: impl ArgumentEncoder,
    ) -> Result<Target, ClientError> {
        let EncodedCall { method, arg } = EncodedCall::new(method, args)?;
        Ok(Target { callee: canister, effective: canister, method, arg })
    }
}

/// The id of a request, with the nonce and the expiry that are needed to sign the same request again, even in a later
/// process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The request's id, in hex.
    pub request_id: String,
    /// The request's nonce, in hex.
    pub nonce: String,
    /// When the request expires, nanoseconds.
    pub expiry: u64,
}

/// A signed request, which may be sent several times and is executed at most once.
pub struct OneCall {
    effective: Principal,
    method: &'static str,
    envelope: Vec<u8>,
    request_id: RequestId,
    ticket: Ticket,
}

/// The outcome of a request, as far as the network knows it.
#[derive(Clone, Debug, PartialEq)]
pub enum RequestOutcome {
    /// The request was executed.
    Replied {
        /// The reply.
        reply: Vec<u8>,
        /// The certificate that contains the reply, in CBOR.
        certificate: Vec<u8>,
    },
    /// The request was rejected, before or during its execution.
    Rejected(Rejection),
    /// The network has no outcome of the request: the request has expired, by the network's time, without being
    /// executed, or the network no longer stores its outcome.
    Lost,
}

/// A rejection, as stored in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Name of the IC's error code, if the rejection has one.
    pub code: Option<String>,
    /// The error's text.
    pub text: String,
}

impl Rejection {
    /// Returns whether the call was rejected because the canister has too few cycles, that is, because the canister is
    /// frozen.
    pub fn is_out_of_cycles(&self) -> bool {
        self.code.as_deref() == Some("CanisterOutOfCycles")
    }
}

impl From<&ClientError> for Rejection {
    fn from(error: &ClientError) -> Rejection {
        let code = match error {
            ClientError::Rejected { code, .. } => Some(format!("{code:?}")),
            _ => None,
        };
        Rejection { code, text: error.to_string() }
    }
}

/// Returns the time of the state in which a call was answered, nanoseconds; `None` if `certificate`, which comes from
/// [`RequestOutcome::Replied`], does not decode or contains no time.
pub fn answered_at(certificate: &[u8]) -> Option<u64> {
    certified_time(&serde_cbor::from_slice(certificate).ok()?)
}

impl OneCall {
    /// Returns the ticket with which the same request can be made again.
    pub fn ticket(&self) -> &Ticket {
        &self.ticket
    }
}

impl Network {
    /// Signs a call without sending it.
    ///
    /// # Errors
    /// If the call cannot be signed.
    pub fn prepare(&self, target: Target) -> Result<OneCall, ClientError> {
        let nonce = NonceFactory::random().generate().unwrap_or_default();
        self.sign(target, nonce, now().saturating_add(nanos(REQUEST_LIFETIME)))
    }

    /// Signs the call of a ticket again: the result is the same request.
    ///
    /// # Errors
    /// If the ticket belongs to another call, caller or canister, or the call cannot be signed.
    pub fn prepare_again(&self, target: Target, ticket: &Ticket) -> Result<OneCall, ClientError> {
        let method = target.method;
        let nonce = hex::decode(&ticket.nonce).unwrap_or_default();
        let call = self.sign(target, nonce, ticket.expiry)?;
        match call.ticket == *ticket {
            true => Ok(call),
            false => Err(ClientError::Network {
                method,
                detail: format!(
                    "it differs from request {}: caller, module and options must be those of the first attempt",
                    ticket.request_id
                ),
            }),
        }
    }

    fn sign(&self, target: Target, nonce: Vec<u8>, expiry: u64) -> Result<OneCall, ClientError> {
        let Target { callee, effective, method, arg } = target;
        let sign_error = |detail: String| ClientError::Network { method, detail };
        let content = EnvelopeContent::Call {
            nonce: Some(nonce.clone()),
            ingress_expiry: expiry,
            sender: self.caller(),
            canister_id: callee,
            method_name: method.to_owned(),
            arg,
            sender_info: None,
        };
        let request_id = to_request_id(&content).map_err(|error| sign_error(error.to_string()))?;
        let signature = self.identity.sign(&content).map_err(sign_error)?;
        let envelope = Envelope {
            content: Cow::Owned(content),
            sender_pubkey: signature.public_key,
            sender_sig: signature.signature,
            sender_delegation: signature.delegations,
        }
        .encode_bytes();
        let ticket =
            Ticket { request_id: hex::encode(request_id.as_slice()), nonce: hex::encode(nonce), expiry };
        Ok(OneCall { effective, method, envelope, request_id, ticket })
    }

    /// Sends a call, repeatedly if necessary, until its outcome is known. Once the call has expired, according to the
    /// clock of this machine or to the network, only asks for the outcome.
    ///
    /// # Errors
    /// Any error but a rejection, if the error is permanent or `retry` no longer repeats the call. The call may have
    /// been executed then, or may still be.
    pub async fn settle(&self, call: &OneCall, retry: Retry<'_>) -> Result<RequestOutcome, ClientError> {
        let method = call.method;
        let sent = retry.again(|| async {
            if now() >= call.ticket.expiry {
                // Too late to send it: below, the network is only asked for the outcome.
                return Ok(None);
            }
            let answer = self.agent.update_signed(call.effective, call.envelope.clone()).await;
            match answer {
                Ok(CallResponse::Response(_) | CallResponse::Poll(_)) => {
                    let response = self.agent.wait(&call.request_id, call.effective).await;
                    response.map(Some).map_err(|error| to_client_error(method, error))
                }
                // If the clock of this machine is slow, the call has expired by the network's time only.
                Err(error) if is_expiry_refused(&error) => {
                    match self.has_expired(&call.ticket, call.effective).await {
                        true => Ok(None),
                        false => Err(to_client_error(method, error)),
                    }
                }
                Err(error) => Err(to_client_error(method, error)),
            }
        });
        match sent.await {
            Ok(Some((reply, certificate))) => {
                Ok(RequestOutcome::Replied { reply, certificate: encode_certificate(&certificate) })
            }
            Ok(None) => self.find_outcome(method, &call.ticket, call.effective, retry).await,
            Err(error) => outcome_of_error(error),
        }
    }

    /// Returns whether the network has refused a request because it has expired; `false` if its expiry is too far ahead
    /// of the network's time, or this time cannot be read.
    async fn has_expired(&self, refused: &Ticket, effective: Principal) -> bool {
        let certificate = self.agent.read_state_raw(vec![vec!["time".into()]], effective).await;
        let network_time = certificate.ok().and_then(|certificate| certified_time(&certificate));
        // The certified time may be some seconds before the time by which the network has refused the request, so it
        // need not be after the expiry. The network accepts an expiry that is a lifetime ahead, so it has refused the
        // request as expired unless the expiry is further ahead.
        network_time.is_some_and(|time| refused.expiry <= time.saturating_add(nanos(REQUEST_LIFETIME)))
    }

    /// Sends a call and returns its reply. Unlike [`Network::settle`], a failed call is repeated by the caller as a new
    /// request, so the call must be harmless if it is executed twice. While the call is in flight, there is one copy of
    /// its arguments in memory. The agent would keep three, each of some megabytes if the call sends a slice of a
    /// snapshot.
    ///
    /// # Errors
    /// If the call cannot be signed, is rejected or is not answered, or if the certificate of the answer is not valid.
    pub async fn send_large(&self, target: Target) -> Result<Vec<u8>, ClientError> {
        let OneCall { effective, method, envelope, request_id, .. } = self.prepare(target)?;
        let client_error = |error: AgentError| to_client_error(method, error);
        let lost_answer = |error: reqwest::Error| {
            client_error(AgentError::TransportError(TransportError::Generic(describe_with_causes(&error))))
        };
        let url = self.api.join(&format!("api/v4/canister/{effective}/call"));
        let url = url.map_err(|error| client_error(error.into()))?;
        let request = self.http.post(url).header(CONTENT_TYPE, "application/cbor").body(envelope);
        let answer = request.send().await.map_err(lost_answer)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(lost_answer)?;
        match status {
            StatusCode::ACCEPTED => {}
            StatusCode::OK => {
                match serde_cbor::from_slice(&body).map_err(|error| client_error(error.into()))? {
                    TransportCallResponse::Replied { certificate } => {
                        let certificate: Certificate = serde_cbor::from_slice(&certificate)
                            .map_err(|error| client_error(error.into()))?;
                        self.agent.verify(&certificate, effective).map_err(client_error)?;
                        let path: [&[u8]; 3] = [b"request_status", request_id.as_slice(), b"reply"];
                        if let LookupResult::Found(reply) = certificate.tree.lookup_path(path) {
                            return Ok(reply.to_vec());
                        }
                    }
                    TransportCallResponse::NonReplicatedRejection(reject) => {
                        return Err(client_error(AgentError::UncertifiedReject { reject, operation: None }));
                    }
                    TransportCallResponse::Accepted => {}
                }
            }
            status => {
                let content = body.to_vec();
                let payload = HttpErrorPayload { status: status.as_u16(), content_type: None, content };
                return Err(client_error(AgentError::HttpError(payload)));
            }
        }
        let (reply, _) = self.agent.wait(&request_id, effective).await.map_err(client_error)?;
        Ok(reply)
    }

    /// Asks for the outcome of a call, without sending the call again, until the outcome is known, or the call has
    /// expired according to the network's time and the network does not know the call.
    ///
    /// # Errors
    /// Any error but a rejection, if the error is permanent or `retry` no longer repeats the question. The outcome of
    /// the call is unknown then.
    pub async fn find_outcome(
        &self,
        method: &'static str,
        ticket: &Ticket,
        effective: Principal,
        retry: Retry<'_>,
    ) -> Result<RequestOutcome, ClientError> {
        let digest = hex::decode(&ticket.request_id).ok().and_then(|bytes| bytes.try_into().ok());
        let request_id = RequestId::new(&digest.unwrap_or_default());
        loop {
            let asked = retry.again(|| async {
                let status = self.agent.request_status_raw(&request_id, effective).await;
                match status {
                    // Both errors mean that the network does not know the request: some networks cannot prove that it
                    // is absent.
                    Err(AgentError::LookupPathAbsent(_) | AgentError::LookupPathUnknown(_)) => Ok(None),
                    status => status.map(Some).map_err(|error| to_client_error(method, error)),
                }
            });
            // The time of a state in which the network did not know the request; `None` if it knows the request.
            let unknown_at = match asked.await? {
                Some((RequestStatusResponse::Replied(reply), certificate)) => {
                    let certificate = encode_certificate(&certificate);
                    return Ok(RequestOutcome::Replied { reply: reply.arg, certificate });
                }
                Some((RequestStatusResponse::Rejected(reject), _)) => {
                    let error = AgentError::CertifiedReject { reject, operation: None };
                    return outcome_of_error(to_client_error(method, error));
                }
                // The network has removed the reply.
                Some((RequestStatusResponse::Done, _)) => return Ok(RequestOutcome::Lost),
                Some((RequestStatusResponse::Unknown, certificate)) => certified_time(&certificate),
                Some((RequestStatusResponse::Received | RequestStatusResponse::Processing, _)) => None,
                None => {
                    let asked = retry.again(|| async {
                        let time = self.unknown_at(&request_id, effective).await;
                        time.map_err(|error| to_client_error(method, error))
                    });
                    asked.await?
                }
            };
            // After the expiry, the network no longer accepts the request. Only the network's time counts: if the clock
            // of this machine is fast, the network may still execute the request.
            if unknown_at.is_some_and(|time| time > ticket.expiry) {
                return Ok(RequestOutcome::Lost);
            }
            retry.clock.pause(STATUS_PAUSE).await;
        }
    }

    /// Reads the certified state: returns its time in nanoseconds if the state has no status of a request; `None` if it
    /// has one.
    async fn unknown_at(
        &self,
        request_id: &RequestId,
        effective: Principal,
    ) -> Result<Option<u64>, AgentError> {
        let request: Vec<Label> = vec!["request_status".into(), Label::from_bytes(request_id.as_slice())];
        let mut status = request.clone();
        status.push("status".into());
        let certificate = self.agent.read_state_raw(vec![request], effective).await?;
        Ok(match certificate.tree.lookup_path(status) {
            LookupResult::Found(_) => None,
            _ => certified_time(&certificate),
        })
    }
}

/// A rejection is the outcome of a call; every other error leaves the outcome unknown.
fn outcome_of_error(error: ClientError) -> Result<RequestOutcome, ClientError> {
    match error {
        ClientError::Rejected { .. } => Ok(RequestOutcome::Rejected((&error).into())),
        other => Err(other),
    }
}

fn describe_with_causes(error: &reqwest::Error) -> String {
    let all = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn encode_certificate(certificate: &Certificate) -> Vec<u8> {
    serde_cbor::to_vec(certificate).unwrap_or_default()
}

/// Returns the time by the clock of this machine, nanoseconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, nanos)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
