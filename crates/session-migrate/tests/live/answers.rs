//! A network that loses answers: requests arrive, and what they are answered with does not.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

struct Inner {
    upstream: String,
    client: reqwest::Client,
    /// Methods whose next answer is lost.
    to_lose: Mutex<Vec<&'static str>>,
    lost: AtomicU32,
    /// Requests that are refused after each lost answer.
    away_for: u32,
    away: AtomicU32,
    refused: AtomicU32,
}

/// A proxy in front of a network. It ends with the process.
pub struct Answers {
    pub url: String,
    inner: Arc<Inner>,
}

impl Answers {
    /// Loses the first answer to each of these methods; after each, the network is away for so many requests.
    pub fn in_front_of(upstream: &str, methods: &[&'static str], away_for: u32) -> Answers {
        let inner = Arc::new(Inner {
            upstream: upstream.trim_end_matches('/').to_owned(),
            client: reqwest::Client::new(),
            to_lose: Mutex::new(methods.to_vec()),
            lost: AtomicU32::new(0),
            away_for,
            away: AtomicU32::new(0),
            refused: AtomicU32::new(0),
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        let router = Router::new()
            .fallback(forward)
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(inner.clone());
        std::thread::spawn(move || {
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        Answers { url, inner }
    }

    pub fn lost(&self) -> u32 {
        self.inner.lost.load(Ordering::Relaxed)
    }

    pub fn refused(&self) -> u32 {
        self.inner.refused.load(Ordering::Relaxed)
    }
}

async fn forward(State(inner): State<Arc<Inner>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let away = inner.away.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |away| away.checked_sub(1));
    if away.is_ok() {
        inner.refused.fetch_add(1, Ordering::Relaxed);
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let is_met = |name: &&str| body.windows(name.len()).any(|part| part == name.as_bytes());
    let lose = {
        let mut to_lose = inner.to_lose.lock().unwrap();
        to_lose.iter().position(is_met).map(|index| to_lose.remove(index)).is_some()
    };
    let url = format!("{}{uri}", inner.upstream);
    let request = inner.client.request(method, url).header("content-type", "application/cbor").body(body);
    let answer = request.send().await.unwrap();
    let (status, bytes) = (answer.status(), answer.bytes().await.unwrap());
    if lose {
        inner.lost.fetch_add(1, Ordering::Relaxed);
        inner.away.store(inner.away_for, Ordering::Relaxed);
        return StatusCode::BAD_GATEWAY.into_response();
    }
    (status, bytes).into_response()
}
