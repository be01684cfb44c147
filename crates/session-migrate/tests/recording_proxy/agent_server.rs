//! A server for agents, in front of one that supports only the PocketIC protocol: `/api` up to version 4, and
//! HTTP gateways, like the official server. This server verifies nothing, and its certificates are not signed.

mod gateways;

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use candid::Principal;
use ic_transport_types::{
    Envelope, EnvelopeContent, QueryResponse, ReadStateResponse, ReplyResponse, RequestId,
    TransportCallResponse,
};
use pocket_ic::common::rest::{
    HttpGatewayDetails, RawCanisterCall, RawCanisterResult, RawEffectivePrincipal, RawIngressStatusArgs,
    RawMessageId, RawPrincipalId, RawTime,
};
use reqwest::Url;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::certified;

/// How long the outcome of a call is awaited before the test fails.
const PATIENCE: Duration = Duration::from_secs(300);

type Submitted = Result<RawMessageId, pocket_ic::RejectResponse>;

/// The running server, which stops when it is dropped.
pub struct AgentServer {
    pub url: Url,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

struct Shared {
    client: reqwest::Client,
    server: Url,
    /// The supported versions, which follow `/api/` in a path.
    versions: &'static [&'static str],
    /// The calls of agents by request id, with the ids that the PocketIC server has issued.
    calls: tokio::sync::Mutex<HashMap<[u8; 32], RawMessageId>>,
    /// Request ids of the calls that were answered immediately.
    answered: Mutex<Vec<[u8; 32]>>,
    /// Notified each time a call was answered.
    news: Condvar,
    gateways: Mutex<Vec<(HttpGatewayDetails, JoinHandle<()>)>>,
}

/// A port at which requests arrive. `instance` is present for the port of a gateway.
#[derive(Clone)]
struct ServedPort {
    shared: Arc<Shared>,
    instance: Option<usize>,
}

/// Starts a server that supports only these versions of `/api`, in front of another server.
pub fn start(versions: &'static [&'static str], server: &Url) -> AgentServer {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let shared = Arc::new(Shared {
        client: reqwest::Client::new(),
        server: server.clone(),
        versions,
        calls: Default::default(),
        answered: Default::default(),
        news: Condvar::new(),
        gateways: Default::default(),
    });
    let _in_runtime = runtime.enter();
    let (port, _) = listen(0, ServedPort { shared: shared.clone(), instance: None }).unwrap();
    let url = format!("http://127.0.0.1:{port}/").parse().unwrap();
    drop(_in_runtime);
    AgentServer { url, shared, _runtime: runtime }
}

impl AgentServer {
    /// Waits until this call is answered, whether or not the answer reaches anyone.
    pub fn wait_for(&self, id: RequestId) {
        let answered = self.shared.answered.lock().unwrap();
        let (answered, _) = self
            .shared
            .news
            .wait_timeout_while(answered, PATIENCE, |answered| !answered.contains(&id))
            .unwrap();
        assert!(answered.contains(&id), "the call was not answered");
    }

    pub fn gateway_ports(&self) -> Vec<u16> {
        self.shared.gateways.lock().unwrap().iter().map(|(gateway, _)| gateway.port).collect()
    }
}

fn listen(port: u16, served: ServedPort) -> std::io::Result<(u16, JoinHandle<()>)> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let router = Router::new().fallback(handle).layer(DefaultBodyLimit::disable()).with_state(served);
    Ok((port, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })))
}

async fn handle(State(served): State<ServedPort>, method: Method, uri: Uri, body: Bytes) -> Response {
    let path: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    let post = method == Method::POST;
    match (served.instance, path.as_slice()) {
        (Some(instance), ["api", rest @ ..]) => served.shared.api(instance, rest, &body).await,
        (Some(_), _) => "a page".into_response(),
        (None, ["instances", id, "api", rest @ ..]) => {
            served.shared.api(id.parse().unwrap(), rest, &body).await
        }
        (None, ["instances", id, "read", "ingress_status"]) => {
            served.shared.ingress_status(id.parse().unwrap(), &body).await
        }
        (None, ["instances"]) if post => served.create_instance(&body).await,
        (None, ["http_gateway"]) if post => served.open(&serde_json::from_slice(&body).unwrap()),
        (None, ["http_gateway"]) => {
            let gateways = served.shared.gateways.lock().unwrap();
            axum::Json(gateways.iter().map(|(gateway, _)| gateway).collect::<Vec<_>>()).into_response()
        }
        (None, ["http_gateway", id, "stop"]) => {
            let id: usize = id.parse().unwrap();
            let mut gateways = served.shared.gateways.lock().unwrap();
            let index = gateways.iter().position(|(gateway, _)| gateway.instance_id == id).unwrap();
            gateways.remove(index).1.abort();
            axum::Json(()).into_response()
        }
        _ => {
            let (status, body) = served.shared.ask(method, uri.path(), body).await;
            (status, body).into_response()
        }
    }
}

