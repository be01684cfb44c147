//! HTTP responses in CBOR; the encoding itself is in `crate::cbor`.

use super::refusal::Refusal;
use crate::cbor::self_described;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Returns a response in CBOR, beginning with the tag of self-described CBOR.
pub fn cbor_response(value: &impl Serialize) -> Response {
    match self_described(value) {
        Ok(bytes) => ([(header::CONTENT_TYPE, "application/cbor")], bytes).into_response(),
        Err(error) => Refusal::fault(error).into_response(),
    }
}
