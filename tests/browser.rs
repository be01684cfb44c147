//! Files that browsers and downloading clients read, on the real wasm of every build: streamed, by range, with an
//! access token, and across upgrades.

use candid::{Decode, Principal};
use serde_bytes::ByteBuf;
use session_migrate::build::Build;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use upload_canister::api::*;

use crate::support::conversion::{control, settle_migration};
use crate::support::scrape::get_request;
use crate::support::traps::is_embedded;
use crate::support::upload::{CHUNK, chunk_count, file};
use crate::support::{InstalledCanister, owner, reader, stranger};

/// A file in the owner's capsule that the reader may read.
struct StoredFile {
    capsule: String,
    /// The text by which calls and paths name the blob.
    locator: String,
    file: Vec<u8>,
}

impl StoredFile {
    fn new(canister: &InstalledCanister, len: usize) -> Self {
        let capsule = canister.create_capsule();
        canister.share(&capsule, &[], &[reader()]);
        let file = file(len, 7);
        let base = AssetMetadataBase::new("cat.png", "image/png", AssetType::Original, len as u64, 0);
        let args = (&capsule, AssetMetadata::image(base), chunk_count(len), "cat");
        let session: u64 = canister.update(owner(), "uploads_begin", args).unwrap();
        canister.put_all(owner(), session, &file);
        let locator = canister.finish(owner(), session, &file).unwrap().blob_id;
        Self { capsule, locator, file }
    }
}

fn get(canister: &InstalledCanister, path: &str, headers: &[(&str, &str)]) -> HttpResponse {
    let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    canister.page(HttpRequest { headers, ..get_request(path) })
}

