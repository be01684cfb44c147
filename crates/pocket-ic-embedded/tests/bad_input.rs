//! Malformed or too large input, and clients that disconnect: the error is clear, and the server survives.

mod common;

use common::{
    ANONYMOUS, call, call_management, counter, encode_canister_id, install_counter, instance, parse_u32,
    wait_for,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use pocket_ic::common::rest::BlobCompression;
use pocket_ic::{ErrorCode, PocketIc};
use pocket_ic_embedded::{EmbeddedServer, Extensions};
use reqwest::blocking::Client;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Checks that the instance still installs and runs a canister.
fn assert_alive(pic: &PocketIc) {
    let id = install_counter(pic);
    assert_eq!(parse_u32(&call(pic, id, "inc", &[]).unwrap()), 1);
}

#[test]
fn invalid_and_too_large_modules_are_refused() {
    let pic = instance();
    let id = pic.create_canister();
    let mut huge = b"\0asm\x01\0\0\0".to_vec();
    huge.resize((100 << 20) + 1, 0);
    let mut many_functions = String::from("(module");
    many_functions.push_str(&"(func)".repeat(50_001));
    many_functions.push(')');
    for (module, part) in [
        (Vec::new(), "unsupported canister module format"),
        (b"\0asm".to_vec(), "Wasm module failed validation"),
        (b"\x1f\x8bnot gzip".to_vec(), "Failed to decode wasm module"),
        // Small when compressed, but longer than a module may be (100 MiB) when decompressed.
        (gzip(&huge), "exceeds the maximum allowed size of 104857600"),
        (common::wasm(&many_functions), "50001 functions which exceeds the maximum number allowed 50000"),
        (common::wasm("(module (memory 65537))"), "failed validation"),
        (common::wasm(r#"(module (import "ic0" "nonsense" (func)))"#), "'nonsense' from 'ic0'"),
        (common::wasm(r#"(module (import "env" "memory" (memory 1)))"#), "Only functions can be imported"),
    ] {
        let error = pic.reinstall_canister(id, module, vec![], None).unwrap_err();
        assert_eq!(error.error_code, ErrorCode::CanisterInvalidWasm, "{part}: {error}");
        assert!(error.reject_message.contains(part), "{part}: {error}");
    }
    assert_alive(&pic);
}

#[test]
fn a_list_of_chunks_cannot_be_longer_than_a_module() {
    let pic = instance();
    let id = pic.create_canister();
    let chunk = pic.upload_chunk(id, None, vec![7; 1 << 20]).unwrap();
    // The module that the list describes has 2,000 MiB, although only one chunk is stored.
    let error = pic
        .install_chunked_canister(
            id,
            None,
            pocket_ic::CanisterInstallMode::Install,
            id,
            vec![chunk; 2000],
            vec![0; 32],
            vec![],
        )
        .unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterContractViolation);
    assert!(error.reject_message.contains("is too large"), "{error}");
    assert_alive(&pic);
}

/// The argument declares four billion values in a field that the method does not know. They have no bytes, but reading
/// them would take long.
#[test]
fn arguments_that_take_too_long_to_read_are_refused() {
    let pic = instance();
    let id = pic.create_canister();
    // record { 0: vec null }, with a length of 2^32 - 1 and no bytes for the values.
    let mut argument = b"DIDL\x02\x6c\x01\x00\x01\x6d\x7f\x01\x00".to_vec();
    argument.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
    let error = call_management(&pic, id, ANONYMOUS, "start_canister", argument).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::InvalidManagementPayload);
    assert!(call_management(&pic, id, ANONYMOUS, "start_canister", encode_canister_id(id)).is_ok());
}

#[test]
fn a_stable_memory_that_does_not_fit_an_answer_is_refused() {
    /// One page more than 1 GiB, which is the most that an answer can have. The canister writes only the last three
    /// bytes.
    const SIZE: u64 = (1 << 30) + 65_536;
    let pic = instance();
    let id = common::install_wasm(
        &pic,
        common::wasm(
            r#"(module
                (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
                (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
                (memory 1) (data (i32.const 0) "end")
                (func (export "canister_init")
                    (drop (call $grow (i64.const 16385)))
                    (call $write (i64.const 1073807357) (i64.const 0) (i64.const 3))))"#,
        ),
    );
    let client = Client::new();
    let url = pic.get_server_url().join(&format!("instances/{}/read/get_stable_memory", pic.instance_id()));
    let response = client.post(url.unwrap()).json(&json!({ "canister_id": id_base64(id) })).send().unwrap();
    assert_eq!(response.status(), 400);
    let body: Value = response.json().unwrap();
    assert!(body["message"].as_str().unwrap().contains("1073807360 bytes is more than can be read at once"));
    // A snapshot of this memory can be taken, and takes no more space on disk than the bytes that were written.
    let snapshot = pic.take_canister_snapshot(id, None, None).unwrap();
    assert!(snapshot.total_size > SIZE);
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("snapshot");
    pic.canister_snapshot_download(id, ANONYMOUS, snapshot.id, folder.clone());
    let file = std::fs::metadata(folder.join("stable_memory.bin")).unwrap();
    assert_eq!(file.len(), SIZE);
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::fs::MetadataExt;
        // Only the last piece of at most 2,000,000 bytes was written; `st_blocks` counts blocks of 512 bytes.
        assert!(file.st_blocks() * 512 < 4_000_000, "{} blocks", file.st_blocks());
    }
    let other = pic.create_canister();
    let uploaded = pic.canister_snapshot_upload(other, ANONYMOUS, None, folder);
    pic.load_canister_snapshot(other, None, uploaded).unwrap();
    let sizes = pic.canister_status(other, None).unwrap().memory_metrics;
    assert_eq!(sizes.stable_memory_size, SIZE);
}

fn id_base64(id: candid::Principal) -> String {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.encode(id.as_slice())
}

#[test]
fn a_blob_that_was_never_sent_is_refused() {
    let pic = instance();
    let id = install_counter(&pic);
    // `PocketIc::set_stable_memory` sends the blob, and then this request with its id. Here only the second is sent.
    let url = pic.get_server_url().join(&format!("instances/{}/update/set_stable_memory", pic.instance_id()));
    let body = json!({ "canister_id": id_base64(id), "blob_id": "AAAA" });
    let response = Client::new().post(url.unwrap()).json(&body).send().unwrap();
    assert_eq!(response.status(), 400);
    let text = response.text().unwrap();
    assert!(text.contains("Bad blob id"), "{text}");
}

#[test]
fn compressed_blobs_are_unpacked_when_they_are_used() {
    let pic = instance();
    let id = install_counter(&pic);
    let memory = vec![1u8; 100_000];
    pic.set_stable_memory(id, gzip(&memory), BlobCompression::Gzip);
    assert_eq!(pic.get_stable_memory(id)[..100_000], memory);
}

/// Sends these bytes, waits for the first `answer_bytes` bytes of the answer (0: for none), and hangs up.
fn exchange_and_hang_up(bytes: &[u8], answer_bytes: usize) -> Vec<u8> {
    let server = EmbeddedServer::shared().unwrap();
    let mut connection = TcpStream::connect(server.address()).unwrap();
    connection.write_all(bytes).unwrap();
    let mut answer = vec![0; answer_bytes];
    connection.read_exact(&mut answer).unwrap();
    answer
}

#[test]
fn clients_that_hang_up_do_no_harm() {
    let pic = instance();
    let id = pic.instance_id();
    for request in [
        // Connections without a request, with a malformed one, and with an incomplete one.
        String::new(),
        "nonsense\r\n\r\n".into(),
        "POST /instances HTTP/1.1\r\nhost: x\r\n".into(),
        // Requests with only the beginning of their body.
        "POST /instances HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000000\r\n\r\n{".into(),
        format!(
            "POST /instances/{id}/update/tick HTTP/1.1\r\nhost: x\r\ncontent-length: 17\r\n\r\n{{\"block"
        ),
        // A complete request, whose response is not read.
        format!("POST /instances/{id}/update/tick HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{{}}"),
    ] {
        exchange_and_hang_up(request.as_bytes(), 0);
    }
    let answer = exchange_and_hang_up(b"nonsense\r\n\r\n", 12);
    assert_eq!(answer, b"HTTP/1.1 400");
    assert_alive(&pic);
}

/// The call runs into its instruction limit, and the instance records this error as the answer. Afterwards, the
/// instance accepts other calls.
#[test]
fn a_call_completes_even_if_its_client_disconnects() {
    let pic = instance();
    let id = install_counter(&pic);
    let base = pic.get_server_url().join(&format!("instances/{}/", pic.instance_id())).unwrap();
    // With this limit, the call runs long enough to be observed, but ends.
    Extensions::of(&pic).set_instruction_cap(id, Some(2_000_000_000)).unwrap();
    let submitted = pic.submit_call(id, ANONYMOUS, "spin", vec![]).unwrap();
    let body = serde_json::to_string(&submitted).unwrap();
    let request = format!(
        "POST {}update/await_ingress_message HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        base.path(),
        body.len()
    );
    let mut connection = TcpStream::connect(EmbeddedServer::shared().unwrap().address()).unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    // Only the request to await the call runs a round: reading the status of a call does not.
    let status = || pic.ingress_status(submitted.clone());
    let list = || Client::new().get(pic.get_server_url().join("instances").unwrap()).send().unwrap();
    let is_busy = || list().json::<Vec<String>>().unwrap()[pic.instance_id()].starts_with("Busy");
    // The round runs, or has run already.
    wait_for("the round", || (is_busy() || status().is_some()).then_some(()));
    drop(connection);
    let answer = wait_for("the answer", status);
    assert_eq!(answer.unwrap_err().error_code, ErrorCode::CanisterInstructionLimitExceeded);
    let upgraded = pic.upgrade_canister(id, counter(), vec![], None);
    assert!(upgraded.is_ok());
}
