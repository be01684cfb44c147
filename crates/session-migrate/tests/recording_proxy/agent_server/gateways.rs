//! Opens gateways, each with a port of its own in front of one instance.

use axum::body::Bytes;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use pocket_ic::common::rest::{HttpGatewayBackend, HttpGatewayDetails};
use serde_json::{Value, json};

use super::{ServedPort, listen};

impl ServedPort {
    /// Answers `POST /http_gateway`.
    pub fn open(&self, config: &Value) -> Response {
        let HttpGatewayBackend::PocketIcInstance(instance) =
            serde_json::from_value(config["forward_to"].clone()).unwrap()
        else {
            panic!("the gateway is not in front of an instance: {config}");
        };
        let port = serde_json::from_value::<Option<u16>>(config["port"].clone()).unwrap().unwrap_or_default();
        let served = ServedPort { shared: self.shared.clone(), instance: Some(instance) };
        let (port, serving) = match listen(port, served) {
            Ok(listening) => listening,
            Err(error) => {
                let error = json!({ "Error": { "message": error.to_string() } });
                return (StatusCode::BAD_REQUEST, axum::Json(error)).into_response();
            }
        };
        let mut gateways = self.shared.gateways.lock().unwrap();
        let gateway = HttpGatewayDetails {
            // Other numbers than those of instances, so that the test notices if one is taken for the other.
            instance_id: 70 + gateways.len(),
            port,
            forward_to: HttpGatewayBackend::PocketIcInstance(instance),
            domains: None,
            https_config: None,
        };
        let info = json!({ "Created": { "instance_id": gateway.instance_id, "port": port } });
        gateways.push((gateway, serving));
        (StatusCode::CREATED, axum::Json(info)).into_response()
    }

    /// Answers `POST /instances`, with or without a gateway.
    pub async fn create_instance(&self, body: &Bytes) -> Response {
        let mut config: Value = serde_json::from_slice(body).unwrap();
        let gateway = config["http_gateway_config"].take();
        let body = config.to_string().into();
        let (status, body) = self.shared.ask(Method::POST, "instances", body).await;
        let mut created: Value = serde_json::from_slice(&body).unwrap();
        if let Value::Object(mut gateway) = gateway {
            let instance = created["Created"]["instance_id"].clone();
            gateway.insert("forward_to".into(), json!({ "PocketIcInstance": instance }));
            let opened = self.open(&Value::Object(gateway)).into_body();
            let opened = axum::body::to_bytes(opened, usize::MAX).await.unwrap();
            let opened: Value = serde_json::from_slice(&opened).unwrap();
            created["Created"]["http_gateway_info"] = opened["Created"].clone();
        }
        (status, axum::Json(created)).into_response()
    }
}
