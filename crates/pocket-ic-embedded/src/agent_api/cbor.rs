//! Responses in CBOR.

use super::refusal::Refusal;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Returns a response in CBOR, beginning with the tag of self-described CBOR.
pub fn cbor(value: &impl Serialize) -> Response {
    let mut bytes = Vec::new();
    let mut writer = serde_cbor::Serializer::new(&mut bytes);
    match writer.self_describe().and_then(|()| value.serialize(&mut writer)) {
        Ok(()) => ([(header::CONTENT_TYPE, "application/cbor")], bytes).into_response(),
        Err(error) => Refusal::fault(error).into_response(),
    }
}
