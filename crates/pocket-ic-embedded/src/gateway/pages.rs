//! Serves canisters' `http_request`, its update, and the pieces of streamed responses.

use super::answer;
use super::canister::{HttpRequest, HttpResponse, Piece, Rest, encode_token};
use super::host::Domains;
use crate::http::{ServerState, Slot};
use crate::ic::{CallResult, OpError, UserCall, UserError};
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use candid::Principal;
use http_body_util::channel::{Channel, Sender};
use pocket_ic::ErrorCode;
use pocket_ic::common::rest::RawEffectivePrincipal;
use std::sync::Arc;
use tokio::task::JoinError;

/// Number of pieces fetched before the client has read the first.
const PIECES_AHEAD: usize = 2;

/// The pages of an instance's canisters.
pub struct Pages {
    state: Arc<ServerState>,
    instance: usize,
    domains: Domains,
}

/// Why there is no response of a canister.
enum Failure {
    /// It rejected the request.
    Rejected(UserError),
    /// The request could not be delivered.
    Refused(OpError),
    /// The reply is not a response.
    Malformed(String),
}

impl Pages {
    /// Returns the pages of an instance.
    pub fn new(state: Arc<ServerState>, instance: usize, domains: Domains) -> Self {
        Self { state, instance, domains }
    }

    /// Answers a request with the response of the canister in its address.
    pub async fn answer(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let host = header(header::HOST).or(parts.uri.host());
        let canister = self.domains.canister(host, parts.uri.query(), header(header::REFERER));
        let Some(canister) = canister else {
            return answer::text(
                StatusCode::BAD_REQUEST,
                "The address names no canister: use http://<canister id>.localhost:<port>/, or the parameter ?canisterId=<canister id>\n",
            );
        };
        let body = match Bytes::from_request(Request::new(body), &()).await {
            Ok(body) => body,
            Err(refusal) => return refusal.into_response(),
        };
        let headers = parts.headers.iter();
        let asked = HttpRequest {
            method: parts.method.to_string(),
            url: parts.uri.path_and_query().map_or("/", |url| url.as_str()).to_owned(),
            headers: headers
                .map(|(name, value)| {
                    (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                })
                .collect(),
            body: body.to_vec().into(),
            certificate_version: None,
        };
        let slot = match self.state.slot(self.instance) {
            Ok(slot) => slot,
            Err(refusal) => return answer::text(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string()),
        };
        match ask(&slot, canister, &asked).await {
            Ok(response) => page(slot, &parts.method, response),
            Err(failure) => failed(canister, failure),
        }
    }
}

/// Returns the response of a canister, with its first piece only.
async fn ask(slot: &Arc<Slot>, canister: Principal, asked: &HttpRequest) -> Result<HttpResponse, Failure> {
    let encode = |update| asked.encode(update).map_err(|error| Failure::Malformed(error.to_string()));
    let reply = query(slot, canister, "http_request", encode(false)?).await?;
    let response = decode(&reply)?;
    if !response.upgrade {
        return Ok(response);
    }
    decode(&update(slot, canister, "http_request_update", encode(true)?).await?)
}

fn decode(reply: &[u8]) -> Result<HttpResponse, Failure> {
    HttpResponse::decode(reply).map_err(|error| Failure::Malformed(error.to_string()))
}

fn call(canister: Principal, method: &str, arg: Vec<u8>) -> UserCall {
    UserCall {
        sender: Principal::anonymous(),
        callee: canister,
        effective: RawEffectivePrincipal::None,
        method: method.to_owned(),
        arg,
        info: Default::default(),
    }
}

async fn query(
    slot: &Arc<Slot>,
    canister: Principal,
    method: &str,
    arg: Vec<u8>,
) -> Result<Vec<u8>, Failure> {
    let call = call(canister, method, arg);
    settled(slot.clone().operate(move |instance| instance.query(call)).await)
}

async fn update(
    slot: &Arc<Slot>,
    canister: Principal,
    method: &str,
    arg: Vec<u8>,
) -> Result<Vec<u8>, Failure> {
    let call = call(canister, method, arg);
    let operation = slot.clone().operate(move |instance| match instance.submit(call)? {
        Ok(id) => instance.await_message(&id),
        Err(rejection) => Ok(Err(rejection)),
    });
    settled(operation.await)
}

fn settled(done: Result<Result<CallResult, OpError>, JoinError>) -> Result<Vec<u8>, Failure> {
    let done = done.map_err(|fault| Failure::Refused(OpError::Other(fault.to_string())))?;
    done.map_err(Failure::Refused)?.map_err(Failure::Rejected)
}

fn page(slot: Arc<Slot>, method: &Method, mut response: HttpResponse) -> Response {
    let first = Bytes::from(std::mem::take(&mut response.body));
    let Some(rest) = response.rest.clone() else {
        return answer::response(method, &response, first.into());
    };
    if *method == Method::HEAD {
        return answer::response(method, &response, Body::empty());
    }
    let (sender, body) = Channel::<Bytes, Broken>::new(PIECES_AHEAD);
    tokio::spawn(send(slot, first, rest, sender));
    answer::response(method, &response, Body::new(body))
}

/// Sends a body piece by piece, as long as the client reads. A failure breaks the connection, so that no
/// client takes a part for the complete body.
async fn send(slot: Arc<Slot>, first: Bytes, rest: Rest, mut sender: Sender<Bytes, Broken>) {
    if sender.send_data(first).await.is_err() {
        return;
    }
    let mut token = Some(rest.token);
    while let Some(next) = token {
        let piece = async {
            let arg = encode_token(&next).map_err(|error| Broken(error.to_string()))?;
            let reply = query(&slot, rest.canister, &rest.method, arg)
                .await
                .map_err(|failure| Broken(describe(failure)))?;
            Piece::decode(&reply).map_err(|error| Broken(error.to_string()))
        };
        match piece.await {
            Ok(piece) => {
                if sender.send_data(piece.body.into()).await.is_err() {
                    return;
                }
                token = piece.token;
            }
            Err(broken) => return sender.abort(broken),
        }
    }
}

/// A body that ended early.
#[derive(Debug, thiserror::Error)]
#[error("the canister's response broke off: {0}")]
struct Broken(String);

fn describe(failure: Failure) -> String {
    match failure {
        Failure::Rejected(error) => format!("{}: {}", error.code_text(), error.message),
        Failure::Refused(error) => error.to_string(),
        Failure::Malformed(text) => text,
    }
}

fn failed(canister: Principal, failure: Failure) -> Response {
    let status = match &failure {
        Failure::Rejected(error) if error.code == ErrorCode::CanisterNotFound => StatusCode::NOT_FOUND,
        Failure::Refused(OpError::CanisterRouting(_)) => StatusCode::NOT_FOUND,
        Failure::Rejected(_) | Failure::Malformed(_) => StatusCode::BAD_GATEWAY,
        Failure::Refused(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    answer::text(status, format!("Canister {canister} has no response: {}\n", describe(failure)))
}
