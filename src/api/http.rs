//! The HTTP gateway's view of the canister.

use candid::CandidType;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// A request that came through the gateway.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, `HEAD`, …
    pub method: String,
    /// Path and query.
    pub url: String,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: ByteBuf,
}

/// The response.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// HTTP status.
    pub status_code: u16,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: ByteBuf,
}

impl HttpResponse {
    /// Makes a plain text response.
    pub fn text(status_code: u16, body: impl Into<String>) -> Self {
        let content_type = "text/plain; version=0.0.4; charset=utf-8";
        Self {
            status_code,
            // Metrics change with every message: a gateway must not serve a cached response.
            headers: vec![
                ("content-type".into(), content_type.into()),
                ("cache-control".into(), "no-store".into()),
            ],
            body: ByteBuf::from(body.into().into_bytes()),
        }
    }
}
