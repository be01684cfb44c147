//! Faulty networks: one that loses answers, one whose nodes lag, one whose certificates prove nothing about requests,
//! and one that is not reachable.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use ic_certification::{Certificate, HashTree};
use ic_transport_types::ReadStateResponse;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_cbor::Value;

/// The settings and the counts of a [`FaultyProxy`].
struct Inner {
    upstream: String,
    client: reqwest::Client,
    /// Methods whose next answer is lost.
    to_lose: Mutex<Vec<&'static str>>,
    lost: AtomicU32,
    /// Once a module is installed, this many reads of the state get the answer to the first read.
    lag: u32,
    /// Number of reads that still get the answer to the first read.
    stale_left: AtomicU32,
    first_read: Mutex<Option<Bytes>>,
    /// Number of requests that are refused after each lost answer.
    away_for: u32,
    /// Number of requests that are still refused.
    refusals_left: AtomicU32,
    refused: AtomicU32,
}

/// A proxy in front of a network, which runs until the process ends.
pub struct FaultyProxy {
    pub url: String,
    inner: Arc<Inner>,
}

impl FaultyProxy {
    /// Starts a proxy that loses the first answer to each of these methods. After each lost answer, the network is
    /// unreachable for `away_for` requests.
    pub fn in_front_of(upstream: &str, methods: &[&'static str], away_for: u32) -> FaultyProxy {
        FaultyProxy::with(upstream, methods, away_for, 0)
    }

    /// Starts a proxy that, once a module is installed, answers this many reads of the state with the earlier state.
    pub fn lagging_by(upstream: &str, reads: u32) -> FaultyProxy {
        FaultyProxy::with(upstream, &[], 0, reads)
    }

    fn with(upstream: &str, methods: &[&'static str], away_for: u32, lag: u32) -> FaultyProxy {
        let inner = Arc::new(Inner {
            upstream: upstream.trim_end_matches('/').to_owned(),
            client: reqwest::Client::new(),
            to_lose: Mutex::new(methods.to_vec()),
            lost: AtomicU32::new(0),
            lag,
            stale_left: AtomicU32::new(0),
            first_read: Mutex::new(None),
            away_for,
            refusals_left: AtomicU32::new(0),
            refused: AtomicU32::new(0),
        });
        let router = Router::new()
            .fallback(forward)
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(inner.clone());
        FaultyProxy { url: serve(router), inner }
    }

    pub fn lost(&self) -> u32 {
        self.inner.lost.load(Ordering::Relaxed)
    }

    /// Returns whether the next read of the state will be answered with the earlier state.
    pub fn is_lagging(&self) -> bool {
        self.inner.stale_left.load(Ordering::Relaxed) > 0
    }

    pub fn refused(&self) -> u32 {
        self.inner.refused.load(Ordering::Relaxed)
    }
}

/// Serves requests until the process ends, and returns the URL.
fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    url
}

/// Starts a proxy whose certificates contain only the time, so that they prove nothing about requests. Returns its URL.
pub fn pruning(upstream: &str) -> String {
    let upstream = Arc::new(upstream.trim_end_matches('/').to_owned());
    serve(Router::new().fallback(forward_pruned).with_state(upstream))
}

async fn forward_pruned(
    State(upstream): State<Arc<String>>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    let request = reqwest::Client::new().request(method, format!("{upstream}{uri}"));
    let answer = request.header("content-type", "application/cbor").body(body).send().await.unwrap();
    let (status, bytes) = (answer.status(), answer.bytes().await.unwrap());
    if !uri.path().ends_with("/read_state") || status != StatusCode::OK {
        return (status, bytes).into_response();
    }
    let answer: ReadStateResponse = serde_cbor::from_slice(&bytes).unwrap();
    let mut certificate: Certificate = serde_cbor::from_slice(&answer.certificate).unwrap();
    certificate.tree = through_cbor(&only_time(through_cbor(&certificate.tree)));
    let answer = ReadStateResponse { certificate: serde_cbor::to_vec(&certificate).unwrap() };
    serde_cbor::to_vec(&answer).unwrap().into_response()
}

/// Replaces each subtree, except that of the time, by its digest. In CBOR, a fork begins with 1, a labeled node with 2,
/// and a pruned one with 4.
fn only_time(node: Value) -> Value {
    match node {
        Value::Array(parts) if parts.first() == Some(&Value::Integer(1)) => {
            Value::Array(parts.into_iter().map(only_time).collect())
        }
        Value::Array(parts)
            if parts.first() == Some(&Value::Integer(2))
                && parts.get(1) != Some(&Value::Bytes(b"time".to_vec())) =>
        {
            let tree: HashTree = through_cbor(&Value::Array(parts));
            Value::Array(vec![Value::Integer(4), Value::Bytes(tree.digest().to_vec())])
        }
        other => other,
    }
}

/// Converts a value to another type with the same encoding.
fn through_cbor<T: DeserializeOwned>(value: &impl Serialize) -> T {
    serde_cbor::from_slice(&serde_cbor::to_vec(value).unwrap()).unwrap()
}

async fn forward(State(inner): State<Arc<Inner>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let away =
        inner.refusals_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |away| away.checked_sub(1));
    if away.is_ok() {
        inner.refused.fetch_add(1, Ordering::Relaxed);
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let contains_name = |name: &&str| body.windows(name.len()).any(|part| part == name.as_bytes());
    let is_lost = {
        let mut to_lose = inner.to_lose.lock().unwrap();
        to_lose.iter().position(contains_name).map(|index| to_lose.remove(index)).is_some()
    };
    if contains_name(&"install_code") {
        inner.stale_left.store(inner.lag, Ordering::Relaxed);
    }
    // Every read of the canister's module hash also asks for the time of the last installation.
    let is_read = contains_name(&"last_install_timestamp");
    if is_read && let Some(first) = inner.first_read.lock().unwrap().clone() {
        let left =
            inner.stale_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_ok() {
            return first.into_response();
        }
    }
    let url = format!("{}{uri}", inner.upstream);
    let request = inner.client.request(method, url).header("content-type", "application/cbor").body(body);
    let answer = request.send().await.unwrap();
    let (status, bytes) = (answer.status(), answer.bytes().await.unwrap());
    if is_lost {
        inner.lost.fetch_add(1, Ordering::Relaxed);
        inner.refusals_left.store(inner.away_for, Ordering::Relaxed);
        return StatusCode::BAD_GATEWAY.into_response();
    }
    if is_read {
        inner.first_read.lock().unwrap().get_or_insert_with(|| bytes.clone());
    }
    (status, bytes).into_response()
}

/// A wire to a network. When the wire is cut, open connections are dropped; while it is cut, new connections are
/// dropped immediately.
#[derive(Clone)]
pub struct Wire {
    pub url: String,
    inner: Arc<WireInner>,
}

struct WireInner {
    upstream: String,
    open: Mutex<Vec<TcpStream>>,
    /// Number of new connections to drop until the wire is restored.
    cut_for: AtomicU32,
    dropped: AtomicU32,
}

impl Wire {
    /// Returns a wire to the network at `url`, which exists until the process ends.
    pub fn to(url: &str) -> Wire {
        let (upstream, path) = url.trim_start_matches("http://").split_once('/').unwrap();
        let inner = Arc::new(WireInner {
            upstream: upstream.to_owned(),
            open: Mutex::default(),
            cut_for: AtomicU32::new(0),
            dropped: AtomicU32::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/{path}", listener.local_addr().unwrap());
        let wire = inner.clone();
        std::thread::spawn(move || {
            listener.incoming().for_each(|connection| wire.connect(connection.unwrap()))
        });
        Wire { url, inner }
    }

    /// Cuts the wire until this many connections have been attempted.
    pub fn cut_for(&self, attempts: u32) {
        self.inner.cut_for.store(attempts, Ordering::SeqCst);
        for end in self.inner.open.lock().unwrap().drain(..) {
            // The connection may be closed already.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    pub fn is_cut(&self) -> bool {
        self.inner.cut_for.load(Ordering::SeqCst) > 0
    }

    pub fn reconnect(&self) {
        self.inner.cut_for.store(0, Ordering::SeqCst);
    }

    /// Returns how many new connections were dropped immediately.
    pub fn dropped(&self) -> u32 {
        self.inner.dropped.load(Ordering::SeqCst)
    }
}

impl WireInner {
    fn connect(&self, client: TcpStream) {
        let cut = self.cut_for.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if cut.is_ok() {
            self.dropped.fetch_add(1, Ordering::SeqCst);
            return;
        }
        let server = TcpStream::connect(&self.upstream).unwrap();
        self.open.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
        for (mut from, mut to) in
            [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
        {
            std::thread::spawn(move || {
                // When copying ends, for whatever reason, the connection is closed.
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    }
}
