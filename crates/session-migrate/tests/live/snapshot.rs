//! `snapshot download`, `verify` and `upload`.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use candid::Principal;
use ic_agent::agent::EnvelopeContent;
use ic_agent::to_request_id;
use ic_management_canister_types::{ReadCanisterSnapshotMetadataResult, UploadCanisterSnapshotMetadataArgs};
use serde_json::json;
use session_migrate::build::Build;
use session_migrate::snapshot::{Manifest, PROGRESS};
use upload_canister::api;

use super::faulty_networks::FaultyProxy;
use super::network::{Network, installed, outcome_of, program, text};

const FILES: [&str; 4] = ["metadata.json", "wasm_module.bin", "wasm_memory.bin", "stable_memory.bin"];

impl Network {
    /// Takes a snapshot without the program; returns its id.
    fn take(&self) -> String {
        hex::encode(self.pic.take_canister_snapshot(self.canister, None, None).unwrap().id)
    }

    fn download(&self, folder: &str, more: &[&str]) -> (i32, String) {
        let canister = self.canister.to_text();
        let args = [&["snapshot", "download", &canister, "--out", folder][..], more].concat();
        outcome_of(&self.program_command(&args).output().unwrap())
    }

    /// Lets the server download a snapshot, without the program; returns the folder.
    fn download_by_server(&self, id: &str, folder: &str) -> PathBuf {
        let (id, folder) = (hex::decode(id).unwrap(), self.path(folder));
        let anonymous = candid::Principal::anonymous();
        self.pic.canister_snapshot_download(self.canister, anonymous, id, folder.clone());
        folder
    }

    /// Begins to download the latest snapshot into a new folder, and kills the program in the middle; returns the
    /// folder.
    fn kill_download(&self, folder: &str) -> PathBuf {
        let (canister, path) = (self.canister.to_text(), self.path(folder));
        let args = ["snapshot", "download", &canister, "--out", folder, "--parallel", "1"];
        kill_before_its_end(self.start_in_background(&args), &path.join(PROGRESS));
        path
    }

    /// Starts the program, which the test will kill.
    fn start_in_background(&self, args: &[&str]) -> Child {
        self.program_command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }
}

