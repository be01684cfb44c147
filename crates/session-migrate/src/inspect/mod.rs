//! Inspects a snapshot: its contents, and whether they are consistent. The snapshot is not changed.
//!
//! Owns: which tables must agree, and the kinds of findings. Does not own: how a snapshot is read (the snapshot module)
//! and what a record means (the canister's library). Boundary: whatever the bytes are, there is no panic: the result is
//! a report or one error.

mod checks;
mod contents;
mod deep;
mod facts;
mod finding;
mod limits;
mod page;
mod public_release;
mod report;
mod scan;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ic_stable_structures::memory_manager::MemoryManager;
use sha2::{Digest, Sha256};
use upload_canister::migrate::ClassPlan;
use upload_canister::migrations::{extents, split_sessions};
use upload_canister::stable::buckets::allocated_buckets;
use upload_canister::stable::layout::Layout;
use upload_canister::stable::memory_ids::numbers as ids;
use upload_canister::stable::preflight::{self, PreflightError};

use crate::Verdict;
use crate::build::{self, Build, WasmError};
use crate::progress::Progress;
use crate::provenance::Provenance;
use crate::snapshot::{Snapshot, SnapshotError};

pub use contents::{CapsuleContents, Contents, OpenSession, contents, damage};
pub use finding::{Finding, FindingKind, Severity};
pub use public_release::PublicContents;
pub(crate) use public_release::sessions_of_chunks;
pub use report::{
    AgeCount, ClassReport, Counts, DeepReport, FoundCount, Limit, MemoryReport, MigrationReport,
    ModuleReport, Report, SessionCount, SnapshotReport, TableReport,
};

use facts::{Facts, mapped_prefix};
use scan::{Scan, without_unchanged_remark};

/// Options of [`run`].
#[derive(Clone, Debug)]
pub struct Options {
    /// A snapshot folder, or a raw stable memory; may be gzipped.
    pub snapshot: PathBuf,
    /// Whether to hash every blob, and to compare every byte of a folder with its manifest, if it has one.
    pub deep: bool,
}

/// Why a snapshot cannot be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The snapshot is missing or incomplete, or cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The stable memory is empty, or belongs to another canister.
    #[error("{path} is not a snapshot of an upload canister: {why}")]
    Foreign {
        /// The snapshot.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The stable memory was written by the first public release.
    #[error(
        "{path} is a snapshot of the first public release, which no build of this canister can read; it \
        holds {contents}\nsee docs/adopting.md"
    )]
    PublicRelease {
        /// The snapshot.
        path: PathBuf,
        /// The contents of the snapshot.
        contents: Box<PublicContents>,
    },
    /// The memory manager's header is damaged: nothing else can be read.
    #[error("{path}: {why}")]
    DamagedHeader {
        /// The snapshot.
        path: PathBuf,
        /// What is wrong with the header.
        why: String,
    },
    /// The module in the snapshot is damaged, or belongs to another canister.
    #[error("{path} is not an upload canister's module: {source}")]
    Module {
        /// The module.
        path: PathBuf,
        /// The reason.
        source: WasmError,
    },
    /// The snapshot is in the stable layout of a later release.
    #[error(
        "{path} is in stable layout {layout}, but this program supports layouts 1 to 3: use the session-migrate of \
        the release that wrote it"
    )]
    NewerLayout {
        /// The snapshot.
        path: PathBuf,
        /// The layout of the snapshot.
        layout: u16,
    },
}

impl InspectError {
    /// Returns whether the user's input is at fault; `false`: the machine is, or [`Self::is_damage`].
    pub fn is_usage(&self) -> bool {
        match self {
            InspectError::Snapshot(error) => error.is_usage(),
            error => !error.is_damage(),
        }
    }

    /// Returns whether the snapshot is so damaged that no report is possible.
    pub fn is_damage(&self) -> bool {
        matches!(self, InspectError::DamagedHeader { .. })
    }
}

