//! The upload canister on a live network.

use std::time::SystemTime;

use candid::CandidType;
use candid::Principal;
use candid::utils::ArgumentEncoder;
use ic_agent::agent::RejectResponse;
use ic_agent::{Agent, AgentError};
use serde::de::DeserializeOwned;

use crate::client::{ClientError, EncodedCall, decode_reply, decode_result};
use crate::utc::utc;

/// An upload canister on a live network, called with the identity of the [`Network`](super::Network).
#[derive(Clone, Debug)]
pub struct LiveCanister {
    agent: Agent,
    id: Principal,
}

impl LiveCanister {
    pub(super) fn new(agent: Agent, id: Principal) -> LiveCanister {
        LiveCanister { agent, id }
    }

    /// Makes an update call and returns its raw reply, certified by the network.
    pub async fn call(&self, call: EncodedCall) -> Result<Vec<u8>, ClientError> {
        let EncodedCall { method, arg } = call;
        let answer = self.agent.update(&self.id, method).with_arg(arg).call_and_wait().await;
        answer.map_err(|error| to_client_error(method, error))
    }

    /// Makes an update call to a function that returns `variant { Ok; Err }`.
    pub async fn update<T: CandidType + DeserializeOwned>(
        &self,
        method: &'static str,
        args: impl ArgumentEncoder,
    ) -> Result<T, ClientError> {
        decode_result(method, &self.call(EncodedCall::new(method, args)?).await?)
    }

    /// Makes a query call to a function that returns `variant { Ok; Err }`.
    pub async fn query<T: CandidType + DeserializeOwned>(
        &self,
        method: &'static str,
        args: impl ArgumentEncoder,
    ) -> Result<T, ClientError> {
        decode_result(method, &self.query_raw(EncodedCall::new(method, args)?).await?)
    }

    /// Makes a query call to a function without arguments that returns a plain value, not `variant { Ok; Err }`.
    pub async fn query_plain<T: CandidType + DeserializeOwned>(
        &self,
        method: &'static str,
    ) -> Result<T, ClientError> {
        let reply = self.query_raw(EncodedCall::new(method, ())?).await?;
        Ok(decode_reply::<(T,)>(method, &reply)?.0)
    }

    /// Like [`LiveCanister::query_plain`], but by an update call, so that the answer is certified and not only that of
    /// one node.
    pub async fn replicated_query_plain<T: CandidType + DeserializeOwned>(
        &self,
        method: &'static str,
    ) -> Result<T, ClientError> {
        let reply = self.call(EncodedCall::new(method, ())?).await?;
        Ok(decode_reply::<(T,)>(method, &reply)?.0)
    }

    async fn query_raw(&self, call: EncodedCall) -> Result<Vec<u8>, ClientError> {
        let EncodedCall { method, arg } = call;
        let answer = self.agent.query(&self.id, method).with_arg(arg).call().await;
        answer.map_err(|error| to_client_error(method, error))
    }
}

/// Converts an error of the agent. What is `Unanswered` here may be repeated by [`Retry`](super::Retry).
pub(super) fn to_client_error(method: &'static str, error: AgentError) -> ClientError {
    match error {
        AgentError::CertifiedReject { reject, .. } | AgentError::UncertifiedReject { reject, .. } => {
            rejection_error(method, &reject)
        }
        // The request may have been executed.
        AgentError::TransportError(_)
        | AgentError::TimeoutWaitingForResponse()
        | AgentError::RequestStatusDoneNoReply(_)
        | AgentError::LookupPathUnknown(_) => ClientError::Unanswered { method, detail: error.to_string() },
        AgentError::HttpError(ref payload) if payload.status == 429 || payload.status >= 500 => {
            ClientError::Unanswered { method, detail: error.to_string() }
        }
        ref refused if is_expiry_refused(refused) => {
            let local_time = utc(SystemTime::now());
            let detail = format!(
                "{refused}; the expiry does not fit the network's time: check the clock of this machine, which says \
                 {local_time}"
            );
            ClientError::Network { method, detail }
        }
        other => ClientError::Network { method, detail: other.to_string() },
    }
}

/// Returns whether the network has refused a request because the request has expired by the network's time, or because
/// its expiry is too far ahead of it.
pub(super) fn is_expiry_refused(error: &AgentError) -> bool {
    match error {
        AgentError::HttpError(payload) => {
            payload.status == 400 && String::from_utf8_lossy(&payload.content).contains("ingress_expiry")
        }
        _ => false,
    }
}

fn rejection_error(method: &'static str, reject: &RejectResponse) -> ClientError {
    // An error code is a text such as `IC0503`. Without a known code, a rejection is returned as `Network`.
    let code = reject.error_code.as_deref().and_then(|code| code.strip_prefix("IC")?.parse::<u64>().ok());
    match code.and_then(|code| pocket_ic::ErrorCode::try_from(code).ok()) {
        Some(code) => ClientError::Rejected {
            method,
            code,
            message: reject.reject_message.lines().next().unwrap_or_default().to_owned(),
        },
        None => ClientError::Network {
            method,
            detail: format!("{:?}: {}", reject.reject_code, reject.reject_message),
        },
    }
}

#[cfg(test)]
mod tests {
    use ic_agent::agent::agent_error::HttpErrorPayload;

    use super::*;

    #[test]
    fn a_refused_expiry_names_the_clock_of_this_machine() {
        let refused = |text: &str| {
            let payload = HttpErrorPayload { status: 400, content_type: None, content: text.into() };
            to_client_error("a_method", AgentError::HttpError(payload))
        };
        let expiry = "Invalid request expiry: Specified ingress_expiry not within expected range";
        for (text, names_clock) in [(expiry, true), ("Invalid signature", false)] {
            let error = refused(text);
            assert!(!error.is_transient(), "{error}");
            let error = error.to_string();
            assert!(error.contains(text), "{error}");
            assert_eq!(
                error.contains("check the clock of this machine, which says 2"),
                names_clock,
                "{error}"
            );
        }
    }
}
