//! The rehearsal: real uploads in flight, a staged upgrade under them, and a check of every byte at the end.
//!
//! 1. The legacy build is installed. Clients upload at the same time and stop at different points.
//! 2. The canister is upgraded to the staged build. The clients come back: they ask what arrived, repeat calls whose
//!    replies they missed, and go on. Some finish, some stay in the middle.
//!    On request, the migration is then rolled back, the clients go on with the legacy build, and the canister is
//!    upgraded to the staged build once more.
//! 3. The migration is finalized, and the canister is upgraded to the direct build, which moves all payload into extents
//!    by a second migration. Meanwhile everything is finished.
//! 4. Every byte is read back and hashed, the memories are listed, the migration's own books are checked.
//!
//! A difference never stops the rehearsal early; it is noted at the upload it concerns. Only an environment that fails
//! (a server that is gone, a file that can no longer be read) does.

mod books;
mod error;
mod files;
mod lane;
mod page;
mod plan;
mod report;
mod stages;
mod traffic;
mod verify;
mod wasms;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use pocket_ic::PocketIc;

use crate::build::Build;
use crate::client::Canister;
use crate::server;
use crate::trace::{Header, Recorder, Tape, TraceError};

pub use error::RehearseError;
pub use files::{MAX_CHUNKS, MAX_FILE_BYTES};
pub use plan::StopPoint;
pub(crate) use plan::shuffle;
pub use report::{BuildReport, MigrationReport, Report, StageReport, UploadReport, Verdict};
pub use wasms::{Wasm, Wasms};

/// What to rehearse.
#[derive(Clone, Debug)]
pub struct Config {
    /// The files that every client uploads; empty: a generated set of an original and three derivatives.
    pub files: Vec<PathBuf>,
    /// How many clients upload at the same time.
    pub clients: u32,
    /// Decides the generated content and every choice the clients make.
    pub seed: u64,
    /// Roll back once on the staged build, return to the legacy build, and begin the migration anew.
    pub rollback: bool,
    /// Wasms to use instead of those built from the tree.
    pub wasms: Wasms,
    /// Where to write what the clients do, as a trace.
    pub record: Option<PathBuf>,
}

/// How a rehearsal ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The report, as it is written to a file.
    pub report: Report,
    /// What was wrong, one line each; empty when the verdict is pass.
    pub problems: Vec<String>,
    /// What could not be rehearsed with these files, one line each.
    pub notes: Vec<String>,
}

/// Checks that `config` can be rehearsed, without starting anything.
///
/// # Errors
/// An unreadable, empty or oversized file, or a file that is not a canister.
pub fn check(config: &Config) -> Result<(), RehearseError> {
    files::check(&config.files)?;
    config.wasms.check()
}

/// Rehearses. `bar` counts bytes, first those uploaded, then those read back.
///
/// # Errors
/// When the rehearsal could not be carried through; what it *finds* is in the [`Outcome`].
pub fn run(config: &Config, bar: &ProgressBar) -> Result<Outcome, RehearseError> {
    let began = Instant::now();
    check(config)?;
    let wasms = config.wasms.load()?;
    let server = server::chosen()?;
    let folder = tempfile::tempdir().map_err(RehearseError::io("create", &std::env::temp_dir()))?;
    bar.set_message("preparing files");
    let assets = files::assets(config, folder.path())?;
    let pic = server::pocket_ic()?;
    let tape = config.record.as_deref().map(|path| tape(path, &pic, config)).transpose()?;
    let mut show = stages::Stages::new(&pic, wasms);

    let canister: Canister<'_> = show.install_legacy(tape.as_ref())?;
    let mut crowd = lane::Crowd::assemble(&canister, config, assets)?;
    bar.set_length(crowd.bytes_to_move());

    bar.set_message("uploading to the legacy build");
    traffic::before_upgrade(&canister, &mut crowd, bar)?;

    let mut staged = stage(&canister, &mut show, &mut crowd, 1, bar)?;
    if staged && config.rollback {
        show.wait_until_rolled_back(&canister, &mut crowd)?;
        staged = stage(&canister, &mut show, &mut crowd, 0, bar)?
            && stage(&canister, &mut show, &mut crowd, 1, bar)?;
    }
    if staged {
        show.finalize(&canister, &mut crowd)?;
    }
    if staged && show.upgrade(2, &mut crowd) {
        bar.set_message("finishing with the direct build");
        traffic::after_upgrades(&canister, &mut crowd, bar)?;
        show.wait_until_converted(&canister, &mut crowd)?;
        bar.set_message("reading everything back");
        verify::read_back(&canister, &mut crowd, bar)?;
        verify::memories(&canister, &mut crowd)?;
        verify::leftovers(&canister, &mut crowd);
    }
    bar.finish_and_clear();
    let outcome = report::outcome(server.kind, began.elapsed(), show, crowd);
    if let Some(tape) = tape {
        tape.finish()?;
    }
    Ok(outcome)
}

/// Records from now on.
fn tape(path: &Path, pic: &PocketIc, config: &Config) -> Result<Tape, TraceError> {
    // A replay sets the time, and the first round sees what was set; so it must be here, to the nanosecond: digests of
    // records have times in them.
    pic.advance_time(Duration::from_secs(1));
    let start = pic.get_time().as_nanos_since_unix_epoch();
    let source = format!("rehearsal, {} clients, seed {}", config.clients, config.seed);
    let header = Header::new(start, Build::Legacy.name(), source, vec![stages::controller()]);
    Ok(Tape::new(Recorder::create(path, &header)?))
}

/// Upgrades to the wasm `number` and lets the clients go on with it; some uploads stay unfinished. False when the
/// upgrade failed.
fn stage(
    canister: &Canister<'_>,
    show: &mut stages::Stages<'_>,
    crowd: &mut lane::Crowd,
    number: usize,
    bar: &ProgressBar,
) -> Result<bool, RehearseError> {
    if !show.upgrade(number, crowd) {
        return Ok(false);
    }
    bar.set_message(format!("going on after {}", show.last()));
    traffic::between_upgrades(canister, crowd, bar)?;
    if number > 0 {
        show.wait_until_converted(canister, crowd)?;
    }
    Ok(true)
}
