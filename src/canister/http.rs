//! The entry points of the HTTP gateway.

use ic_http_certification::HttpResponse as CertifiedResponse;
use ic_http_certification::utils::{add_skip_certification_header, skip_certification_certified_data};
use macro_rules_attribute::apply;

use super::app::{App, now, with_app};
use super::entry::{Replied, cache_candid_headers, query};
use super::readings::readings;
use super::streams;
use crate::api::*;
use crate::{metrics, web};

/// Serves `GET` and `HEAD` of `/blob/blob_<number>` (to everyone if the capsule is public, otherwise with
/// `?token=…` from `blob_access_token`), of `/metrics` and of `/health`.
#[apply(query)]
fn http_request(request: HttpRequest) -> HttpResponse {
    let blob = with_app(|App { storage, .. }| Ok(web::answer(storage, &request, now())));
    let mut response = match blob {
        Ok(Some(web::StreamedResponse { response, rest })) => {
            HttpResponse { streaming_strategy: rest.map(streaming_strategy), ..response }
        }
        Ok(None) => system_page(&request),
        Err(error) => HttpResponse::text(503, error.to_string()),
    };
    add_skip_certification_proof(&mut response);
    response
}

/// Answers a request that is not about a blob: `/metrics`, `/health`, or status 404.
fn system_page(request: &HttpRequest) -> HttpResponse {
    if !request.is_read() {
        return HttpResponse::method_not_allowed(format!("GET and HEAD only, got {}\n", request.method));
    }
    let mut response = match request.url.split('?').next().unwrap_or_default() {
        "/metrics" => match with_app(|App { storage, .. }| metrics::prometheus(storage, &readings())) {
            Ok(text) => HttpResponse::text(200, text),
            Err(error) => HttpResponse::text(500, error.to_string()),
        },
        "/health" => match with_app(|App { storage, .. }| Ok(storage.config()?)) {
            Ok(_) => HttpResponse::text(200, "ok\n"),
            Err(error) => HttpResponse::text(503, error.to_string()),
        },
        _ => HttpResponse::text(404, "there are /metrics, /health and /blob/blob_<number>\n"),
    };
    if request.method == "HEAD" {
        response.body.clear();
    }
    response
}

/// Returns how a gateway gets the rest of a body: from `http_request_streaming_callback`, beginning with this token.
fn streaming_strategy(token: StreamingToken) -> StreamingStrategy {
    let callback =
        StreamingCallback::new(ic_cdk::api::canister_self(), "http_request_streaming_callback".into());
    StreamingStrategy::Callback { callback, token }
}

/// Returns the next piece of a body of `http_request`, to gateways. A call that is not authorized is
/// rejected, so that nobody mistakes part of a file for all of it.
#[apply(query)]
fn http_request_streaming_callback(token: StreamingToken) -> Replied<StreamingBody> {
    match with_app(|App { storage, .. }| web::next_piece(storage, token, now())) {
        Ok(body) => streams::reply(&body),
        Err(error) => ic_cdk::api::msg_reject(error.to_string()),
    }
    Replied::already()
}

/// Sets the certified data that prove that responses are intentionally not certified. Without this proof, a gateway
/// would refuse them, except at its raw address. `docs/browser.md` explains why the bytes of public blobs are not
/// certified.
pub fn certify() {
    ic_cdk::api::certified_data_set(skip_certification_certified_data());
}

/// Adds the header that proves that responses are intentionally not certified, if the message has a data certificate;
/// an update call has no data certificate, so nothing is added.
fn add_skip_certification_proof(response: &mut HttpResponse) {
    if let Some(certificate) = ic_cdk::api::data_certificate() {
        let mut proof = CertifiedResponse::builder().build();
        add_skip_certification_header(certificate, &mut proof);
        response.headers.extend_from_slice(proof.headers());
    }
}

pub fn cache_candid_headers() -> std::result::Result<(), candid::Error> {
    cache_candid_headers!(http_request, http_request_streaming_callback)
}
