//! The steps of a rehearsal, from the first upload on.

use super::stages::Stages;
use super::upload_run::Clients;
use super::{traffic, verify};
use crate::build::Build;
use crate::client::{Canister, ClientError};
use crate::progress::Progress;

/// Runs all steps. `after_step` is called after each upgrade to the staged build, after the rollback, and after
/// everything was read back. Returns the build on which the uploads were finished; [`Build::Legacy`] if they were not,
/// since an upgrade to the staged build, or back to the legacy build, failed.
pub(super) fn play(
    canister: &Canister<'_>,
    rollback: bool,
    stages: &mut Stages<'_>,
    clients: &mut Clients,
    progress: &Progress,
    after_step: impl Fn(&Stages<'_>, &mut Clients),
) -> Result<Build, ClientError> {
    progress.phase("uploading to the legacy build");
    traffic::before_upgrade(canister, clients, progress)?;
    let mut is_staged = upgrade_and_continue(canister, stages, clients, Build::Staged, progress)?;
    after_step(stages, clients);
    if is_staged && rollback {
        progress.phase("rolling back");
        stages.roll_back(canister, clients);
        after_step(stages, clients);
        is_staged = upgrade_and_continue(canister, stages, clients, Build::Legacy, progress)?
            && upgrade_and_continue(canister, stages, clients, Build::Staged, progress)?;
        after_step(stages, clients);
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
    after_step(stages, clients);
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
