//! Arbitrary bytes, arbitrary JSON and bodies that are almost valid: every route of the protocol that takes a body must
//! answer them.

use crate::common::{ANONYMOUS, call, install_counter, instance, parse_u32};
use crate::fuzz;
use crate::json::{Changes, base64, changed, changes, value};
use candid::{Principal, encode_args, encode_one};
use ic_management_canister_types as types;
use pocket_ic::PocketIc;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};

/// An instance with a canister, a snapshot, a blob and a submitted message: everything that valid bodies refer to.
struct TestInstance {
    pic: PocketIc,
    canister: Principal,
    snapshot: Vec<u8>,
    message: Value,
    blob_id: Vec<u8>,
    client: Client,
    dir: tempfile::TempDir,
}

impl TestInstance {
    fn new() -> Self {
        let pic = instance();
        let canister = install_counter(&pic);
        let snapshot = pic.take_canister_snapshot(canister, None, None).expect("a snapshot").id;
        let message = pic.submit_call(canister, ANONYMOUS, "inc", vec![]).expect("a message");
        let client = Client::new();
        let url = pic.get_server_url().join("blobstore").expect("a path");
        let blob_id = client.post(url).body("bytes").send().and_then(Response::text).expect("a blob");
        Self {
            canister,
            snapshot,
            message: serde_json::to_value(message).expect("JSON"),
            blob_id: hex::decode(blob_id).expect("hex"),
            client,
            dir: tempfile::tempdir().expect("a folder"),
            pic,
        }
    }

    /// Returns every route of the protocol that takes a body, with a valid body, in an order in which all succeed: the
    /// snapshot is downloaded before it is uploaded.
    fn routes(&self) -> Vec<(String, Value)> {
        let id = base64(self.canister.as_slice());
        let canister = json!({ "canister_id": id });
        let sender = json!({ "principal_id": "BA==" });
        let call = |method: &str, arg: &[u8]| {
            json!({ "sender": "BA==", "canister_id": id, "effective_principal": { "CanisterId": id },
                    "method": method, "payload": base64(arg),
                    "sender_info": { "info": "AA==", "signer": "AA==" } })
        };
        let here = |path: &str| format!("instances/{}/{path}", self.pic.instance_id());
        let folder = self.dir.path().join("snapshot");
        let subnet = json!({ "state_config": "New", "instruction_config": "Production", "subnet_admins": null,
                             "cost_schedule": "Normal" });
        vec![
            (
                "instances".into(),
                json!({ "subnet_config_set": { "nns": subnet, "sns": null, "system": [], "application": [subnet],
                                               "cloud_engine": [], "verified_application": [] },
                        "http_gateway_config": null, "state_dir": null, "icp_config": null, "log_level": null,
                        "bitcoind_addr": null, "icp_features": null, "incomplete_state": null,
                        "initial_time": { "Timestamp": { "nanos_since_epoch": 1_700_000_000_000_000_000u64 } } }),
            ),
            ("blobstore".into(), json!("any bytes")),
            (here("read/get_cycles"), canister.clone()),
            (here("read/get_controllers"), canister.clone()),
            (here("read/get_subnet"), canister.clone()),
            (here("read/get_stable_memory"), canister.clone()),
            (
                here("read/pub_key"),
                json!({ "subnet_id": base64(self.pic.topology().get_app_subnets()[0].as_slice()) }),
            ),
            (
                "http_gateway".into(),
                json!({ "forward_to": { "PocketIcInstance": self.pic.instance_id() }, "port": 0 }),
            ),
            (here("read/query"), call("read", b"")),
            (here("read/ingress_status"), json!({ "raw_message_id": self.message, "raw_caller": sender })),
            (here("update/submit_ingress_message"), call("inc", b"")),
            (here("update/await_ingress_message"), self.message.clone()),
            (here("update/tick"), json!({ "blockmakers": null })),
            (here("update/set_time"), json!({ "nanos_since_epoch": 1_800_000_000_000_000_000u64 })),
            (here("update/set_certified_time"), json!({ "nanos_since_epoch": 1_800_000_000_000_000_000u64 })),
            (here("update/add_cycles"), json!({ "canister_id": id, "amount": 5 })),
            (
                here("update/set_stable_memory"),
                json!({ "canister_id": id, "blob_id": base64(&self.blob_id) }),
            ),
            (
                here("update/canister_snapshot_download"),
                json!({ "sender": sender, "canister_id": canister, "snapshot_id": base64(&self.snapshot),
                        "snapshot_dir": folder }),
            ),
            (
                here("update/canister_snapshot_upload"),
                json!({ "sender": sender, "canister_id": canister, "replace_snapshot": null,
                        "snapshot_dir": folder }),
            ),
            (here("auto_progress"), json!({ "artificial_delay_ms": 1000 })),
            (here("stop_progress"), json!("")),
        ]
    }

