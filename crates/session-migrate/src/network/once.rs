//! Calls that are executed at most once, however often they are sent, even by a later process.
//!
//! The Internet Computer executes a request id once. The same nonce and expiry result in the same id. Whoever keeps
//! them (in a [`Ticket`]) can therefore send the very same request again after a lost answer or a restart, until it
//! expires, and then ask for its outcome.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use candid::Principal;
use candid::utils::ArgumentEncoder;
use ic_agent::agent::agent_error::{HttpErrorPayload, TransportError};
use ic_agent::agent::{CallResponse, EnvelopeContent, RequestStatusResponse};
use ic_agent::{AgentError, NonceFactory, RequestId, TransportCallResponse, to_request_id};
use ic_certification::{Certificate, LookupResult};
use ic_transport_types::Envelope;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};

use super::canister::failed;
use super::management::time_of;
use super::{Network, Retry};
use crate::client::{ClientError, EncodedCall};

/// How long a new request may be executed. The Internet Computer accepts five minutes.
const LIFETIME: Duration = Duration::from_secs(240);

/// Pause between two checks of a request.
const PAUSE: Duration = Duration::from_millis(500);

/// Whom and what to call.
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
    /// Arguments that do not encode.
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
    /// Arguments that do not encode.
    pub fn canister(
        method: &'static str,
        canister: Principal,
        args: impl ArgumentEncoder,
    ) -> Result<Target, ClientError> {
        let EncodedCall { method, arg } = EncodedCall::new(method, args)?;
        Ok(Target { callee: canister, effective: canister, method, arg })
    }
}

/// What is needed to make the same request again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Hex.
    pub request_id: String,
    /// Hex.
    pub nonce: String,
    /// When the request expires, nanoseconds.
    pub expiry: u64,
}

/// A request that can be sent again.
pub struct OneCall {
    effective: Principal,
    method: &'static str,
    envelope: Vec<u8>,
    request_id: RequestId,
    ticket: Ticket,
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum RequestOutcome {
    /// It was executed.
    Replied {
        /// The reply.
        reply: Vec<u8>,
        /// The certificate that contains it, in CBOR.
        certificate: Vec<u8>,
    },
    /// It was rejected: by the network before execution, or by what it called.
    Rejected(Rejection),
    /// It has expired without a trace: it was not executed, or was executed so long ago that the network no longer has
    /// its outcome.
    Lost,
}

/// A rejection, as stored in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The IC's error code by name, if it has one.
    pub code: Option<String>,
    /// The whole text.
    pub text: String,
}

impl Rejection {
    /// Returns whether the canister was frozen.
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

/// Returns the time of the state in which a call was answered, nanoseconds; `certificate` is that of
/// [`RequestOutcome::Replied`].
pub fn answered_at(certificate: &[u8]) -> Option<u64> {
    time_of(&serde_cbor::from_slice(certificate).ok()?)
}

impl OneCall {
    /// Returns the ticket with which the same request can be made again.
    pub fn ticket(&self) -> &Ticket {
        &self.ticket
    }
}

impl Network {
    /// Signs a call, and sends nothing.
    ///
    /// # Errors
    /// An identity that cannot sign.
    pub fn prepare(&self, target: Target) -> Result<OneCall, ClientError> {
        let nonce = NonceFactory::random().generate().unwrap_or_default();
        self.signed(target, nonce, now().saturating_add(nanos(LIFETIME)))
    }

