//! The PocketIC REST protocol: routes, bodies, status codes.
//!
//! Every operation is answered when it is complete: clients never have to poll. Operations on one
//! instance wait for each other; operations on different instances run in parallel.

mod instance_reads;
mod instance_updates;
mod listener;
mod progress;
pub(crate) mod reply;
mod server_routes;
mod slot;
mod state;

pub use listener::without_delay;
#[cfg(feature = "cli")]
pub(crate) use server_routes::create as create_instance;
pub(crate) use slot::Slot;
pub use state::ServerState;

use crate::gateway;
use {instance_reads as reads, instance_updates as updates, server_routes as server};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use http_body_util::BodyExt;
use std::sync::Arc;

/// Returns all routes, each with and without a trailing slash.
pub fn router(state: Arc<ServerState>) -> Router {
    let routes: Vec<(&str, MethodRouter<Arc<ServerState>>)> = vec![
        ("/status", get(server::status)),
        ("/blobstore", post(server::put_blob)),
        ("/blobstore/{hash}", get(server::get_blob)),
        ("/http_gateway", get(gateway::list).post(gateway::create)),
        ("/http_gateway/{id}/stop", post(gateway::stop)),
        ("/instances", get(server::list_instances).post(server::create_instance)),
        ("/instances/{id}", delete(server::delete_instance)),
        ("/instances/{id}/_/topology", get(reads::topology)),
        ("/instances/{id}/read/topology", get(reads::topology)),
        ("/instances/{id}/read/get_time", get(reads::time)),
        ("/instances/{id}/read/get_cycles", post(reads::cycles)),
        ("/instances/{id}/read/get_controllers", post(reads::controllers)),
        ("/instances/{id}/read/get_subnet", post(reads::subnet)),
        ("/instances/{id}/read/get_stable_memory", post(reads::stable_memory)),
        ("/instances/{id}/read/query", post(reads::query)),
        ("/instances/{id}/read/ingress_status", post(reads::ingress_status)),
        ("/instances/{id}/read/get_canister_http", get(reads::canister_http)),
        ("/instances/{id}/read/pub_key", post(reads::pub_key)),
        ("/instances/{id}/embedded/canister_costs/{canister}", get(reads::canister_costs)),
        ("/instances/{id}/embedded/instruction_cap/{canister}", post(updates::cap_instructions)),
        ("/instances/{id}/embedded/canister_snapshot_in_place", post(updates::snapshot_in_place)),
        ("/instances/{id}/update/submit_ingress_message", post(updates::submit)),
        ("/instances/{id}/update/await_ingress_message", post(updates::await_message)),
        ("/instances/{id}/update/tick", post(updates::tick)),
        ("/instances/{id}/update/set_time", post(updates::set_time)),
        ("/instances/{id}/update/set_certified_time", post(updates::set_certified_time)),
        ("/instances/{id}/update/add_cycles", post(updates::add_cycles)),
        ("/instances/{id}/update/set_stable_memory", post(updates::set_stable_memory)),
        ("/instances/{id}/update/canister_snapshot_download", post(updates::snapshot_download)),
        ("/instances/{id}/update/canister_snapshot_upload", post(updates::snapshot_upload)),
        ("/instances/{id}/auto_progress", get(reads::auto_progress).post(updates::auto_progress)),
        ("/instances/{id}/stop_progress", post(updates::stop_progress)),
    ];
    let mut router = Router::new();
    for (path, methods) in routes {
        router = router.route(&format!("{path}/"), methods.clone()).route(path, methods);
    }
    router
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(state.clone(), note_activity))
        .layer(DefaultBodyLimit::max(reply::MAX_BODY_BYTES))
        .merge(crate::agent_api::instance_routes(state.clone()))
        .with_state(state)
}

/// The answer at an address without a route. It differs from that of [`wrong_method`] only in its status.
async fn unknown(method: Method, uri: Uri) -> Response {
    reply::message_response(
        StatusCode::NOT_FOUND,
        format!("{method} {} is not supported by the embedded server", uri.path()),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    reply::message_response(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{method} {} is not supported by the embedded server", uri.path()),
    )
}

/// Keeps the server alive while requests arrive and are answered. A client that stops in the middle of a request does
/// not keep the server alive.
async fn note_activity(State(state): State<Arc<ServerState>>, request: Request, next: Next) -> Response {
    let activity = state.clone();
    let (parts, body) = request.into_parts();
    let body = Body::new(body.map_frame(move |frame| {
        activity.activity().touch();
        frame
    }));
    let whole = Bytes::from_request(Request::from_parts(parts.clone(), body), &state).await;
    let _busy = state.activity().begin();
    match whole {
        Ok(bytes) => next.run(Request::from_parts(parts, bytes.into())).await,
        Err(refusal) => refusal.into_response(),
    }
}
