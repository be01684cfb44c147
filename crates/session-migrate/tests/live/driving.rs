//! Upgrades driven in this process, and uploads that run at the same time.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pocket_ic::common::rest::BlobCompression;
use session_migrate::build::{Build, Module};
use session_migrate::client::{Asset, UploadStep, Uploader};
use session_migrate::network::{self, Clock, Retry, RootKey, read_identity, system_clock};
use session_migrate::progress::Progress;
use session_migrate::upgrade::{
    self, Event, Journal, Line, Listener, OnFailure, Plan, Report, Step, Tools, UpgradeError,
};
use upload_canister::api;
use upload_canister::session::ChunkSet;
use upload_canister::stable::layout::Layout;
use upload_canister::storage::Storage;
use upload_canister::upload::{RawRecord, SessionRecord};

use super::network::{CHUNK, Network, module, outcome_of};

impl Network {
    /// Returns the module of a build, as the program reads it.
    pub fn module(&self, build: Build) -> Module {
        let path = self.path(&format!("{build}.wasm.gz"));
        std::fs::write(&path, module(build)).unwrap();
        Module::read(&path).unwrap()
    }

    pub fn plan(&self, to: Build, module: &Module) -> Plan {
        Plan {
            canister: self.canister,
            network: self.url.clone(),
            root_key: self.root_key.clone(),
            caller: self.owner,
            to,
            module_hash: module.sha256.clone(),
            stop: false,
            rehearse: false,
            on_failure: OnFailure::Rollback,
            max_quarantined: None,
            time_limit: 60,
            drop_snapshot: false,
            replace_snapshot: None,
        }
    }

    /// Drives an upgrade in this process: resumes the unfinished upgrade in the journal or, if there is none, begins
    /// one by `plan`.
    pub fn drive(
        &self,
        plan: &Plan,
        module: &Module,
        listener: &mut dyn Listener,
    ) -> Result<Report, UpgradeError> {
        self.drive_at(&self.url, plan, module, listener, Duration::from_secs(30))
    }

    /// Does the same as [`Self::drive`] at the URL `url`, and retries calls for `retry_for`.
    pub fn drive_at(
        &self,
        url: &str,
        plan: &Plan,
        module: &Module,
        listener: &mut dyn Listener,
        retry_for: Duration,
    ) -> Result<Report, UpgradeError> {
        self.drive_by(system_clock(), url, plan, module, listener, retry_for)
    }

    /// Does the same as [`Self::drive_at`], with `clock` as its clock.
    pub fn drive_by(
        &self,
        clock: &Arc<dyn Clock>,
        url: &str,
        plan: &Plan,
        module: &Module,
        listener: &mut dyn Listener,
        retry_for: Duration,
    ) -> Result<Report, UpgradeError> {
        self.run_by(clock, url, Some((plan, module)), listener, retry_for)
    }

    /// Aborts the unfinished upgrade in the journal, in this process.
    pub fn abort(&self, listener: &mut dyn Listener) -> Result<Report, UpgradeError> {
        self.run_by(system_clock(), &self.url, None, listener, Duration::from_secs(30))
    }

