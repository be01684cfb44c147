//! Refusals of agents' requests: an HTTP status and a text.

use crate::ic::{OpError, ReadRefusal};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use std::fmt::Display;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    status: StatusCode,
    text: String,
}

impl Refusal {
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    pub fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// A refusal because of a fault in this server.
    pub fn fault(cause: impl Display) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("internal error of the embedded server: {cause}"),
        )
    }
}

impl From<OpError> for Refusal {
    fn from(error: OpError) -> Self {
        // The `Display` of an `OpError` wraps the text in the variant's name, as in the PocketIC protocol; agents get
        // the text alone.
        match error {
            OpError::BadIngressMessage(text) | OpError::CanisterRouting(text) => Self::bad_request(text),
            other => Self::bad_request(other.to_string()),
        }
    }
}

impl From<ReadRefusal> for Refusal {
    fn from(refusal: ReadRefusal) -> Self {
        match refusal {
            ReadRefusal::Invalid(text) => Self::bad_request(text),
            ReadRefusal::Forbidden(text) => Self::new(StatusCode::FORBIDDEN, text),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, self.text).into_response()
    }
}