/// Inspects a snapshot. `progress` shows the phases and counts bytes.
///
/// # Errors
/// [`InspectError`]. Damage is in the [`Report`], except that of the memory manager's header, which is an error.
pub fn run(options: &Options, progress: &Progress) -> Result<Report, InspectError> {
    let provenance = Provenance::now();
    progress.phase("opening the snapshot");
    let mut snapshot = Snapshot::open(&options.snapshot)?;
    if options.deep {
        progress.phase("comparing every byte with the manifest");
        snapshot.verify(&mut |bytes| progress.add_bytes(bytes))?;
    }
    run_on(&snapshot, options.deep, provenance, progress)
}

/// Like [`run`], on a snapshot that is open.
pub(crate) fn run_on(
    snapshot: &Snapshot,
    deep: bool,
    provenance: Provenance,
    progress: &Progress,
) -> Result<Report, InspectError> {
    progress.phase("reading the tables");
    let (mut scan, memory, facts) = read(snapshot)?;
    // After the memory, which tells whose snapshot it is: the module of the first public release is a foreign one, too.
    let module = snapshot.module().map(|path| read_module(&path)).transpose()?.flatten();
    progress.phase("comparing the tables");
    checks::run(&facts, &mut scan);
    progress.phase("looking for pages in use");
    progress.set_total(snapshot.stable.bytes());
    let pages = snapshot.stable.pages_in_use(&mut |bytes| progress.add_bytes(bytes))?;
    let memory = MemoryReport { bytes_in_use: pages * crate::snapshot::PAGE_BYTES, ..memory };
    let deep = deep.then(|| {
        progress.phase("hashing every blob");
        progress.set_total(facts.blobs.values().map(|(_, blob)| blob.size).sum());
        deep::check(&facts, &mut scan, &mut |bytes| progress.add_bytes(bytes))
    });
    let limits = limits::compute(&facts, &mut scan, &memory);
    snapshot.stable.failure()?;
    let classes = class_reports(&facts);
    let Scan { findings, mut tables, .. } = scan;
    tables.sort_by_key(|table| table.id);
    let (findings, counts_by_kind) = findings.into_parts();
    let is_damaged = counts_by_kind.keys().any(|kind| kind.severity() == Severity::Damage);
    let metadata = snapshot.metadata.as_ref();
    Ok(Report {
        verdict: if is_damaged { Verdict::Fail } else { Verdict::Pass },
        provenance,
        phases: progress.finish(),
        snapshot: SnapshotReport {
            path: snapshot.path.clone(),
            form: snapshot.form.name().into(),
            taken_at: taken_at(snapshot),
            as_of: facts.now.as_nanos(),
            canister_version: metadata.map(|metadata| metadata.canister_version),
            module,
            verified: snapshot.verified,
        },
        layout: facts.layout.unwrap_or(Layout::LEGACY).0,
        counts: counts(&facts),
        sessions: session_counts(&facts),
        ages: age_counts(&facts),
        classes,
        migrations: migration_reports(&facts),
        limits,
        memory,
        tables,
        deep,
        found: FoundCount::from_counts(counts_by_kind),
        findings,
    })
}

/// Describes the module of a snapshot; `None` if the file is empty or missing.
fn read_module(path: &Path) -> Result<Option<ModuleReport>, InspectError> {
    let file = match std::fs::read(path) {
        Ok(file) if file.is_empty() => return Ok(None),
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(SnapshotError::io("read", path)(error).into()),
    };
    let module_error = |source| InspectError::Module { path: path.to_path_buf(), source };
    build::check_is_upload_canister(&file).map_err(module_error)?;
    let features = build::features(&build::unpack(&file).map_err(module_error)?);
    let build = Build::ALL.into_iter().find(|build| build.features() == features);
    Ok(Some(ModuleReport {
        sha256: hex::encode(Sha256::digest(&file)),
        build: build.map_or("unknown", Build::name).into(),
        features,
        bytes: file.len() as u64,
    }))
}

