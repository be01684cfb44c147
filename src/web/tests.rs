//! Tests of the responses to browsers, on every path, with payload in the chunk map and in extents, with both hash
//! functions.

use proptest::prelude::*;

use super::*;
use crate::api::{AssetMetadata, AssetType, CapsuleAccess, HashAlgorithm};
use crate::stable::{Memories, Table, memory_ids};
use crate::upload::RawRecord;
use crate::upload::tests::{OWNER, TestCanister, file, on_every_path, person};

const CHUNK: usize = CHUNK_SIZE as usize;

/// Stores a file under a name and a type; returns its locator.
fn upload(canister: &mut TestCanister, file: &[u8], name: &str, mime_type: &str) -> String {
    let base = AssetMetadataBase::new(name, mime_type, AssetType::Original, file.len() as u64, 1);
    let (capsule, hash) = (canister.capsule.clone(), canister.hash);
    let chunks = file.len().div_ceil(CHUNK) as u32;
    let begun = canister.service().begin(capsule, AssetMetadata::image(base), chunks, name.into(), hash);
    let session = begun.unwrap();
    for idx in 0..chunks as usize {
        canister.put(session, file, idx).unwrap();
    }
    canister.finish(session, file).unwrap().blob_id
}

fn set_public(canister: &mut TestCanister, is_public: bool) {
    let capsule = canister.capsule.clone();
    canister.storage.capsules.set_public(person(OWNER), &capsule, is_public).unwrap();
}

/// Stores a public file of `len` bytes; returns its path and its bytes.
fn public_file(canister: &mut TestCanister, len: usize) -> (String, Vec<u8>) {
    set_public(canister, true);
    let file = file(len);
    let locator = upload(canister, &file, "a b.jpg", "image/jpeg");
    (format!("/blob/{locator}"), file)
}

fn request(method: &str, url: &str, headers: &[(&str, &str)]) -> HttpRequest {
    let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    HttpRequest { method: method.into(), url: url.into(), headers, body: ByteBuf::new() }
}

fn get(canister: &TestCanister, url: &str, headers: &[(&str, &str)]) -> StreamedResponse {
    answer(&canister.storage, &request("GET", url, headers), canister.now).expect("the request is for a blob")
}

/// Returns the value of a header field, which must not occur twice; `None` if it does not occur.
fn header<'a>(response: &'a HttpResponse, name: &str) -> Option<&'a str> {
    let mut values = response.headers.iter().filter(|(field, _)| field == name);
    let value = values.next().map(|(_, value)| value.as_str());
    assert_eq!(values.next(), None, "{name} occurs once");
    value
}

/// Returns the complete body, as a gateway assembles it from its pieces.
fn whole_body(canister: &TestCanister, StreamedResponse { response, mut rest }: StreamedResponse) -> Vec<u8> {
    let mut body = response.body.into_vec();
    while let Some(token) = rest {
        let piece = next_piece(&canister.storage, token, canister.now).unwrap();
        assert!(!piece.body.is_empty() && piece.body.len() <= CHUNK);
        body.extend_from_slice(&piece.body);
        rest = piece.token;
    }
    body
}

#[test]
fn a_public_blob_is_served_with_its_tag_and_its_type() {
    on_every_path(|mut canister| {
        let (url, file) = public_file(&mut canister, CHUNK + 5);
        let found = get(&canister, &url, &[]);
        let digest = hex::encode(canister.digest(&file));
        let algorithm = if canister.hash == HashAlgorithm::Blake3 { "blake3" } else { "sha256" };
        for (name, expected) in [
            ("etag", format!("\"{algorithm}-{digest}\"").as_str()),
            ("content-type", "image/jpeg"),
            ("content-length", &file.len().to_string()),
            ("content-disposition", "inline; filename*=UTF-8''a%20b.jpg"),
            ("accept-ranges", "bytes"),
            ("cache-control", "public, max-age=86400, immutable"),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", media::CONTENT_SECURITY_POLICY),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(header(&found.response, name), Some(expected), "{name}");
        }
        assert_eq!((found.response.status_code, found.response.body.len()), (200, CHUNK));
        assert!(whole_body(&canister, found) == file);

        let head = answer(&canister.storage, &request("HEAD", &url, &[("range", "bytes=0-1")]), canister.now)
            .unwrap();
        assert_eq!((head.response.status_code, head.response.body.len()), (200, 0), "HEAD has no ranges");
        assert_eq!(header(&head.response, "content-length"), Some(file.len().to_string().as_str()));
        assert_eq!(head.rest, None);
    });
}

#[test]
fn an_empty_blob_is_served_and_has_no_part() {
    on_every_path(|mut canister| {
        let (url, _) = public_file(&mut canister, 0);
        let whole = get(&canister, &url, &[]);
        assert_eq!((whole.response.status_code, header(&whole.response, "content-length")), (200, Some("0")));
        let part = get(&canister, &url, &[("range", "bytes=0-")]).response;
        assert_eq!((part.status_code, header(&part, "content-range")), (416, Some("bytes */0")));
    });
}