impl Shared {
    /// Sends a request to the PocketIC server.
    async fn ask(&self, method: Method, path: &str, body: Bytes) -> (StatusCode, Bytes) {
        let request =
            self.client.request(method, self.server.join(path.trim_start_matches('/')).unwrap()).body(body);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.bytes().await.unwrap())
    }

    /// Sends a request to an instance on the PocketIC server.
    async fn operate<T: DeserializeOwned>(&self, instance: usize, what: &str, body: &impl Serialize) -> T {
        let body = serde_json::to_vec(body).unwrap().into();
        let (_, answer) = self.ask(Method::POST, &format!("/instances/{instance}/{what}"), body).await;
        serde_json::from_slice(&answer).unwrap()
    }

    async fn api(&self, instance: usize, path: &[&str], body: &[u8]) -> Response {
        let Envelope { content, .. } = serde_cbor::from_slice(body).unwrap();
        let id = content.to_request_id();
        match (path, content.into_owned()) {
            (
                [version, place @ ("canister" | "subnet"), effective, "call"],
                EnvelopeContent::Call { sender, canister_id, method_name, arg, .. },
            ) if self.versions.contains(version) => {
                let call = raw_call((place, effective), sender, canister_id, method_name, arg);
                let message = match self.submit(instance, id, &call).await {
                    Ok(message) => message,
                    Err(reject) => {
                        return cbor(&TransportCallResponse::NonReplicatedRejection(certified::rejection(
                            reject,
                        )));
                    }
                };
                if *version == "v2" {
                    return StatusCode::ACCEPTED.into_response();
                }
                let result = self.operate(instance, "update/await_ingress_message", &message).await;
                self.answered.lock().unwrap().push(*id);
                self.news.notify_all();
                cbor(&TransportCallResponse::Replied {
                    certificate: self.certificate(instance, id, Some(result)).await,
                })
            }
            (
                [_, "canister", effective, "query"],
                EnvelopeContent::Query { sender, canister_id, method_name, arg, .. },
            ) => {
                let call = raw_call(("canister", effective), sender, canister_id, method_name, arg);
                cbor(&match self.operate(instance, "read/query", &call).await {
                    RawCanisterResult::Ok(arg) => {
                        QueryResponse::Replied { reply: ReplyResponse { arg }, signatures: vec![] }
                    }
                    RawCanisterResult::Err(reject) => {
                        QueryResponse::Rejected { reject: certified::rejection(reject), signatures: vec![] }
                    }
                })
            }
            (
                [_, "canister" | "subnet", _, "read_state"],
                EnvelopeContent::ReadState { sender, paths, .. },
            ) => {
                let id: [u8; 32] = paths[0][1].as_bytes().try_into().unwrap();
                let message = self.calls.lock().await[&id].clone();
                let args = RawIngressStatusArgs {
                    raw_message_id: message,
                    raw_caller: Some(RawPrincipalId { principal_id: sender.as_slice().to_vec() }),
                };
                let result = self.operate(instance, "read/ingress_status", &args).await;
                let certificate = self.certificate(instance, RequestId::new(&id), result).await;
                cbor(&ReadStateResponse { certificate })
            }
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }

    /// Forwards a call, unless the same call was forwarded before.
    async fn submit(&self, instance: usize, id: RequestId, call: &RawCanisterCall) -> Submitted {
        let mut calls = self.calls.lock().await;
        if let Some(message) = calls.get(&*id) {
            return Ok(message.clone());
        }
        let submitted: Submitted = self.operate(instance, "update/submit_ingress_message", call).await;
        submitted.inspect(|message| {
            calls.insert(*id, message.clone());
        })
    }

    /// Returns a certificate with the time of an instance and the outcome of one call.
    async fn certificate(
        &self,
        instance: usize,
        id: RequestId,
        result: Option<RawCanisterResult>,
    ) -> Vec<u8> {
        let path = format!("/instances/{instance}/read/get_time");
        let (_, time) = self.ask(Method::GET, &path, Bytes::new()).await;
        let RawTime { nanos_since_epoch } = serde_json::from_slice(&time).unwrap();
        certified::state(nanos_since_epoch, id, result)
    }

    /// Answers PocketIC's own request for the status of a call, which may be a call of an agent.
    async fn ingress_status(&self, instance: usize, body: &[u8]) -> Response {
        let mut args: RawIngressStatusArgs = serde_json::from_slice(body).unwrap();
        if let Some(message) = self.calls.lock().await.get(args.raw_message_id.message_id.as_slice()) {
            args.raw_message_id = message.clone();
        }
        let status: Value = self.operate(instance, "read/ingress_status", &args).await;
        axum::Json(status).into_response()
    }
}

fn raw_call(
    (place, effective): (&str, &str),
    sender: Principal,
    canister: Principal,
    method: String,
    payload: Vec<u8>,
) -> RawCanisterCall {
    let effective = effective.parse::<Principal>().unwrap().as_slice().to_vec();
    RawCanisterCall {
        sender: sender.as_slice().to_vec(),
        canister_id: canister.as_slice().to_vec(),
        effective_principal: match place {
            "subnet" => RawEffectivePrincipal::SubnetId(effective),
            _ => RawEffectivePrincipal::CanisterId(effective),
        },
        method,
        payload,
        sender_info: None,
    }
}

fn cbor(body: &impl Serialize) -> Response {
    ([("content-type", "application/cbor")], serde_cbor::to_vec(body).unwrap()).into_response()
}
