//! Upgrades a live canister by one step of the staged upgrade, legacy to staged or staged to direct, or to another
//! module of the staged or direct build.
//!
//! Owns: the order of the steps, the journal that survives this process, the conditions under which the upgrade
//! counts as failed, and the recovery. Does not own: what the canister does (the migration does it), the network
//! (`network`), the rehearsal on the snapshot (`rehearse`).
//!
//! The steps are written as one straight function (`Driver::drive`). Each effect is written into the
//! journal before it is sent and after it is answered; a later process runs the same function again, finds the
//! answers in the journal, and settles the one effect that may be open: a request is executed at most once,
//! however often it is sent (see [`OneCall`](crate::network::OneCall)).

mod driver;
mod error;
mod facts;
mod goal;
mod journal;
mod plan;
mod planned;
mod preflight;
mod recovery;
mod report;
mod watch;

use crate::build::Module;

pub use driver::Tools;
pub use error::{Unconfirmed, UpgradeError};
pub use facts::Facts;
pub use journal::{EffectOutcome, Event, Journal, Line, Listener, Silent, Step};
pub use plan::{OnFailure, Plan};
pub use planned::{PlannedCall, planned};
pub use report::{Ending, Lost, Report};

use driver::Driver;

/// Starts an upgrade and drives it to its end. If the preflight refuses the upgrade, or there is nothing to do, nothing
/// is written to the journal.
///
/// # Errors
/// [`UpgradeError`]: the state of the upgrade is in the journal, to be resumed or aborted.
pub async fn begin(
    tools: &Tools<'_>,
    plan: Plan,
    module: &Module,
    journal: &mut Journal<'_>,
) -> Result<Report, UpgradeError> {
    journal.check_ended()?;
    Driver::new(tools, plan, Some(module), journal).begin().await
}

/// Resumes an unfinished upgrade.
///
/// # Errors
/// [`UpgradeError`]; also if the journal has no unfinished upgrade, or one of another module or network.
pub async fn resume(
    tools: &Tools<'_>,
    module: &Module,
    journal: &mut Journal<'_>,
) -> Result<Report, UpgradeError> {
    let plan = journal.unfinished()?;
    if plan.module_hash != module.sha256 {
        return Err(UpgradeError::OtherModule { expected: plan.module_hash, got: module.sha256.clone() });
    }
    plan.check_network(tools.network)?;
    Driver::new(tools, plan, Some(module), journal).run().await
}

/// Ends an unfinished upgrade: if the module is not installed yet, nothing is installed; otherwise the migration is
/// rolled back and the previous module installed or, if the plan allows it and that fails, the snapshot is restored.
///
/// # Errors
/// [`UpgradeError`]; also if the journal has no unfinished upgrade, or one on another network.
pub async fn abort(tools: &Tools<'_>, journal: &mut Journal<'_>) -> Result<Report, UpgradeError> {
    let plan = journal.unfinished()?;
    plan.check_network(tools.network)?;
    Driver::new(tools, plan, None, journal).abort().await
}