/// Returns the value of a header, whose name is compared in any case; `None` if the response does not have the header.
fn header<'a>(response: &'a HttpResponse, name: &str) -> Option<&'a str> {
    response
        .headers
        .iter()
        .find(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// Returns the token with which the gateway asks for the next part of the body; `None` if the response contains the
/// whole body.
fn next_token(response: &HttpResponse) -> Option<StreamingToken> {
    let StreamingStrategy::Callback { callback, token } = response.streaming_strategy.clone()?;
    assert_eq!(callback.0.method, "http_request_streaming_callback");
    Some(token)
}

/// Gets the part of the body that the token names; the error is the text with which the canister rejects the call.
fn next_part(
    canister: &InstalledCanister,
    token: StreamingToken,
) -> std::result::Result<StreamingBody, String> {
    let reply = canister.raw_query(Principal::anonymous(), "http_request_streaming_callback", (token,));
    let reply = reply.map_err(|reject| reject.reject_message)?;
    Ok(Decode!(&reply, StreamingBody).unwrap())
}

/// Returns the complete body, as a gateway assembles it.
fn whole_body(canister: &InstalledCanister, response: &HttpResponse) -> Vec<u8> {
    let (mut body, mut token) = (response.body.to_vec(), next_token(response));
    while let Some(next) = token {
        let part = next_part(canister, next).unwrap();
        body.extend_from_slice(&part.body);
        token = part.token;
    }
    body
}

/// Returns an access token for the reader. Waits until the canister has created a key for tokens.
fn access_token(canister: &InstalledCanister, locator: &str) -> AccessToken {
    let request_token =
        || canister.query::<AccessToken>(reader(), "blob_access_token", (locator, None::<u32>));
    for _ in 0..5 {
        match request_token() {
            Err(Error::Conflict { .. }) => pass_minute(canister),
            issued => return issued.unwrap(),
        }
    }
    panic!("no access token is issued: {:?}", request_token());
}

/// Lets a minute pass, and runs the timers that are then due, with the calls that they make.
fn pass_minute(canister: &InstalledCanister) {
    canister.pic.advance_time(Duration::from_secs(61));
    for _ in 0..4 {
        canister.pic.tick();
    }
}

#[test]
fn a_public_file_is_streamed_whole_and_in_parts_on_every_build() {
    for build in Build::ALL {
        let canister = InstalledCanister::new(build);
        let StoredFile { capsule, locator, file } = StoredFile::new(&canister, 3 * CHUNK + 5);
        let path = format!("/blob/{locator}");
        assert_eq!(get(&canister, &path, &[]).status_code, 404, "{build}: the file is private");
        canister.update::<Capsule>(owner(), "capsules_set_public", (&capsule, true)).unwrap();
        let whole = get(&canister, &path, &[]);
        assert_eq!((whole.status_code, header(&whole, "content-type")), (200, Some("image/png")));
        assert_eq!(whole.body.len(), CHUNK);
        assert!(whole_body(&canister, &whole) == file, "{build}");
        for (first, last) in [(0, 0), (CHUNK - 1, CHUNK), (5, 3 * CHUNK), (3 * CHUNK, file.len() - 1)] {
            let part = get(&canister, &path, &[("Range", &format!("bytes={first}-{last}"))]);
            let expected = format!("bytes {first}-{last}/{}", file.len());
            assert_eq!((part.status_code, header(&part, "content-range")), (206, Some(expected.as_str())));
            assert!(whole_body(&canister, &part) == file[first..=last], "{first} to {last} in {build}");
        }
        let etag = header(&whole, "etag").unwrap().to_owned();
        assert_eq!(get(&canister, &path, &[("if-none-match", &etag)]).status_code, 304);
        let read: ByteBuf = canister.query(stranger(), "blob_read_chunk", (&locator, 3u32)).unwrap();
        assert_eq!(read.as_slice(), &file[3 * CHUNK..]);
        canister.update::<Capsule>(owner(), "capsules_set_public", (&capsule, false)).unwrap();
        assert_eq!(
            get(&canister, &path, &[("if-none-match", &etag)]).status_code,
            404,
            "{build}: the file is private again"
        );
    }
}

#[test]
fn a_private_file_is_read_while_the_canister_is_upgraded() {
    let mut canister = InstalledCanister::new(Build::Legacy);
    let StoredFile { locator, file, .. } = StoredFile::new(&canister, 3 * CHUNK + 5);
    let begun: DownloadStatus = canister.update(reader(), "downloads_begin", (&locator,)).unwrap();
    let AccessToken { path, .. } = access_token(&canister, &locator);
    let chunk = |canister: &InstalledCanister, idx: u32| {
        let read: ByteBuf = canister.update(reader(), "downloads_read_chunk", (begun.session, idx)).unwrap();
        assert!(read == file.chunks(CHUNK).nth(idx as usize).unwrap(), "chunk {idx} on {}", canister.build);
    };
    chunk(&canister, 2);
    let response = get(&canister, &path, &[]);
    assert_eq!(header(&response, "cache-control"), Some("private, no-store"));
    let (mut read, mut token) = (response.body.to_vec(), next_token(&response));
    for (build, idx) in [(Build::Staged, 0), (Build::Direct, 1), (Build::Direct, 3)] {
        if build == Build::Direct && canister.build == Build::Staged {
            settle_migration(&canister);
            control(&canister, "migration_finalize");
        }
        canister.upgrade(build);
        let part = next_part(&canister, token.take().unwrap()).unwrap();
        read.extend_from_slice(&part.body);
        token = part.token;
        chunk(&canister, idx);
        // On the direct build, payload moves into extents between the parts.
        pass_minute(&canister);
        let part = get(&canister, &path, &[("range", &format!("bytes={}-", CHUNK - 1))]);
        assert_eq!(part.status_code, 206, "{build}");
        assert!(whole_body(&canister, &part) == file[CHUNK - 1..], "{build}");
    }
    assert!(token.is_none() && read == file);
    let done: DownloadStatus = canister.query(reader(), "downloads_status", (begun.session,)).unwrap();
    assert_eq!((done.bytes_sent, done.missing), (file.len() as u64, vec![]));
    canister.update::<()>(reader(), "downloads_end", (begun.session,)).unwrap();
}

/// The parts of a body are also rejected without the access token, and a token expires.
#[test]
fn a_streamed_body_is_rejected_once_its_reader_is_removed() {
    for build in [Build::Legacy, Build::Direct] {
        let canister = InstalledCanister::new(build);
        let StoredFile { capsule, locator, .. } = StoredFile::new(&canister, 2 * CHUNK);
        let AccessToken { path, expires_at, .. } = access_token(&canister, &locator);
        let begun = next_token(&get(&canister, &path, &[])).unwrap();
        assert!(next_part(&canister, begun.clone()).is_ok());
        let forged = StreamingToken { access: None, ..begun.clone() };
        assert!(next_part(&canister, forged).unwrap_err().contains("not found"), "{build}");
        canister.share(&capsule, &[], &[]);
        assert!(next_part(&canister, begun.clone()).unwrap_err().contains("not found"), "{build}");
        assert_eq!(
            get(&canister, &path, &[]),
            get(&canister, "/blob/blob_1", &[]),
            "{build}: as for a missing file"
        );
        canister.share(&capsule, &[], &[reader()]);
        assert_eq!(get(&canister, &path, &[]).status_code, 200);
        let left = expires_at - canister.pic.get_time().as_nanos_since_unix_epoch();
        canister.pic.advance_time(Duration::from_nanos(left));
        canister.pic.tick();
        assert_eq!(get(&canister, &path, &[]).status_code, 404, "{build}: the token has expired");
    }
}

/// A gateway passes a response on only if the canister has certified it, or has certified that responses of this path
/// need no certification.
#[test]
fn every_page_carries_the_proof_that_it_is_not_certified() {
    for build in Build::ALL {
        let mut canister = InstalledCanister::new(build);
        for upgraded in [false, true] {
            for path in ["/metrics", "/health", "/blob/blob_1", "/nothing"] {
                let page = get(&canister, path, &[]);
                let proof = header(&page, "ic-certificate").unwrap();
                let expression = header(&page, "ic-certificateexpression").unwrap();
                // In base64, `2dn3` is the beginning of every certificate: the tag of CBOR, d9d9f7.
                assert!(proof.contains("version=2") && proof.contains("certificate=:2dn3"), "{proof}");
                assert!(expression.contains("no_certification"), "{path} in {build}, {upgraded}");
            }
            canister.upgrade(build);
        }
    }
}

/// Sends a request over HTTP/1.1. Returns the head and the body of the response.
fn exchange(port: u64, request: &str, headers: &str, body: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap())).unwrap();
    let len = body.len();
    let head = format!("{request} HTTP/1.1\r\n{headers}connection: close\r\ncontent-length: {len}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let body = answer.split_off(end);
    (String::from_utf8(answer).unwrap(), body)
}

