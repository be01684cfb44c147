//! The protocol as clients other than the official one in Rust use it: slashes, status codes, bodies; and what is not
//! supported. Also the extensions (costs and limits of messages), and that instances are independent.

mod common;

use candid::Principal;
use common::{builder, call, counter, install_counter, instance};
use pocket_ic_embedded::{EmbeddedServer, ExtensionError, Extensions};
use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn url(path: &str) -> String {
    let server = EmbeddedServer::shared().unwrap();
    format!("http://{}{path}", server.address())
}

fn get(path: &str) -> Response {
    Client::new().get(url(path)).send().unwrap()
}

fn post(path: &str, body: &Value) -> Response {
    Client::new().post(url(path)).json(body).send().unwrap()
}

/// Returns the configuration of an instance as the Python client sends it: without the fields that are newer than that
/// client, but with a field that the server does not know.
fn old_config() -> Value {
    json!({
        "subnet_config_set": {
            "nns": null, "sns": null, "ii": null, "fiduciary": null, "bitcoin": null,
            "system": [], "verified_application": [],
            "application": [{ "state_config": "New", "instruction_config": "Production", "dts_flag": "Enabled" }]
        },
        "something_new": 1
    })
}

/// Creates an instance, and returns its id. The instance stays until the server ends.
fn new_instance() -> u64 {
    let response = post("/instances", &old_config());
    assert_eq!(response.status(), 201);
    response.json::<Value>().unwrap()["Created"]["instance_id"].as_u64().unwrap()
}

#[test]
fn routes_answer_with_and_without_a_slash() {
    let id = new_instance();
    for slash in ["", "/"] {
        assert_eq!(get(&format!("/status{slash}")).status(), 200);
        assert_eq!(get(&format!("/instances{slash}")).status(), 200);
        for path in
            ["read/topology", "_/topology", "read/get_time", "auto_progress", "read/get_canister_http"]
        {
            let response = get(&format!("/instances/{id}/{path}{slash}"));
            assert_eq!(response.status(), 200, "{path}{slash}");
        }
        let tick = post(&format!("/instances/{id}/update/tick{slash}"), &json!({}));
        assert_eq!(tick.status(), 200);
        assert_eq!(tick.json::<Value>().unwrap(), Value::Null);
        let stop = post(&format!("/instances/{id}/stop_progress{slash}"), &json!(""));
        assert_eq!(stop.status(), 200);
    }
}

#[test]
fn deleted_instances_stay_deleted() {
    let id = new_instance();
    let client = Client::new();
    let delete = |id: u64| client.delete(url(&format!("/instances/{id}/"))).send().unwrap();
    assert_eq!(delete(id).status(), 200);
    // The second id was never issued.
    for (id, part) in [(id, "Instance was deleted"), (987_654, "Instance not found")] {
        let refused = delete(id);
        assert_eq!(refused.status(), 400);
        let text = refused.text().unwrap();
        assert!(text.contains(part), "{text}");
    }
    let list: Vec<String> = get("/instances").json().unwrap();
    assert_eq!(list[id as usize], "Deleted");
    let response = get(&format!("/instances/{id}/read/get_time"));
    assert_eq!(response.status(), 400);
    assert!(response.text().unwrap().contains("Instance was deleted"));
    assert!(get("/instances/987654/read/get_time").text().unwrap().contains("Instance not found"));
}

#[test]
fn unsupported_requests_are_refused_as_such() {
    let id = new_instance();
    for (status, path) in [
        (404, format!("/instances/{id}/update/mock_canister_http")),
        (404, "/no/such/thing".to_owned()),
        (405, format!("/instances/{id}/read/get_time")),
    ] {
        let response = post(&path, &json!({}));
        assert_eq!(response.status(), status, "{path}");
        let body: Value = response.json().unwrap();
        let message = body["message"].as_str().unwrap();
        assert!(message.contains("not supported by the embedded server"), "{path}: {message}");
    }
    let mut config = old_config();
    config["subnet_config_set"]["test_threshold_keys"] =
        config["subnet_config_set"]["application"][0].clone();
    let response = post("/instances", &config);
    assert_eq!(response.status(), 400);
    let body: Value = response.json().unwrap();
    assert!(body["Error"]["message"].as_str().unwrap().contains("not supported"), "{body}");
    // An empty list of addresses means that no adapter is requested.
    for (adapter, name) in [("bitcoind_addr", "A Bitcoin adapter"), ("dogecoind_addr", "A Dogecoin adapter")]
    {
        let with = |addresses: Value| {
            let mut config = old_config();
            config[adapter] = addresses;
            post("/instances", &config)
        };
        assert_eq!(with(json!([])).status(), 201, "{adapter}");
        let body: Value = with(json!(["127.0.0.1:18444"])).json().unwrap();
        assert!(body["Error"]["message"].as_str().unwrap().contains(name), "{body}");
    }
}

