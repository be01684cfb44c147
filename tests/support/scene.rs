//! A capsule with an item of every kind, for calls that must leave it unchanged.

use candid::Principal;
use candid::types::Function;
use pocket_ic::RejectResponse;
use upload_canister::api::{
    AdminConfig, AdminStats, Capsule, DownloadStatus, Memory, MigrationStatus, UploadCounts, UploadStatus,
};

use super::upload::{chunk_count, file};
use super::{InstalledCanister, owner, reader, writer};

macro_rules! args {
    ($($arg:expr),* $(,)?) => { candid::encode_args(($($arg,)*)).unwrap() };
}
pub(crate) use args;

/// The items that calls are about: the owner's capsule, with a writer and a reader, an uploaded memory in it, and
/// sessions of the owner.
pub struct Scene {
    pub capsule: String,
    pub memory: Memory,
    /// The session that uploaded the memory.
    pub finished: u64,
    /// The owner's download of the memory.
    pub download: u64,
    /// The session in flight.
    pub session: u64,
    /// The file that the session in flight uploads.
    pub content: Vec<u8>,
    pub settings: AdminConfig,
}

/// What a call could change, without the counts of calls, which include refused ones.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    stats: AdminStats,
    settings: AdminConfig,
    capsule: Capsule,
    memory: Memory,
    session: UploadStatus,
    migration: MigrationStatus,
}

impl Scene {
    /// Creates a scene whose session has the first `sent` chunks of `content`.
    pub fn new(canister: &InstalledCanister, content: Vec<u8>, sent: u32) -> Self {
        let capsule = canister.create_capsule();
        canister.share(&capsule, &[writer()], &[reader()]);
        let stored = file(5, 1);
        let finished = canister.begin(owner(), &capsule, &stored, "stored").unwrap();
        canister.put_all(owner(), finished, &stored);
        let memory = canister.finish(owner(), finished, &stored).unwrap().memory_id;
        let session = canister.begin(owner(), &capsule, &content, "in flight").unwrap();
        assert!(sent <= chunk_count(content.len()));
        for idx in 0..sent {
            canister.put(owner(), session, idx, &content).unwrap();
        }
        let memory = canister.memory(owner(), &memory).unwrap();
        let args = (&memory.blob.locator,);
        let download = canister.update::<DownloadStatus>(owner(), "downloads_begin", args).unwrap().session;
        Self { capsule, memory, finished, download, session, content, settings: canister.config() }
    }

    /// Returns what calls about the scene could change. The test fails if an item of the scene no longer exists.
    pub fn state(&self, canister: &InstalledCanister) -> State {
        State {
            stats: AdminStats { counts: UploadCounts::default(), ..canister.stats() },
            settings: canister.config(),
            capsule: canister.query(owner(), "capsules_read", (&self.capsule,)).unwrap(),
            memory: canister.memory(owner(), &self.memory.id).unwrap(),
            session: canister.status(owner(), self.session).unwrap(),
            migration: canister.migration_status(),
        }
    }

    /// Checks that the upload in flight can still be finished, and that the memory can still be read.
    pub fn assert_alive(&self, canister: &InstalledCanister) {
        canister.put_all(owner(), self.session, &self.content);
        let result = canister.finish(owner(), self.session, &self.content).unwrap();
        assert_eq!(canister.read_back(owner(), &result.blob_id), self.content);
        assert_eq!(canister.read_back(owner(), &self.memory.blob.locator), file(5, 1));
    }
}

impl InstalledCanister {
    /// Calls a function of the interface with encoded arguments: a query by a query call, any other function by an
    /// update call.
    pub fn call(
        &self,
        caller: Principal,
        (name, function): (&str, &Function),
        arg: Vec<u8>,
    ) -> std::result::Result<Vec<u8>, RejectResponse> {
        if function.is_query() {
            self.query_bytes(caller, name, arg)
        } else {
            self.update_bytes(caller, name, arg)
        }
    }
}