/// A gateway requests the parts of a file one after the other, and sends the whole body to the browser.
#[test]
fn a_gateway_serves_a_private_file_whole_and_in_parts() {
    if !is_embedded() {
        return;
    }
    for build in [Build::Legacy, Build::Direct] {
        let canister = InstalledCanister::new(build);
        let StoredFile { locator, file, .. } = StoredFile::new(&canister, 2 * CHUNK + 5);
        let AccessToken { path, .. } = access_token(&canister, &locator);
        let server = u64::from(canister.pic.get_server_url().port().unwrap());
        let wanted = format!("{{\"forward_to\": {{\"PocketIcInstance\": {}}}}}", canister.pic.instance_id());
        let headers = "host: localhost\r\ncontent-type: application/json\r\n";
        let (head, created) = exchange(server, "POST /http_gateway", headers, &wanted);
        let created: serde_json::Value = serde_json::from_slice(&created).expect(&head);
        let port = created["Created"]["port"].as_u64().unwrap();
        let get = |path: &str, headers: &str| {
            let host = format!("host: {}.localhost\r\n{headers}", canister.id);
            exchange(port, &format!("GET {path}"), &host, "")
        };
        let (head, body) = get(&path, "");
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-type: image/png"), "{head}");
        assert!(body == file, "{} of {} bytes from {build}", body.len(), file.len());
        let (head, body) = get(&path, "range: bytes=5-1800009\r\n");
        assert!(head.starts_with("HTTP/1.1 206") && body == file[5..1_800_010], "{head}");
        for path in [format!("/blob/{locator}"), format!("{path}00"), "/blob/blob_1".into()] {
            let (head, _) = get(&path, "");
            assert!(head.starts_with("HTTP/1.1 404"), "{path}: {head}");
        }
    }
}
