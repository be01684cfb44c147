//! Routes of the server: instances, blobs, status.

use super::progress;
use super::reply::{self, error_response, json_response};
use super::slot::{AutoProgressState, Slot};
use super::state::{Blob, ServerState};
use crate::gateway;
use crate::ic::{Created, Instance, OpError};
use crate::threads::{self, Work};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pocket_ic::common::rest::{
    AutoProgressConfig, CreateInstanceResponse, HttpGatewayInfo, InstanceConfig, Topology,
};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// `GET /status`
pub(super) async fn status() -> StatusCode {
    StatusCode::OK
}

/// `POST /instances`
pub(super) async fn create_instance(State(state): State<Arc<ServerState>>, body: Bytes) -> Response {
    let created = match reply::parse_json(&body) {
        Ok(config) => create(&state, &config).await,
        Err(refusal) => Err(refusal),
    };
    match created {
        Ok(NewInstance { instance_id, topology, gateway }) => json_response(
            StatusCode::CREATED,
            &CreateInstanceResponse::Created { instance_id, topology, http_gateway_info: gateway },
        ),
        Err(refusal) => json_response(
            StatusCode::BAD_REQUEST,
            &CreateInstanceResponse::Error { message: refusal.to_string() },
        ),
    }
}

/// What a client learns about a new instance.
pub(crate) struct NewInstance {
    pub instance_id: usize,
    pub topology: Topology,
    /// The instance's gateway, if one was requested.
    pub gateway: Option<HttpGatewayInfo>,
}

/// Creates an instance for the route [`create_instance`] and for `--live`, and a gateway and automatic progress if the
/// configuration requests them. After an error, neither the instance nor the gateway exists. `http/mod.rs` re-exports
/// this function as `create_instance`.
pub(crate) async fn create(
    state: &Arc<ServerState>,
    config: &InstanceConfig,
) -> Result<NewInstance, OpError> {
    let Created { instance, auto_progress } = Instance::create(state.engine(), config, state.prints_logs())?;
    let topology = instance.topology()?;
    let (instance_id, slot) = state.add_instance(instance);
    let gateway = equip(state, instance_id, &slot, config, auto_progress).await?;
    Ok(NewInstance { instance_id, topology, gateway })
}

/// Opens the gateway and starts the automatic progress (see [`Created::auto_progress`]), as far as they are requested.
/// If either fails, removes the instance.
async fn equip(
    state: &Arc<ServerState>,
    instance_id: usize,
    slot: &Arc<Slot>,
    config: &InstanceConfig,
    auto_progress: Option<AutoProgressConfig>,
) -> Result<Option<HttpGatewayInfo>, OpError> {
    let equipped = async {
        let gateway = match &config.http_gateway_config {
            None => None,
            Some(wanted) => Some(gateway::open_for(state, instance_id, wanted.clone()).await?),
        };
        if let Some(requested) = auto_progress {
            progress::start(slot, requested.artificial_delay_ms).await?;
        }
        Ok::<_, OpError>(gateway)
    }
    .await;
    if equipped.is_err() {
        // `remove` can fail only if a client has already deleted the instance; nothing is left to do then.
        let _ = remove(state, instance_id).await;
    }
    equipped
}

/// Removes an instance with its gateways, and ends its automatic progress.
async fn remove(state: &ServerState, id: usize) -> Result<(), OpError> {
    let slot = state.remove_instance(id)?;
    state.gateways().stop_those_of(id);
    progress::end(&slot, AutoProgressState::Deleted).await;
    Ok(())
}

/// `GET /instances`
pub(super) async fn list_instances(State(state): State<Arc<ServerState>>) -> Response {
    json_response(StatusCode::OK, &state.list_instances())
}

/// `DELETE /instances/<id>`
pub(super) async fn delete_instance(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<usize>,
) -> Response {
    match remove(&state, id).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(refusal) => error_response(&refusal),
    }
}

/// `POST /blobstore`: stores the body unchanged, even if it is gzipped, under its SHA-256.
pub(super) async fn put_blob(
    State(state): State<Arc<ServerState>>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let gzip = match headers.get(header::CONTENT_ENCODING).map(|v| v.as_bytes()) {
        None => false,
        Some(b"gzip") => true,
        Some(_) => {
            return (StatusCode::BAD_REQUEST, "Bad encoding: Only 'gzip' content encoding is supported")
                .into_response();
        }
    };
    let stored = as_long_work(|| {
        let hash: [u8; 32] = Sha256::digest(&bytes).into();
        state.put_blob(hash, Blob::new(&bytes, gzip));
        hex::encode(hash)
    });
    stored.into_response()
}

/// `GET /blobstore/<hex>`
pub(super) async fn get_blob(State(state): State<Arc<ServerState>>, Path(hash): Path<String>) -> Response {
    let Ok(hash) = hex::decode(&hash) else {
        return (StatusCode::BAD_REQUEST, "Bad blob id").into_response();
    };
    let Some(blob) = state.blob(&hash) else { return StatusCode::NOT_FOUND.into_response() };
    let encoding = blob.is_gzip.then_some([(header::CONTENT_ENCODING, "gzip")]);
    (encoding, as_long_work(|| blob.to_vec())).into_response()
}

/// Runs work that can take seconds for a large blob.
fn as_long_work<T>(job: impl FnOnce() -> T) -> Result<T, (StatusCode, String)> {
    threads::run(Work::Long, job).map_err(|fault| (StatusCode::INTERNAL_SERVER_ERROR, fault.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use pocket_ic::common::rest::{InstanceHttpGatewayConfig, SubnetConfigSet};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_failed_start_of_auto_progress_removes_instance_and_gateway() {
        let state = Arc::new(ServerState::new(Engine::new().unwrap(), false));
        let config = InstanceConfig {
            subnet_config_set: SubnetConfigSet { application: 1, ..SubnetConfigSet::default() }.into(),
            http_gateway_config: Some(InstanceHttpGatewayConfig {
                ip_addr: None,
                port: None,
                domains: None,
                https_config: None,
                domain_custom_provider_local_file: None,
            }),
            ..InstanceConfig::default()
        };
        let created = Instance::create(state.engine(), &config, false).unwrap();
        let (id, slot) = state.add_instance(created.instance);
        // Another request has started automatic progress in the meantime, so that it cannot be started again.
        progress::start(&slot, None).await.unwrap();
        let auto_progress = AutoProgressConfig { artificial_delay_ms: None };
        assert!(equip(&state, id, &slot, &config, Some(auto_progress)).await.is_err());
        assert!(state.slot(id).is_err());
        let gateways = gateway::list(State(state.clone())).await.into_body();
        assert_eq!(axum::body::to_bytes(gateways, 1_000).await.unwrap(), "[]");
        assert!(progress::start(&slot, None).await.is_err(), "its time never advances again");
    }
}
