//! Builds the responses of gateways: responses of canisters, and errors.

use super::canister::HttpResponse;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Header field that says whether the response was verified, and if not, why.
const VERIFICATION_HEADER: HeaderName = HeaderName::from_static("x-response-verification");
/// Header fields about the connection; the gateway sets its own.
const CONNECTION_FIELDS: [HeaderName; 4] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, HeaderName::from_static("keep-alive")];

/// Returns a response by the gateway itself, not by a canister.
pub fn text_response(status: StatusCode, text: impl Into<String>) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text.into()).into_response()
}

/// Returns the canister's response with this body, which may be longer than the first piece that the canister sent.
/// `verification` says whether the response was verified.
pub fn to_http_response(
    method: &Method,
    canister_response: &HttpResponse,
    body: Body,
    verification: &str,
) -> Response {
    let Ok(status) = StatusCode::from_u16(canister_response.status) else {
        return text_response(
            StatusCode::BAD_GATEWAY,
            format!(
                "The canister answered with status {}, which is not an HTTP status",
                canister_response.status
            ),
        );
    };
    let sends_whole_body = canister_response.rest.is_none() && *method != Method::HEAD;
    let mut headers = HeaderMap::new();
    for (name, value) in &canister_response.headers {
        let parsed = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()));
        let (Ok(name), Ok(value)) = parsed else {
            return text_response(
                StatusCode::BAD_GATEWAY,
                format!("The canister's header {name:?} is malformed"),
            );
        };
        // The server sets the length of a whole body itself, since a wrong length would break the connection.
        if CONNECTION_FIELDS.contains(&name) || (sends_whole_body && name == header::CONTENT_LENGTH) {
            continue;
        }
        headers.append(name, value);
    }
    if let Ok(verification) = HeaderValue::from_str(verification) {
        headers.insert(VERIFICATION_HEADER, verification);
    }
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