    /// Sends a body, and checks that the server answers with a status that does not stand for a fault of its own.
    fn post(&self, path: &str, body: Vec<u8>) -> Result<Response, TestCaseError> {
        let url = self.pic.get_server_url().join(path).expect("a path");
        let sent = self.client.post(url).header("content-type", "application/json").body(body.clone()).send();
        let text = || String::from_utf8_lossy(&body).into_owned();
        let response = sent.map_err(|error| TestCaseError::fail(format!("{path} {}: {error}", text())))?;
        let status = response.status().as_u16();
        prop_assert!([200, 201, 400, 403, 404, 405, 501].contains(&status), "{path} {}: {status}", text());
        Ok(response)
    }

    /// Sends a body to the route that `index` selects; `body` makes it from the valid body of that route.
    fn post_to_any(&self, index: &Index, body: impl Fn(Value) -> Vec<u8>) -> Result<(), TestCaseError> {
        let routes = self.routes();
        let (path, good) = index.get(&routes);
        let response = self.post(path, body(good.clone()))?;
        // A refusal says why, in JSON, except from the blob store.
        if response.status() == 400 && !path.starts_with("blobstore") {
            let body: Value =
                response.json().map_err(|error| TestCaseError::fail(format!("{path}: {error}")))?;
            let message = body.pointer("/message").or_else(|| body.pointer("/Error/message"));
            prop_assert!(message.is_some_and(|message| message.is_string()), "{path}: {body}");
        }
        Ok(())
    }

    /// Checks that the instance still installs and runs a canister.
    fn assert_alive(&self) {
        let id = install_counter(&self.pic);
        assert_eq!(parse_u32(&call(&self.pic, id, "inc", &[]).expect("a reply")), 1);
    }
}

#[test]
fn valid_bodies_are_accepted() {
    let instance = TestInstance::new();
    let folder = instance.dir.path().join("snapshot");
    for (path, body) in instance.routes() {
        let status = instance.post(&path, body.to_string().into_bytes()).expect("an answer").status();
        let expected = match path.as_str() {
            "instances" | "http_gateway" => 201,
            _ => 200,
        };
        assert_eq!(status, expected, "{path}");
    }
    assert!(folder.join("metadata.json").exists());
    instance.assert_alive();
}

#[test]
fn mutated_request_bodies_are_answered() {
    let instance = TestInstance::new();
    fuzz(&(any::<Index>(), changes()), |(route, changes): (Index, Changes)| {
        instance.post_to_any(&route, |good| changed(good, &changes).to_string().into_bytes())
    });
    instance.assert_alive();
}

#[test]
fn arbitrary_json_bodies_are_answered() {
    let instance = TestInstance::new();
    fuzz(&(any::<Index>(), value()), |(route, value)| {
        instance.post_to_any(&route, |_| value.to_string().into_bytes())
    });
    instance.assert_alive();
}

