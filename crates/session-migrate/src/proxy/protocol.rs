//! Which requests of the PocketIC protocol matter to a recording.

use axum::http::Method;
use pocket_ic::RejectResponse;
use pocket_ic::common::rest::{RawCanisterCall, RawCanisterId, RawIngressStatusArgs, RawMessageId};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Number of an instance, as its path says it.
pub(super) type InstanceId = String;

/// A request by its method and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// It concerns an instance.
    Instance(InstanceId, Action),
    /// It asks for the result of an operation that was not done at once.
    Progress(OperationId),
    /// Everything else.
    Other,
}

/// What a request wants of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Submit,
    Await,
    IngressStatus,
    Query,
    Tick,
    SetStableMemory,
    AutoProgress,
    Agent,
}

/// Names an operation that goes on: the state it began in, and its own number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub(super) struct OperationId {
    pub state_label: String,
    pub op_id: String,
}

impl Route {
    pub fn of(method: &Method, path: &str) -> Route {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let post = *method == Method::POST;
        let (instance, action) = match parts.as_slice() {
            ["instances", id, "update", "submit_ingress_message"] if post => (id, Action::Submit),
            ["instances", id, "update", "await_ingress_message"] if post => (id, Action::Await),
            ["instances", id, "read", "ingress_status"] if post => (id, Action::IngressStatus),
            ["instances", id, "read", "query"] if post => (id, Action::Query),
            ["instances", id, "update", "tick"] if post => (id, Action::Tick),
            ["instances", id, "update", "set_stable_memory"] if post => (id, Action::SetStableMemory),
            ["instances", id, "auto_progress"] if post => (id, Action::AutoProgress),
            ["instances", id, "api", _version, "canister", _canister, "call" | "query"] if post => {
                (id, Action::Agent)
            }
            ["read_graph", state_label, op_id] if *method == Method::GET => {
                return Route::Progress(OperationId {
                    state_label: (*state_label).into(),
                    op_id: (*op_id).into(),
                });
            }
            _ => return Route::Other,
        };
        Route::Instance((*instance).into(), action)
    }
}

/// What is asked, with the body read.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Submit(RawCanisterCall),
    Await(RawMessageId),
    IngressStatus(RawIngressStatusArgs),
    Query(RawCanisterCall),
    Tick,
    SetStableMemory(RawCanisterId),
    AutoProgress,
    Agent,
}

impl Operation {
    /// None for a body that the server will not understand either.
    pub fn read(action: Action, body: &[u8]) -> Option<Operation> {
        Some(match action {
            Action::Submit => Operation::Submit(json(body)?),
            Action::Await => Operation::Await(json(body)?),
            Action::IngressStatus => Operation::IngressStatus(json(body)?),
            Action::Query => Operation::Query(json(body)?),
            Action::Tick => Operation::Tick,
            Action::SetStableMemory => Operation::SetStableMemory(json(body)?),
            Action::AutoProgress => Operation::AutoProgress,
            Action::Agent => Operation::Agent,
        })
    }
}

/// What the server answers to a submitted call.
pub(super) type Submitted = Result<RawMessageId, RejectResponse>;

/// A body; none for another one.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_known_by_their_paths_with_and_without_a_slash() {
        for path in
            ["/instances/3/update/submit_ingress_message", "/instances/3/update/submit_ingress_message/"]
        {
            assert_eq!(Route::of(&Method::POST, path), Route::Instance("3".into(), Action::Submit));
            assert_eq!(Route::of(&Method::GET, path), Route::Other);
        }
        assert_eq!(
            Route::of(&Method::POST, "/instances/0/api/v3/canister/aaaaa-aa/call"),
            Route::Instance("0".into(), Action::Agent)
        );
        let operation = OperationId { state_label: "a".into(), op_id: "b".into() };
        assert_eq!(Route::of(&Method::GET, "/read_graph/a/b"), Route::Progress(operation));
        for path in ["/", "/instances", "/instances/0", "/instances/0/read/get_time", "/blobstore"] {
            assert_eq!(Route::of(&Method::POST, path), Route::Other, "{path}");
        }
    }

    #[test]
    fn a_body_that_is_none_is_left_to_the_server() {
        assert!(Operation::read(Action::Submit, b"{}").is_none());
        assert!(Operation::read(Action::Tick, b"anything").is_some());
    }
}
