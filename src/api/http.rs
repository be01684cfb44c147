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
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// HTTP status.
    pub status_code: u16,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// Body, or its beginning.
    pub body: ByteBuf,
    /// How to get the rest of the body, if there is more.
    pub streaming_strategy: Option<StreamingStrategy>,
}

/// How a gateway gets the rest of a body that does not fit one reply.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum StreamingStrategy {
    /// By calling a query, each time with the token of the reply before.
    Callback {
        /// The query.
        callback: StreamingCallback,
        /// The token of the first call.
        token: StreamingToken,
    },
}

#[allow(missing_docs, reason = "the macro takes no comments")]
mod callback {
    use super::{StreamingBody, StreamingToken};

    candid::define_function!(pub StreamingCallback : (StreamingToken) -> (StreamingBody) query);
}

pub use callback::StreamingCallback;

/// Which bytes of a blob come next. It grants nothing: access is checked again at every call, by the access token of the
/// request.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct StreamingToken {
    /// `blob_<number>`.
    pub locator: String,
    /// The access token of the request, if it had one.
    pub access: Option<String>,
    /// The first byte to come.
    pub offset: u64,
    /// The first byte after the last one to come.
    pub end: u64,
}

/// A further piece of a body.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct StreamingBody {
    /// The bytes.
    pub body: ByteBuf,
    /// The token of the next call; absent after the last piece.
    pub token: Option<StreamingToken>,
}

/// Gives a browser access to a private blob.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// The token.
    pub token: String,
    /// Path and query of the blob with it: `/blob/blob_<number>?token=<token>`.
    pub path: String,
    /// When it expires, nanoseconds.
    pub expires_at: u64,
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
            streaming_strategy: None,
        }
    }
}
