//! Upgrades a live canister by one step of the staged upgrade, legacy to staged or staged to direct, or to another
//! module of the staged or direct build. Waits for the migration, decides whether the upgrade has failed, and recovers.
//!
//! `Driver::drive` makes all steps in order. Each effect, a call that changes the canister, is written to the journal
//! before it is sent and after it is answered. To resume an upgrade, a later process runs `Driver::drive` again: it
//! finds the answers in the journal, and sends again the request that may not be answered yet. A request is executed at
//! most once, however often it is sent (see [`OneCall`](crate::network::OneCall)).

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

use candid::Principal;

use crate::build::Module;

pub use driver::{Tools, why_unsuitable};
pub use error::{Unconfirmed, UpgradeError};
pub use facts::Facts;
pub use journal::{EffectOutcome, Event, Journal, Line, Listener, Silent, Step};
pub use plan::{OnFailure, Plan};
pub use planned::{PlannedCall, planned_calls};
pub use report::{Ending, Report, WriteCounts};

use driver::Driver;

/// Starts an upgrade and drives it to its end. Writes nothing to the journal if the preflight refuses the upgrade, or
/// the module is already running.
///
/// # Errors
/// [`UpgradeError`]. If the upgrade was started, the journal has its state, so that it can be resumed or aborted.
pub async fn begin(
    tools: &Tools<'_>,
    plan: Plan,
    module: &Module,
    journal: &mut Journal<'_>,
) -> Result<Report, UpgradeError> {
    journal.check_none_unfinished()?;
    Driver::new(tools, plan, Some(module), journal).begin().await
}

/// Resumes the unfinished upgrade of `canister`.
///
/// # Errors
/// [`UpgradeError`]; also if the journal has no unfinished upgrade, or the upgrade was started with another canister,
/// module, network or caller.
pub async fn resume(
    tools: &Tools<'_>,
    canister: Principal,
    module: &Module,
    journal: &mut Journal<'_>,
) -> Result<Report, UpgradeError> {
    let plan = journal.unfinished_plan_of(canister)?;
    if plan.module_hash != module.sha256 {
        return Err(UpgradeError::OtherModule { expected: plan.module_hash, got: module.sha256.clone() });
    }
    plan.check_network(tools.network)?;
    Driver::new(tools, plan, Some(module), journal).run().await
}

/// Ends the unfinished upgrade of `canister`. If the module is already installed, rolls the migration back and installs
/// the previous module; if that fails and the plan allows it, restores the snapshot.
///
/// # Errors
/// [`UpgradeError`]; also if the journal has no unfinished upgrade, or the upgrade was started with another canister,
/// network or caller.
pub async fn abort(
    tools: &Tools<'_>,
    canister: Principal,
    journal: &mut Journal<'_>,
) -> Result<Report, UpgradeError> {
    let plan = journal.unfinished_plan_of(canister)?;
    plan.check_network(tools.network)?;
    Driver::new(tools, plan, None, journal).abort().await
}