#[test]
fn bad_requests_are_refused_with_a_message() {
    let id = new_instance();
    // In base64, "BA==" is the anonymous principal, and "AAAAAAAAAAEBAQ==" a canister id of no subnet of the instance.
    for (path, body, part) in [
        ("read/get_cycles", json!({ "canister_id": "!" }), "ConversionError"),
        ("read/get_cycles", json!({ "canister_id": "AAAAAAAAAAEBAQ==" }), "CanisterNotFound"),
        ("update/set_time", json!({ "nanos_since_epoch": 1 }), "SettingTimeIntoPast"),
        ("update/tick", json!([1]), "ConversionError"),
        (
            "update/await_ingress_message",
            json!({ "effective_principal": "None", "message_id": "AAAA" }),
            "Bad message id",
        ),
        (
            "update/submit_ingress_message",
            json!({ "sender": "BA==", "canister_id": "AAAAAAAAAAEBAQ==", "effective_principal": "None",
                    "method": "m", "payload": "" }),
            "does not belong to any subnet",
        ),
        (
            "update/submit_ingress_message",
            json!({ "sender": "BA==", "canister_id": "", "effective_principal": "None", "method": "raw_rand",
                    "payload": "" }),
            "Effective principal must be specified",
        ),
    ] {
        let response = post(&format!("/instances/{id}/{path}"), &body);
        assert_eq!(response.status(), 400, "{path}");
        let text = response.text().unwrap();
        assert!(text.contains(part), "{path}: {text}");
    }
    let refused = post(
        "/instances",
        &json!({ "subnet_config_set": {
        "system": [], "application": [], "verified_application": [] } }),
    );
    assert!(refused.text().unwrap().contains("SubnetConfigSet must contain at least one subnet"));
}

