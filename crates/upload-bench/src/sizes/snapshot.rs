//! Large snapshots, created by the canister's own code, and a network to which they are sent.

use std::fs;
use std::path::{Path, PathBuf};

use candid::Principal;
use pocket_ic::{PocketIc, PocketIcBuilder};
use serde_bytes::ByteBuf;
use session_migrate::build::{Build, Module};
use session_migrate::network::read_identity;
use session_migrate::server;
use session_migrate::snapshot::{Snapshot, load};
use upload_canister::api::{Error, HashAlgorithm};
use upload_canister::meter::Unmetered;
use upload_canister::stable::RawMemory;
use upload_canister::upload::UploadService;
use upload_canister::upload::path::ActivePath;

use crate::error::BenchError;
use crate::metered_canister::{BEGINNING_SECONDS, Wasm, client};
use crate::payload::File as Payload;
use crate::{seed, sparse};

/// Number of chunks of each file: 36 MB, like a video of a minute.
const CHUNKS: u32 = 20;

/// One of this many files is in flight: half of its chunks have arrived.
const ONE_IN_FLIGHT_OF: u32 = 10;

/// The Ed25519 key of the controller on the network, as PEM; for tests only.
const TEST_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
                   MC4CAQAwBQYDK2VwBCIEIFXAVzsbqX1H+5TFdV9y5IQpt5mkXS+Z+BRX1jHJ1/iZ\n\
                   -----END PRIVATE KEY-----\n";

/// Writes the snapshot folder of a legacy canister that holds files of `file_bytes` bytes in all, rounded up to whole
/// files. Its stable memory is grown to at least `stable_bytes`.
pub(super) fn make(
    wasms: &[Wasm],
    file_bytes: u64,
    stable_bytes: u64,
    folder: &Path,
) -> Result<(), BenchError> {
    let raw = folder.with_extension("raw");
    sparse::write(&make_state(file_bytes)?, stable_bytes, &raw).map_err(BenchError::file("write", &raw))?;
    let legacy = wasms.iter().find(|wasm| wasm.build == Build::Legacy);
    let legacy = legacy.ok_or_else(|| BenchError::file("find", "legacy.wasm.gz")("not built"))?;
    let file = folder.with_extension("wasm.gz");
    fs::write(&file, &legacy.gz).map_err(BenchError::file("write", &file))?;
    let module = Module::read(&file).map_err(BenchError::file("read", &file))?;
    // `load` gives the canister a heap that fits the stable memory.
    let pic = server::pocket_ic()?;
    let controller = client();
    let id = pic.create_canister_with_settings(Some(controller), None);
    let opened = Snapshot::open(&raw).map_err(BenchError::file("open", &raw))?;
    let as_of = BEGINNING_SECONDS * 1_000_000_000;
    load(&pic, id, controller, &opened, as_of, &module).map_err(BenchError::file("load", &raw))?;
    download(&pic, id, controller, folder)?;
    for path in [raw, file] {
        fs::remove_file(&path).map_err(BenchError::file("remove", &path))?;
    }
    Ok(())
}

/// Takes a snapshot of a canister, and writes it to a folder.
pub(super) fn download(
    pic: &PocketIc,
    id: Principal,
    controller: Principal,
    folder: &Path,
) -> Result<(), BenchError> {
    let taken = pic.take_canister_snapshot(id, Some(controller), None);
    let taken = taken.map_err(|reject| BenchError::file("snapshot", folder)(reject.reject_message))?;
    pic.canister_snapshot_download(id, controller, taken.id, folder.to_path_buf());
    Ok(())
}

/// Returns the stable memory of the canister that [`make`] creates.
fn make_state(file_bytes: u64) -> Result<RawMemory, BenchError> {
    let files = file_bytes.div_ceil(Payload::of_chunks(CHUNKS, 0).bytes) as u32;
    let fill = || {
        let mut state = seed::LegacyState::new()?;
        (0..files).try_for_each(|number| add_upload(&mut state, number, number % ONE_IN_FLIGHT_OF == 1))?;
        Ok::<_, Error>(state.finish())
    };
    fill().map_err(|error| BenchError::Seed { sessions: files, memories: files, detail: error.to_string() })
}

fn add_upload(state: &mut seed::LegacyState, number: u32, is_in_flight: bool) -> Result<(), Error> {
    let file = Payload::of_chunks(CHUNKS, u64::from(number) + 1);
    let capsule = state.capsule.clone();
    let path = &mut ActivePath::default();
    let mut service = UploadService::new(&mut state.storage, path, client(), seed::now(), &Unmetered);
    let idem = format!("upload {number}");
    let session = service.begin(capsule, file.metadata(), CHUNKS, idem, HashAlgorithm::Sha256)?;
    let stored = if is_in_flight { CHUNKS / 2 } else { CHUNKS };
    for index in 0..stored {
        service.put_chunk(session, index, &mut file.chunk(index).as_slice(), None)?;
    }
    if !is_in_flight {
        service.finish(session, &ByteBuf::from(file.sha256()), file.bytes)?;
    }
    Ok(())
}

/// A network that runs in this process and advances on its own, like a live one, with an empty canister.
pub(super) struct Network {
    /// Keeps the instance alive.
    _pic: PocketIc,
    url: String,
    root_key: String,
    pem: PathBuf,
    pub canister: Principal,
}

impl Network {
    /// Starts the network, and writes the controller's key to the folder.
    pub fn start(folder: &Path) -> Result<Network, BenchError> {
        let pem = folder.join("identity.pem");
        fs::write(&pem, TEST_KEY).map_err(BenchError::file("write", &pem))?;
        let owner = read_identity(&pem).map_err(|error| error.to_string());
        let owner = owner.and_then(|identity| identity.sender()).map_err(BenchError::file("read", &pem))?;
        let url = server::pocket_ic()?.get_server_url();
        let pic =
            PocketIcBuilder::new().with_server_url(url).with_nns_subnet().with_application_subnet().build();
        let canister = pic.create_canister_with_settings(Some(owner), None);
        let root_key = hex::encode(pic.root_key().unwrap_or_default());
        let url = pic.auto_progress().to_string();
        Ok(Network { _pic: pic, url, root_key, pem, canister })
    }

    /// Returns the command-line arguments that specify the network.
    pub fn arguments(&self) -> [&str; 6] {
        let pem = self.pem.to_str().unwrap_or_default();
        ["--network", &self.url, "-k", &self.root_key, "--identity", pem]
    }
}
