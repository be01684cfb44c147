//! The three builds of this tree: what they contain, and that building them again changes nothing.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use candid_parser::utils::{CandidSource, service_compatible};
use session_migrate::build::{self, Artifact, Build};
use sha2::{Digest, Sha256};
use stable_schema::Schema;
use wasmparser::{Parser, Payload};

fn artifacts() -> Vec<Artifact> {
    build::ensure(&Build::ALL).unwrap()
}

fn wasm(artifact: &Artifact) -> Vec<u8> {
    build::unpack(&std::fs::read(&artifact.wasm_gz).unwrap()).unwrap().into_owned()
}

/// Returns the wasm as text, for which the standard library has a fast search.
fn text(artifact: &Artifact) -> String {
    String::from_utf8_lossy(&wasm(artifact)).into_owned()
}

#[test]
fn each_build_carries_interface_name_features_and_schema() {
    for artifact in artifacts() {
        let wasm = wasm(&artifact);
        build::check_is_upload_canister(&wasm).unwrap();
        let mut sections = HashMap::new();
        for payload in Parser::new(0).parse_all(&wasm) {
            if let Payload::CustomSection(section) = payload.unwrap() {
                let text = String::from_utf8_lossy(section.data()).into_owned();
                assert!(sections.insert(section.name().to_owned(), text).is_none(), "{}", section.name());
            }
        }
        let did = std::fs::read_to_string(&artifact.did).unwrap();
        assert_eq!(sections["icp:public candid:service"], did);
        assert_eq!(sections["icp:public build"], artifact.build.name());
        assert_eq!(sections["icp:public features"], artifact.features.join(","));
        let checked_in = format!("{}/../../schemas/{}.json", env!("CARGO_MANIFEST_DIR"), artifact.build);
        let schema = |json: &[u8]| Schema::from_json(json).unwrap();
        assert_eq!(
            schema(sections["icp:public stable:schema"].as_bytes()),
            schema(&std::fs::read(checked_in).unwrap())
        );
        assert!(!sections.contains_key("producers"));
        assert_eq!(artifact.wasm_bytes, wasm.len() as u64);
        let gz = std::fs::read(&artifact.wasm_gz).unwrap();
        assert_eq!(artifact.wasm_gz_bytes, gz.len() as u64);
        assert_eq!(artifact.sha256, hex::encode(Sha256::digest(gz)));
    }
}

#[test]
fn the_builds_differ_and_do_not_name_this_machine() {
    let all = artifacts();
    assert_ne!(all[0].sha256, all[1].sha256);
    assert_ne!(all[1].sha256, all[2].sha256);
    let root = build::Workspace::locate(None).unwrap().root;
    let home = std::env::home_dir().unwrap();
    for artifact in &all {
        let text = text(artifact);
        for place in [root.join("src"), home.join(".cargo"), home.join(".rustup")] {
            assert!(!text.contains(&place.display().to_string()), "{}: {place:?}", artifact.build);
        }
    }
}

#[test]
fn the_compat_path_is_only_in_builds_with_its_feature() {
    for artifact in artifacts() {
        let has_feature = artifact.features.iter().any(|feature| feature == "compat");
        let lower = text(&artifact).to_ascii_lowercase();
        let found = lower.contains("sessioncompat") || lower.contains("session_compat");
        assert_eq!(found, has_feature, "{}", artifact.build);
    }
}

#[test]
fn building_again_is_quick_and_changes_nothing() {
    let first = artifacts();
    let began = Instant::now();
    let second = artifacts();
    assert_eq!(first, second);
    // Hashing the inputs takes much less time, and any compilation takes much more.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn the_checked_in_interfaces_are_those_of_the_wasms() {
    for artifact in artifacts() {
        assert!(
            artifact.did_is_checked_in,
            "candid/{}.did differs; if this is intended, run: cargo migrate build --update-did",
            artifact.build
        );
    }
}

#[test]
fn clients_of_each_build_can_use_the_next_one() {
    let all = artifacts();
    for pair in all.windows(2) {
        let [old, new] = pair else { unreachable!() };
        let compatible = service_compatible(CandidSource::File(&new.did), CandidSource::File(&old.did));
        assert!(compatible.is_ok(), "{} after {}: {}", new.build, old.build, compatible.unwrap_err());
    }
}
