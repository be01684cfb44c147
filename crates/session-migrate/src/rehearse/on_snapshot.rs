//! Rehearses on an operator's own snapshot, always with a rollback: clients continue uploads of the snapshot, and new
//! clients upload.
//!
//! What callers can read, up to a maximum number of answers, is read before the first step. After each upgrade to the
//! staged build, after the rollback and at the end, the answers must be the same. At the end, a snapshot of the
//! canister is inspected, too.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use super::read_answers::ReadAnswers;
use super::report::SnapshotPart;
use super::stages::{Stages, controller};
use super::summary::{self, Circumstances};
use super::upload_run::Clients;
use super::wasms::BUILDING;
use super::{Options, RehearseError, Report, continued, course, files};
use crate::client::{Canister, rejected};
use crate::inspect::{self, Contents, FindingKind};
use crate::progress::Progress;
use crate::provenance::Provenance;
use crate::server;
use crate::snapshot::{Snapshot, Verified};
use crate::temporary;

/// Reads the contents of a snapshot in layout 1; any other layout is an error.
fn read_contents(snapshot: &Snapshot) -> Result<Contents, RehearseError> {
    let contents = inspect::contents(snapshot)?;
    if contents.layout != 1 {
        return Err(RehearseError::File {
            path: snapshot.path.clone(),
            why: format!(
                "it is in stable layout {}, but the rehearsal begins in layout 1: take a snapshot before \
                the staged upgrade",
                contents.layout
            ),
        });
    }
    Ok(contents)
}

pub(super) fn run(options: &Options, path: &Path, progress: &Progress) -> Result<Report, RehearseError> {
    let (provenance, since) = (Provenance::now(), Instant::now());
    progress.phase("inspecting the snapshot");
    let mut snapshot = Snapshot::open(path)?;
    let mut report =
        snapshot.while_verifying(progress, |snapshot| on_copy(options, snapshot, provenance, progress))?;
    report.phases = progress.finish();
    report.seconds = since.elapsed().as_secs_f64();
    Ok(report)
}

/// Rehearses on a copy of the snapshot. The report's phases and duration are still empty: [`run`] fills them in once
/// every byte of the snapshot is verified.
fn on_copy(
    options: &Options,
    snapshot: &Snapshot,
    provenance: Provenance,
    progress: &Progress,
) -> Result<Report, RehearseError> {
    let mut contents = read_contents(snapshot)?;
    let wasms = progress.silent(BUILDING, || options.wasms.load())?;
    let server = server::chosen()?;
    let pic = server::pocket_ic()?;
    let mut stages = Stages::new(&pic, wasms);

    progress.phase("loading the snapshot");
    let canister = stages.load(snapshot, &contents)?;
    progress.phase("asking for everything that can be read");
    let answers_before = ReadAnswers::read_all(&canister, &contents);
    progress.phase("preparing files");
    let folder = temporary::folder().map_err(RehearseError::io("create", &std::env::temp_dir()))?;
    let assets = files::assets(options, folder.path())?;
    let continued_runs = continued::continued_runs(snapshot, &mut contents, options.seed, folder.path())?;
    let mut clients = Clients::assemble(&canister, options, assets)?;
    clients.known_memories =
        contents.capsules.iter().flat_map(|capsule| &capsule.memories).map(|(id, _)| id.clone()).collect();
    if snapshot.verified == Verified::No {
        clients.notes.push("the snapshot is unverified: it has no manifest".into());
    }
    let continued_count = continued_runs.len() as u64;
    clients.runs.extend(continued_runs);
    if continued_count < contents.legacy_records {
        let (all, others) = (contents.legacy_records, contents.legacy_records - continued_count);
        clients.notes.push(format!(
            "clients continue {continued_count} of {all} sessions; the other {others} are converted and \
            accounted for, but not continued"
        ));
    }
    if answers_before.is_truncated {
        clients
            .notes
            .push(format!("{} answers were compared; the snapshot contains more", answers_before.len()));
    }
    progress.set_total(clients.bytes_to_move());
    let (mut compared, mut differences) = (Vec::new(), 0);
    let compare = |when: &str, clients: &mut Clients| {
        let found = answers_before.differences(&ReadAnswers::read_all(&canister, &contents), when);
        compared.push(when.to_owned());
        differences += found.len() as u64;
        clients.problems.extend(found.into_iter().take(MAX_DIFFERENCES));
    };
    course::play(&canister, true, &mut stages, &mut clients, progress, compare)?;
    progress.phase("inspecting the result");
    let damage_after = damage_of_result(&canister, folder.path())?;
    clients.problems.extend(new_damage(&contents.damage, &damage_after));
    let part = SnapshotPart {
        path: snapshot.path.display().to_string(),
        sessions: contents.legacy_records,
        continued: continued_count,
        capsules: contents.capsules.len() as u64,
        reads: answers_before.len() as u64,
        compared,
        differences,
        damage_before: damage_by_name(&contents.damage),
        damage_after: damage_by_name(&damage_after),
    };
    let circumstances = Circumstances { options, server: server.kind, provenance: provenance.on(server) };
    Ok(Report { snapshot: Some(part), rollback: true, ..summary::sum_up(circumstances, stages, clients) })
}

/// Maximum number of differences that are reported for each comparison.
const MAX_DIFFERENCES: usize = 20;

/// Takes and inspects a snapshot of the canister; returns how often each kind of damage was found.
fn damage_of_result(
    canister: &Canister<'_>,
    folder: &Path,
) -> Result<BTreeMap<FindingKind, u64>, RehearseError> {
    let folder = folder.join("result");
    let (pic, id) = (canister.pic(), canister.id());
    let taken = pic
        .take_canister_snapshot(id, Some(controller()), None)
        .map_err(rejected("take_canister_snapshot"))?;
    pic.canister_snapshot_download(id, controller(), taken.id, folder.clone());
    Ok(inspect::damage(&Snapshot::open(&folder)?)?)
}

/// Returns a line for each kind of damage that is more frequent than before.
fn new_damage(before: &BTreeMap<FindingKind, u64>, after: &BTreeMap<FindingKind, u64>) -> Vec<String> {
    let line = |(kind, count): (&FindingKind, &u64)| {
        let count_before = before.get(kind).copied().unwrap_or(0);
        let text = || {
            format!(
                "an inspection of the result finds {} {count} times, {count_before} times before",
                kind.name()
            )
        };
        (*count > count_before).then(text)
    };
    after.iter().filter_map(line).collect()
}

fn damage_by_name(damage: &BTreeMap<FindingKind, u64>) -> BTreeMap<String, u64> {
    damage.iter().map(|(kind, count)| (kind.name().to_owned(), *count)).collect()
}