    /// Does the same as [`Self::drive_by`] or, without a plan and a module, as [`Self::abort`].
    fn run_by(
        &self,
        clock: &Arc<dyn Clock>,
        url: &str,
        planned: Option<(&Plan, &Module)>,
        listener: &mut dyn Listener,
        retry_for: Duration,
    ) -> Result<Report, UpgradeError> {
        // If another test starts a program, this program has a copy of each open file until it is executed, and so
        // keeps the lock of the previous driver.
        let mut journal = loop {
            match Journal::open(&self.journal(), &mut *listener) {
                Err(UpgradeError::Locked { .. }) => std::thread::yield_now(),
                opened => break opened?,
            }
        };
        let key = RootKey::Der(hex::decode(&self.root_key).unwrap());
        let identity = read_identity(&self.pem()).unwrap();
        let progress = Progress::hidden();
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let network = network::Network::connect(url, &key, identity).await.unwrap();
            let tools = Tools { network: &network, retry: Retry { retry_for, progress: &progress, clock } };
            let Some((plan, module)) = planned else {
                return upgrade::abort(&tools, self.canister, &mut journal).await;
            };
            match journal.unfinished_plan() {
                Ok(_) => upgrade::resume(&tools, plan.canister, module, &mut journal).await,
                Err(_) => upgrade::begin(&tools, plan.clone(), module, &mut journal).await,
            }
        })
    }

    pub fn journal(&self) -> PathBuf {
        self.path(&format!("upgrade-{}.jsonl", self.canister))
    }

    /// Returns the events of all upgrades in the journal.
    pub fn events(&self) -> Vec<Event> {
        let text = std::fs::read_to_string(self.journal()).unwrap();
        text.lines().map(|line| serde_json::from_str::<Line>(line).unwrap().event).collect()
    }

    /// Begins an upload of three chunks, and sends one of them.
    pub fn upload_in_flight(&self, name: &str) -> Uploader {
        let client = self.client();
        let capsule = match self.capsules(self.owner).into_iter().next() {
            Some(capsule) => capsule.id,
            None => client.capsules_create(self.owner, None).unwrap().id,
        };
        let file = self.file(name, 2 * CHUNK + 7);
        let asset = Asset::open(&file, name, api::AssetType::Original).unwrap();
        let chunk_size = client.upload_config().unwrap().chunk_size;
        let mut uploader = Uploader::new(self.owner, capsule, asset, name, chunk_size);
        uploader.step(&client, UploadStep::Begin).unwrap();
        uploader.step(&client, UploadStep::Put(1)).unwrap();
        uploader
    }

    /// Damages a session, which the migration will quarantine. An upgrade checks the first and the last session, so the
    /// damaged session is neither.
    pub fn damage_a_session(&self) {
        // The second session comes after the damaged one, so that the damaged one is not the last.
        let [damaged, _] =
            ["damaged.jpg", "after.jpg"].map(|name| self.upload_in_flight(name).session().unwrap());
        change_storage(self, |storage| storage.sessions.legacy.insert(damaged, &RawRecord(vec![0xff; 8])));
    }

    /// Completes an upload, and checks that the stored bytes are those of the file.
    pub fn finish(&self, mut uploader: Uploader) {
        uploader.run(&self.client()).unwrap();
        let file = std::fs::read(self.path(&uploader.asset.name)).unwrap();
        assert!(self.stored().contains(&(uploader.asset.name.clone(), file)), "{}", uploader.asset.name);
    }

    pub fn running_build(&self) -> String {
        self.client().build_info().unwrap().build
    }

    pub fn snapshot_count(&self) -> usize {
        self.pic.list_canister_snapshots(self.canister, None).unwrap().len()
    }

    /// Runs the program's `upgrade` to its end; returns the exit code, and everything that was printed.
    pub fn run_upgrade(&self, to: &str, more: &[&str]) -> (i32, String) {
        let canister = self.canister.to_text();
        outcome_of(
            &self
                .program_command(&[&["upgrade", &canister, "--to", to][..], more].concat())
                .output()
                .unwrap(),
        )
    }
}

/// Runs `work` from within the driver, in another thread, since the driver's thread has a runtime of its own.
pub fn meanwhile(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap());
}

/// A listener that calls a function after each line of the journal.
pub struct After<F: FnMut(&Event)>(pub F);

impl<F: FnMut(&Event)> Listener for After<F> {
    fn after(&mut self, line: &Line) -> std::io::Result<()> {
        (self.0)(&line.event);
        Ok(())
    }
}

pub fn is_receipt(event: &Event, wanted: Step) -> bool {
    matches!(event, Event::Receipt { step, .. } if *step == wanted)
}

/// Changes the canister's stable memory in layout 1 or 2 from outside; its heap stays as it is.
pub fn change_storage(network: &Network, change: impl FnOnce(&mut Storage)) {
    let raw = Rc::new(RefCell::new(network.pic.get_stable_memory(network.canister)));
    let mut storage = Storage::open_accepting(raw.clone(), &[Layout::LEGACY, Layout::SPLIT]).unwrap();
    change(&mut storage);
    drop(storage);
    network.pic.set_stable_memory(network.canister, raw.take(), BlobCompression::NoCompression);
}

/// Removes all information about the chunks from a session, so that its migration can neither be verified nor rolled
/// back.
pub fn forget_chunks(network: &Network, session: u64) {
    change_storage(network, |storage| {
        let mut found = storage.sessions.sessions.get(&session).unwrap().unwrap().into_session().unwrap();
        found.received_idxs = ChunkSet::default();
        storage.sessions.sessions.insert(session, &SessionRecord::from(&found));
    });
}
