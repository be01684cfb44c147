//! Rehearses on an operator's own snapshot: all steps of the migration, with the canister's own clients and
//! new ones.
//!
//! legacy → staged → rolled back → legacy → staged → finalized → direct. Everything that can be read is read
//! before the first step; after every step the answers must be the same. At the end the result is inspected
//! like any other snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::lane::Crowd;
use super::own::{self, Readable};
use super::report::{self, Circumstances};
use super::stages::{Stages, controller};
use super::{Config, RehearseError, Report, files, stage, traffic, verify};
use crate::client::{Canister, ClientError};
use crate::inspect::{self, Contents, Kind, Severity};
use crate::progress::Progress;
use crate::provenance::Provenance;
use crate::server;
use crate::snapshot::Snapshot;

/// What a rehearsal on a snapshot adds to the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPart {
    /// The snapshot.
    pub path: String,
    /// Legacy records in it.
    pub sessions: u64,
    /// Sessions that their clients continued.
    pub continued: u64,
    /// Capsules in it.
    pub capsules: u64,
    /// Answers that were compared after every step.
    pub reads: u64,
    /// Kinds of damage in the snapshot.
    pub damage_before: BTreeMap<String, u64>,
    /// Kinds of damage in the canister at the end.
    pub damage_after: BTreeMap<String, u64>,
}

/// Checks that the snapshot can be rehearsed.
///
/// # Errors
/// A snapshot that cannot be read, or is not in layout 1.
pub(super) fn check(path: &Path) -> Result<(Snapshot, Contents), RehearseError> {
    let snapshot = Snapshot::open(path)?;
    let contents = inspect::contents(&snapshot)?;
    if contents.layout != 1 {
        return Err(RehearseError::File {
            path: path.to_path_buf(),
            why: format!(
                "it is in stable layout {}, and the rehearsal begins in layout 1: take a snapshot before the staged upgrade",
                contents.layout
            ),
        });
    }
    Ok((snapshot, contents))
}

/// Rehearses on the snapshot of `config`.
pub(super) fn run(config: &Config, path: &Path, progress: &Progress) -> Result<Report, RehearseError> {
    let (provenance, since) = (Provenance::now(), Instant::now());
    super::check(config)?;
    let before = inspected(path)?;
    let (snapshot, mut contents) = check(path)?;
    let wasms = progress.silent(super::BUILDING, || config.wasms.load())?;
    let server = server::chosen()?;
    let folder = tempfile::tempdir().map_err(RehearseError::io("create", &std::env::temp_dir()))?;
    progress.phase("preparing files");
    let assets = files::assets(config, folder.path())?;
    let own = own::lanes(&snapshot, &mut contents, config.seed, folder.path())?;
    let pic = server::pocket_ic()?;
    let mut show = Stages::new(&pic, wasms);

    progress.phase("loading the snapshot");
    let canister = show.load(&snapshot, &contents)?;
    progress.phase("asking for everything that can be read");
    let readable = Readable::look(&canister, &contents);
    let mut crowd = Crowd::assemble(&canister, config, assets)?;
    crowd.known =
        contents.capsules.iter().flat_map(|capsule| &capsule.memories).map(|(id, _)| id.clone()).collect();
    let continued = own.len() as u64;
    crowd.lanes.extend(own);
    if continued < contents.sessions {
        let (all, others) = (contents.sessions, contents.sessions - continued);
        crowd.notes.push(format!(
            "clients continue {continued} of {all} sessions; the other {others} are converted and accounted for, not continued"
        ));
    }
    if readable.is_cut_short {
        crowd.notes.push(format!("{} answers were compared; the snapshot holds more", readable.len()));
    }
    progress.set_total(crowd.bytes_to_move());
    let asked = Asked { contents: &contents, readable: &readable };
    play(&canister, &asked, &mut show, &mut crowd, progress)?;
    progress.phase("inspecting the result");
    let after = of_result(&canister, folder.path())?;
    crowd.problems.extend(new_damage(&before, &after));
    let part = SnapshotPart {
        path: path.display().to_string(),
        sessions: contents.sessions,
        continued,
        capsules: contents.capsules.len() as u64,
        reads: readable.len() as u64,
        damage_before: names(&before),
        damage_after: names(&after),
    };
    let circumstances = Circumstances {
        config,
        server: server.kind,
        phases: progress.finish(),
        took: since.elapsed(),
        provenance: provenance.on(server),
    };
    Ok(Report { snapshot: Some(part), rollback: true, ..report::sum_up(circumstances, show, crowd) })
}

