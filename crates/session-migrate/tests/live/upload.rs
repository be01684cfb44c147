//! The `upload` command on a live network of the embedded server.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use candid::Principal;
use session_migrate::build::Build;
use upload_canister::api;

use super::network::{CHUNK, Network, program, text};

impl Network {
    fn upload_command(&self, files: &[&Path], more: &[&str]) -> Command {
        let mut command = program(["upload"]);
        command.args(files);
        command.args(["--network", &self.url, "--canister", &self.canister.to_text()]);
        command.arg("--identity").arg(self.pem()).args(more);
        command
    }

    fn upload(&self, files: &[&Path], more: &[&str]) -> Output {
        let key = ["-k", &self.root_key];
        self.upload_command(files, &[&key[..], more].concat()).output().unwrap()
    }

    /// Starts an upload of one chunk at a time, so that a test can act before its end.
    fn start_upload(&self, files: &[&Path]) -> Child {
        let mut command = self.upload_command(files, &["-k", &self.root_key, "--parallel", "1"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    pub fn capsules(&self, owner: Principal) -> Vec<api::Capsule> {
        self.client().query(owner, "capsules_list", (None::<String>, None::<u32>)).unwrap()
    }

    /// Returns the stored files of the owner, each with its name and content, in the order of their names.
    pub fn stored(&self) -> Vec<(String, Vec<u8>)> {
        self.stored_by(self.owner)
    }

    pub fn stored_by(&self, owner: Principal) -> Vec<(String, Vec<u8>)> {
        let capsules = self.capsules(owner);
        assert_eq!(capsules.len(), 1, "{capsules:?}");
        let memories = self.client().memories_all(owner, &capsules[0].id).unwrap();
        let mut files: Vec<_> = memories.iter().map(|memory| self.content(owner, memory)).collect();
        files.sort();
        files
    }

    fn content(&self, owner: Principal, memory: &api::Memory) -> (String, Vec<u8>) {
        let base = memory.asset_metadata.base();
        let blob = &memory.blob.locator;
        let chunks = self.client().blob_get_meta(owner, blob).unwrap().chunk_count;
        let read = |index| self.client().blob_read_chunk(owner, blob, index).unwrap();
        (base.name.clone(), (0..chunks).flat_map(read).collect())
    }

    pub fn sessions(&self) -> Vec<api::UploadStatus> {
        self.client().query(self.owner, "uploads_list", (None::<u64>, None::<u32>)).unwrap()
    }
}

#[test]
fn files_arrive_complete_and_a_second_run_finds_them() {
    let network = Network::with(Build::Direct);
    let files = [network.file("a.jpg", 2 * CHUNK + 5), network.file("b.pdf", 700), network.file("c.txt", 0)];
    let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let first = network.upload(&paths, &[]);
    assert!(first.status.success(), "{}", text(&first.stderr));
    let expected: Vec<_> = ["a.jpg", "b.pdf", "c.txt"]
        .iter()
        .zip(&files)
        .map(|(name, path)| ((*name).to_owned(), std::fs::read(path).unwrap()))
        .collect();
    assert_eq!(network.stored(), expected);
    let again = network.upload(&paths, &[]);
    assert_eq!(text(&again.stdout), text(&first.stdout), "{}", text(&again.stderr));
    assert_eq!(network.stored().len(), 3, "nothing is stored twice");
}

/// A page of the list has at most 100 capsules.
#[test]
fn own_capsules_are_found_on_every_page_of_the_list() {
    let network = Network::with(Build::Direct);
    for _ in 0..101 {
        let made: api::Capsule =
            network.client().update(network.owner, "capsules_create", (None::<api::PersonRef>,)).unwrap();
        assert!(made.owners.contains(&network.owner));
    }
    let refused = network.upload(&[&network.file("small.bin", 700)], &[]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stdout));
    let error = text(&refused.stderr);
    assert!(error.contains("has 101 capsules: choose one with --capsule"), "{error}");
}

#[test]
fn a_killed_upload_continues_after_two_upgrades() {
    let network = Network::with(Build::Legacy);
    let file = network.file("large.bin", 40 * CHUNK);
    let mut child = network.start_upload(&[&file]);
    let received = || network.sessions().first().map_or(0, |status| status.bytes_received);
    while received() < 3 * CHUNK as u64 {
        assert_eq!(child.try_wait().unwrap(), None, "the upload has ended before it was killed");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = network.sessions().remove(0);
    assert!(before.bytes_received < before.bytes_expected, "{before:?}");
    network.upgrade(Build::Staged);
    network.upgrade(Build::Direct);
    let done = network.upload(&[&file], &[]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(network.sessions().is_empty(), "the session of the killed upload was finished");
    assert_eq!(network.stored(), [("large.bin".to_owned(), std::fs::read(&file).unwrap())]);
}

#[test]
fn stopped_canister_is_waited_for() {
    let network = Network::with(Build::Direct);
    let file = network.file("large.bin", 10 * CHUNK);
    let mut child = network.start_upload(&[&file]);
    while network.sessions().is_empty() {
        assert_eq!(child.try_wait().unwrap(), None, "the upload has ended before the canister was stopped");
    }
    network.pic.stop_canister(network.canister, None).unwrap();
    network.upgrade(Build::Direct);
    network.pic.start_canister(network.canister, None).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(network.stored(), [("large.bin".to_owned(), std::fs::read(&file).unwrap())]);
}

#[test]
fn canister_that_is_stopped_from_the_beginning_is_waited_for() {
    let network = Network::with(Build::Direct);
    let file = network.file("small.bin", 700);
    network.pic.stop_canister(network.canister, None).unwrap();
    let mut command = network.upload_command(&[&file], &["-k", &network.root_key]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("CanisterStopped") && line.contains("again in")));
    network.pic.start_canister(network.canister, None).unwrap();
    let rest: Vec<String> = lines.collect();
    assert!(child.wait().unwrap().success(), "{rest:?}");
    assert_eq!(network.stored(), [("small.bin".to_owned(), std::fs::read(&file).unwrap())]);
}

#[test]
fn changed_file_is_aborted_and_files_before_it_are_listed() {
    let network = Network::with(Build::Direct);
    let small = network.file("a\nb.txt", 700);
    let large = network.file("large.bin", 40 * CHUNK);
    let mut command =
        network.upload_command(&[&small, &large], &["-k", &network.root_key, "--parallel", "1"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let received = || network.sessions().first().map_or(0, |status| status.bytes_received);
    while received() < 3 * CHUNK as u64 {
        assert_eq!(child.try_wait().unwrap(), None, "the upload has ended before the file was changed");
    }
    std::fs::write(&large, "another file").unwrap();
    let output = child.wait_with_output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("large.bin changed while it was being uploaded; repeat the command"), "{error}");
    assert!(network.sessions().is_empty(), "the session that nobody can continue has ended");
    let memories =
        network.client().memories_all(network.owner, &network.capsules(network.owner)[0].id).unwrap();
    let listed = text(&output.stdout);
    assert!(memories.len() == 1 && listed.contains(&memories[0].id), "{listed}");
    assert!(listed.contains("a\\nb.txt"), "a row is one line: {listed}");
}

#[test]
fn each_refusal_names_its_reason_and_has_its_exit_code() {
    let network = Network::with(Build::Direct);
    let file = network.file("a.txt", 10);
    let missing = network.folder.path().join("not-there");
    let outcome_of = |output: Output| (output.status.code().unwrap(), text(&output.stderr));
    let (code, error) = outcome_of(network.upload(&[&missing], &[]));
    assert!(code == 2 && error.contains("not-there"), "{code}: {error}");
    let mut piped = network.upload_command(&[Path::new("/dev/stdin")], &["-k", &network.root_key]);
    let (code, error) = outcome_of(piped.stdin(Stdio::piped()).output().unwrap());
    assert!(code == 2 && error.contains("/dev/stdin: it is not a regular file"), "{code}: {error}");
    let (code, error) = outcome_of(network.upload_command(&[&file], &["-k", "00"]).output().unwrap());
    assert!(code == 2 && error.contains("266 hexadecimal digits"), "{code}: {error}");
    // The key of another network: no answer is accepted.
    let (code, error) = outcome_of(network.upload_command(&[&file], &["-k", "mainnet"]).output().unwrap());
    assert!(code == 3 && error.contains("upload_config"), "{code}: {error}");
    let (code, error) = outcome_of(network.upload(&[&file], &["--capsule", "capsule_9"]));
    assert!(
        code == 1 && error.contains("a.txt: uploads_begin: ") && error.contains("capsule_9"),
        "{code}: {error}"
    );
    std::fs::write(network.folder.path().join("identity.pem"), "no key").unwrap();
    let (code, error) = outcome_of(network.upload(&[&file], &[]));
    assert!(code == 2 && error.contains("identity.pem has no identity"), "{code}: {error}");
    assert!(network.sessions().is_empty());
}
