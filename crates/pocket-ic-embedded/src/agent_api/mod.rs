//! The Internet Computer's HTTP interface for agents: `/api/v2` to `/api/v4` with CBOR, signatures and
//! certificates.
//!
//! Each instance serves this interface at its own address, and each HTTP gateway serves it for its instance.

mod address;
mod body;
mod call;
mod canister_signature;
mod cbor;
mod checked;
mod cors;
mod envelope;
mod public_key;
mod query;
mod read_state;
mod refusal;
mod sender;
mod status;
mod webauthn;

use crate::http::ServerState;
use address::Address;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use refusal::Refusal;
use std::sync::Arc;

type Server = Arc<ServerState>;

/// Returns the routes of all instances, each at its own address.
pub fn instance_routes(state: Server) -> Router<Server> {
    let mut router = Router::new();
    for slash in ["", "/"] {
        let path = |path: &str| format!("/instances/{{id}}/api/{path}{slash}");
        router = router
            .route(&path("v2/status"), get(status_route))
            .route(&path("{version}/{kind}/{effective}/{action}"), post(request_route));
    }
    add_layers(router, state)
}

/// Returns the routes of one instance, for its gateways.
pub fn routes(state: Server, instance: usize) -> Router<Server> {
    let status = move |State(state): State<Server>| async move { status::status(&state, instance).await };
    let request = move |State(state): State<Server>,
                        Path((version, kind, effective, action)): Path<(String, String, String, String)>,
                        headers: HeaderMap,
                        body: Bytes| async move {
        let address = Address::parse(&version, &kind, &effective, &action);
        answer(&state, instance, address, &headers, body).await
    };
    let router = Router::new()
        .route("/api/v2/status", get(status))
        .route("/api/{version}/{kind}/{effective}/{action}", post(request));
    add_layers(router, state)
}

/// Adds what agents and browsers need: their requests are read completely before they are handled, and pages
/// from any origin may send them.
pub(crate) fn add_layers(router: Router<Server>, state: Server) -> Router<Server> {
    router
        .layer(middleware::from_fn_with_state(state, body::read_whole))
        // `read_whole` enforces the limit.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn(cors::allow_everybody))
}

async fn status_route(State(state): State<Server>, Path(id): Path<usize>) -> Result<Response, Refusal> {
    status::status(&state, id).await
}

async fn request_route(
    State(state): State<Server>,
    Path((id, version, kind, effective, action)): Path<(usize, String, String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let address = Address::parse(&version, &kind, &effective, &action);
    answer(&state, id, address, &headers, body).await
}

/// Answers a request, whose address may be wrong.
async fn answer(
    state: &ServerState,
    instance: usize,
    address: Result<Address, Refusal>,
    headers: &HeaderMap,
    body: Bytes,
) -> Response {
    let answered = async {
        let address = address?;
        if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != "application/cbor") {
            return Err(Refusal::bad_request("Unexpected content-type, expected application/cbor."));
        }
        let slot = state.slot(instance).map_err(Refusal::from)?;
        match address {
            Address::Call { effective, reply } => call::call(slot, effective, reply, &body).await,
            Address::Query { effective } => query::query(slot, effective, &body).await,
            Address::ReadState { effective, ranges_form } => {
                read_state::read_state(slot, effective, ranges_form, &body).await
            }
        }
    };
    answered.await.unwrap_or_else(Refusal::into_response)
}
