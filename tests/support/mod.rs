//! A canister on a PocketIC instance, its users, and small uploads.
//!
//! Owns: installing and upgrading builds, typed and raw calls to every function of the interface, waiting for
//! the canister's timers. Does not own: expectations about answers, except that `upgrade` checks the build and the
//! migration's counts.

pub mod calls;
pub mod clone;
pub mod conversion;
pub mod did;
pub mod legacy_state;
pub mod scene;
pub mod scrape;
pub mod traps;
pub mod tree;
pub mod upload;

use std::sync::OnceLock;
use std::time::Duration;

use candid::utils::ArgumentEncoder;
use candid::{CandidType, Principal};
use pocket_ic::common::rest::BlobCompression;
use pocket_ic::{PocketIc, RejectResponse};
use serde::de::DeserializeOwned;
use session_migrate::build::{self, Artifact, Build};
use session_migrate::client::Canister;
use upload_canister::api::{
    AdminConfig, AdminStats, BuildInfo, Capsule, CapsuleAccess, MigrationStatus, Result, UploadCounts,
};
use upload_canister::stable::RawMemory;

/// A canister with one of the builds.
pub struct InstalledCanister {
    pub pic: PocketIc,
    pub id: Principal,
    pub build: Build,
}

fn person(n: u8) -> Principal {
    Principal::self_authenticating([n])
}

/// Returns the principal who owns the capsules of most tests and uploads to them.
pub fn owner() -> Principal {
    person(1)
}

/// Returns a principal who has write access to the owner's capsules, if a test grants it.
pub fn writer() -> Principal {
    person(2)
}

/// Returns a principal who has read access to the owner's capsules, if a test grants it.
pub fn reader() -> Principal {
    person(3)
}

/// Returns a principal who has no access to the owner's capsules, unless a test grants it.
pub fn stranger() -> Principal {
    person(4)
}

/// Returns a principal who controls the canister and is on no access list.
pub fn controller() -> Principal {
    person(5)
}

/// Magic and version of a wasm module, and nothing else.
const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// Compiles a build, at most once in a test run.
pub fn artifact(build: Build) -> &'static Artifact {
    static BUILT: [OnceLock<Artifact>; 3] = [OnceLock::new(), OnceLock::new(), OnceLock::new()];
    BUILT[build as usize].get_or_init(|| build::ensure_one(build).unwrap())
}

/// Returns the gzipped module of a build.
fn wasm(build: Build) -> Vec<u8> {
    static READ: [OnceLock<Vec<u8>>; 3] = [OnceLock::new(), OnceLock::new(), OnceLock::new()];
    READ[build as usize].get_or_init(|| std::fs::read(&artifact(build).wasm_gz).unwrap()).clone()
}

fn decode<T: CandidType + DeserializeOwned>(method: &str, reply: &[u8]) -> T {
    candid::decode_one(reply).unwrap_or_else(|error| panic!("reply of {method}: {error}"))
}

impl InstalledCanister {
    /// Installs a build on a new PocketIC instance.
    pub fn new(build: Build) -> Self {
        let pic = session_migrate::server::pocket_ic().unwrap();
        let id = pic.create_canister_with_settings(Some(controller()), None);
        let arg = candid::encode_args(()).unwrap();
        pic.install_canister(id, wasm(build), arg, Some(controller()));
        Self { pic, id, build }
    }

