//! The steps of a rehearsal, from the first upload on.

use super::stages::Stages;
use super::upload_run::Clients;
use super::{traffic, verify};
use crate::build::Build;
use crate::client::{Canister, ClientError};
use crate::progress::Progress;

/// What `compare` gets in [`play`] if the step before was not completed.
const AFTER_FAILURE: &str = "after an upgrade that failed";

/// Runs all steps. `compare` is called after each upgrade to the staged build, after the rollback, and after everything
/// was read back, with a text that says when this is. Returns the build on which the uploads were finished;
/// [`Build::Legacy`] if they were not, since an upgrade to the staged build, or back to the legacy build, failed.
pub(super) fn play(
    canister: &Canister<'_>,
    rollback: bool,
    stages: &mut Stages<'_>,
    clients: &mut Clients,
    progress: &Progress,
    mut compare: impl FnMut(&str, &mut Clients),
) -> Result<Build, ClientError> {
    progress.phase("uploading to the legacy build");
    traffic::before_upgrade(canister, clients, progress)?;
    let mut is_staged = upgrade_and_continue(canister, stages, clients, Build::Staged, progress)?;
    compare(if is_staged { "after the upgrade to staged" } else { AFTER_FAILURE }, clients);
    if is_staged && rollback {
        progress.phase("rolling back");
        stages.roll_back(canister, clients);
        compare("after the rollback", clients);
        is_staged = upgrade_and_continue(canister, stages, clients, Build::Legacy, progress)?
            && upgrade_and_continue(canister, stages, clients, Build::Staged, progress)?;
        compare(if is_staged { "after the second upgrade to staged" } else { AFTER_FAILURE }, clients);
    }
    if !is_staged {
        return Ok(Build::Legacy);
    }
    progress.phase("verifying and finalizing the migration");
    let is_finalized = stages.finalize(canister, clients);
    let is_direct = is_finalized && {
        progress.phase("upgrading to the direct build");
        stages.upgrade(Build::Direct, clients)
    };
    progress.phase(format!("finishing after {}", stages.last_name()));
    traffic::after_upgrades(canister, clients, progress)?;
    if is_direct {
        progress.phase("moving payload into extents");
        stages.wait_until_converted(canister, clients);
    }
    progress.phase("reading everything back");
    verify::read_back(canister, clients, progress);
    compare("at the end", clients);
    progress.phase("checking memories");
    verify::check_memories(canister, clients);
    Ok(if is_direct { Build::Direct } else { Build::Staged })
}

/// Upgrades to a build and lets the clients continue on it; some uploads stay unfinished. Then waits for the migration,
/// except on the legacy build. Returns `false` if the upgrade failed; then nothing else was done.
fn upgrade_and_continue(
    canister: &Canister<'_>,
    stages: &mut Stages<'_>,
    clients: &mut Clients,
    build: Build,
    progress: &Progress,
) -> Result<bool, ClientError> {
    progress.phase(format!("upgrading to the {build} build"));
    if !stages.upgrade(build, clients) {
        return Ok(false);
    }
    progress.phase(format!("continuing after {}", stages.last_name()));
    traffic::between_upgrades(canister, clients, progress)?;
    if build != Build::Legacy {
        progress.phase("migrating the rest of the sessions");
        stages.wait_until_converted(canister, clients);
    }
    Ok(true)
}
