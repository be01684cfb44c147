//! `check` against a live canister, and in the preflight of `upgrade`.

use std::borrow::Cow;
use std::path::PathBuf;

use candid::Principal;
use session_migrate::build::{Build, gzip, schema_of, unpack};
use stable_schema::{Body, Schema, Shape, Value};
use wasm_encoder::{CustomSection, Module, RawSection};
use wasmparser::{Parser, Payload};

use super::network::{Network, module, outcome_of, program};

const SCHEMA: &str = "icp:public stable:schema";

/// Returns the module of a build with another schema, or with none.
fn with_schema(build: Build, change: impl FnOnce(Schema) -> Option<Schema>) -> Vec<u8> {
    let file = module(build);
    let wasm = unpack(&file).unwrap();
    let schema = change(Schema::from_json(schema_of(&wasm).unwrap().as_bytes()).unwrap());
    let mut changed = Module::new();
    for payload in Parser::new(0).parse_all(&wasm) {
        let payload = payload.unwrap();
        if matches!(&payload, Payload::CustomSection(section) if section.name() == SCHEMA) {
            continue;
        }
        if let Some((id, range)) = payload.as_section() {
            changed.section(&RawSection { id, data: &wasm[range] });
        }
    }
    if let Some(schema) = schema {
        let json = schema.to_compact_json();
        changed.section(&CustomSection { name: SCHEMA.into(), data: Cow::Borrowed(json.as_bytes()) });
    }
    gzip(&changed.finish()).unwrap()
}

/// Declares the expiry of receipts as a text, although stored receipts have a number.
fn with_text_for_a_time(mut schema: Schema) -> Option<Schema> {
    let receipts = schema.memories.iter_mut().find(|memory| memory.name == "RECEIPTS")?;
    let Some(Value::Versions(versions)) = &mut receipts.value else { return None };
    let Some(Body::Cbor(Shape::Record(record))) = versions.get_mut(&1) else { return None };
    record.fields.iter_mut().find(|field| field.name == "expires_at")?.shape = Shape::Text;
    Some(schema)
}

/// Declares the layout in the engine's journal as a text, although stored entries have a number.
fn with_text_for_a_layout(mut schema: Schema) -> Option<Schema> {
    let journal = schema.memories.iter_mut().find(|memory| memory.name == "MIGRATION_JOURNAL")?;
    let Some(Value::Versions(versions)) = &mut journal.value else { return None };
    let Some(Body::Cbor(Shape::Record(record))) = versions.get_mut(&1) else { return None };
    record.fields.iter_mut().find(|field| field.name == "layout")?.shape = Shape::Text;
    Some(schema)
}

fn write(network: &Network, name: &str, bytes: Vec<u8>) -> PathBuf {
    let path = network.path(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn live_metadata_is_compared_with_a_build() {
    let network = Network::with(Build::Legacy);
    write(&network, "staged.wasm.gz", module(Build::Staged));
    write(&network, "text.wasm.gz", with_schema(Build::Staged, with_text_for_a_time));
    write(&network, "journal.wasm.gz", with_schema(Build::Staged, with_text_for_a_layout));
    let check = |canister: Principal, network_url: &str, new: &str| {
        let canister = canister.to_text();
        let mut command = program(["check", "--canister", &canister, new, "--network", network_url]);
        outcome_of(
            &command.args(["-k", &network.root_key]).current_dir(network.folder.path()).output().unwrap(),
        )
    };
    let (code, out) = check(network.canister, &network.url, "staged.wasm.gz");
    assert_eq!(code, 0, "{out}");
    for line in [
        "upgrade, legacy to staged: pass",
        "memory 3, LEGACY_SESSIONS: needs migration 1",
        "interface: compatible",
    ] {
        assert!(out.contains(line), "{line}: {out}");
    }
    let (code, out) = check(network.canister, &network.url, "text.wasm.gz");
    assert!(
        code == 1 && out.contains("value.v1.expires_at: forbidden: u64 where text is read"),
        "{code}: {out}"
    );
    let (code, out) = check(network.canister, &network.url, "journal.wasm.gz");
    assert!(code == 1 && out.contains("value.v1.layout: forbidden: u16 where text is read"), "{code}: {out}");

    let empty = network.pic.create_canister();
    let (code, out) = check(empty, &network.url, "staged.wasm.gz");
    let reason = format!("canister {empty}: the wasm has no metadata `stable:schema`");
    assert!(code == 2 && out.contains(&reason), "{code}: {out}");
    let (code, out) = check(network.canister, "http://127.0.0.1:9", "staged.wasm.gz");
    assert!(code == 3 && out.contains(&format!("canister {}", network.canister)), "{code}: {out}");
    let (code, out) = check(network.canister, &network.url, "absent.wasm.gz");
    assert!(code == 2 && out.contains("cannot read absent.wasm.gz"), "{code}: {out}");
}

#[test]
fn preflight_refuses_what_check_forbids() {
    let network = Network::with(Build::Legacy);
    let refused = |wasm: PathBuf, expected: &str| {
        let (code, out) = network.run_upgrade("staged", &["--wasm", wasm.to_str().unwrap()]);
        assert!(code == 2 && out.contains(expected), "{code}: {out}");
        assert!(out.contains("refused: nothing was done"), "{out}");
        assert_eq!((network.running_build().as_str(), network.snapshot_count()), ("legacy", 0));
        assert!(!network.journal().exists());
    };
    refused(
        write(&network, "text.wasm.gz", with_schema(Build::Staged, with_text_for_a_time)),
        "the module would not read what is stored: memory 17, RECEIPTS: value.v1.expires_at: forbidden",
    );
    refused(
        write(&network, "bare.wasm.gz", with_schema(Build::Staged, |_| None)),
        "the new module: the wasm has no metadata `stable:schema`",
    );
    // A module of an earlier release does not describe its stable memory. The canister is upgraded nevertheless, and
    // the report says what was not compared.
    let bare = with_schema(Build::Legacy, |_| None);
    network.pic.upgrade_canister(network.canister, bare, b"DIDL\0\0".to_vec(), None).unwrap();
    let (code, out) = network.run_upgrade("staged", &[]);
    assert!(code == 0 && out.contains("stable memory: not compared"), "{code}: {out}");
    assert_eq!(network.running_build(), "staged");
}