/// Waits until the progress file of a transfer shows that a part of stable memory is complete, and kills the process.
fn kill_before_its_end(mut child: Child, progress_file: &Path) {
    let reached = || {
        let progress: serde_json::Value = serde_json::from_slice(&fs::read(progress_file).ok()?).ok()?;
        // The first path is that of a download, the second that of an upload.
        progress
            .pointer("/stable_memory/frontier")
            .or(progress.pointer("/reached/stable_memory/frontier"))?
            .as_u64()
    };
    while reached().unwrap_or(0) == 0 {
        assert_eq!(child.try_wait().unwrap(), None, "the transfer has ended before it was killed");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn assert_same_files(folder: &Path, expected: &Path) {
    for name in FILES {
        let is_same = fs::read(folder.join(name)).unwrap() == fs::read(expected.join(name)).unwrap();
        assert!(is_same, "{name}");
    }
}

#[test]
fn download_equals_what_the_server_writes_and_is_verified() {
    let network = Network::with(Build::Legacy);
    let id = network.take();
    let (code, out) = network.download("ours", &[]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains(&id), "{out}");
    let (ours, theirs) = (network.path("ours"), network.download_by_server(&id, "theirs"));
    assert_same_files(&ours, &theirs);
    assert!(!ours.join(PROGRESS).exists());
    let manifest = Manifest::next_to(&ours).unwrap().unwrap();
    assert_eq!((&manifest.snapshot, &manifest.canister), (&id, &network.canister.to_text()));

    let verify = |folder: &Path| outcome_of(&program(["snapshot", "verify"]).arg(folder).output().unwrap());
    assert_eq!(verify(&ours).0, 0);
    let (code, out) = verify(&theirs);
    assert!(code == 2 && out.contains("cannot be verified"), "{code}: {out}");
    let (code, out) = network.download("ours", &[]);
    assert!(code == 0 && out.contains("already complete"), "{code}: {out}");
    let (code, out) = network.download("ours", &["--take"]);
    assert!(code == 2 && out.contains("no snapshot was taken") && out.contains(&id), "{code}: {out}");
    assert_eq!(network.pic.list_canister_snapshots(network.canister, None).unwrap().len(), 1);
    let (code, out) = network.download("theirs", &[]);
    assert!(code == 2 && out.contains("is not empty"), "{code}: {out}");

    let inspect = |folder: &Path| outcome_of(&program(["inspect"]).arg(folder).output().unwrap());
    assert!(inspect(&ours).1.contains("match its manifest"));
    assert!(inspect(&theirs).1.contains("unverified"));
    let flip = |name: &str, at: usize| {
        let mut bytes = fs::read(ours.join(name)).unwrap();
        bytes[at] ^= 1;
        fs::write(ours.join(name), bytes).unwrap();
    };
    let refused_by = |commands: &[&[&str]]| {
        for command in commands {
            let (code, out) = outcome_of(&program(*command).arg(&ours).output().unwrap());
            assert!(code == 2 && out.contains("is not the file that"), "{command:?}: {code}: {out}");
        }
    };
    flip("wasm_module.bin", 20);
    assert_eq!(verify(&ours).0, 1);
    refused_by(&[&["inspect"], &["plan"], &["rehearse", "--snapshot"]]);
    // Now a byte is wrong that no message reads. Messages run while the files are hashed, but their results do not
    // count.
    flip("wasm_module.bin", 20);
    flip("stable_memory.bin", fs::metadata(ours.join("stable_memory.bin")).unwrap().len() as usize - 1);
    refused_by(&[&["inspect", "--deep"], &["plan"], &["rehearse", "--clients", "1", "--snapshot"]]);
}

#[test]
fn killed_download_is_refused_until_it_is_resumed() {
    let network = Network::with(Build::Legacy);
    let id = network.take();
    let folder = network.kill_download("folder");
    let (code, out) = outcome_of(&program(["inspect"]).arg(&folder).output().unwrap());
    assert!(code == 2 && out.contains("session-migrate snapshot download"), "{code}: {out}");
    // A later snapshot is not mixed into the folder.
    let later = network.take();
    let (code, out) = network.download("folder", &["--snapshot", &later]);
    assert!(code == 2 && out.contains(&id) && out.contains(&later), "{code}: {out}");
    let (code, out) = network.download("folder", &[]);
    assert!(code == 0 && out.contains(&id), "{code}: {out}");
    assert_same_files(&folder, &network.download_by_server(&id, "theirs"));
    assert_eq!(outcome_of(&program(["snapshot", "verify"]).arg(&folder).output().unwrap()).0, 0);
}

#[test]
fn a_resumed_download_replaces_bytes_that_have_changed() {
    let network = Network::with(Build::Legacy);
    let theirs = network.download_by_server(&network.take(), "theirs");
    let resume = |name: &str| {
        let (code, out) = network.download(name, &[]);
        assert_eq!(code, 0, "{out}");
        let folder = network.path(name);
        assert_same_files(&folder, &theirs);
        assert_eq!(outcome_of(&program(["snapshot", "verify"]).arg(&folder).output().unwrap()).0, 0);
        out
    };
    let folder = network.kill_download("changed");
    let [_, module, heap, stable] = FILES.map(|name| folder.join(name));
    let mut bytes = fs::read(&module).unwrap();
    bytes[20] ^= 1;
    fs::write(&module, bytes).unwrap();
    File::options().write(true).open(&heap).unwrap().set_len(1).unwrap();
    fs::remove_file(&stable).unwrap();
    let out = resume("changed");
    for name in &FILES[1..] {
        assert!(out.contains(&format!("{name}: the first ")), "{name}: {out}");
    }

    // A byte after those that were downloaded, where the snapshot has a zero.
    let stable = network.kill_download("written").join("stable_memory.bin");
    let mut file = File::options().write(true).open(stable).unwrap();
    file.seek(SeekFrom::End(-1)).unwrap();
    file.write_all(&[1]).unwrap();
    resume("written");
}

#[test]
fn no_snapshot_is_taken_for_a_folder_that_cannot_be_used() {
    let network = Network::with(Build::Direct);
    // The file of the lock cannot be created.
    fs::create_dir_all(network.path("unusable/.lock")).unwrap();
    let (code, out) = network.download("unusable", &["--take"]);
    assert!(code == 3 && out.contains(".lock"), "{code}: {out}");
    fs::create_dir(network.path("locked")).unwrap();
    let lock = File::create(network.path("locked/.lock")).unwrap();
    lock.lock().unwrap();
    let (code, out) = network.download("locked", &["--take"]);
    assert!(code == 2 && out.contains("is locked"), "{code}: {out}");
    assert_eq!(network.snapshot_count(), 0);
}

#[test]
fn an_error_after_taking_names_the_snapshot_and_keeps_it() {
    let network = Network::with(Build::Direct);
    let losing = FaultyProxy::in_front_of(&network.url, &["read_canister_snapshot_metadata"], 0);
    let canister = network.canister.to_text();
    let mut command = program(["snapshot", "download", &canister, "--out", "folder", "--take"]);
    command.args(["--network", &losing.url, "-k", &network.root_key, "--retry-for", "0"]);
    command.arg("--identity").arg(network.pem()).current_dir(network.folder.path());
    let (code, out) = outcome_of(&command.output().unwrap());
    let taken = network.pic.list_canister_snapshots(network.canister, None).unwrap();
    let id = hex::encode(&taken[0].id);
    assert!(code == 3 && out.contains(&id), "{code}: {out}");
    let (code, out) = network.download("folder", &["--take"]);
    assert!(code == 0 && out.contains(&id), "{code}: {out}");
    assert_eq!(network.snapshot_count(), 1, "the download was resumed");
}

#[test]
fn killed_upload_ends_as_one_snapshot_that_loads() {
    let mut network = Network::with(Build::Legacy);
    let capsule: api::Capsule =
        network.client().update(network.owner, "capsules_create", (None::<api::PersonRef>,)).unwrap();
    assert_eq!(network.download("folder", &["--take"]).0, 0);
    let other = installed(&network.pic, network.owner, Build::Direct);
    let id = other.to_text();
    let args = ["snapshot", "upload", "folder", "--canister", &id, "--parallel", "1"];
    let progress_file = network.path("folder.upload.json");
    kill_before_its_end(network.start_in_background(&args), &progress_file);

    let (code, out) = outcome_of(&network.program_command(&args).output().unwrap());
    assert_eq!(code, 0, "{out}");
    assert!(!progress_file.exists());
    let snapshots = network.pic.list_canister_snapshots(other, None).unwrap();
    assert_eq!(snapshots.len(), 1, "the interrupted and the resumed upload are one snapshot");
    network.pic.load_canister_snapshot(other, None, snapshots[0].id.clone()).unwrap();
    network.canister = other;
    assert_eq!(network.client().build_info().unwrap().build, "legacy");
    assert_eq!(network.client().capsules_read(network.owner, &capsule.id).unwrap().id, capsule.id);
}

#[test]
fn a_second_upload_of_a_folder_is_refused_while_one_runs() {
    let network = Network::with(Build::Direct);
    let folder = network.download_by_server(&network.take(), "folder");
    // As the first upload does.
    let lock = File::create(folder.join(".lock")).unwrap();
    lock.lock().unwrap();
    let other = installed(&network.pic, network.owner, Build::Direct);
    let id = other.to_text();
    let args = ["snapshot", "upload", "folder", "--canister", &id];
    let (code, out) = outcome_of(&network.program_command(&args).output().unwrap());
    assert!(code == 2 && out.contains("is locked"), "{code}: {out}");
    assert_eq!(network.pic.list_canister_snapshots(other, None).unwrap().len(), 0);
    assert!(!network.path("folder.upload.json").exists());
}

/// Changes a progress file as if its announcement, the call `upload_canister_snapshot_metadata`, had been executed and
/// its outcome lost.
fn lose_the_outcome(progress_file: &Path, folder: &Path, canister: Principal, sender: Principal) {
    let metadata: ReadCanisterSnapshotMetadataResult =
        serde_json::from_slice(&fs::read(folder.join("metadata.json")).unwrap()).unwrap();
    let args = UploadCanisterSnapshotMetadataArgs {
        canister_id: canister,
        replace_snapshot: None,
        wasm_module_size: metadata.wasm_module_size,
        globals: metadata.globals.into_iter().map(Option::unwrap).collect(),
        wasm_memory_size: metadata.wasm_memory_size,
        stable_memory_size: metadata.stable_memory_size,
        certified_data: metadata.certified_data,
        global_timer: metadata.global_timer,
        on_low_wasm_memory_hook_status: metadata.on_low_wasm_memory_hook_status,
    };
    let expired = SystemTime::now() - Duration::from_secs(60);
    let (nonce, expiry) = (vec![7; 16], expired.duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64);
    let content = EnvelopeContent::Call {
        nonce: Some(nonce.clone()),
        ingress_expiry: expiry,
        sender,
        canister_id: Principal::management_canister(),
        method_name: "upload_canister_snapshot_metadata".into(),
        arg: candid::encode_args((&args,)).unwrap(),
        sender_info: None,
    };
    let request_id = hex::encode(to_request_id(&content).unwrap().as_slice());
    let mut progress: serde_json::Value = serde_json::from_slice(&fs::read(progress_file).unwrap()).unwrap();
    progress["announcement"] =
        json!({ "request_id": request_id, "nonce": hex::encode(nonce), "expiry": expiry });
    progress["snapshot"] = serde_json::Value::Null;
    fs::write(progress_file, progress.to_string()).unwrap();
}

#[test]
fn an_upload_that_missed_its_snapshot_id_finds_the_snapshot() {
    let network = Network::with(Build::Legacy);
    assert_eq!(network.download("folder", &["--take"]).0, 0);
    let other = installed(&network.pic, network.owner, Build::Direct);
    network.pic.take_canister_snapshot(other, None, None).unwrap();
    let id = other.to_text();
    let args = ["snapshot", "upload", "folder", "--canister", &id, "--parallel", "1"];
    let progress_file = network.path("folder.upload.json");
    kill_before_its_end(network.start_in_background(&args), &progress_file);
    lose_the_outcome(&progress_file, &network.path("folder"), other, network.owner);

    let (code, out) = outcome_of(&network.program_command(&args).output().unwrap());
    assert_eq!(code, 0, "{out}");
    let snapshots = network.pic.list_canister_snapshots(other, None).unwrap();
    assert_eq!(snapshots.len(), 2, "one was there before, and one is uploaded");
    assert!(snapshots.iter().any(|snapshot| out.contains(&hex::encode(&snapshot.id))), "{out}");
}

#[test]
fn refused_transfers_name_the_reason_and_leave_nothing() {
    let network = Network::with(Build::Legacy);
    let folder = network.path("folder");
    let (code, out) = network.download("folder", &[]);
    assert!(code == 2 && out.contains("has no snapshot"), "{code}: {out}");
    fs::create_dir(network.path("empty")).unwrap();
    for folder in ["empty", "empty/new/folder"] {
        assert_eq!(network.download(folder, &[]).0, 2);
        assert_eq!(fs::read_dir(network.path("empty")).unwrap().count(), 0, "{folder}");
    }
    let canister = network.canister.to_text();
    let pem = network.pem();
    let args = ["snapshot", "download", &canister, "--out"];
    let mut command = program(args);
    command.arg(&folder).args(["--network", &network.url]).arg("--identity").arg(&pem);
    let (code, out) = outcome_of(&command.output().unwrap());
    assert!(code == 2 && out.contains("--root-key"), "no root key was named: {code}: {out}");
    let (code, out) = network.download("folder", &["--snapshot", "00ff"]);
    assert!(code == 2 && out.contains("00ff"), "{code}: {out}");

    network.pic.set_controllers(network.canister, None, vec![candid::Principal::anonymous()]).unwrap();
    let (code, out) = network.download("folder", &[]);
    assert!(code == 2 && out.contains("list_canister_snapshots"), "{code}: {out}");
    let mut command = program(args);
    command.arg(&folder).args(["--network", "http://127.0.0.1:9", "-k", "mainnet", "--retry-for", "0"]);
    let output = command.arg("--identity").arg(&pem).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(!folder.exists());
}
