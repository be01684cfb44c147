#!/usr/bin/env bash
# ic-certified-assets 0.3.0 (crates.io), the asset canister
#
# Expected: a client that has a response with an `etag` may repeat the request with `if-none-match`, and gets 304
#   without a body if nothing has changed (RFC 9110, 13.1.2: a recipient must not perform the method, and answers GET
#   and HEAD with 304). The response to HEAD has no body (9.3.2).
# Actual: each asset has a strong `etag`, the SHA-256 of its bytes, but a request with that `etag` in `if-none-match`
#   gets 200 and all bytes again. HEAD and POST are answered like GET. A range is ignored, which is allowed: a large
#   file is streamed from its beginning.
# Affected: pages on the asset canister: every reload transfers every file again, and a film cannot be played from the
#   middle.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use candid::Principal;
use ic_certified_assets::asset_certification::types::http::{CallbackFunc, HttpRequest, HttpResponse};
use ic_certified_assets::state_machine::State;
use ic_certified_assets::types::*;

fn ask(state: &State, method: &str, url: &str, header: Option<(&str, &str)>) -> HttpResponse {
    let headers = header.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    let request = HttpRequest { method: method.into(), url: url.into(), headers, body: vec![].into(), certificate_version: Some(2) };
    let response = state.http_request(request, &[], CallbackFunc::new(Principal::anonymous(), "stream".into()));
    let rest = if response.streaming_strategy.is_some() { ", and more to stream" } else { "" };
    let name = header.map_or("alone", |(name, _)| name);
    println!("{method} {url}, {name}: {}, {} bytes{rest}", response.status_code, response.body.len());
    response
}

fn main() {
    let mut state = State::default();
    let (key, film) = ("/page.html".to_string(), "/film.mp4".to_string());
    let (content_type, content_encoding) = ("text/html".to_string(), "identity".to_string());
    let content = vec![b'x'; 100].into();
    state.store(StoreArg { key, content_type, content_encoding, content, sha256: None, aliased: None }, 0).unwrap();
    let batch_id = state.create_batch(0).unwrap();
    let chunk = |content: u8| CreateChunkArg { batch_id: batch_id.clone(), content: vec![content; 1000].into() };
    let chunk_ids = [chunk(1), chunk(2)].map(|chunk| state.create_chunk(chunk, 0).unwrap()).to_vec();
    let content_type = "video/mp4".to_string();
    let create = CreateAssetArguments { key: film.clone(), content_type, max_age: None, headers: None, enable_aliasing: None, allow_raw_access: None };
    let set = SetAssetContentArguments { key: film, content_encoding: "identity".into(), chunk_ids, last_chunk: None, sha256: None };
    let operations = vec![BatchOperation::CreateAsset(create), BatchOperation::SetAssetContent(set)];
    state.commit_batch(CommitBatchArguments { batch_id, operations }, 0).unwrap();

    let first = ask(&state, "GET", "/page.html", None);
    let etag = &first.headers.iter().find(|(name, _)| name == "etag").unwrap().1;
    ask(&state, "GET", "/page.html", Some(("if-none-match", etag)));
    ask(&state, "HEAD", "/page.html", None);
    ask(&state, "POST", "/page.html", None);
    ask(&state, "GET", "/film.mp4", Some(("range", "bytes=1500-1599")));
}
EOF
rust_program > seen <<'EOF'
ic-certified-assets = "=0.3.0"
candid = "=0.10.39"
EOF
expect_seen <<'EOF'
GET /page.html, alone: 200, 100 bytes
GET /page.html, if-none-match: 200, 100 bytes
HEAD /page.html, alone: 200, 100 bytes
POST /page.html, alone: 200, 100 bytes
GET /film.mp4, range: 200, 1000 bytes, and more to stream
EOF
