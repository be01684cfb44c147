//! Serves the pages of canisters through `http_request`, `http_request_update` and the callbacks of streamed responses.

use super::answer;
use super::canister::{CERTIFICATE_VERSION, HttpRequest, HttpResponse, Piece, Rest, encode_token};
use super::host::{Domains, NamedCanister};
use super::verification::{Authority, verify};
use crate::http::{ServerState, Slot};
use crate::ic::{CallResult, OpError, UserCall, UserError};
use crate::threads::{self, Panicked, Work};
use axum::body::{Body, Bytes, HttpBody};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use candid::Principal;
use http_body::Frame;
use http_body_util::channel::{Channel, Sender};
use pocket_ic::ErrorCode;
use pocket_ic::common::rest::RawEffectivePrincipal;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// If a streamed body has more bytes than this before its last piece, it is served without verification.
const MAX_VERIFIED_BYTES: usize = 64 << 20;
/// Number of pieces of a body that are buffered until the client reads them.
const PIECES_AHEAD: usize = 2;

/// The pages of an instance's canisters.
pub struct Pages {
    state: Arc<ServerState>,
    instance: usize,
    domains: Domains,
}

/// Why a canister's response cannot be served.
enum Failure {
    /// The call was rejected by the canister, or by the subnet on its behalf.
    Rejected(UserError),
    /// The request could not be delivered, or the server failed.
    Refused(OpError),
    // The canister's reply is not what the interface between gateways and canisters requires.
    Malformed(String),
    // The response does not verify.
    Uncertified(String),
}

impl Pages {
    pub fn new(state: Arc<ServerState>, instance: usize, domains: Domains) -> Self {
        Self { state, instance, domains }
    }