#[test]
fn a_part_is_served_byte_for_byte() {
    on_every_path(|mut canister| {
        let (url, file) = public_file(&mut canister, 2 * CHUNK + 5);
        let size = file.len();
        for (first, end) in
            [(0, 1), (CHUNK - 1, CHUNK + 1), (CHUNK, 2 * CHUNK), (7, size), (size - 1, size), (1, size - 1)]
        {
            let range = format!("bytes={first}-{}", end - 1);
            let found = get(&canister, &url, &[("Range", &range)]);
            let expected = format!("bytes {first}-{}/{size}", end - 1);
            assert_eq!(header(&found.response, "content-range"), Some(expected.as_str()));
            assert_eq!(header(&found.response, "content-length"), Some((end - first).to_string().as_str()));
            assert_eq!(found.response.status_code, 206);
            assert!(whole_body(&canister, found) == file[first..end], "{range}");
        }
        let beyond = get(&canister, &url, &[("range", &format!("bytes={size}-"))]).response;
        assert_eq!((beyond.status_code, beyond.body.len()), (416, 0));
        assert_eq!(header(&beyond, "content-range"), Some(format!("bytes */{size}").as_str()));
        for ignored in ["bytes=0-1,4-5", "lines=1-2", "bytes=3-1"] {
            let whole = get(&canister, &url, &[("range", ignored)]);
            assert_eq!(whole.response.status_code, 200, "{ignored}");
        }
        let twice = get(&canister, &url, &[("range", "bytes=0-0"), ("range", "bytes=2-2")]);
        assert_eq!(twice.response.status_code, 200);
    });
}

#[test]
fn preconditions_decide_whether_and_which_bytes_are_sent() {
    on_every_path(|mut canister| {
        let (url, file) = public_file(&mut canister, 9);
        let etag = header(&get(&canister, &url, &[]).response, "etag").unwrap().to_owned();
        let status = |headers: &[(&str, &str)]| get(&canister, &url, headers).response.status_code;
        let weak = format!("W/{etag}");
        let list = format!("\"other\", {etag}");
        for known in [&etag, &weak, &list, "*"] {
            let found = get(&canister, &url, &[("if-none-match", known)]).response;
            assert_eq!((found.status_code, found.body.len()), (304, 0), "{known}");
            assert_eq!(header(&found, "etag"), Some(etag.as_str()));
        }
        assert_eq!(status(&[("if-none-match", "\"other\"")]), 200);
        assert_eq!(status(&[("if-none-match", &etag), ("range", "bytes=0-0")]), 304);
        assert_eq!(status(&[("if-match", &etag)]), 200);
        assert_eq!(status(&[("if-match", "*"), ("range", "bytes=0-0")]), 206);
        assert_eq!(status(&[("if-match", &weak)]), 412);
        assert_eq!(status(&[("if-match", "\"other\"")]), 412);
        assert_eq!(status(&[("if-range", &etag), ("range", "bytes=0-0")]), 206);
        for other in [weak.as_str(), "\"other\"", "Sun, 29 Nov 2026 10:00:00 GMT"] {
            let whole = get(&canister, &url, &[("if-range", other), ("range", "bytes=0-0")]);
            assert_eq!(whole.response.status_code, 200, "{other}");
            assert_eq!(whole_body(&canister, whole), file);
        }
    });
}

#[test]
fn missing_and_forbidden_blobs_get_the_same_answer() {
    on_every_path(|mut canister| {
        let (url, _) = public_file(&mut canister, 9);
        set_public(&mut canister, false);
        let absent = get(&canister, "/blob/blob_99999", &[]).response;
        assert_eq!(absent.status_code, 404);
        // A token without a reader has 41 bytes, so this one has a valid length.
        let zeros = format!("?token={}", "00".repeat(41));
        for token in ["", "?", "?token=", "?token=00", "?token=ü", "?tokens=1", &zeros] {
            let forbidden = get(&canister, &format!("{url}{token}"), &[("if-none-match", "*")]).response;
            assert_eq!(forbidden, absent, "{token}");
        }
        for odd in ["", "blob_", "blob_01", "blob_1/", "../metrics", "blob%5F1", &"9".repeat(100_000)] {
            assert_eq!(get(&canister, &format!("/blob/{odd}"), &[]).response, absent, "{}", odd.len());
        }
        for method in ["POST", "get", ""] {
            let refused = |url: &str| {
                answer(&canister.storage, &request(method, url, &[]), canister.now).unwrap().response
            };
            assert_eq!(refused(&url), refused("/blob/blob_99999"), "{method}");
            assert_eq!(header(&refused(&url), "allow"), Some("GET, HEAD"));
        }
        assert!(answer(&canister.storage, &request("GET", "/metrics", &[]), canister.now).is_none());
    });
}