/// Opens the memories of a snapshot. It is an error if they do not belong to an upload canister.
fn open(snapshot: &Snapshot) -> Result<(Scan, MemoryReport), InspectError> {
    let foreign = |why: String| InspectError::Foreign { path: snapshot.path.clone(), why };
    let stable = &snapshot.stable;
    let checked = preflight::check_manager(stable);
    stable.failure()?;
    checked.map_err(|error| {
        let why = without_unchanged_remark(&error.to_string());
        match error {
            PreflightError::DamagedHeader { .. } => {
                InspectError::DamagedHeader { path: snapshot.path.clone(), why }
            }
            _ => foreign(why),
        }
    })?;
    let [buckets, pages_per_bucket] = allocated_buckets(stable);
    let memory = MemoryReport {
        bytes: stable.bytes(),
        // Counted by `run_on`.
        bytes_in_use: 0,
        bucket_bytes: pages_per_bucket * crate::snapshot::PAGE_BYTES,
        buckets,
    };
    let memories = MemoryManager::init(stable.clone());
    // `check_public_release` is an error if the memory is of the first public release, and `Ok` if it is not.
    if preflight::check_public_release(&memories).is_err() {
        let contents = Box::new(public_release::read(&memories));
        stable.failure()?;
        return Err(InspectError::PublicRelease { path: snapshot.path.clone(), contents });
    }
    if let Err(error @ PreflightError::NoLayout { .. }) = preflight::check_none_missing(&memories) {
        return Err(foreign(without_unchanged_remark(&error.to_string())));
    }
    let scan = Scan::new(memories);
    if !scan.fully_read(&[ids::CAPSULES]) && !scan.fully_read(&[ids::SESSION_COUNTER]) {
        let why =
            "neither the memory of the capsules nor that of the session counter begins with its structure"
                .to_owned();
        return Err(foreign(why));
    }
    Ok((scan, memory))
}

/// Returns the time of the snapshot in nanoseconds, if the snapshot records it.
fn taken_at(snapshot: &Snapshot) -> Option<u64> {
    snapshot.metadata.as_ref().map(|metadata| metadata.taken_at_timestamp)
}

/// Opens a snapshot and reads every table.
fn read(snapshot: &Snapshot) -> Result<(Scan, MemoryReport, Facts), InspectError> {
    let (mut scan, memory) = open(snapshot)?;
    let facts = Facts::read(&mut scan, taken_at(snapshot));
    snapshot.stable.failure()?;
    check_layout(snapshot, &facts)?;
    Ok((scan, memory, facts))
}

fn check_layout(snapshot: &Snapshot, facts: &Facts) -> Result<(), InspectError> {
    match facts.layout.filter(|layout| *layout > Layout::EXTENTS) {
        Some(layout) => Err(InspectError::NewerLayout { path: snapshot.path.clone(), layout: layout.0 }),
        None => Ok(()),
    }
}

fn counts(facts: &Facts) -> Counts {
    let stored = facts.chunks_by_prefix.values().flatten();
    Counts {
        sessions: (facts.sessions.len() + facts.unreadable.len()) as u64,
        legacy_sessions: facts.legacy_ids.iter().filter(|id| !facts.is_leftover(**id)).count() as u64,
        leftovers: facts.legacy_ids.iter().filter(|id| facts.is_leftover(**id)).count() as u64,
        capsules: facts.capsules.len() as u64,
        memories: facts.memories.len() as u64,
        blobs: facts.blobs.len() as u64,
        blob_bytes: facts.blobs.values().map(|(_, blob)| blob.size).fold(0, u64::saturating_add),
        chunks: stored.clone().count() as u64,
        chunk_bytes: stored.map(|(_, len)| u64::from(*len)).sum(),
        releases_pending: facts.released_prefixes.len() as u64,
        condemned_capsules: facts.condemned_capsules.len() as u64,
        receipts: facts.receipts.len() as u64,
        downloads: facts.download_count,
        region_taken: facts.extent_state.taken,
        region_end: facts.extent_state.end,
        quarantined: facts.quarantine.len() as u64,
        journal: facts.journal_entries,
    }
}

