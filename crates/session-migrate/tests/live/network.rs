//! A live network of the embedded server, and commands that run the program on it.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output};

use candid::Principal;
use pocket_ic::{PocketIc, PocketIcBuilder};
use pocket_ic_embedded::EmbeddedServer;
use session_migrate::build::{Build, ensure_one};
use session_migrate::client::Canister;
use session_migrate::network::read_identity;
use tempfile::TempDir;

/// An Ed25519 key for tests.
pub const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
                   MC4CAQAwBQYDK2VwBCIEIFXAVzsbqX1H+5TFdV9y5IQpt5mkXS+Z+BRX1jHJ1/iZ\n\
                   -----END PRIVATE KEY-----\n";
/// Bytes of a chunk.
pub const CHUNK: usize = 1_800_000;

/// A network with an upload canister, and a folder with an identity. The program connects to the network as a
/// [`session_migrate::network::Network`].
pub struct Network {
    pub pic: PocketIc,
    pub url: String,
    pub root_key: String,
    pub canister: Principal,
    pub owner: Principal,
    pub folder: TempDir,
}

pub fn module(build: Build) -> Vec<u8> {
    std::fs::read(ensure_one(build).unwrap().wasm_gz).unwrap()
}

/// Creates a canister with a build, controlled by `owner` and by the anonymous principal, PocketIC's default
/// controller.
pub fn installed(pic: &PocketIc, owner: Principal, build: Build) -> Principal {
    let canister = pic.create_canister();
    pic.set_controllers(canister, None, vec![owner, Principal::anonymous()]).unwrap();
    pic.add_cycles(canister, 100_000_000_000_000);
    pic.install_canister(canister, module(build), b"DIDL\0\0".to_vec(), None);
    canister
}

/// Creates an instance without canisters. The program verifies certificates with the key of its NNS subnet.
pub fn instance() -> PocketIc {
    PocketIcBuilder::new()
        .with_server_url(EmbeddedServer::shared().unwrap().url())
        .with_nns_subnet()
        .with_application_subnet()
        .build()
}

impl Network {
    pub fn with(build: Build) -> Network {
        let pic = instance();
        let folder = tempfile::tempdir().unwrap();
        let pem = folder.path().join("identity.pem");
        std::fs::write(&pem, KEY).unwrap();
        let owner = read_identity(&pem).unwrap().sender().unwrap();
        let canister = installed(&pic, owner, build);
        let url = pic.auto_progress().to_string();
        let root_key = hex::encode(pic.root_key().unwrap());
        Network { pic, url, root_key, canister, owner, folder }
    }

    pub fn pem(&self) -> PathBuf {
        self.folder.path().join("identity.pem")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns a command that runs the program on this network with the owner's identity.
    pub fn program_command(&self, args: &[&str]) -> Command {
        let mut command = program(args);
        command.args(["--network", &self.url, "-k", &self.root_key]).arg("--identity").arg(self.pem());
        command.current_dir(self.folder.path());
        command
    }

    /// Writes a file whose content depends only on the size and on the length of the name.
    pub fn file(&self, name: &str, bytes: usize) -> PathBuf {
        let path = self.folder.path().join(name);
        let content: Vec<u8> = (0..bytes).map(|i| (i * i / 7 + name.len()) as u8).collect();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Upgrades the canister without the program.
    pub fn upgrade(&self, build: Build) {
        self.pic.upgrade_canister(self.canister, module(build), b"DIDL\0\0".to_vec(), None).unwrap();
    }

    /// Returns the canister, for calls that PocketIC makes as any caller.
    pub fn client(&self) -> Canister<'_> {
        Canister::new(&self.pic, self.canister)
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns the exit code, and everything that was printed.
pub fn outcome_of(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
}

/// Returns a command that runs the program; [`Network::program_command`] also names the network and the identity.
pub fn program(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_session-migrate"));
    command.args(args);
    command
}
