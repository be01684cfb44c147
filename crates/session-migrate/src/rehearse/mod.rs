//! The rehearsal: real uploads in flight during a staged upgrade, and a check of every byte at the end.
//!
//! 1. The legacy build is installed. Clients upload in parallel and stop at different points.
//! 2. The canister is upgraded to the staged build. The clients reconnect: they ask what has arrived, repeat
//!    calls whose replies they missed, and continue. Some uploads are finished, some stay unfinished. If
//!    requested, the migration is then rolled back, the clients continue on the legacy build, and the canister
//!    is upgraded to the staged build again.
//! 3. The migration is verified and finalized, and the canister is upgraded to the direct build, whose migration
//!    moves all payload into extents. In the meantime, all uploads are finished. If the first migration
//!    does not reach the phase `Converted`, it is not finalized, and all uploads are finished on the staged build.
//! 4. Every byte is read back and hashed, and the memories are listed.
//!
//! Once the clients have their capsules, only a failure of the environment stops the rehearsal (a server that has
//! exited, a file that can no longer be read). A fault of the canister is recorded as a problem, and the rehearsal
//! continues.

mod accounting;
mod continued;
mod course;
mod error;
mod files;
pub mod foreign;
mod on_snapshot;
mod options;
mod page;
mod read_answers;
mod report;
mod stages;
mod stop_points;
mod summary;
mod traffic;
mod upload_run;
mod verify;
mod wasms;

use std::path::Path;
use std::time::{Duration, Instant};

use pocket_ic::PocketIc;

use crate::Verdict;
use crate::build::Build;
use crate::progress::Progress;
use crate::provenance::Provenance;
use crate::server;
use crate::temporary;
use crate::trace::{Header, Recorder, Tape, TraceError, Writer};

pub use error::RehearseError;
pub use files::{MAX_CHUNKS, MAX_FILE_BYTES};
pub use foreign::CanisterPart;
pub use options::Options;
pub use report::{
    BuildReport, MigrationReport, MigrationRun, Report, SnapshotPart, StageReport, UploadReport,
};
pub use stop_points::StopPoint;
pub(crate) use stop_points::shuffle;
pub use wasms::{BUILDING, Wasm, Wasms};

use stages::Stages;
use summary::Circumstances;
use upload_run::Clients;

/// Checks that `options` can be rehearsed, without starting anything. The snapshot is checked only when it is opened.
///
/// # Errors
/// If a file is unreadable, not a regular file or too large, a given wasm is not an upload canister, or the trace
/// cannot be written.
pub fn check(options: &Options) -> Result<(), RehearseError> {
    files::check(&options.files)?;
    options.record.as_deref().map_or(Ok(()), Writer::check)?;
    options.wasms.check()
}

/// Runs the rehearsal. `progress` counts bytes: first those that are uploaded, then those that are read back.
///
/// # Errors
/// If the rehearsal could not be completed. Problems that it *finds* are in the [`Report`].
pub fn run(options: &Options, progress: &Progress) -> Result<Report, RehearseError> {
    check(options)?;
    if let Some(snapshot) = &options.snapshot {
        return on_snapshot::run(options, snapshot, progress);
    }
    let (provenance, since) = (Provenance::now(), Instant::now());
    let wasms = progress.silent(BUILDING, || options.wasms.load())?;
    let server = server::chosen()?;
    let folder = temporary::folder().map_err(RehearseError::io("create", &std::env::temp_dir()))?;
    progress.phase("preparing files");
    let assets = files::assets(options, folder.path())?;
    let pic = server::pocket_ic()?;
    let tape = options.record.as_deref().map(|path| create_tape(path, &pic, options)).transpose()?;
    let mut stages = Stages::new(&pic, wasms);

    progress.phase("installing the legacy build");
    let canister = stages.install_legacy(tape.as_ref(), options.wasms.legacy.as_deref())?;
    let mut clients = Clients::assemble(&canister, options, assets)?;
    progress.set_total(clients.bytes_to_move());
    let reached = course::play(&canister, options.rollback, &mut stages, &mut clients, progress, |_, _| ())?;
    if reached == Build::Direct {
        progress.phase("checking stable memory");
        verify::check_aborted_are_freed(&canister, &mut clients);
    }
    let circumstances = Circumstances { options, server: server.kind, provenance: provenance.on(server) };
    let mut report = summary::sum_up(circumstances, stages, clients);
    report.phases = progress.finish();
    report.seconds = since.elapsed().as_secs_f64();
    if let Some(Err(error)) = tape.map(Tape::finish) {
        report.verdict = Verdict::Fail;
        report.problems.push(format!("there is no trace: {error}"));
    }
    Ok(report)
}

fn create_tape(path: &Path, pic: &PocketIc, options: &Options) -> Result<Tape, TraceError> {
    // The first round after a change of the time has exactly the new time; every other round is a nanosecond later than
    // the one before. A replay sets the time before its first round. So the time is changed here, too: the canister's
    // digests of records contain times, and must be the same in a replay.
    pic.advance_time(Duration::from_secs(1));
    let start = pic.get_time().as_nanos_since_unix_epoch();
    let source = format!("rehearsal, {} clients, seed {}", options.clients, options.seed);
    let header = Header::new(start, Build::Legacy.name(), source, vec![stages::controller()]);
    Ok(Tape::new(Recorder::create(path, &header)?))
}
