//! Tests of `rehearse --snapshot` and `plan` with the real wasms.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use upload_canister::stable::layout::Layout;

use super::aged::{NativeCanister, aged, write_folder};

/// Runs a command that writes a report; returns the command's output, and the report, which is null if there is none.
fn run(args: &[&str], snapshot: &Path, folder: &Path) -> (Output, Value) {
    let json = folder.join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_session-migrate"))
        .args(args)
        .arg(snapshot)
        .arg("--json")
        .arg(&json)
        .current_dir(folder)
        .output()
        .unwrap();
    let report = std::fs::read(&json).ok().and_then(|text| serde_json::from_slice(&text).ok());
    (output, report.unwrap_or_default())
}

/// Writes the stable memory of a canister into a snapshot folder without a module; returns the folder.
fn snapshot(folder: &Path, canister: &NativeCanister) -> PathBuf {
    let path = folder.join("snapshot");
    write_folder(&path, &canister.bytes(), canister.now.as_nanos(), None);
    path
}

fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn an_aged_canister_is_rehearsed_with_its_own_clients() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("new.jpg"), vec![3; 2_000_000]).unwrap();
    let canister = aged(Layout::LEGACY, 300, 21);
    let path = snapshot(folder.path(), &canister);
    let args = ["rehearse", "--clients", "1", "--files", "new.jpg", "--snapshot"];
    let (output, report) = run(&args, &path, folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    let part = &report["snapshot"];
    assert!(part["continued"].as_u64().unwrap() >= 3, "{part}");
    assert!(part["reads"].as_u64().unwrap() > 50, "{part}");
    assert_eq!(part["damage_after"], serde_json::json!({}));
    // The clients of the snapshot are numbered from 1,001 on.
    let own =
        report["uploads"].as_array().unwrap().iter().filter(|upload| upload["client"].as_u64() > Some(1_000));
    assert!(own.clone().count() >= 3 && own.clone().all(|upload| upload["intact"] == true), "{report}");
    let stages: Vec<_> =
        report["stages"].as_array().unwrap().iter().map(|stage| stage["name"].clone()).collect();
    let expected = [
        "load the snapshot",
        "upgrade to staged",
        "upgrade to legacy",
        "upgrade to staged",
        "upgrade to direct",
    ];
    assert_eq!(stages, expected);
}

#[test]
fn a_plan_shows_the_cost_of_the_upgrade_and_a_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let canister = aged(Layout::LEGACY, 200, 22);
    let path = snapshot(folder.path(), &canister);
    let (output, report) = run(&["plan"], &path, folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    assert_eq!((&report["verdict"], &report["quarantined"]), (&Value::from("pass"), &Value::from(4)));
    let records = ["converted", "quarantined", "expired"].map(|what| report[what].as_u64().unwrap());
    assert_eq!(report["records"].as_u64(), Some(records.iter().sum()));
    let steps = report["steps"].as_array().unwrap();
    let step = |name: &str| {
        steps.iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("{name}: {report}"))
    };
    // The sessions are so few that the upgrade itself converts them.
    assert_eq!(step("migration 1: sessions")["messages"].as_u64(), Some(0));
    for name in ["upgrade to staged", "rollback", "upgrade to direct", "migration 2: payload"] {
        let (messages, largest) = (step(name)["messages"].as_u64(), step(name)["largest"].as_u64());
        assert!(messages > Some(0) && largest < step(name)["limit"].as_u64(), "{}", step(name));
    }
    for step in steps {
        for memory in ["stable", "heap"] {
            let [bytes, limit] =
                ["bytes", "limit"].map(|what| step[format!("{memory}_{what}")].as_u64().unwrap());
            assert!(0 < bytes && bytes < limit, "{step}");
        }
    }
    for field in ["heap_before", "heap_after"] {
        assert!(report[field].as_u64() > Some(0), "{report}");
    }
    assert_eq!(report["heap_after"], steps.last().unwrap()["heap_bytes"]);
    assert!(
        printed(&output).contains("heap after") && printed(&output).contains("fits"),
        "{}",
        printed(&output)
    );
    let cycles = &step("migration 2: payload")["cycles"];
    assert!(cycles["nodes_34"].as_u64() > cycles["nodes_13"].as_u64(), "{cycles}");
    assert!(printed(&output).contains("verdict: go"), "{}", printed(&output));
}

#[test]
fn a_damaged_snapshot_is_a_reason_against_the_upgrade() {
    let folder = tempfile::tempdir().unwrap();
    let canister = aged(Layout::LEGACY, 60, 23);
    let path = snapshot(folder.path(), &canister);
    let stable = path.join("stable_memory.bin");
    let mut bytes = std::fs::read(&stable).unwrap();
    let at = bytes.windows(8).rposition(|window| window == b"left.jpg").unwrap();
    // The byte before this text is its length in a Candid record, which now says one byte too many.
    bytes[at - 1] += 1;
    std::fs::write(&stable, bytes).unwrap();
    let (output, report) = run(&["plan"], &path, folder.path());
    assert_eq!(output.status.code(), Some(1), "{}", printed(&output));
    assert!(report["reasons"][0].as_str().unwrap().contains("damaged_record"), "{report}");
}

#[test]
fn a_snapshot_in_a_later_layout_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = snapshot(folder.path(), &aged(Layout::SPLIT, 40, 24));
    for args in [&["plan"][..], &["rehearse", "--snapshot"]] {
        let (output, report) = run(args, &path, folder.path());
        assert_eq!((output.status.code(), report), (Some(2), Value::Null), "{}", printed(&output));
        assert!(printed(&output).contains("in stable layout 2"), "{}", printed(&output));
    }
}