#[test]
fn management_calls_are_routed_without_an_effective_id() {
    let id = new_instance();
    use base64::Engine;
    let encode = |bytes: &[u8]| base64::prelude::BASE64_STANDARD.encode(bytes);
    let call = |method: &str, payload: &[u8]| {
        let raw = json!({ "sender": "BA==", "canister_id": "", "effective_principal": "None",
                          "method": method, "payload": encode(payload) });
        let submitted: Value =
            post(&format!("/instances/{id}/update/submit_ingress_message"), &raw).json().unwrap();
        let awaited = post(&format!("/instances/{id}/update/await_ingress_message"), &submitted["Ok"]);
        awaited.json::<Value>().unwrap()
    };
    // The argument is an empty record, without amount and settings: the canister gets 100 T cycles.
    let created = call("provisional_create_canister_with_cycles", b"DIDL\x01\x6c\x00\x01\x00");
    let reply = base64::prelude::BASE64_STANDARD.decode(created["Ok"].as_str().unwrap()).unwrap();
    let record: ic_management_canister_types::CanisterIdRecord = candid::decode_one(&reply).unwrap();
    let arg = candid::encode_one(&record).unwrap();
    let status = call("canister_status", &arg);
    assert!(status["Ok"].is_string(), "{status}");
    // The server finds the canister id in the argument even if the argument has a module of more than a megabyte.
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    // A custom section of 1,300,000 bytes, with the length in LEB128 and an empty name.
    module.extend([0, 0xa0, 0xac, 0x4f]);
    module.resize(module.len() + 1_300_000, 0);
    let install = ic_management_canister_types::InstallCodeArgs {
        mode: ic_management_canister_types::CanisterInstallMode::Install,
        canister_id: record.canister_id,
        wasm_module: module,
        arg: vec![],
        sender_canister_version: None,
    };
    let installed = call("install_code", &candid::encode_one(install).unwrap());
    assert!(installed["Ok"].is_string(), "{installed}");
    let cycles = post(
        &format!("/instances/{id}/read/get_cycles"),
        &json!({ "canister_id": encode(record.canister_id.as_slice()) }),
    );
    assert_eq!(cycles.text().unwrap(), r#"{"cycles":100000000000000}"#);
}

#[test]
fn blobs_are_stored_under_the_hash_of_the_sent_bytes() {
    use sha2::Digest;
    let client = Client::new();
    for slash in ["", "/"] {
        let response = client.post(url(&format!("/blobstore{slash}"))).body("bytes").send().unwrap();
        let hash = response.text().unwrap();
        assert_eq!(hash, hex::encode(sha2::Sha256::digest(b"bytes")));
        assert_eq!(get(&format!("/blobstore/{hash}")).text().unwrap(), "bytes");
    }
    // An encoding that the server does not support, an id that is not hexadecimal, and one that was never issued.
    let odd = client.post(url("/blobstore")).header("content-encoding", "br").body("x").send().unwrap();
    assert_eq!(odd.status(), 400);
    assert_eq!(get("/blobstore/zz").status(), 400);
    assert_eq!(get(&format!("/blobstore/{}", "00".repeat(32))).status(), 404);
}

#[test]
fn the_costs_of_messages_can_be_read() {
    let pic = instance();
    let id = pic.create_canister();
    pic.install_canister(id, counter(), vec![], None);
    pic.update_call(id, Principal::anonymous(), "stable_inc", vec![]).unwrap();
    pic.query_call(id, Principal::anonymous(), "read", vec![]).unwrap();
    pic.upgrade_canister(id, counter(), vec![], None).unwrap();
    let extensions = Extensions::of(&pic);
    // The number is the index of the first record to be returned.
    let costs = extensions.message_costs(id, 0).unwrap();
    let entries: Vec<&str> = costs.iter().map(|cost| &*cost.entry).collect();
    assert_eq!(entries, ["start", "init", "update", "query", "pre_upgrade", "start", "post_upgrade"]);
    assert_eq!(extensions.message_costs(id, 5).unwrap(), costs[5..]);
    assert!(costs[0].is_install() && costs[6].is_install() && !costs[3].is_install());
    let update = &costs[2];
    assert_eq!(update.method, "stable_inc");
    assert_eq!(update.index, 2);
    assert_eq!(update.stable_bytes_written, 4);
    assert_eq!(update.stable_bytes_read, 4);
    assert_eq!(update.dirty_stable_pages, 1);
    assert_eq!(update.stable_memory_pages, costs[1].stable_memory_pages);
    assert_eq!(update.wasm_memory_pages, 1);
    assert!(update.dirty_wasm_pages >= 1, "the number is read to the heap: {update:?}");
    assert!(update.wall_nanos > 0, "{update:?}");
    assert!(update.instructions > 1000, "{update:?}");
    assert!(update.ok);
    let refused = extensions.message_costs(Principal::anonymous(), 0).unwrap_err();
    assert!(matches!(&refused, ExtensionError::Refused { status: 400, .. }), "{refused}");
}

#[test]
fn a_refusal_names_the_address_of_the_extension() {
    let pic = instance();
    let id = pic.create_canister();
    let extensions = Extensions::of(&pic);
    // Deletes the instance, so that the request is refused.
    drop(pic);
    let refused = extensions.message_costs(id, 0).unwrap_err().to_string();
    assert!(refused.contains(&format!("embedded/canister_costs/{id}")), "{refused}");
}

#[test]
fn a_test_sets_the_instruction_limit_of_a_message() {
    let pic = instance();
    let id = pic.create_canister();
    pic.install_canister(id, counter(), vec![], None);
    let extensions = Extensions::of(&pic);
    let call = || pic.update_call(id, Principal::anonymous(), "stable_inc", vec![]);
    // Ten instructions, which are not enough for the message.
    extensions.set_instruction_cap(id, Some(10)).unwrap();
    let refused = call().unwrap_err();
    assert_eq!(refused.error_code, pocket_ic::ErrorCode::CanisterInstructionLimitExceeded);
    extensions.set_instruction_cap(id, None).unwrap();
    call().unwrap();
    let read = pic.query_call(id, Principal::anonymous(), "stable_read", vec![]);
    assert_eq!(read.unwrap().first(), Some(&1), "the message that hit the limit has changed nothing");
}

#[test]
fn several_subnets_have_ranges_of_their_own() {
    let pic = builder().with_application_subnet().with_application_subnet().build();
    let subnets = pic.topology().get_app_subnets();
    assert_eq!(subnets.len(), 2);
    for subnet in subnets {
        let id = pic.create_canister_on_subnet(None, None, subnet);
        assert_eq!(pic.get_subnet(id), Some(subnet));
        assert_eq!(pic.topology().get_subnet(id), Some(subnet));
    }
}

#[test]
fn dropping_the_client_deletes_the_instance() {
    let pic = instance();
    let index = pic.instance_id();
    drop(pic);
    let list: Vec<String> = get("/instances").json().unwrap();
    assert_eq!(list[index], "Deleted");
}

/// Sets a flag when it is dropped, also by a panic, so that a thread that waits for the flag ends.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A query that uses up its instructions runs repeatedly on one instance; calls on another instance are answered in the
/// meantime.
#[test]
fn instances_do_not_wait_for_each_other() {
    let (busy, free) = (instance(), instance());
    let spinning = install_counter(&busy);
    let id = install_counter(&free);
    let (rounds, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let is_busy = || get("/instances").json::<Vec<String>>().unwrap()[busy.instance_id()].starts_with("Busy");
    std::thread::scope(|scope| {
        let _end = SetAtEnd(&done);
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                busy.query_call(spinning, Principal::anonymous(), "spin", vec![]).unwrap_err();
                rounds.fetch_add(1, Ordering::SeqCst);
            }
        });
        // `rounds` is the number of queries that have ended. A call overlaps with a query if `busy` runs the same query
        // before and after it: `rounds` has not changed.
        let overlapped = (0..1_000).any(|_| {
            let round = rounds.load(Ordering::SeqCst);
            let before = is_busy();
            call(&free, id, "inc", &[]).unwrap();
            before && is_busy() && rounds.load(Ordering::SeqCst) == round
        });
        assert!(overlapped, "no call was answered while a query ran");
    });
}
