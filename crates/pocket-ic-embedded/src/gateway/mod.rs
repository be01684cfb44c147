//! HTTP gateways: each has its own port, and serves an instance's canisters to browsers and the instance's interface to
//! agents.

mod answer;
mod canister;
mod host;
mod pages;
mod registry;
mod verification;

pub use registry::Gateways;

use crate::agent_api;
use crate::http::reply::{self, json_response};
use crate::http::{ServerState, without_delay};
use crate::ic::OpError;
use crate::threads::Work;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::get;
use host::Domains;
use pages::Pages;
use pocket_ic::common::rest::{
    CreateHttpGatewayResponse, HttpGatewayBackend, HttpGatewayConfig, HttpGatewayDetails, HttpGatewayInfo,
    InstanceHttpGatewayConfig,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// `GET /http_gateway`
pub(crate) async fn list(State(state): State<Arc<ServerState>>) -> Response {
    json_response(StatusCode::OK, &state.gateways().list())
}

/// `POST /http_gateway`
pub(crate) async fn create(State(state): State<Arc<ServerState>>, body: Bytes) -> Response {
    let opened = match reply::parse_json(&body) {
        Ok(config) => open(&state, config).await,
        Err(refusal) => Err(refusal),
    };
    match opened {
        Ok(info) => json_response(StatusCode::CREATED, &CreateHttpGatewayResponse::Created(info)),
        Err(refusal) => json_response(
            StatusCode::BAD_REQUEST,
            &CreateHttpGatewayResponse::Error { message: refusal.to_string() },
        ),
    }
}

/// `POST /http_gateway/<number>/stop`
pub(crate) async fn stop(State(state): State<Arc<ServerState>>, Path(number): Path<usize>) -> Response {
    match state.gateways().stop(number) {
        true => json_response(StatusCode::OK, &()),
        false => reply::message_response(StatusCode::NOT_FOUND, format!("There is no HTTP gateway {number}")),
    }
}

/// Opens the gateway requested in the configuration of an instance; like [`open`], which takes the gateway's own
/// configuration.
pub async fn open_for(
    state: &Arc<ServerState>,
    instance: usize,
    config: InstanceHttpGatewayConfig,
) -> Result<HttpGatewayInfo, OpError> {
    let InstanceHttpGatewayConfig { ip_addr, port, domains, https_config, domain_custom_provider_local_file } =
        config;
    let forward_to = HttpGatewayBackend::PocketIcInstance(instance);
    let config = HttpGatewayConfig {
        ip_addr,
        port,
        forward_to,
        domains,
        https_config,
        domain_custom_provider_local_file,
    };
    open(state, config).await
}

/// Opens a gateway. Its address must be loopback, unless the server was started with `--allow-remote`.
pub async fn open(state: &Arc<ServerState>, config: HttpGatewayConfig) -> Result<HttpGatewayInfo, OpError> {
    let HttpGatewayConfig {
        ip_addr,
        port,
        forward_to,
        domains,
        https_config,
        domain_custom_provider_local_file,
    } = config;
    let instance = match &forward_to {
        HttpGatewayBackend::PocketIcInstance(instance) => *instance,
        HttpGatewayBackend::Replica(url) => {
            return Err(OpError::Unsupported(format!("An HTTP gateway for the replica at {url:.200}")));
        }
    };
    state.slot(instance)?;
    if https_config.is_some() {
        return Err(OpError::Unsupported("An HTTP gateway with HTTPS".into()));
    }
    if domain_custom_provider_local_file.is_some() {
        return Err(OpError::Unsupported("A file of custom domains".into()));
    }
    let ip_addr = match ip_addr {
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(text) => text.parse::<IpAddr>().map_err(|error| {
            OpError::Other(format!("{text:.100} is not an address to listen on: {error}"))
        })?,
    };
    if !ip_addr.is_loopback() && !state.allows_remote() {
        return Err(OpError::Other(format!(
            "{ip_addr} is not a loopback address: anyone who can reach the gateway could use it. Start the server with --allow-remote if that is wanted"
        )));
    }
    let wanted = SocketAddr::from((ip_addr, port.unwrap_or(0)));
    let failed = |error| OpError::Other(format!("Failed to bind the HTTP gateway to {wanted}: {error}"));
    let listener = TcpListener::bind(wanted).await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    let (running, stopped) = watch::channel(());
    let router = router(state, instance, Domains::new(domains.clone()));
    tokio::spawn(serve(listener, router, stopped));
    // The protocol's name for the number of a gateway is `instance_id`.
    let number = state.gateways().add(running, |number| HttpGatewayDetails {
        instance_id: number,
        port,
        forward_to,
        domains,
        https_config: None,
    });
    // The instance may have been deleted while the port was bound. Then its deletion has not stopped this gateway.
    if let Err(deleted) = state.slot(instance) {
        state.gateways().stop(number);
        return Err(deleted);
    }
    Ok(HttpGatewayInfo { instance_id: number, port })
}

/// Serves until the sender of `stopped` is dropped.
async fn serve(listener: TcpListener, router: Router, mut stopped: watch::Receiver<()>) {
    let stop = async move {
        // Nothing is ever sent: this ends with an error when the sender is dropped.
        let _ = stopped.changed().await;
    };
    // Connections that clients keep open must not keep the port in use.
    tokio::select! {
        _ = axum::serve(without_delay(listener), router).into_future() => {}
        () = stop => {}
    }
}

fn router(state: &Arc<ServerState>, instance: usize, domains: Domains) -> Router {
    let topology = move |State(state): State<Arc<ServerState>>| async move {
        reply::operate(&state, instance, Work::Long, |instance| instance.topology()).await
    };
    let pages = Arc::new(Pages::new(state.clone(), instance, domains));
    let fallback = move |parts: Parts, body: Bytes| {
        let pages = pages.clone();
        async move { pages.answer(parts, body).await }
    };
    let pages_and_topology = Router::new().route("/_/topology", get(topology)).fallback(fallback);
    agent_api::add_layers(pages_and_topology, state.clone())
        .merge(agent_api::routes(state.clone(), instance))
        .with_state(state.clone())
}
