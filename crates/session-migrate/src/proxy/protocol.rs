//! The requests of the PocketIC protocol that matter to a recording.

use axum::http::Method;
use pocket_ic::RejectResponse;
use pocket_ic::common::rest::{RawCanisterCall, RawCanisterId, RawIngressStatusArgs, RawMessageId};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::agent;

/// Number of an instance, as in its path.
pub(super) type InstanceId = String;

/// The kind of a request, by its HTTP method and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Instance(InstanceId, Action),
    /// A request for the result of an operation that the server has not completed in its first answer.
    Progress(OperationId),
    /// A request that may open a gateway.
    Opens(Opening),
    Closes(GatewayId),
    /// A request for the list of gateways.
    Gateways,
    /// Any other request; it is forwarded without being read.
    Other,
}

/// Number of a gateway, as in its path.
pub(super) type GatewayId = String;

/// How a gateway is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// In front of an existing instance.
    Alone,
    /// Together with a new instance.
    WithInstance,
}

/// What a request does with an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Sends an update call, without waiting for its result.
    Submit,
    /// Waits for the result of a sent call.
    Await,
    /// Asks for the result of a sent call, without waiting.
    IngressStatus,
    Query,
    Tick,
    SetStableMemory,
    AutoProgress,
    /// An update call by an agent. `waits`: whether the server answers only once the call is executed.
    AgentCall {
        waits: bool,
    },
    AgentQuery,
    AgentReadState,
}

impl Action {
    /// Returns whether the server may answer the request late. If so, other requests are not kept waiting for the
    /// answer.
    pub fn may_be_delayed(self) -> bool {
        match self {
            Action::Await
            | Action::IngressStatus
            | Action::AutoProgress
            | Action::AgentCall { waits: true }
            | Action::AgentReadState => true,
            Action::Submit
            | Action::Query
            | Action::Tick
            | Action::SetStableMemory
            | Action::AgentCall { waits: false }
            | Action::AgentQuery => false,
        }
    }

    /// Parses the path below `/api` of a request about a canister or a subnet.
    fn of_agent(path: &[&str]) -> Option<Action> {
        let [version, "canister" | "subnet", _, request] = path else { return None };
        Some(match *request {
            // From version 3 on, the request waits for the result of the call.
            "call" => Action::AgentCall { waits: *version != "v2" },
            "query" => Action::AgentQuery,
            "read_state" => Action::AgentReadState,
            _ => return None,
        })
    }
}

/// Identifies an operation that continues on the server: the state in which it began, and its own number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub(super) struct OperationId {
    pub state_label: String,
    pub op_id: String,
}

impl Route {
    /// Parses a request to the proxy's own port.
    pub fn of(method: &Method, path: &str) -> Route {
        let parts = path_parts(path);
        if *method == Method::GET {
            return match parts.as_slice() {
                ["read_graph", state_label, op_id] => Route::Progress(OperationId {
                    state_label: (*state_label).into(),
                    op_id: (*op_id).into(),
                }),
                ["http_gateway"] => Route::Gateways,
                _ => Route::Other,
            };
        }
        if *method != Method::POST {
            return Route::Other;
        }
        match parts.as_slice() {
            ["instances"] => Route::Opens(Opening::WithInstance),
            ["http_gateway"] => Route::Opens(Opening::Alone),
            ["http_gateway", id, "stop"] => Route::Closes((*id).into()),
            ["instances", id, instance_path @ ..] => {
                let action = match instance_path {
                    ["update", "submit_ingress_message"] => Action::Submit,
                    ["update", "await_ingress_message"] => Action::Await,
                    ["read", "ingress_status"] => Action::IngressStatus,
                    ["read", "query"] => Action::Query,
                    ["update", "tick"] => Action::Tick,
                    ["update", "set_stable_memory"] => Action::SetStableMemory,
                    ["auto_progress"] => Action::AutoProgress,
                    ["api", agent_path @ ..] => match Action::of_agent(agent_path) {
                        Some(action) => action,
                        None => return Route::Other,
                    },
                    _ => return Route::Other,
                };
                Route::Instance((*id).into(), action)
            }
            _ => Route::Other,
        }
    }

