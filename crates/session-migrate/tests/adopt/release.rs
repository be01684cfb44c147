//! Stable memories of the first public release, and the results of adopting them.

use std::borrow::Cow;
use std::cell::RefCell;
use std::path::{Path, PathBuf};

use candid::{CandidType, Principal};
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager, VirtualMemory};
use ic_stable_structures::storable::Bound;
use ic_stable_structures::{StableBTreeMap, Storable, VectorMemory};
use serde_json::Value;
use session_migrate::adopt::{self, AdoptError, Item, KindCount, Options, RecordKind, RecordOutcome, Report};
use session_migrate::progress::Progress;
use tempfile::TempDir;
use upload_canister::migrations::public_release::{PublicBlob, PublicCapsule, PublicMemory, decode};
use upload_model::public_release::{PublicRelease, chunk_prefix_of};

/// A time shortly before the release, nanoseconds since 1970: September 2025.
pub const NOW: u64 = 1_759_000_000_000_000_000;

type TableMemory = VirtualMemory<VectorMemory>;

pub fn person(n: u64) -> Principal {
    Principal::self_authenticating(n.to_be_bytes())
}

/// Returns a file of `len` bytes, which are different for each seed.
pub fn file(len: usize, seed: u64) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(seed + 3) >> 3).wrapping_add(seed) as u8).collect()
}

/// A value of at most 512 bytes, as the first public release stores the records of blobs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Short(pub Vec<u8>);

impl Storable for Short {
    const BOUND: Bound = Bound::Bounded { max_size: 512, is_fixed_size: false };

    fn to_bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.0)
    }

    fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn from_bytes(bytes: Cow<'_, [u8]>) -> Self {
        Self(bytes.into_owned())
    }
}

/// A stable memory of the first public release that a test changes.
pub struct ReleaseStableMemory {
    pub raw: VectorMemory,
}

impl ReleaseStableMemory {
    pub fn of(release: &PublicRelease) -> ReleaseStableMemory {
        ReleaseStableMemory { raw: VectorMemory::new(RefCell::new(release.stable_memory())) }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.raw.borrow().clone()
    }

    fn table_memory(&self, id: u8) -> TableMemory {
        MemoryManager::init(self.raw.clone()).get(MemoryId::new(id))
    }

    pub fn capsules(&self) -> StableBTreeMap<String, Vec<u8>, TableMemory> {
        StableBTreeMap::init(self.table_memory(0))
    }

    pub fn chunks(&self) -> StableBTreeMap<([u8; 32], u32), Vec<u8>, TableMemory> {
        StableBTreeMap::init(self.table_memory(6))
    }

    pub fn blobs(&self) -> StableBTreeMap<u64, Short, TableMemory> {
        StableBTreeMap::init(self.table_memory(7))
    }

    pub fn admins(&self) -> StableBTreeMap<Principal, (), TableMemory> {
        StableBTreeMap::init(self.table_memory(9))
    }

    pub fn change_capsule(&self, id: &str, change: impl FnOnce(&mut PublicCapsule)) {
        let mut capsules = self.capsules();
        let mut capsule: PublicCapsule = decode(&capsules.get(&id.to_owned()).unwrap()).unwrap();
        change(&mut capsule);
        capsules.insert(id.to_owned(), encode_record(&capsule));
    }

    pub fn change_memory(&self, capsule: &str, memory: &str, change: impl FnOnce(&mut PublicMemory)) {
        self.change_capsule(capsule, |capsule| {
            let found = capsule.memories.iter_mut().find(|(id, _)| id == memory);
            change(&mut found.unwrap().1);
        });
    }

    pub fn change_blob(&self, id: u64, change: impl FnOnce(&mut PublicBlob)) {
        let mut blobs = self.blobs();
        let mut blob: PublicBlob = decode(&blobs.get(&id).unwrap().0).unwrap();
        change(&mut blob);
        blobs.insert(id, Short(encode_record(&blob)));
    }

    /// Stores a chunk of a session.
    pub fn put(&self, session: u64, idx: u32, bytes: &[u8]) {
        self.chunks().insert((chunk_prefix_of(session), idx), bytes.to_vec());
    }

    pub fn remove_chunk(&self, session: u64, idx: u32) {
        self.chunks().remove(&(chunk_prefix_of(session), idx)).unwrap();
    }
}

/// Returns a record as the first public release stores it.
pub fn encode_record<T: CandidType>(record: &T) -> Vec<u8> {
    candid::encode_one((1_u16, record)).unwrap()
}

/// A stable memory that was adopted: the folder that contains the result, and the report.
pub struct Adopted {
    pub folder: TempDir,
    pub report: Report,
}

impl Adopted {
    /// Adopts a stable memory, which must be possible.
    pub fn of(stable: &[u8]) -> Adopted {
        Adopted::try_of(stable).unwrap()
    }

    /// Adopts a stable memory, and checks that every record has an outcome.
    pub fn try_of(stable: &[u8]) -> Result<Adopted, AdoptError> {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = folder.path().join("old.bin");
        std::fs::write(&snapshot, stable).unwrap();
        let out = folder.path().join("adopted");
        let report = adopt::run(&Options { snapshot, out, legacy: None }, &Progress::hidden())?;
        let adopted = Adopted { folder, report };
        for count in &adopted.report.counts {
            assert!(count.has_all_outcomes(), "{count:?}");
        }
        Ok(adopted)
    }

    pub fn out(&self) -> PathBuf {
        self.folder.path().join("adopted")
    }

    pub fn count(&self, kind: RecordKind) -> KindCount {
        *self.report.counts.iter().find(|count| count.kind == kind).unwrap()
    }

    pub fn items(&self, kind: RecordKind, outcome: RecordOutcome) -> Vec<&Item> {
        self.report.items.iter().filter(|item| item.kind == kind && item.outcome == outcome).collect()
    }

    /// Returns the lines of `adopted.left.jsonl`, which has everything that was not taken.
    pub fn left(&self) -> Vec<Value> {
        lines(&self.folder.path().join("adopted.left.jsonl"))
    }
}

/// Returns the outcome of a record, and the notes about it.
pub fn outcome_of(report: &Report, kind: RecordKind, id: &str) -> (RecordOutcome, String) {
    let item = report.items.iter().find(|item| item.kind == kind && item.id == id);
    let item = item.unwrap_or_else(|| panic!("{id}: {:?}", report.items));
    (item.outcome, item.notes.join("; "))
}

pub fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
