//! Routes that read an instance. (A query also adds to the canister's counts and costs.)

use super::reply::{canister_result, error_response, json_response, operate, operate_with};
use super::slot::AutoProgressState;
use super::state::ServerState;
use crate::ic::{OpError, parse_canister_id, parse_principal};
use crate::threads::Work;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use candid::Principal;
use pocket_ic::common::rest::{
    RawCanisterCall, RawCanisterHttpRequest, RawCanisterId, RawCycles, RawIngressStatusArgs, RawPrincipalId,
    RawStableMemory, RawSubnetId, RawTime,
};
use serde::Deserialize;
use std::sync::Arc;

type Server = State<Arc<ServerState>>;

fn to_canister_id(raw: &RawCanisterId) -> Result<Principal, OpError> {
    parse_principal(&raw.canister_id, "Bad canister id")
}

pub(super) async fn topology(State(state): Server, Path(id): Path<usize>) -> Response {
    operate(&state, id, Work::Long, |instance| instance.topology()).await
}

pub(super) async fn time(State(state): Server, Path(id): Path<usize>) -> Response {
    operate(&state, id, Work::Brief, |instance| Ok(RawTime { nanos_since_epoch: instance.time() })).await
}

pub(super) async fn cycles(State(state): Server, Path(id): Path<usize>, body: Bytes) -> Response {
    operate_with(&state, id, body, |instance, raw: RawCanisterId| {
        let cycles = instance.cycles(to_canister_id(&raw)?)?;
        Ok(RawCycles { cycles })
    })
    .await
}

pub(super) async fn controllers(State(state): Server, Path(id): Path<usize>, body: Bytes) -> Response {
    operate_with(&state, id, body, |instance, raw: RawCanisterId| {
        let list = instance.controllers(to_canister_id(&raw)?)?;
        Ok(list.into_iter().map(RawPrincipalId::from).collect::<Vec<_>>())
    })
    .await
}

/// Returns the subnet of a canister; `null` if the canister does not exist.
pub(super) async fn subnet(State(state): Server, Path(id): Path<usize>, body: Bytes) -> Response {
    operate_with(&state, id, body, |instance, raw: RawCanisterId| {
        let subnet = instance.subnet_of_canister(to_canister_id(&raw)?);
        Ok(subnet.map(RawSubnetId::from))
    })
    .await
}

pub(super) async fn stable_memory(State(state): Server, Path(id): Path<usize>, body: Bytes) -> Response {
    operate_with(&state, id, body, |instance, raw: RawCanisterId| {
        let blob = instance.stable_memory(to_canister_id(&raw)?)?;
        Ok(RawStableMemory { blob })
    })
    .await
}

pub(super) async fn query(State(state): Server, Path(id): Path<usize>, body: Bytes) -> Response {
    operate_with(&state, id, body, |instance, raw: RawCanisterCall| {
        let answer = instance.query(raw.try_into()?)?;
        Ok(canister_result(answer, false))
    })
    .await
}

/// Returns the answer of a message; `null` if there is none yet.
pub(super) async fn ingress_status(State(state): Server, Path(id): Path<usize>, body: Bytes) -> Response {
    operate_with(&state, id, body, |instance, raw: RawIngressStatusArgs| {
        let caller = raw
            .raw_caller
            .map(|caller| parse_principal(&caller.principal_id, "Bad caller principal"))
            .transpose()?;
        let answer = instance.ingress_status(&raw.raw_message_id, caller)?;
        Ok(answer.map(|answer| canister_result(answer, true)))
    })
    .await
}

/// Returns the outcalls that wait for an answer of the client: always none, since a canister that makes an outcall gets
/// an error.
pub(super) async fn canister_http(State(state): Server, Path(id): Path<usize>) -> Response {
    operate(&state, id, Work::Brief, |_| Ok(Vec::<RawCanisterHttpRequest>::new())).await
}

pub(super) async fn pub_key(State(state): Server, Path(id): Path<usize>, body: Bytes) -> Response {
    operate_with(&state, id, body, |instance, raw: RawSubnetId| {
        instance.public_key(parse_principal(&raw.subnet_id, "Bad subnet id")?)
    })
    .await
}

#[derive(Deserialize)]
pub(super) struct CostsFrom {
    /// The first index to return.
    from: Option<u64>,
}

/// Returns the costs of a canister's recent messages. Not part of the protocol.
pub(super) async fn canister_costs(
    State(state): Server,
    Path((id, canister)): Path<(usize, String)>,
    Query(wanted): Query<CostsFrom>,
) -> Response {
    operate(&state, id, Work::Long, move |instance| {
        instance.costs(parse_canister_id(&canister)?, wanted.from.unwrap_or(0))
    })
    .await
}

/// `GET /instances/<id>/auto_progress`: whether the instance's time advances automatically.
pub(super) async fn auto_progress(State(state): Server, Path(id): Path<usize>) -> Response {
    match state.slot(id) {
        Ok(slot) => {
            let enabled = matches!(*slot.progress.lock().await, AutoProgressState::On(_));
            json_response(StatusCode::OK, &enabled)
        }
        Err(refusal) => error_response(&refusal),
    }
}