#[test]
fn a_body_ends_when_access_to_it_ends() {
    on_every_path(|mut canister| {
        let (url, file) = public_file(&mut canister, 2 * CHUNK + 5);
        set_public(&mut canister, false);
        canister.storage.access_keys.renew([7; 32], canister.now);
        let capsule = canister.capsule.clone();
        let access = |readers| CapsuleAccess { owners: vec![person(OWNER)], writers: vec![], readers };
        canister.storage.capsules.set_access(person(OWNER), &capsule, access(vec![person(3)])).unwrap();
        let locator = url.strip_prefix("/blob/").unwrap();
        let token = blob_access::issue(&canister.storage, person(3), locator, None, canister.now).unwrap();

        let begun = get(&canister, &token.path, &[]);
        assert_eq!(header(&begun.response, "cache-control"), Some("private, no-store"));
        assert!(whole_body(&canister, begun) == file);
        let rest = get(&canister, &token.path, &[]).rest.unwrap();
        // The canister may be upgraded between two pieces.
        canister.upgrade();
        let second = next_piece(&canister.storage, rest, canister.now).unwrap();
        assert!(second.body == file[CHUNK..2 * CHUNK]);
        let rest = second.token.unwrap();
        let gone = Err(Error::not_found("blob", locator));
        let later = canister.now.plus_seconds(u64::from(blob_access::DEFAULT_TOKEN_SECONDS) + 1);
        assert_eq!(next_piece(&canister.storage, rest.clone(), later), gone, "the token has expired");
        canister.storage.capsules.set_access(person(OWNER), &capsule, access(vec![])).unwrap();
        assert_eq!(next_piece(&canister.storage, rest, canister.now), gone, "the reader was removed");
    });
}

// By itself, that is: what it can read depends on the access token in it, and on whether the capsule is public.
#[test]
fn a_streaming_token_grants_nothing() {
    on_every_path(|mut canister| {
        let (url, file) = public_file(&mut canister, 9);
        let locator = url.strip_prefix("/blob/").unwrap().to_owned();
        let token = |offset, end| StreamingToken { locator: locator.clone(), access: None, offset, end };
        let piece = |canister: &TestCanister, token| next_piece(&canister.storage, token, canister.now);
        let public = piece(&canister, token(2, 5)).unwrap();
        assert_eq!((public.body.as_slice(), public.token), (&file[2..5], None));
        for (offset, end) in [(0, 10), (5, 5), (5, 4), (9, 9), (u64::MAX, u64::MAX), (0, u64::MAX)] {
            let refused = piece(&canister, token(offset, end)).unwrap_err();
            assert!(matches!(refused, Error::InvalidArgument { .. }), "{offset}..{end}: {refused}");
        }
        set_public(&mut canister, false);
        let with_forged_access = StreamingToken { access: Some("01".repeat(50)), ..token(0, 9) };
        for useless in
            [token(0, 9), with_forged_access, StreamingToken { locator: "blob_9".into(), ..token(0, 9) }]
        {
            let expected = Err(Error::not_found("blob", &useless.locator));
            assert_eq!(piece(&canister, useless), expected);
        }
    });
}

// The record of the blob is in one of three tables, which depends on the layout and the hash function.
#[test]
fn damaged_blobs_are_errors_to_readers_and_missing_to_others() {
    on_every_path(|mut canister| {
        let (url, _) = public_file(&mut canister, 9);
        let number: u64 = url.strip_prefix("/blob/blob_").unwrap().parse().unwrap();
        let memories = Memories::init(canister.raw.clone());
        for id in [memory_ids::BLOB_META, memory_ids::BLOBS, memory_ids::MAPPED_BLOBS] {
            let mut table = Table::<u64, RawRecord>::open(&memories, id);
            if table.contains(&number) {
                table.insert(number, &RawRecord(vec![9]));
            }
        }
        canister.upgrade();
        assert_eq!(get(&canister, &url, &[]).response.status_code, 500);
        set_public(&mut canister, false);
        assert_eq!(get(&canister, &url, &[]).response.status_code, 404);
        let capsule = canister.capsule.clone();
        let mut table = Table::<String, RawRecord>::open(&memories, memory_ids::CAPSULES);
        table.insert(capsule, &RawRecord(vec![9]));
        canister.upgrade();
        assert_eq!(get(&canister, &url, &[]).response.status_code, 404);
    });
}

proptest! {
    #[test]
    fn no_request_for_a_blob_goes_unanswered(
        method in "GET|HEAD|[A-Z]{0,5}",
        // "!" stands for the URL of a blob that exists.
        rest in "!|.{0,20}",
        name in "range|if-range|if-match|if-none-match|.{0,8}",
        value in ".{0,40}",
    ) {
        thread_local! {
            static CANISTER: (TestCanister, String) = {
                let mut canister = crate::upload::tests::canisters().remove(0);
                let (url, _) = public_file(&mut canister, 9);
                (canister, url)
            };
        }
        let status = CANISTER.with(|(canister, url)| {
            let url = if rest == "!" { url.clone() } else { format!("/blob/{rest}") };
            let request = request(&method, &url, &[(&name, &value)]);
            answer(&canister.storage, &request, canister.now).unwrap().response.status_code
        });
        prop_assert!([200, 206, 304, 404, 405, 412, 416].contains(&status), "{}", status);
    }
}
