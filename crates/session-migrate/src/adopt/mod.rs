//! Adopts a canister of the first public release: reads its snapshot, and writes a snapshot in layout 1 that the legacy
//! build of this canister can load.
//!
//! Owns: the treatment of each record, and the report. Does not own: the formats of that release (they are in
//! `migrations::public_release`), and how this canister stores records (its [`Storage`] writes them).
//!
//! `source` reads the stable memory of that release, and `heap` its heap; `plan` decides; `write` writes the new stable
//! memory, and `left` the file next to the folder. Everything is written under temporary names, and renamed once it is
//! complete and verified.
//!
//! [`Storage`]: upload_canister::storage::Storage

mod asset;
mod error;
mod header;
mod heap;
mod left;
mod plan;
mod report;
mod source;
mod write;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use candid::Principal;
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager};
use sha2::Digest as _;
use tempfile::TempDir;
use upload_canister::blob::{BlobRecord, Sha256Blob};
use upload_canister::session::Time;
use upload_canister::stable::memory_ids::numbers as ids;
use upload_canister::stable::{RawMemory, Record};

use crate::build::{self, Build, BuildError, Module};
use crate::inspect::{self, Severity};
use crate::progress::Progress;
use crate::provenance::Provenance;
use crate::server;
use crate::snapshot::{
    CHUNK_STORE, CopyError, FileEntry, METADATA, Manifest, STABLE_MEMORY, Snapshot, SnapshotError, Tree,
    WASM_MEMORY, WASM_MODULE, load, sha256_of, write_sparse,
};
use crate::{Verdict, folder_of, temporary};

pub use error::AdoptError;
pub use header::Header;
pub use report::{Item, KindCount, RecordKind, RecordOutcome, Report};

use heap::{Heap, RunningRelease};
use left::LeftFile;
use plan::Plan;
use source::Source;

/// The snapshot to adopt, and the folder to write.
#[derive(Clone, Debug)]
pub struct Options {
    /// A snapshot folder of the first public release, or a file with its raw stable memory.
    pub snapshot: PathBuf,
    /// The folder to write, which must not exist.
    pub out: PathBuf,
    /// A wasm to use as the legacy build; `None`: the tree's legacy build.
    pub legacy: Option<PathBuf>,
}

/// Returns the path of the file next to `folder` for what is left: data without a counterpart in this canister, and
/// records that were not taken.
pub fn left_path(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".left.jsonl");
    folder.with_file_name(name)
}

/// Temporary folder next to the final one, in which everything is written first.
struct Scratch {
    folder: TempDir,
    out: PathBuf,
}

