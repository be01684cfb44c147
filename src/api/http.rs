//! Types of the HTTP gateway protocol.

use candid::CandidType;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// A request forwarded by a gateway.
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
    /// Body, or its first part.
    pub body: ByteBuf,
    /// How to get the rest of the body, if there is any.
    pub streaming_strategy: Option<StreamingStrategy>,
}

/// How a gateway gets the rest of a body that does not fit into one reply.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum StreamingStrategy {
    /// By calling a query repeatedly, each time with the token from the previous reply.
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

/// The bytes of a blob that are sent next. The token itself grants nothing: every call checks access again,
/// using the access token of the request.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct StreamingToken {
    /// `blob_<number>`.
    pub locator: String,
    /// The access token of the request, if it had one.
    pub access: Option<String>,
    /// Offset of the next byte.
    pub offset: u64,
    /// Offset after the last byte.
    pub end: u64,
}

/// Another piece of a body.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct StreamingBody {
    /// The bytes.
    pub body: ByteBuf,
    /// The token of the next call; absent after the last piece.
    pub token: Option<StreamingToken>,
}

/// A token that gives a browser access to a private blob.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// The token.
    pub token: String,
    /// Path and query of the blob including the token: `/blob/blob_<number>?token=<token>`.
    pub path: String,
    /// When it expires, nanoseconds.
    pub expires_at: u64,
}

impl HttpRequest {
    /// Returns whether the method is `GET` or `HEAD`; others get [`HttpResponse::method_not_allowed`].
    pub fn is_read(&self) -> bool {
        ["GET", "HEAD"].contains(&self.method.as_str())
    }
}

impl HttpResponse {
    /// Returns the response to a method other than `GET` and `HEAD`.
    pub fn method_not_allowed(body: impl Into<String>) -> Self {
        let mut refused = Self::text(405, body);
        refused.headers.push(("allow".into(), "GET, HEAD".into()));
        refused
    }

    /// Returns a plain text response.
    pub fn text(status_code: u16, body: impl Into<String>) -> Self {
        let content_type = "text/plain; version=0.0.4; charset=utf-8";
        Self {
            status_code,
            // The content type of Prometheus metrics is also valid for other texts. Metrics change with every message,
            // so a gateway must not serve a cached response.
            headers: vec![
                ("content-type".into(), content_type.into()),
                ("cache-control".into(), "no-store".into()),
            ],
            body: ByteBuf::from(body.into().into_bytes()),
            streaming_strategy: None,
        }
    }
}