    /// Answers a request with the response of the canister in its address.
    pub async fn answer(&self, parts: Parts, body: Bytes) -> Response {
        // Paths of the interface for agents never refer to pages.
        if parts.uri.path().starts_with("/api/") {
            let path = parts.uri.path();
            return answer::text_response(
                StatusCode::NOT_FOUND,
                format!("There is no {path} on the embedded server\n"),
            );
        }
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let host = header(header::HOST).or(parts.uri.host());
        let named = self.domains.named_canister(host, parts.uri.query(), header(header::REFERER));
        let Some(NamedCanister { canister, is_raw }) = named else {
            return answer::text_response(
                StatusCode::BAD_REQUEST,
                "The address names no canister: use http://<canister id>.localhost:<port>/, or the parameter ?canisterId=<canister id>\n",
            );
        };
        let headers = parts.headers.iter();
        let request = HttpRequest {
            method: parts.method.to_string(),
            url: parts.uri.path_and_query().map_or("/", |url| url.as_str()).to_owned(),
            headers: headers
                .map(|(name, value)| {
                    (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                })
                .collect(),
            body: body.to_vec().into(),
            certificate_version: Some(CERTIFICATE_VERSION),
        };
        let slot = match self.state.slot(self.instance) {
            Ok(slot) => slot,
            Err(refusal) => {
                return answer::text_response(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string());
            }
        };
        match request_page(&slot, canister, request, is_raw).await {
            Ok((response, verification)) => page_response(slot, &parts.method, response, &verification),
            Err(failure) => failure_response(canister, failure),
        }
    }
}

/// Returns the response of a canister, and a text that says whether the response was verified.
async fn request_page(
    slot: &Arc<Slot>,
    canister: Principal,
    mut request: HttpRequest,
    is_raw: bool,
) -> Result<(HttpResponse, String), Failure> {
    let encode =
        |request: &HttpRequest| request.encode().map_err(|error| Failure::Malformed(error.to_string()));
    let reply = query(slot, canister, "http_request", encode(&request)?).await?;
    let mut response = decode_response(&reply)?;
    if response.upgrade {
        request.certificate_version = None;
        let response =
            decode_response(&update(slot, canister, "http_request_update", encode(&request)?).await?)?;
        return Ok((response, "none; made by an update".into()));
    }
    if is_raw {
        return Ok((response, "none; served as raw".into()));
    }
    // The certificate is for the whole body, so all pieces are needed before it can be verified.
    while let Some(rest) = &mut response.rest {
        if response.body.len() > MAX_VERIFIED_BYTES {
            return Ok((response, format!("none; longer than {MAX_VERIFIED_BYTES} bytes")));
        }
        let piece = rest.next_piece(slot).await?;
        response.body.extend_from_slice(&piece.body);
        match piece.token {
            Some(token) => rest.token = token,
            None => response.rest = None,
        }
    }
    let authority = slot.operate(Work::Brief, |instance| {
        Ok(Authority { root_key: instance.root_key(), now: instance.time() })
    });
    let authority = authority.await.map_err(panic_to_failure)?.map_err(Failure::Refused)?;
    let verified = threads::run(Work::Long, || verify(&request, &response, canister, &authority));
    let verified = verified.map_err(panic_to_failure)?.map_err(Failure::Uncertified)?;
    if let Some(headers) = verified.headers {
        response.headers = headers;
    }
    Ok((response, format!("verified; version {}", verified.version)))
}

impl Rest {
    /// Requests the next piece of a body; does not change the token.
    async fn next_piece(&self, slot: &Arc<Slot>) -> Result<Piece, Failure> {
        let malformed = |error: String| Failure::Malformed(error);
        let arg = encode_token(&self.token).map_err(|error| malformed(error.to_string()))?;
        let reply = query(slot, self.canister, &self.method, arg).await?;
        Piece::decode(&reply).map_err(|error| malformed(error.to_string()))
    }
}

fn decode_response(reply: &[u8]) -> Result<HttpResponse, Failure> {
    HttpResponse::decode(reply).map_err(|error| Failure::Malformed(error.to_string()))
}

fn anonymous_call(canister: Principal, method: &str, arg: Vec<u8>) -> UserCall {
    UserCall {
        sender: Principal::anonymous(),
        callee: canister,
        effective: RawEffectivePrincipal::None,
        method: method.to_owned(),
        arg,
        caller_info: Default::default(),
        target: Default::default(),
    }
}

async fn query(
    slot: &Arc<Slot>,
    canister: Principal,
    method: &str,
    arg: Vec<u8>,
) -> Result<Vec<u8>, Failure> {
    let call = anonymous_call(canister, method, arg);
    reply_or_failure(slot.operate(Work::Long, |instance| instance.query(call)).await)
}

/// Calls an update method, and waits for its answer by running rounds.
async fn update(
    slot: &Arc<Slot>,
    canister: Principal,
    method: &str,
    arg: Vec<u8>,
) -> Result<Vec<u8>, Failure> {
    let call = anonymous_call(canister, method, arg);
    let operation = slot.operate(Work::Long, |instance| match instance.submit(call)? {
        Ok(id) => instance.await_message(&id),
        Err(rejection) => Ok(Err(rejection)),
    });
    reply_or_failure(operation.await)
}

fn reply_or_failure(done: Result<Result<CallResult, OpError>, Panicked>) -> Result<Vec<u8>, Failure> {
    done.map_err(panic_to_failure)?.map_err(Failure::Refused)?.map_err(Failure::Rejected)
}

fn panic_to_failure(panic: Panicked) -> Failure {
    Failure::Refused(OpError::Other(panic.to_string()))
}

/// Returns the response for the browser; a body that is not complete yet is streamed.
fn page_response(
    slot: Arc<Slot>,
    method: &Method,
    mut response: HttpResponse,
    verification: &str,
) -> Response {
    let first = Bytes::from(std::mem::take(&mut response.body));
    let Some(rest) = response.rest.clone() else {
        return answer::to_http_response(method, &response, first.into(), verification);
    };
    if *method == Method::HEAD {
        return answer::to_http_response(method, &response, Body::empty(), verification);
    }
    let (sender, body) = Channel::<Bytes, EndedEarly>::new(PIECES_AHEAD);
    tokio::spawn(send_pieces(slot, first, rest, sender));
    answer::to_http_response(method, &response, Body::new(StreamedBody { body, failure: None }), verification)
}

/// Sends a body piece by piece, as long as the client reads. A failure breaks the connection, so that no
/// client mistakes a part for the complete body.
async fn send_pieces(slot: Arc<Slot>, first: Bytes, mut rest: Rest, mut sender: Sender<Bytes, EndedEarly>) {
    if sender.send_data(first).await.is_err() {
        return;
    }
    loop {
        let piece = match rest.next_piece(&slot).await {
            Ok(piece) => piece,
            Err(failure) => return sender.abort(EndedEarly(failure_text(failure))),
        };
        if sender.send_data(piece.body.into()).await.is_err() {
            return;
        }
        match piece.token {
            Some(token) => rest.token = token,
            None => return,
        }
    }
}

/// A body that reports a failure one poll late: on a failure, a connection drops the bytes that it has not sent yet,
/// but it sends them while the body is pending.
struct StreamedBody {
    body: Channel<Bytes, EndedEarly>,
    failure: Option<EndedEarly>,
}

impl HttpBody for StreamedBody {
    type Data = Bytes;
    type Error = EndedEarly;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EndedEarly>>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Err(failure))) => {
                self.failure = Some(failure);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            other => other,
        }
    }
}

/// Why a streamed body is incomplete.
#[derive(Debug, thiserror::Error)]
#[error("the canister's response ended early: {0}")]
struct EndedEarly(String);

fn failure_text(failure: Failure) -> String {
    match failure {
        Failure::Rejected(error) => format!("{}: {}", error.code_text(), error.message),
        Failure::Refused(error) => error.to_string(),
        Failure::Malformed(text) => text,
        Failure::Uncertified(text) => format!(
            "it does not verify: {text}. http://<canister id>.raw.localhost:<port>/ serves it without verification"
        ),
    }
}

fn failure_response(canister: Principal, failure: Failure) -> Response {
    let status = match &failure {
        Failure::Rejected(error) if error.code == ErrorCode::CanisterNotFound => StatusCode::NOT_FOUND,
        Failure::Refused(OpError::CanisterRouting(_)) => StatusCode::NOT_FOUND,
        Failure::Rejected(_) | Failure::Malformed(_) => StatusCode::BAD_GATEWAY,
        Failure::Refused(_) | Failure::Uncertified(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    answer::text_response(
        status,
        format!("Canister {canister} did not serve the page: {}\n", failure_text(failure)),
    )
}