    /// Signs the call of a ticket again.
    ///
    /// # Errors
    /// A ticket of another call, caller or canister.
    pub fn prepare_again(&self, target: Target, ticket: &Ticket) -> Result<OneCall, ClientError> {
        let method = target.method;
        let nonce = hex::decode(&ticket.nonce).unwrap_or_default();
        let call = self.signed(target, nonce, ticket.expiry)?;
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

    fn signed(&self, target: Target, nonce: Vec<u8>, expiry: u64) -> Result<OneCall, ClientError> {
        let Target { callee, effective, method, arg } = target;
        let unsigned = |detail: String| ClientError::Network { method, detail };
        let content = EnvelopeContent::Call {
            nonce: Some(nonce.clone()),
            ingress_expiry: expiry,
            sender: self.caller(),
            canister_id: callee,
            method_name: method.to_owned(),
            arg,
            sender_info: None,
        };
        let request_id = to_request_id(&content).map_err(|error| unsigned(error.to_string()))?;
        let signature = self.identity.sign(&content).map_err(unsigned)?;
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

    /// Sends a call until its outcome is known, or it has expired without a trace.
    ///
    /// # Errors
    /// There was no answer for as long as `retry` allows: the outcome is unknown.
    pub async fn settle(&self, call: &OneCall, retry: Retry<'_>) -> Result<RequestOutcome, ClientError> {
        let method = call.method;
        let sent = retry.again(|| async {
            if now() >= call.ticket.expiry {
                return Ok(None);
            }
            let answer = self.agent.update_signed(call.effective, call.envelope.clone()).await;
            match answer {
                Ok(CallResponse::Response(_) | CallResponse::Poll(_)) => {
                    let waited = self.agent.wait(&call.request_id, call.effective).await;
                    waited.map(Some).map_err(|error| failed(method, error))
                }
                Err(error) => Err(failed(method, error)),
            }
        });
        match sent.await {
            Ok(Some((reply, certificate))) => {
                Ok(RequestOutcome::Replied { reply, certificate: encoded(&certificate) })
            }
            Ok(None) => self.find_outcome(method, &call.ticket, call.effective, retry).await,
            Err(error) => rejected(error),
        }
    }

    /// Sends a call that is harmless if it is executed twice, once, and returns its reply. While it is in flight, there
    /// is one copy of its arguments; the agent would keep three, of megabytes for each slice of a snapshot.
    ///
    /// # Errors
    /// A rejection, or a network that does not answer.
    pub async fn send_large(&self, target: Target) -> Result<Vec<u8>, ClientError> {
        let OneCall { effective, method, envelope, request_id, .. } = self.prepare(target)?;
        let failed = |error: AgentError| failed(method, error);
        let lost = |error: reqwest::Error| {
            failed(AgentError::TransportError(TransportError::Generic(causes(&error))))
        };
        let url = self.api.join(&format!("api/v4/canister/{effective}/call"));
        let url = url.map_err(|error| failed(error.into()))?;
        let request = self.http.post(url).header(CONTENT_TYPE, "application/cbor").body(envelope);
        let answer = request.send().await.map_err(lost)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(lost)?;
        match status {
            StatusCode::ACCEPTED => {}
            StatusCode::OK => match serde_cbor::from_slice(&body).map_err(|error| failed(error.into()))? {
                TransportCallResponse::Replied { certificate } => {
                    let certificate: Certificate =
                        serde_cbor::from_slice(&certificate).map_err(|error| failed(error.into()))?;
                    self.agent.verify(&certificate, effective).map_err(failed)?;
                    let path: [&[u8]; 3] = [b"request_status", request_id.as_slice(), b"reply"];
                    if let LookupResult::Found(reply) = certificate.tree.lookup_path(path) {
                        return Ok(reply.to_vec());
                    }
                }
                TransportCallResponse::NonReplicatedRejection(reject) => {
                    return Err(failed(AgentError::UncertifiedReject { reject, operation: None }));
                }
                TransportCallResponse::Accepted => {}
            },
            status => {
                let content = body.to_vec();
                let payload = HttpErrorPayload { status: status.as_u16(), content_type: None, content };
                return Err(failed(AgentError::HttpError(payload)));
            }
        }
        let (reply, _) = self.agent.wait(&request_id, effective).await.map_err(failed)?;
        Ok(reply)
    }

    /// Asks for the outcome of a call without sending it, until it is known or the call has expired.
    ///
    /// # Errors
    /// There was no answer for as long as `retry` allows: the outcome is unknown.
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
                    // A network that cannot prove that the request is absent prunes it from the state tree.
                    Err(AgentError::LookupPathAbsent(_) | AgentError::LookupPathUnknown(_)) => Ok(None),
                    status => status.map(Some).map_err(|error| failed(method, error)),
                }
            });
            let (status, certificate) = match asked.await? {
                Some((status, certificate)) => (status, Some(certificate)),
                None => (RequestStatusResponse::Unknown, None),
            };
            match status {
                RequestStatusResponse::Replied(reply) => {
                    let certificate = certificate.as_ref().map(encoded).unwrap_or_default();
                    return Ok(RequestOutcome::Replied { reply: reply.arg, certificate });
                }
                RequestStatusResponse::Rejected(reject) => {
                    let error = AgentError::CertifiedReject { reject, operation: None };
                    return rejected(failed(method, error));
                }
                RequestStatusResponse::Done => return Ok(RequestOutcome::Lost),
                RequestStatusResponse::Unknown => {
                    // The network's time counts: from then on it no longer accepts the request.
                    let time = certificate.as_ref().and_then(time_of).unwrap_or_else(now);
                    if time > ticket.expiry {
                        return Ok(RequestOutcome::Lost);
                    }
                }
                RequestStatusResponse::Received | RequestStatusResponse::Processing => {}
            }
            retry.clock.pause(PAUSE).await;
        }
    }
}

/// A rejection is the outcome of a call; every other error leaves its outcome unknown.
fn rejected(error: ClientError) -> Result<RequestOutcome, ClientError> {
    match error {
        ClientError::Rejected { .. } => Ok(RequestOutcome::Rejected((&error).into())),
        other => Err(other),
    }
}

/// Returns an error with what has caused it.
fn causes(error: &reqwest::Error) -> String {
    let all = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn encoded(certificate: &Certificate) -> Vec<u8> {
    serde_cbor::to_vec(certificate).unwrap_or_default()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, nanos)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
