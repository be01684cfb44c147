//! Handing requests on, and answers back, as they are.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::uri::{Authority, Scheme};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Mutex;

use super::protocol::{Action, InstanceId, Operation, Route, json};
use super::watch::{Begun, Watch};

/// What every request needs.
pub(super) struct Forward {
    client: Client<HttpConnector, Body>,
    server: Authority,
    /// None once the recording is over.
    watch: Mutex<Option<Watch>>,
}

impl Forward {
    pub fn new(server: Authority, watch: Watch) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Forward { client, server, watch: Mutex::new(Some(watch)) }
    }

    /// Ends the recording; requests still go on.
    pub async fn end(&self) -> Option<Watch> {
        self.watch.lock().await.take()
    }

    /// The server's answer, whatever it is.
    async fn pass(&self, mut request: Request) -> Response {
        let target = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.server.clone())
            .path_and_query(request.uri().path_and_query().map_or("/", |path| path.as_str()))
            .build();
        *request.uri_mut() = match target {
            Ok(target) => target,
            Err(error) => return failed(StatusCode::BAD_REQUEST, &error),
        };
        match self.client.request(request).await {
            Ok(response) => response.into_response(),
            Err(error) => failed(StatusCode::BAD_GATEWAY, &error),
        }
    }

    /// The same with the answer's body read as a whole.
    async fn pass_whole(&self, request: Request) -> (Response, Bytes) {
        let (parts, body) = self.pass(request).await.into_parts();
        match to_bytes(body, usize::MAX).await {
            Ok(bytes) => (Response::from_parts(parts, Body::from(bytes.clone())), bytes),
            Err(error) => (failed(StatusCode::BAD_GATEWAY, &error), Bytes::new()),
        }
    }

    async fn operate(&self, instance: InstanceId, action: Action, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = match to_bytes(body, usize::MAX).await {
            Ok(body) => body,
            Err(error) => return failed(StatusCode::BAD_REQUEST, &error),
        };
        let operation = Operation::read(action, &body);
        let request = Request::from_parts(parts, Body::from(body));
        let Some(operation) = operation else {
            return self.pass(request).await;
        };
        let mut guard = self.watch.lock().await;
        let Some(watch) = guard.as_mut() else {
            drop(guard);
            return self.pass(request).await;
        };
        let begun = watch.before(instance, operation).await;
        // Calls reach the server in the order in which they are written down. Who waits for an answer holds up nobody.
        let (response, body) = match action {
            Action::Await | Action::IngressStatus | Action::AutoProgress | Action::Agent => {
                drop(guard);
                let answer = self.pass_whole(request).await;
                guard = self.watch.lock().await;
                answer
            }
            Action::Submit | Action::Query | Action::Tick | Action::SetStableMemory => {
                self.pass_whole(request).await
            }
        };
        if let Some(watch) = guard.as_mut() {
            settle(watch, begun, response.status(), &body).await;
        }
        response
    }
}

/// Takes the server's answer to an operation.
async fn settle(watch: &mut Watch, begun: Begun, status: StatusCode, body: &Bytes) {
    match status {
        StatusCode::OK => watch.done(begun, body).await,
        StatusCode::ACCEPTED => match json(body) {
            Some(id) => watch.goes_on(id, begun),
            None => watch.refused(&begun),
        },
        _ => watch.refused(&begun),
    }
}

/// Every request comes here.
pub(super) async fn handle(State(forward): State<Arc<Forward>>, request: Request) -> Response {
    match Route::of(request.method(), request.uri().path()) {
        Route::Other => forward.pass(request).await,
        Route::Instance(instance, action) => forward.operate(instance, action, request).await,
        Route::Progress(operation) => {
            let (response, body) = forward.pass_whole(request).await;
            if response.status() == StatusCode::OK
                && let Some(watch) = forward.watch.lock().await.as_mut()
                && let Some(begun) = watch.went_on(&operation)
            {
                watch.done(begun, &body).await;
            }
            response
        }
    }
}

fn failed(status: StatusCode, error: &dyn std::error::Error) -> Response {
    let mut message = format!("the recording proxy: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    (status, axum::Json(serde_json::json!({ "message": message }))).into_response()
}