impl Scratch {
    fn next_to(out: &Path) -> Result<Scratch, AdoptError> {
        let out = std::path::absolute(out).map_err(SnapshotError::io("find", out))?;
        for path in [out.clone(), left_path(&out), Manifest::path(&out)] {
            if path.symlink_metadata().is_ok() {
                return Err(AdoptError::Exists { path });
            }
        }
        let parent = folder_of(&out);
        let folder = tempfile::Builder::new()
            .prefix(".partial-")
            .tempdir_in(parent)
            .map_err(|source| AdoptError::NoFolder { path: parent.to_path_buf(), source })?;
        temporary::register(folder.path());
        Ok(Scratch { folder, out })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn adopted_folder(&self) -> PathBuf {
        self.path("adopted")
    }

    fn left_file(&self) -> PathBuf {
        self.path("left.jsonl")
    }

    /// Renames everything to its final name. If one of the renames fails, the earlier ones are reversed.
    fn publish(self) -> Result<(), SnapshotError> {
        // The folder comes last: once it exists, the files next to it exist, too.
        let moves = [
            (self.left_file(), left_path(&self.out)),
            (Manifest::path(&self.adopted_folder()), Manifest::path(&self.out)),
            (self.adopted_folder(), self.out.clone()),
        ];
        for (renamed, (from, to)) in moves.iter().enumerate() {
            if let Err(error) = fs::rename(from, to) {
                for (from, to) in moves.iter().take(renamed) {
                    // A file that cannot be moved back is named by the next attempt: `AdoptError::Exists`.
                    let _ = fs::rename(to, from);
                }
                return Err(SnapshotError::io("create", to)(error));
            }
        }
        Ok(())
    }
}

/// Adopts a snapshot.
///
/// # Errors
/// [`AdoptError`]. Damaged records are no error: they are in the [`Report`].
pub fn run(options: &Options, progress: &Progress) -> Result<Report, AdoptError> {
    let provenance = Provenance::now();
    let scratch = Scratch::next_to(&options.out)?;
    progress.phase("opening the snapshot");
    let mut snapshot = Snapshot::open(&options.snapshot)?;
    snapshot.verify(&mut |bytes| progress.add_bytes(bytes))?;
    progress.phase("reading every record and hashing every chunk");
    let source = Source::read(&snapshot, &mut |bytes| progress.add_bytes(bytes))?;
    let legacy_module = progress.silent("building the legacy canister", || legacy_module(options))?;
    let taken_at = source::taken_at(&snapshot, &source);
    let (heap, why_heap_unknown) = match read_heap(&snapshot, &source, taken_at, &legacy_module, progress)? {
        Ok(heap) => (heap, None),
        Err(why) => (Heap::default(), Some(why)),
    };
    heap.check_numbers()?;

    progress.phase("deciding about each record");
    let mut left = LeftFile::create(&scratch.left_file())?;
    let plan = plan::plan(&source, &heap, taken_at, &mut left)?;
    progress.phase("writing layout 1");
    let (raw, mut storage) = write::write_records(&plan, Time::from_nanos(taken_at), source.bucket_pages)?;
    let chunks_taken =
        write::copy_chunks(&source, &plan, &mut storage, &mut left, &mut |bytes| progress.add_bytes(bytes))?;
    drop(storage);
    snapshot.stable.failure()?;
    let left_lines = left.finish()?;
    let counts = checked_counts(&plan, chunks_taken)?;
    let stable = scratch.path(STABLE_MEMORY);
    write_memory(&raw, &stable)?;
    let stable_bytes = raw.borrow().len() as u64;
    drop(raw);

    progress.phase("starting the legacy build on the new stable memory");
    start_legacy_build(&stable, &scratch.adopted_folder(), taken_at, &legacy_module)?;
    fs::remove_file(&stable).map_err(SnapshotError::io("remove", &stable))?;
    progress.phase("comparing every blob with its SHA-256");
    let blob_bytes =
        verify_adopted(&scratch.adopted_folder(), &plan, &mut |bytes| progress.add_bytes(bytes))?;
    new_manifest(&scratch.adopted_folder(), &snapshot, taken_at)?.write(&scratch.adopted_folder())?;

    let is_all_taken = counts.iter().all(|count| count.not_taken == 0) && source.damage.is_empty();
    let heap_was_read_if_any = why_heap_unknown.is_none() || !source::has_heap(&snapshot);
    let report = Report {
        verdict: if is_all_taken && heap_was_read_if_any { Verdict::Pass } else { Verdict::Fail },
        provenance: provenance.on(server::chosen()?),
        phases: progress.finish(),
        snapshot: options.snapshot.display().to_string(),
        folder: options.out.display().to_string(),
        left: left_path(&options.out).display().to_string(),
        left_lines,
        header: source.header,
        heap: why_heap_unknown,
        damage: source.damage,
        counts,
        blob_bytes,
        sessions_after: plan.last_session,
        stable_bytes,
        items: plan.outcomes.items,
    };
    scratch.publish()?;
    Ok(report)
}

fn legacy_module(options: &Options) -> Result<Module, BuildError> {
    match &options.legacy {
        Some(path) => Module::read(path),
        None => Module::read(&build::ensure_one(Build::Legacy)?.wasm_gz),
    }
}

/// The controller of the canisters on the PocketIC server, which exist only during the adoption.
fn controller() -> Principal {
    Principal::self_authenticating("controller of an adopted canister")
}

/// Runs the snapshot's own module on a copy, and reads its sessions. (`legacy_module` would only run if the snapshot
/// had no module.) The inner error is the reason why the sessions are unknown; the adoption continues without them.
fn read_heap(
    snapshot: &Snapshot,
    source: &Source,
    taken_at: u64,
    legacy_module: &Module,
    progress: &Progress,
) -> Result<Result<Heap, String>, AdoptError> {
    if !source::has_heap(snapshot) {
        return Ok(Err("the snapshot has no heap and no module, so sessions in flight are unknown".into()));
    }
    if source.header != Header::Intact {
        return Ok(Err("the release's `pre_upgrade` has run, so the heap of the snapshot does not belong to its stable memory".into()));
    }
    progress.phase("asking the release's own module for its sessions");
    // For `memories_read`, that release reads every capsule, which may exceed the instruction limit of the IC.
    let pic = server::with_higher_instruction_limits()?;
    let id = pic.create_canister_with_settings(Some(controller()), None);
    if let Err(error) = load(&pic, id, controller(), snapshot, taken_at, legacy_module) {
        return Ok(Err(format!("its own module does not run on a copy: {error}")));
    }
    Ok(RunningRelease::new(&pic, id).read_sessions(source))
}

/// Returns the counts by kind of record. Fails if the outcomes of a kind do not add up, or if more or fewer chunks were
/// copied than planned.
fn checked_counts(plan: &Plan, copied_chunks: u64) -> Result<Vec<KindCount>, AdoptError> {
    let counts = plan.outcomes.counts();
    if let Some(count) = counts.iter().find(|count| !count.has_all_outcomes()) {
        let kind = count.kind.plural();
        let what = format!("the outcomes of {kind} do not add up to the number found: {count:?}");
        return Err(AdoptError::Fault(what));
    }
    let planned = counts.iter().find(|count| count.kind == RecordKind::Chunk).map_or(0, |count| count.taken);
    if planned != copied_chunks {
        return Err(AdoptError::Fault(format!("{planned} chunks were planned, {copied_chunks} were copied")));
    }
    Ok(counts)
}

fn write_memory(raw: &RawMemory, path: &Path) -> Result<(), SnapshotError> {
    let mut file = File::create_new(path).map_err(SnapshotError::io("create", path))?;
    let bytes = raw.borrow();
    write_sparse(&mut file, 0, &bytes)
        .and_then(|()| file.set_len(bytes.len() as u64))
        .map_err(SnapshotError::io("write", path))
}

/// Starts the legacy build on a stable memory, as an upgrade does, and takes a snapshot of the result into `folder`.
fn start_legacy_build(
    stable: &Path,
    folder: &Path,
    taken_at: u64,
    legacy_module: &Module,
) -> Result<(), AdoptError> {
    let snapshot = Snapshot::open(stable)?;
    let refused = |why: String| CopyError::Refused { path: folder.to_path_buf(), why };
    let pic = server::pocket_ic()?;
    let id = pic.create_canister_with_settings(Some(controller()), None);
    load(&pic, id, controller(), &snapshot, taken_at, legacy_module)?;
    let taken = pic
        .take_canister_snapshot(id, Some(controller()), None)
        .map_err(|reject| refused(reject.reject_message))?;
    let download = || pic.canister_snapshot_download(id, controller(), taken.id, folder.to_path_buf());
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(download)).map_err(|panic| {
        SnapshotError::io("write", folder)(std::io::Error::other(crate::panic_text(&*panic)))
    })?;
    Ok(())
}