    /// Returns the canister as the toolkit's clients see it.
    pub fn typed_client(&self) -> Canister<'_> {
        Canister::new(&self.pic, self.id)
    }

    /// Creates a canister with an empty module and no stable memory, for tests that set the stable memory and then
    /// upgrade; `build` is recorded, not installed. An installation would allocate buckets, which would be copied for
    /// each of the hundreds of canisters that such a test creates.
    pub fn empty(build: Build) -> Self {
        let pic = session_migrate::server::pocket_ic().unwrap();
        let id = pic.create_canister_with_settings(Some(controller()), None);
        pic.install_canister(id, EMPTY_MODULE.to_vec(), Vec::new(), Some(controller()));
        Self { pic, id, build }
    }

    /// Returns a copy of the canister's stable memory.
    pub fn stable_memory(&self) -> RawMemory {
        legacy_state::memory_of(&self.pic.get_stable_memory(self.id))
    }

    /// Replaces the canister's stable memory directly; the next upgrade rebuilds its heap.
    pub fn set_stable_memory(&self, raw: &RawMemory) {
        self.pic.set_stable_memory(self.id, raw.borrow().clone(), BlobCompression::NoCompression);
    }

    /// Installs a build from scratch, with empty stable memory.
    pub fn reinstall(&mut self, build: Build) {
        let arg = candid::encode_args(()).unwrap();
        self.pic.reinstall_canister(self.id, wasm(build), arg, Some(controller())).unwrap();
        self.build = build;
    }

    /// Upgrades the canister. Fails the test unless the new build runs and, except on the legacy build, the migration's
    /// counts reconcile without a quarantined record.
    pub fn upgrade(&mut self, to: Build) {
        self.try_upgrade(to).unwrap();
        self.build = to;
        let info: BuildInfo = decode("build_info", &self.raw_query(owner(), "build_info", ()).unwrap());
        assert_eq!(info.build, to.name());
        if to != Build::Legacy {
            let status = self.migration_status();
            let accounted = status.converted + status.already + status.quarantined + status.expired;
            assert_eq!(status.source, accounted, "{status:?}");
            assert_eq!(status.quarantined, 0, "{status:?}");
        }
    }

    /// Upgrades the canister without checks. Unlike [`Self::upgrade`], leaves the field `build` unchanged.
    pub fn try_upgrade(&self, to: Build) -> std::result::Result<(), RejectResponse> {
        let arg = candid::encode_args(()).unwrap();
        self.pic.upgrade_canister(self.id, wasm(to), arg, Some(controller()))
    }

    pub fn update_bytes(
        &self,
        caller: Principal,
        method: &str,
        arg: Vec<u8>,
    ) -> std::result::Result<Vec<u8>, RejectResponse> {
        self.pic.update_call(self.id, caller, method, arg)
    }

    pub fn query_bytes(
        &self,
        caller: Principal,
        method: &str,
        arg: Vec<u8>,
    ) -> std::result::Result<Vec<u8>, RejectResponse> {
        self.pic.query_call(self.id, caller, method, arg)
    }

    /// Makes a query call, and returns its reply undecoded.
    pub fn raw_query(
        &self,
        caller: Principal,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> std::result::Result<Vec<u8>, RejectResponse> {
        self.query_bytes(caller, method, candid::encode_args(args).unwrap())
    }

    /// Makes an update call to a function that answers `variant { Ok; Err }`. A rejected call fails the test.
    pub fn update<T: CandidType + DeserializeOwned>(
        &self,
        caller: Principal,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> Result<T> {
        let reply = self.update_bytes(caller, method, candid::encode_args(args).unwrap());
        decode(method, &reply.unwrap_or_else(|reject| panic!("{method}: {reject}")))
    }

    /// Makes a query call to a function that answers `variant { Ok; Err }`. A rejected call fails the test.
    pub fn query<T: CandidType + DeserializeOwned>(
        &self,
        caller: Principal,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> Result<T> {
        let reply = self.raw_query(caller, method, args);
        decode(method, &reply.unwrap_or_else(|reject| panic!("{method}: {reject}")))
    }

    /// Makes an anonymous query call to a function that answers without `variant { Ok; Err }`.
    pub fn query_plain<T: CandidType + DeserializeOwned>(
        &self,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> T {
        decode(method, &self.raw_query(Principal::anonymous(), method, args).unwrap())
    }

    pub fn stats(&self) -> AdminStats {
        self.query(controller(), "admin_stats", ()).unwrap()
    }

    /// Returns the canister's statistics without the sizes and counts that depend on its history.
    pub fn holdings(&self) -> AdminStats {
        let counts = UploadCounts::default();
        AdminStats { stable_memory_bytes: 0, payload_region_bytes: 0, counts, ..self.stats() }
    }

    /// Returns the room that stored files of these lengths take in the canister's layout: the number of chunks in the
    /// chunk map, and of bytes in the payload region, where extents are allocated in units of 64 bytes. At least one
    /// of the two is 0.
    pub fn payload_of(&self, lens: &[usize]) -> (u64, u64) {
        if self.migration_status().layout < 3 {
            (lens.iter().map(|len| u64::from(upload::chunk_count(*len))).sum(), 0)
        } else {
            (0, lens.iter().map(|len| len.next_multiple_of(64) as u64).sum())
        }
    }

    pub fn config(&self) -> AdminConfig {
        self.query(controller(), "admin_config_get", ()).unwrap()
    }

    /// Changes the settings as a controller. The test fails if the canister refuses the change.
    pub fn configure(&self, change: impl FnOnce(&mut AdminConfig)) {
        self.try_configure(change).unwrap();
    }

    pub fn try_configure(&self, change: impl FnOnce(&mut AdminConfig)) -> Result<()> {
        let mut config = self.config();
        change(&mut config);
        self.update(controller(), "admin_config_set", (config,))
    }

    pub fn migration_status(&self) -> MigrationStatus {
        self.query(controller(), "migration_status", ()).unwrap()
    }

    /// Creates a capsule of [`owner`].
    pub fn create_capsule(&self) -> String {
        self.create_capsule_of(owner())
    }

    pub fn create_capsule_of(&self, owner: Principal) -> String {
        let created: Result<Capsule> =
            self.update(owner, "capsules_create", (None::<upload_canister::api::PersonRef>,));
        created.unwrap().id
    }

    /// Gives these principals write and read access to a capsule of [`owner`], in place of the previous ones.
    pub fn share(&self, capsule: &str, writers: &[Principal], readers: &[Principal]) {
        let access =
            CapsuleAccess { owners: vec![owner()], writers: writers.to_vec(), readers: readers.to_vec() };
        self.update::<Capsule>(owner(), "capsules_set_access", (capsule, access)).unwrap();
    }

    /// Lets at least this time pass, and runs the timers afterwards, which takes another minute or more.
    pub fn pass(&self, time: Duration) {
        self.pic.advance_time(time);
        // The canister's timer runs at least once a minute.
        self.run_timers_until(|_| true);
    }

    /// Runs the timers until no release is pending and `done` holds.
    pub fn run_timers_until(&self, done: impl Fn(&AdminStats) -> bool) {
        for _ in 0..60 {
            self.pic.advance_time(Duration::from_secs(61));
            self.pic.tick();
            self.pic.tick();
            let stats = self.stats();
            if stats.releases_pending == 0 && done(&stats) {
                return;
            }
        }
        panic!("the timers do not settle: {:?}", self.stats());
    }
}
