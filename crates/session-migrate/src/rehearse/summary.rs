//! Creates the report of a rehearsal of the upload canister.

use super::Options;
use super::report::{BuildReport, MigrationReport, Report, UploadReport};
use super::stages::Stages;
use super::upload_run::{Clients, UploadRun};
use crate::Verdict;
use crate::provenance::Provenance;
use crate::server::ServerKind;

/// What the report says besides the results.
pub(super) struct Circumstances<'c> {
    pub options: &'c Options,
    pub server: ServerKind,
    pub provenance: Provenance,
}

/// Creates the report without phases and duration, which the caller adds at the end.
pub(super) fn sum_up(circumstances: Circumstances<'_>, stages: Stages<'_>, clients: Clients) -> Report {
    let Circumstances { options, server, provenance } = circumstances;
    let uploads: Vec<UploadReport> = clients.runs.iter().map(upload_report).collect();
    let mut problems = clients.problems;
    for (run, upload) in clients.runs.iter().zip(&uploads) {
        let title = run.title();
        problems.extend(run.problems.iter().map(|what| format!("{title}: {what}")));
        if run.is_sound() && !upload.intact {
            problems.push(format!("{title}: the rehearsal ended before it could be read back"));
        }
    }
    let verdict = if problems.is_empty() { Verdict::Pass } else { Verdict::Fail };
    let builds = stages.wasms.iter().map(|wasm| BuildReport::of(wasm.build.name(), &wasm.module)).collect();
    Report {
        verdict,
        problems,
        notes: clients.notes,
        server,
        provenance,
        seed: options.seed,
        clients: options.clients,
        rollback: options.rollback,
        seconds: 0.0,
        phases: Vec::new(),
        builds,
        stages: stages.done,
        uploads,
        runs: stages.runs,
        migration: stages.migration.as_ref().map(MigrationReport::from).unwrap_or_default(),
        payload: stages.payload.as_ref().map(MigrationReport::from).unwrap_or_default(),
        snapshot: None,
        canister: None,
    }
}

fn upload_report(run: &UploadRun) -> UploadReport {
    let asset = &run.uploader.asset;
    let ended_as_expected = run.uploader.aborted() || run.read_back == Some(asset.sha256);
    UploadReport {
        client: run.client,
        name: asset.name.clone(),
        bytes: asset.bytes,
        sha256: hex::encode(asset.sha256),
        sha256_read_back: run.read_back.map(hex::encode),
        state_at_upgrade: run.stop,
        chunks_before_upgrade: run.chunks_before,
        chunks_total: run.uploader.chunks(),
        intact: run.is_sound() && ended_as_expected,
    }
}
