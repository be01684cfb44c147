//! Ports in front of the server's HTTP gateways. An agent connects to the port that the server's answer names. So the
//! proxy itself opens the port that a request names, has the server choose another port for the gateway, and puts its
//! own port into the answer. Gateways that use TLS get no such port, since their traffic cannot be read.

use std::collections::HashMap;
use std::net::TcpListener;

use axum::body::Bytes;
use axum::http::uri::Authority;
use pocket_ic::common::rest::{HttpGatewayBackend, HttpGatewayInfo, HttpsConfig};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::protocol::{GatewayId, InstanceId, Opening};

/// Default host of gateways.
const DEFAULT_HOST: &str = "127.0.0.1";

#[derive(Debug, Default)]
pub(super) struct Gateways(HashMap<GatewayId, Gateway>);

#[derive(Debug)]
struct Gateway {
    port: u16,
    serving: JoinHandle<()>,
}

/// A request for a gateway. The proxy already listens on the requested port.
pub(super) struct RequestedGateway {
    /// The request to forward, without a port number, so that the server chooses the gateway's port.
    pub body: Bytes,
    listener: TcpListener,
    /// The instance that the gateway serves; `None` for an instance that is created together with the gateway.
    instance: Option<InstanceId>,
    opening: Opening,
}

/// The relevant part of a gateway's configuration.
#[derive(Deserialize)]
struct GatewayConfig {
    ip_addr: Option<String>,
    port: Option<u16>,
    forward_to: Option<HttpGatewayBackend>,
    https_config: Option<HttpsConfig>,
}

impl Opening {
    /// Returns the JSON pointer to the gateway's configuration in a request.
    fn config_pointer(self) -> &'static str {
        match self {
            // The whole request is the configuration.
            Opening::Alone => "",
            Opening::WithInstance => "/http_gateway_config",
        }
    }

    /// Returns the JSON pointer to the gateway's description in an answer.
    fn info_pointer(self) -> &'static str {
        match self {
            Opening::Alone => "/Created",
            Opening::WithInstance => "/Created/http_gateway_info",
        }
    }
}

impl RequestedGateway {
    /// Reads a request that opens a gateway, and opens the requested port. Returns `None` if the request opens no
    /// gateway in front of an instance. The inner error says why the proxy cannot open a port in front of the gateway.
    pub fn read(opening: Opening, body: &[u8]) -> Option<Result<RequestedGateway, String>> {
        let mut request: Value = serde_json::from_slice(body).ok()?;
        let config = request.pointer_mut(opening.config_pointer()).filter(|config| !config.is_null())?;
        let GatewayConfig { ip_addr, port, forward_to, https_config } =
            GatewayConfig::deserialize(&*config).ok()?;
        let instance = match (opening, forward_to) {
            (Opening::Alone, Some(HttpGatewayBackend::PocketIcInstance(id))) => Some(id.to_string()),
            (Opening::Alone, _) => return None,
            (Opening::WithInstance, _) => None,
        };
        if https_config.is_some() {
            return Some(Err("it speaks TLS".into()));
        }
        let host = ip_addr.as_deref().unwrap_or(DEFAULT_HOST);
        // Port 0 stands for any free port.
        let port = port.unwrap_or(0);
        let listener = match TcpListener::bind((host, port)) {
            Ok(listener) => listener,
            Err(error) => return Some(Err(format!("cannot listen on {host}:{port}: {error}"))),
        };
        config["port"] = Value::Null;
        let body = request.to_string().into();
        Some(Ok(RequestedGateway { body, listener, instance, opening }))
    }

    /// Serves the requested port, and forwards to the gateway, which is on `host`. Returns the answer with the proxy's
    /// port in place of the gateway's; `None` if the server has not opened a gateway in front of an instance.
    pub fn serve(
        self,
        answer: &[u8],
        host: &str,
        gateways: &mut Gateways,
        serve: impl FnOnce(tokio::net::TcpListener, Authority, InstanceId) -> JoinHandle<()>,
    ) -> std::io::Result<Option<Bytes>> {
        let RequestedGateway { listener, instance, opening, .. } = self;
        let Some((mut answer, info)) = read_opened(opening, answer) else { return Ok(None) };
        let from_answer = || answer.pointer("/Created/instance_id").map(ToString::to_string);
        let Some(instance) = instance.or_else(from_answer) else { return Ok(None) };
        let gateway_address: Authority = match format!("{host}:{}", info.port).parse() {
            Ok(address) => address,
            Err(error) => return Err(std::io::Error::other(error)),
        };
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        let serving = serve(tokio::net::TcpListener::from_std(listener)?, gateway_address, instance);
        // In this answer and in the list of gateways, `instance_id` is the number of the gateway.
        gateways.0.insert(info.instance_id.to_string(), Gateway { port, serving });
        if let Some(gateway) = answer.pointer_mut(opening.info_pointer()) {
            gateway["port"] = json!(port);
        }
        Ok(Some(answer.to_string().into()))
    }
}

/// Reads the answer to a request that opens a gateway. Returns `None` if the server has opened no gateway.
pub(super) fn read_opened(opening: Opening, answer: &[u8]) -> Option<(Value, HttpGatewayInfo)> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let info = HttpGatewayInfo::deserialize(answer.pointer(opening.info_pointer())?).ok()?;
    Some((answer, info))
}

impl Gateways {
    /// Closes the port in front of a gateway, and waits until it is free.
    pub async fn close(&mut self, id: &str) {
        if let Some(Gateway { serving, .. }) = self.0.remove(id) {
            serving.abort();
            // The result only says that the task was aborted.
            let _ = serving.await;
        }
    }

    /// Returns the server's list of gateways, with the proxy's ports in place of the gateways'; `None` if the answer is
    /// not a list.
    pub fn list(&self, answer: &[u8]) -> Option<Bytes> {
        let mut list: Vec<Value> = serde_json::from_slice(answer).ok()?;
        for gateway in &mut list {
            let id = gateway.get("instance_id").map(ToString::to_string);
            if let Some(Gateway { port, .. }) = id.and_then(|id| self.0.get(&id)) {
                gateway["port"] = json!(port);
            }
        }
        serde_json::to_vec(&list).ok().map(Bytes::from)
    }
}