    /// Parses a request to a gateway in front of an instance.
    pub fn at_gateway(instance: &str, method: &Method, path: &str) -> Route {
        match path_parts(path).as_slice() {
            ["api", agent_path @ ..] if *method == Method::POST => Action::of_agent(agent_path)
                .map_or(Route::Other, |action| Route::Instance(instance.into(), action)),
            _ => Route::Other,
        }
    }
}

fn path_parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty()).collect()
}

/// An operation on an instance, with the parsed body of its request.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Submit(RawCanisterCall),
    Await(RawMessageId),
    IngressStatus(RawIngressStatusArgs),
    Query(RawCanisterCall),
    Tick,
    SetStableMemory(RawCanisterId),
    AutoProgress,
    AgentCall(RawCanisterCall, RawMessageId),
    AgentQuery(RawCanisterCall),
    AgentReadState(Vec<RawMessageId>),
}

impl Operation {
    /// Parses the body of a request; returns `None` if it is not a body of this action.
    pub fn read(action: Action, body: &[u8]) -> Option<Operation> {
        Some(match action {
            Action::Submit => Operation::Submit(parse_json(body)?),
            Action::Await => Operation::Await(parse_json(body)?),
            Action::IngressStatus => Operation::IngressStatus(parse_json(body)?),
            Action::Query => Operation::Query(parse_json(body)?),
            Action::Tick => Operation::Tick,
            Action::SetStableMemory => Operation::SetStableMemory(parse_json(body)?),
            Action::AutoProgress => Operation::AutoProgress,
            Action::AgentCall { .. } => {
                let (call, message) = agent::read_call(body)?;
                Operation::AgentCall(call, message)
            }
            Action::AgentQuery => Operation::AgentQuery(agent::read_query(body)?),
            Action::AgentReadState => Operation::AgentReadState(agent::read_asked_calls(body)?),
        })
    }
}

/// The server's answer to a submitted call.
pub(super) type Submitted = Result<RawMessageId, RejectResponse>;

/// Parses a body; returns `None` if it is not a `T`.
pub(super) fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
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
        let operation = OperationId { state_label: "a".into(), op_id: "b".into() };
        assert_eq!(Route::of(&Method::GET, "/read_graph/a/b"), Route::Progress(operation));
        for path in ["/", "/instances/0", "/instances/0/read/get_time", "/blobstore"] {
            assert_eq!(Route::of(&Method::POST, path), Route::Other, "{path}");
        }
    }

    #[test]
    fn agents_connect_to_the_server_or_to_a_gateway() {
        for (path, action) in [
            ("/api/v2/canister/aaaaa-aa/call", Action::AgentCall { waits: false }),
            ("/api/v3/canister/aaaaa-aa/call", Action::AgentCall { waits: true }),
            ("/api/v4/canister/aaaaa-aa/call", Action::AgentCall { waits: true }),
            ("/api/v3/canister/aaaaa-aa/query", Action::AgentQuery),
            ("/api/v2/canister/aaaaa-aa/read_state", Action::AgentReadState),
            ("/api/v4/subnet/aaaaa-aa/call", Action::AgentCall { waits: true }),
            ("/api/v3/subnet/aaaaa-aa/query", Action::AgentQuery),
            ("/api/v3/subnet/aaaaa-aa/read_state", Action::AgentReadState),
            ("/api/v2/subnet/aaaaa-aa/read_state", Action::AgentReadState),
        ] {
            let expected = Route::Instance("5".into(), action);
            assert_eq!(Route::at_gateway("5", &Method::POST, path), expected);
            assert_eq!(Route::of(&Method::POST, &format!("/instances/5{path}")), expected);
            assert_eq!(Route::of(&Method::POST, path), Route::Other, "the server has no {path}");
            assert_eq!(Route::at_gateway("5", &Method::GET, path), Route::Other);
        }
        for path in [
            "/",
            "/index.html",
            "/api/v2/status",
            "/api/v3/canister/aaaaa-aa/logs",
            "/api/v3/node/aaaaa-aa/read_state",
            "/instances/5/read/query",
        ] {
            assert_eq!(Route::at_gateway("5", &Method::POST, path), Route::Other, "{path}");
        }
    }

    #[test]
    fn an_invalid_body_is_left_to_the_server() {
        assert!(Operation::read(Action::Submit, b"{}").is_none());
        assert!(Operation::read(Action::Tick, b"anything").is_some());
    }
}