fn session_counts(facts: &Facts) -> Vec<SessionCount> {
    let mut counted: BTreeMap<(u16, &str), (u64, u64, u64)> = BTreeMap::new();
    for session in facts.sessions.values() {
        let state = if session.is_committed {
            "committed"
        } else if session.is_complete() {
            "all chunks"
        } else if session.received.is_empty() {
            "no chunk"
        } else {
            "some chunks"
        };
        let (count, bytes, received) = counted.entry((session.layout, state)).or_default();
        *count += 1;
        *bytes = bytes.saturating_add(session.bytes_expected);
        *received = received.saturating_add(session.bytes_received);
    }
    for layout in facts.unreadable.values() {
        counted.entry((*layout, "unreadable")).or_default().0 += 1;
    }
    let count = |((layout, state), (count, bytes, received)): ((u16, &str), (u64, u64, u64))| SessionCount {
        layout,
        state: state.into(),
        count,
        bytes,
        received,
    };
    counted.into_iter().map(count).collect()
}

fn age_counts(facts: &Facts) -> Vec<AgeCount> {
    const HOUR: u64 = 3_600;
    let ttl = facts.config.0.session_ttl_seconds;
    let bounds = [(HOUR, "less than an hour"), (24 * HOUR, "less than a day"), (u64::MAX, "a day or more")];
    // One count for each bound and, at the end, one for the sessions that have been idle for the time to live; these
    // are in no other count.
    let mut counts = [0; 4];
    for session in facts.sessions.values() {
        let idle = facts.now.as_nanos().saturating_sub(session.last_seen.as_nanos()) / 1_000_000_000;
        let bound_index = bounds.iter().position(|(bound, _)| idle < *bound).unwrap_or(bounds.len() - 1);
        counts[if idle >= ttl { bounds.len() } else { bound_index }] += 1;
    }
    let names = bounds.map(|(_, name)| name.to_owned()).into_iter();
    let over_ttl = format!("longer than the time to live, {ttl} s");
    names.chain([over_ttl]).zip(counts).map(|(idle, count)| AgeCount { idle, count }).collect()
}

/// Returns every class of both migrations, with the number of units in it and up to three examples. Units of migration
/// 2 are counted although it has not begun.
fn class_reports(facts: &Facts) -> Vec<ClassReport> {
    // The units of each migration, by class.
    let mut units_of_1: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for (id, examined) in &facts.examinations {
        units_of_1.entry(examined.class.index()).or_default().push(*id);
    }
    let mut units_of_2: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for (id, session) in facts.sessions.iter().filter(|(id, _)| facts.is_mapped(**id)) {
        let stored = facts.chunks_under(session.prefix).count() as u64;
        let class = if session.received.len() <= stored { "session" } else { "damaged session" };
        units_of_2.entry(class_index(extents::CLASSES, class)).or_default().push(*id);
    }
    for (id, (_, blob)) in &facts.blobs {
        let Some(prefix) = mapped_prefix(blob) else { continue };
        let bytes: u64 = facts.chunks_under(prefix).map(|(_, len)| u64::from(len)).sum();
        let class = if bytes == blob.size { "blob" } else { "damaged blob" };
        units_of_2.entry(class_index(extents::CLASSES, class)).or_default().push(*id);
    }
    let both = [(1, split_sessions::CLASSES, units_of_1), (2, extents::CLASSES, units_of_2)];
    let reports = both.into_iter().flat_map(|(migration, classes, mut units)| {
        classes.iter().enumerate().map(move |(index, class)| {
            let units = units.remove(&index).unwrap_or_default();
            ClassReport {
                migration,
                class: class.name.into(),
                treatment: class.treatment.name().into(),
                count: units.len() as u64,
                examples: units.into_iter().take(3).collect(),
            }
        })
    });
    reports.collect()
}

fn class_index(classes: &[ClassPlan], name: &str) -> usize {
    classes.iter().position(|class| class.name == name).unwrap_or(classes.len())
}

fn migration_reports(facts: &Facts) -> Vec<MigrationReport> {
    let report = |(number, state): (&u16, &upload_canister::migrate::MigrationState)| {
        let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
        for record in facts.quarantine.iter().filter(|record| record.migration == *number) {
            *reasons.entry(&record.reason).or_default() += 1;
        }
        MigrationReport {
            migration: *number,
            phase: format!("{:?}", state.phase),
            source: state.source,
            converted: state.converted.saturating_add(state.already),
            quarantined: state.quarantined,
            expired: state.expired,
            note: state.note.clone(),
            reasons: reasons.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect(),
        }
    };
    facts.migrations.iter().map(report).collect()
}