/// Inspects the adopted folder, hashing every blob, and compares the records of blobs, and the numbers of other
/// records, with the plan. Returns the bytes of all blobs.
fn verify_adopted(folder: &Path, plan: &Plan, on_bytes: &mut dyn FnMut(u64)) -> Result<u64, AdoptError> {
    let snapshot = Snapshot::open(folder)?;
    let deep = true;
    let report = inspect::run_on(&snapshot, deep, Provenance::now(), &Progress::hidden())?;
    let damage = report.findings.iter().find(|finding| finding.severity == Severity::Damage);
    if let Some(finding) = damage {
        return Err(AdoptError::Fault(format!("the inspection of the result found: {finding}")));
    }
    let sound = report.deep.as_ref().map_or(0, |hashed| hashed.sound);
    let memory = MemoryManager::init(snapshot.stable.clone()).get(MemoryId::new(ids::BLOB_META));
    let mut stored_blobs: BTreeMap<u64, Result<Sha256Blob, String>> = BTreeMap::new();
    if let Ok(Some(tree)) = Tree::open(&memory) {
        tree.walk(&mut |id: u64, entry| drop(stored_blobs.insert(id, Sha256Blob::decode(&entry.value()))));
    }
    snapshot.stable.failure()?;
    if sound != plan.blobs.len() as u64 || stored_blobs.len() != plan.blobs.len() {
        let (planned, found) = (plan.blobs.len(), stored_blobs.len());
        return Err(AdoptError::Fault(format!(
            "{planned} blobs were planned, {found} are stored, and {sound} of them are sound"
        )));
    }
    for (id, blob) in &plan.blobs {
        let is_same = matches!(stored_blobs.get(id), Some(Ok(stored)) if BlobRecord::from(stored.clone()) == blob.record);
        if !is_same {
            return Err(AdoptError::Fault(format!("blob_{id} differs from the plan")));
        }
        on_bytes(blob.record.size);
    }
    let (sessions, memories) = (plan.sessions.len() as u64, plan.memories.len() as u64);
    let counts = &report.counts;
    if (counts.sessions, counts.memories, counts.capsules) != (sessions, memories, plan.capsules.len() as u64)
    {
        return Err(AdoptError::Fault("sessions, memories or capsules are missing in the result".into()));
    }
    Ok(plan.blobs.values().map(|blob| blob.record.size).sum())
}

/// Creates the manifest of the adopted folder. It names neither a network nor a root key, because the folder was not
/// downloaded.
fn new_manifest(folder: &Path, snapshot: &Snapshot, taken_at: u64) -> Result<Manifest, SnapshotError> {
    let canister = source::canister(snapshot).unwrap_or_default();
    let mut manifest = Manifest::new(canister, "adopted".into(), String::new(), String::new());
    manifest.taken_at = taken_at;
    let mut names: Vec<String> =
        [METADATA, WASM_MODULE, WASM_MEMORY, STABLE_MEMORY].map(str::to_owned).into();
    let store = folder.join(CHUNK_STORE);
    if let Ok(entries) = fs::read_dir(&store) {
        let files = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.extend(files.map(|name| format!("{CHUNK_STORE}/{name}")));
    }
    for name in names {
        let path = folder.join(&name);
        let Ok(found) = fs::metadata(&path) else { continue };
        let sha256 = hex::encode(sha256_of(&path, u64::MAX, &mut |_| ())?.finalize());
        if name == WASM_MODULE {
            manifest.module_hash = Some(sha256.clone());
        }
        manifest.files.push(FileEntry { path: name, bytes: found.len(), sha256 });
    }
    Ok(manifest)
}