#[test]
fn arbitrary_and_truncated_bodies_are_answered() {
    let instance = TestInstance::new();
    fuzz(
        // The last value selects a truncated valid body, instead of arbitrary bytes.
        &(any::<Index>(), vec(any::<u8>(), 0..200), any::<Index>(), any::<bool>()),
        |(route, bytes, end, cut)| {
            instance.post_to_any(&route, |good| {
                let good = good.to_string().into_bytes();
                if cut { good[..end.index(good.len())].to_vec() } else { bytes.clone() }
            })
        },
    );
    instance.assert_alive();
}

/// Returns management methods with arguments. All are valid, except a method that does not exist and an argument of the
/// wrong type.
fn management_arguments(instance: &TestInstance) -> Vec<(&'static str, Vec<u8>)> {
    let canister_id = instance.canister;
    let record = encode_one(types::CanisterIdRecord { canister_id }).expect("the argument encodes");
    let mut all: Vec<(&str, Vec<u8>)> = [
        "canister_status",
        "start_canister",
        "stored_chunks",
        "clear_chunk_store",
        "list_canister_snapshots",
        "take_canister_snapshot",
        "fetch_canister_logs",
        "uninstall_code",
        "stop_canister",
        "delete_canister",
        "raw_rand",
        "no_such_method",
    ]
    .map(|method| (method, record.clone()))
    .into();
    all.extend([
        (
            "provisional_create_canister_with_cycles",
            encode_one(types::ProvisionalCreateCanisterWithCyclesArgs::default())
                .expect("the argument encodes"),
        ),
        (
            "install_code",
            encode_one(types::InstallCodeArgs {
                mode: types::CanisterInstallMode::Reinstall,
                canister_id,
                wasm_module: b"\0asm\x01\0\0\0".to_vec(),
                arg: vec![],
                sender_canister_version: None,
            })
            .expect("the argument encodes"),
        ),
        (
            "update_settings",
            encode_one(types::UpdateSettingsArgs {
                canister_id,
                settings: types::CanisterSettings {
                    freezing_threshold: Some(5u8.into()),
                    controllers: Some(vec![ANONYMOUS]),
                    ..Default::default()
                },
                sender_canister_version: Some(1),
            })
            .expect("the argument encodes"),
        ),
        (
            "upload_canister_snapshot_metadata",
            encode_one(types::UploadCanisterSnapshotMetadataArgs {
                canister_id,
                replace_snapshot: None,
                wasm_module_size: 8,
                globals: vec![],
                wasm_memory_size: 65_536,
                stable_memory_size: 65_536,
                certified_data: vec![1],
                global_timer: None,
                on_low_wasm_memory_hook_status: None,
            })
            .expect("the argument encodes"),
        ),
        ("upload_chunk", encode_args((1u8, "no record")).expect("the argument encodes")),
    ]);
    all
}

#[test]
fn damaged_management_arguments_are_answered() {
    let instance = TestInstance::new();
    let arguments = management_arguments(&instance);
    let damage = vec((any::<Index>(), any::<u8>()), 0..5);
    // Where the call is sent: the effective principal.
    let place = select(vec!["None", "CanisterId", "SubnetId"]);
    fuzz(
        &(any::<Index>(), damage, any::<Index>(), any::<bool>(), place),
        |(which, damage, end, cut, place)| {
            let (method, mut argument) = which.get(&arguments).clone();
            for (at, byte) in damage {
                let at = at.index(argument.len());
                argument[at] = byte;
            }
            if cut {
                argument.truncate(end.index(argument.len()));
            }
            let id = base64(instance.canister.as_slice());
            let effective = if place == "None" { json!(place) } else { json!({ place: id }) };
            let body = json!({ "sender": "BA==", "canister_id": "", "effective_principal": effective,
                           "method": method, "payload": base64(&argument) });
            for path in ["update/submit_ingress_message", "read/query"] {
                let path = format!("instances/{}/{path}", instance.pic.instance_id());
                instance.post(&path, body.to_string().into_bytes())?;
            }
            let tick = format!("instances/{}/update/tick", instance.pic.instance_id());
            prop_assert_eq!(instance.post(&tick, b"{}".to_vec())?.status(), 200);
            Ok(())
        },
    );
    instance.assert_alive();
}
