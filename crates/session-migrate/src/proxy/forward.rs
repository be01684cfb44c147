//! Forwards requests and answers, unchanged except for the ports of gateways.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::uri::{Authority, Scheme};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::gateway::{Gateways, RequestedGateway, read_opened};
use super::protocol::{Action, InstanceId, Opening, Operation, OperationId, Route, parse_json};
use super::watch::{Begun, Watch};

/// What all listening ports of a proxy share.
pub(super) struct Forward {
    client: Client<HttpConnector, Body>,
    server: Authority,
    /// `None` once the recording has ended.
    watch: Mutex<Option<Watch>>,
    pub gateways: Mutex<Gateways>,
}

impl Forward {
    pub fn new(server: Authority, watch: Watch) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Forward { client, server, watch: Mutex::new(Some(watch)), gateways: Mutex::default() }
    }

    /// Ends the recording; requests are still forwarded. Returns `None` if the recording had ended before.
    pub async fn end(&self) -> Option<Watch> {
        self.watch.lock().await.take()
    }

    /// Notes what the trace does not contain; does nothing once the recording has ended.
    pub async fn note(&self, note: String) {
        if let Some(watch) = self.watch.lock().await.as_mut() {
            watch.recording.transcript.note(note);
        }
    }
}

/// A listening port: the proxy's own, or one in front of a gateway.
#[derive(Clone)]
pub(super) struct Frontend {
    pub forward: Arc<Forward>,
    /// Where requests are forwarded: the server, or the gateway.
    target: Authority,
    /// The instance that the gateway serves; `None` for the proxy's own port.
    gateway_of: Option<InstanceId>,
}

impl Frontend {
    pub fn of_server(forward: Arc<Forward>) -> Frontend {
        let target = forward.server.clone();
        Frontend { forward, target, gateway_of: None }
    }

    pub fn of_gateway(&self, target: Authority, instance: InstanceId) -> Frontend {
        Frontend { forward: self.forward.clone(), target, gateway_of: Some(instance) }
    }

    fn route(&self, request: &Request) -> Route {
        let (method, path) = (request.method(), request.uri().path());
        match &self.gateway_of {
            Some(instance) => Route::at_gateway(instance, method, path),
            None => Route::of(method, path),
        }
    }

    /// Forwards a request, and returns the server's answer. If the server does not answer, returns an error response.
    pub async fn pass(&self, mut request: Request) -> Response {
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.target.clone())
            .path_and_query(request.uri().path_and_query().map_or("/", |path| path.as_str()))
            .build();
        *request.uri_mut() = match uri {
            Ok(uri) => uri,
            Err(error) => return error_response(StatusCode::BAD_REQUEST, &error),
        };
        match self.forward.client.request(request).await {
            Ok(response) => response.into_response(),
            Err(error) => error_response(StatusCode::BAD_GATEWAY, &error),
        }
    }

    /// Forwards a request like [`Frontend::pass`], and reads the answer's body completely.
    pub async fn pass_whole(&self, request: Request) -> (Response, Bytes) {
        let (parts, body) = self.pass(request).await.into_parts();
        match to_bytes(body, usize::MAX).await {
            Ok(bytes) => (Response::from_parts(parts, Body::from(bytes.clone())), bytes),
            Err(error) => (error_response(StatusCode::BAD_GATEWAY, &error), Bytes::new()),
        }
    }

    /// Forwards a request about an instance. Records the request, unless the recording has ended or the body is not
    /// readable.
    async fn operate(&self, instance: InstanceId, action: Action, request: Request) -> Response {
        let (request, body) = match read_whole(request).await {
            Ok(read) => read,
            Err(refusal) => return refusal,
        };
        let operation = Operation::read(action, &body);
        let Some(operation) = operation else {
            return self.pass(request).await;
        };
        let mut guard = self.forward.watch.lock().await;
        let Some(watch) = guard.as_mut() else {
            drop(guard);
            return self.pass(request).await;
        };
        let begun = watch.begin(instance, operation).await;
        // The lock makes calls reach the server in the order in which they are recorded. A request that the server may
        // answer late is forwarded without the lock, so that it blocks no other request.
        let (response, body) = if action.may_be_delayed() {
            drop(guard);
            let answer = self.pass_whole(request).await;
            guard = self.forward.watch.lock().await;
            answer
        } else {
            self.pass_whole(request).await
        };
        if let Some(watch) = guard.as_mut() {
            record_response(watch, begun, response.status(), &body).await;
        }
        response
    }

    /// Forwards a request for the result of an operation, and records the result.
    async fn progress(&self, operation: &OperationId, request: Request) -> Response {
        let (response, body) = self.pass_whole(request).await;
        if response.status() == StatusCode::OK
            && let Some(watch) = self.forward.watch.lock().await.as_mut()
            && let Some(begun) = watch.take_running(operation)
        {
            watch.record_completed(begun, &body).await;
        }
        response
    }

    /// Forwards a request that may open a gateway. If a gateway is opened, opens a port of the proxy in front of it.
    async fn open(&self, opening: Opening, request: Request) -> Response {
        let (mut request, body) = match read_whole(request).await {
            Ok(read) => read,
            Err(refusal) => return refusal,
        };
        let requested = match RequestedGateway::read(opening, &body) {
            None => return self.pass(request).await,
            Some(Err(why)) => {
                let (response, body) = self.pass_whole(request).await;
                if read_opened(opening, &body).is_some() {
                    self.note_unrecorded_gateway(&why).await;
                }
                return response;
            }
            Some(Ok(requested)) => requested,
        };
        // The body changes, and so may its length.
        request.headers_mut().remove(CONTENT_LENGTH);
        *request.body_mut() = Body::from(requested.body.clone());
        let (response, body) = self.pass_whole(request).await;
        let served = {
            let mut gateways = self.forward.gateways.lock().await;
            requested.serve(
                &body,
                self.forward.server.host(),
                &mut gateways,
                |listener, gateway_address, instance| {
                    serve(listener, self.of_gateway(gateway_address, instance))
                },
            )
        };
        match served {
            Ok(Some(body)) => with_body(response, body),
            Ok(None) => response,
            Err(error) => {
                self.note_unrecorded_gateway(&error.to_string()).await;
                response
            }
        }
    }

    async fn note_unrecorded_gateway(&self, why: &str) {
        self.forward.note(format!("calls through a gateway are not in the trace: {why}")).await;
    }

    async fn handle_route(self, route: Route, request: Request) -> Response {
        match route {
            Route::Other => self.pass(request).await,
            Route::Instance(instance, action) => self.operate(instance, action, request).await,
            Route::Progress(operation) => self.progress(&operation, request).await,
            Route::Opens(opening) => self.open(opening, request).await,
            Route::Closes(gateway) => {
                let response = self.pass(request).await;
                self.forward.gateways.lock().await.close(&gateway).await;
                response
            }
            Route::Gateways => {
                let (response, body) = self.pass_whole(request).await;
                match self.forward.gateways.lock().await.list(&body) {
                    Some(body) => with_body(response, body),
                    None => response,
                }
            }
        }
    }
}

