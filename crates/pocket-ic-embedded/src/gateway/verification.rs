//! Verification of a canister's response with its certificate.

use super::canister::{HttpRequest, HttpResponse};
use axum::http::{Method, StatusCode};
use candid::Principal;
use ic_response_verification::verify_request_response_pair;
use std::time::Duration;

/// Maximum difference between the times of a certificate and of the instance.
const MAX_TIME_DIFFERENCE: Duration = Duration::from_secs(5 * 60);
/// The oldest version of response verification that is accepted.
const OLDEST_VERSION: u8 = 1;

/// What is needed to verify a certificate.
pub struct Authority {
    /// The instance's root key, DER.
    pub root_key: &'static [u8],
    /// The instance's time, nanoseconds since 1970.
    pub now: u64,
}

/// What the verification of a response yields.
pub struct Verified {
    /// The version of response verification.
    pub version: u16,
    /// The certified header fields, which replace those of the response; `None` if the certificate covers none.
    pub headers: Option<Vec<(String, String)>>,
}

/// Verifies a response, which must have its complete body.
pub fn verify(
    asked: &HttpRequest,
    answered: &HttpResponse,
    canister: Principal,
    authority: &Authority,
) -> Result<Verified, String> {
    use ic_http_certification::{HttpRequest as Request, HttpResponse as Response};
    let method = Method::from_bytes(asked.method.as_bytes()).map_err(|error| error.to_string())?;
    let status = StatusCode::from_u16(answered.status).map_err(|error| error.to_string())?;
    let request = Request::builder()
        .with_method(method)
        .with_url(&asked.url)
        .with_headers(asked.headers.clone())
        .with_body(asked.body.as_slice())
        .build();
    let response = Response::builder()
        .with_status_code(status)
        .with_headers(answered.headers.clone())
        .with_body(answered.body.as_slice())
        .build();
    let info = verify_request_response_pair(
        request,
        response,
        canister.as_slice(),
        authority.now.into(),
        MAX_TIME_DIFFERENCE.as_nanos(),
        authority.root_key,
        OLDEST_VERSION,
    )
    .map_err(|error| error.to_string())?;
    let certified = info.response.map(|response| response.headers);
    Ok(Verified {
        version: info.verification_version,
        headers: certified.filter(|headers| !headers.is_empty()),
    })
}