/// Answers from before the first step.
struct Asked<'a> {
    contents: &'a Contents,
    readable: &'a Readable,
}

impl Asked<'_> {
    /// Reads again, and compares.
    fn compare(&self, canister: &Canister<'_>, show: &Stages<'_>, crowd: &mut Crowd) {
        let now = Readable::look(canister, self.contents);
        let when = format!("after {}", show.last());
        crowd.problems.extend(self.readable.differences(&now, &when).into_iter().take(SHOWN));
    }
}

/// Number of differences that are reported per step.
const SHOWN: usize = 20;

fn play(
    canister: &Canister<'_>,
    asked: &Asked<'_>,
    show: &mut Stages<'_>,
    crowd: &mut Crowd,
    progress: &Progress,
) -> Result<(), ClientError> {
    progress.phase("uploading to the legacy build");
    traffic::before_upgrade(canister, crowd, progress)?;
    let mut staged = stage(canister, show, crowd, 1, progress)?;
    asked.compare(canister, show, crowd);
    if staged {
        progress.phase("rolling back");
        show.wait_until_rolled_back(canister, crowd);
        asked.compare(canister, show, crowd);
        staged = stage(canister, show, crowd, 0, progress)? && stage(canister, show, crowd, 1, progress)?;
        asked.compare(canister, show, crowd);
    }
    if !staged {
        return Ok(());
    }
    progress.phase("verifying and finalizing the migration");
    let direct = show.finalize(canister, crowd) && {
        progress.phase("upgrading to the direct build");
        show.upgrade(2, crowd)
    };
    progress.phase(format!("finishing after {}", show.last()));
    traffic::after_upgrades(canister, crowd, progress)?;
    if direct {
        progress.phase("moving payload into extents");
        show.wait_until_converted(canister, crowd);
    }
    progress.phase("reading everything back");
    verify::read_back(canister, crowd, progress);
    asked.compare(canister, show, crowd);
    progress.phase("checking memories");
    verify::memories(canister, crowd);
    Ok(())
}

fn inspected(path: &Path) -> Result<BTreeMap<Kind, u64>, RehearseError> {
    let config = inspect::Config { snapshot: path.to_path_buf(), deep: false };
    let report = inspect::run(&config, &Progress::hidden())?;
    let damage = report.found.into_iter().filter(|found| found.severity == Severity::Damage);
    Ok(damage.map(|found| (found.kind, found.count)).collect())
}

/// Inspects the canister at the end.
fn of_result(canister: &Canister<'_>, folder: &Path) -> Result<BTreeMap<Kind, u64>, RehearseError> {
    let folder = folder.join("result");
    let (pic, id) = (canister.pic(), canister.id());
    let taken = pic
        .take_canister_snapshot(id, Some(controller()), None)
        .map_err(|reject| RehearseError::File { path: folder.clone(), why: reject.reject_message })?;
    pic.canister_snapshot_download(id, controller(), taken.id, folder.clone());
    inspected(&folder)
}

fn new_damage(before: &BTreeMap<Kind, u64>, after: &BTreeMap<Kind, u64>) -> Vec<String> {
    let kinds: BTreeSet<&Kind> = after.keys().collect();
    let more = |kind: &&Kind| after.get(kind) > before.get(kind);
    let line = |kind: &Kind| {
        let count = |of: &BTreeMap<Kind, u64>| of.get(kind).copied().unwrap_or(0);
        format!(
            "an inspection of the result finds {} times {}, before {}",
            count(after),
            kind.name(),
            count(before)
        )
    };
    kinds.into_iter().filter(more).map(line).collect()
}

fn names(damage: &BTreeMap<Kind, u64>) -> BTreeMap<String, u64> {
    damage.iter().map(|(kind, count)| (kind.name().to_owned(), *count)).collect()
}
