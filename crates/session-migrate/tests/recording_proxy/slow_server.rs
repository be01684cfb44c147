//! A server that does not answer operations immediately, in front of one that does: an operation is refused as busy
//! once, then started, and its result must be requested.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use reqwest::Url;
use tokio::runtime::Runtime;

/// The running server, which stops when it is dropped.
pub struct SlowServer {
    pub url: Url,
    state: Arc<Slow>,
    _runtime: Runtime,
}

impl SlowServer {
    /// Returns how many results had to be requested.
    pub fn late(&self) -> u64 {
        self.state.results.lock().unwrap().issued
    }
}

struct Slow {
    client: reqwest::Client,
    server: Url,
    results: Mutex<Results>,
}

#[derive(Default)]
struct Results {
    /// Number of results that had to be requested.
    issued: u64,
    /// The results, by the id of the operation.
    waiting: HashMap<String, Bytes>,
    /// Requests that were refused as busy once, and will be accepted the next time.
    refused_once: HashMap<(String, Bytes), ()>,
}

pub fn start(server: &Url) -> SlowServer {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let state =
        Arc::new(Slow { client: reqwest::Client::new(), server: server.clone(), results: Mutex::default() });
    let router = Router::new().fallback(handle).layer(DefaultBodyLimit::disable()).with_state(state.clone());
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        axum::serve(listener, router).await
    });
    SlowServer { url, state, _runtime: runtime }
}

async fn handle(State(slow): State<Arc<Slow>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let path = uri.path().trim_end_matches('/').to_owned();
    if let Some(id) = path.strip_prefix("/read_graph/state/") {
        let result = slow.results.lock().unwrap().waiting.get(id).cloned();
        return result.map_or(StatusCode::NOT_FOUND.into_response(), IntoResponse::into_response);
    }
    let is_answered_later = path.contains("/update/") || path.ends_with("/read/query");
    let is_first_refused = is_answered_later || path.ends_with("/get_time");
    if is_first_refused
        && slow.results.lock().unwrap().refused_once.insert((path.clone(), body.clone()), ()).is_none()
    {
        return (StatusCode::CONFLICT, r#"{"state_label":"busy","op_id":"other"}"#).into_response();
    }
    slow.results.lock().unwrap().refused_once.remove(&(path.clone(), body.clone()));
    let request = slow.client.request(method, slow.server.join(&path).unwrap()).body(body);
    let answer = request.send().await.unwrap();
    let (status, bytes) = (answer.status(), answer.bytes().await.unwrap());
    if !is_answered_later || status != StatusCode::OK {
        return (status, bytes).into_response();
    }
    let mut results = slow.results.lock().unwrap();
    results.issued += 1;
    let id = format!("operation-{}", results.issued);
    results.waiting.insert(id.clone(), bytes);
    let body = format!(r#"{{"state_label":"state","op_id":"{id}"}}"#);
    (StatusCode::ACCEPTED, body).into_response()
}