/// Records the answer to a forwarded request.
async fn record_response(watch: &mut Watch, begun: Begun, status: StatusCode, body: &Bytes) {
    match status {
        StatusCode::OK => watch.record_completed(begun, body).await,
        // The server has accepted the call, and the agent will ask for the result.
        StatusCode::ACCEPTED if begun.is_call_of_agent() => {}
        // The operation continues on the server, and the answer is the operation's id.
        StatusCode::ACCEPTED => match parse_json(body) {
            Some(id) => watch.keep_running(id, begun),
            None => watch.withdraw_refused(&begun),
        },
        _ => watch.withdraw_refused(&begun),
    }
}

/// Serves a port until the returned task is aborted.
pub(super) fn serve(listener: TcpListener, frontend: Frontend) -> JoinHandle<()> {
    let router = Router::new().fallback(handle).with_state(frontend);
    tokio::spawn(async move {
        // `axum::serve` never returns.
        let _ = axum::serve(pocket_ic_embedded::internals::without_delay(listener), router).await;
    })
}

async fn handle(State(frontend): State<Frontend>, request: Request) -> Response {
    let route = frontend.route(&request);
    if route == Route::Other {
        return frontend.pass(request).await;
    }
    // A request is forwarded and recorded even if the client disconnects before the answer.
    match tokio::spawn(frontend.handle_route(route, request)).await {
        Ok(response) => response,
        Err(error) => error_response(StatusCode::INTERNAL_SERVER_ERROR, &error),
    }
}

/// Reads the body of a request. Returns the body, and the request, which still has this body. The error is the response
/// to send.
pub(super) async fn read_whole(request: Request) -> Result<(Request, Bytes), Response> {
    let (parts, body) = request.into_parts();
    match to_bytes(body, usize::MAX).await {
        Ok(body) => Ok((Request::from_parts(parts, Body::from(body.clone())), body)),
        Err(error) => Err(error_response(StatusCode::BAD_REQUEST, &error)),
    }
}

pub(super) fn with_body(mut response: Response, body: Bytes) -> Response {
    response.headers_mut().remove(CONTENT_LENGTH);
    *response.body_mut() = Body::from(body);
    response
}

fn error_response(status: StatusCode, error: &dyn std::error::Error) -> Response {
    let mut message = format!("the recording proxy: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    (status, axum::Json(serde_json::json!({ "message": message }))).into_response()
}
