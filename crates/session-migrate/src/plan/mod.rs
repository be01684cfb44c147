//! Plans the staged upgrade of an operator's canister: runs the real modules on a copy of its snapshot, and
//! measures the messages of each step. No clients run in the meantime; [`crate::rehearse`] tests the upgrade with
//! clients.

mod error;
mod page;
mod prices;
mod report;
mod steps;

use std::path::PathBuf;
use std::time::Instant;

use candid::Principal;
use upload_canister::api::{MigrationPhase, MigrationStatus};
use upload_canister::migrations::split_sessions::CLASSES;

use crate::Verdict;
use crate::client::{Canister, ClientError};
use crate::inspect::{self, Severity};
use crate::progress::Progress;
use crate::provenance::Provenance;
use crate::rehearse::{Wasm, Wasms};
use crate::server;
use crate::snapshot::{Snapshot, Verified, load};

pub use error::PlanError;
pub use prices::{Cycles, PRICE_SOURCE};
pub use report::{ClassPlan, Report, StepCost};

use steps::Steps;

/// Options of [`run`].
#[derive(Clone, Debug)]
pub struct Options {
    /// A snapshot folder, or a raw stable memory, which may be gzipped.
    pub snapshot: PathBuf,
    /// Wasms to use instead of those built from the tree.
    pub wasms: Wasms,
}

/// Runs the modules on a copy of the snapshot.
///
/// # Errors
/// [`PlanError`]; reasons against the upgrade are in the [`Report`].
pub fn run(options: &Options, progress: &Progress) -> Result<Report, PlanError> {
    let (provenance, since) = (Provenance::now(), Instant::now());
    progress.phase("inspecting the snapshot");
    let mut snapshot = Snapshot::open(&options.snapshot)?;
    let mut report =
        snapshot.while_verifying(progress, |snapshot| on_copy(options, snapshot, provenance, progress))?;
    report.phases = progress.finish();
    report.seconds = since.elapsed().as_secs_f64();
    Ok(report)
}

/// Makes the plan on a copy of the snapshot. The report's phases and duration are still empty: [`run`] fills them in
/// once every byte of the snapshot is verified.
fn on_copy(
    options: &Options,
    snapshot: &Snapshot,
    provenance: Provenance,
    progress: &Progress,
) -> Result<Report, PlanError> {
    let inspection = inspect::run_on(snapshot, false, provenance.clone(), &Progress::hidden())?;
    if inspection.layout != 1 {
        return Err(PlanError::Layout { path: options.snapshot.clone(), layout: inspection.layout });
    }
    let wasms = progress.silent("building wasms", || options.wasms.load())?;
    let server = server::chosen()?;
    let pic = server::pocket_ic()?;
    let controller = Principal::self_authenticating("controller of the plan");
    let id = pic.create_canister_with_settings(Some(controller), None);
    let canister = Canister::new(&pic, id);
    progress.phase("loading the snapshot");
    let [legacy, staged, direct] = &wasms;
    load(&pic, id, controller, snapshot, inspection.snapshot.as_of, &legacy.module)?;
    let mut plan =
        Plan { steps: Steps::new(canister, controller)?, reasons: Vec::new(), cautions: Vec::new() };
    if snapshot.verified == Verified::No {
        plan.cautions.push(format!("the snapshot is {}", inspection.snapshot.verification()));
    }
    let damage = inspection.found.iter().filter(|finding| finding.severity == Severity::Damage);
    plan.reasons.extend(damage.map(|finding| {
        format!("the snapshot is damaged: {} times {}; see inspect", finding.count, finding.kind.name())
    }));
    let heap_before = plan.steps.memory().heap_bytes;
    let converted = plan.run_steps([legacy, staged, direct], progress)?;
    let after = plan.steps.memory();
    plan.reasons.extend(plan.steps.done.iter().flat_map(|step| {
        let exceeded = step.exceeded().into_iter();
        exceeded.map(move |(what, size, limit)| {
            format!("{}: {size} {what}, at most {limit} are allowed", step.name)
        })
    }));
    let classes = converted.iter().flat_map(|status| &status.classes).map(class_plan).collect();
    let Plan { steps, reasons, cautions } = plan;
    Ok(Report {
        verdict: if reasons.is_empty() { Verdict::Pass } else { Verdict::Fail },
        reasons,
        cautions,
        provenance: provenance.on(server),
        phases: Vec::new(),
        seconds: 0.0,
        snapshot: inspection.snapshot,
        records: converted.as_ref().map_or(0, |status| status.source),
        converted: converted.as_ref().map_or(0, |status| status.converted + status.already),
        quarantined: converted.as_ref().map_or(0, |status| status.quarantined),
        expired: converted.as_ref().map_or(0, |status| status.expired),
        classes,
        stable_before: inspection.memory.bytes,
        stable_after: after.stable_bytes,
        heap_before,
        heap_after: after.heap_bytes,
        steps: steps.done,
        prices: PRICE_SOURCE.into(),
    })
}

fn class_plan(count: &upload_canister::api::ClassCount) -> ClassPlan {
    // Only a module that the user gave can have a class that this program does not know. Its treatment is unknown, too;
    // `convert` is the treatment of most classes.
    let known = CLASSES.iter().find(|class| class.name == count.class);
    ClassPlan {
        class: count.class.clone(),
        treatment: known.map_or("convert", |class| class.treatment.name()).into(),
        count: count.count,
    }
}

/// A plan in progress; the lists are those of the [`Report`]. Not the engine's plan of a migration.
struct Plan<'p> {
    steps: Steps<'p>,
    reasons: Vec<String>,
    cautions: Vec<String>,
}

impl Plan<'_> {
    /// Runs the steps, with a rollback in the middle to measure it. Whatever fails is a reason against the upgrade. The
    /// run ends if the first conversion fails, or at any refused step outside the rollback; it continues if the
    /// rollback fails. Returns the status of migration 1 when it first reached `Converted`; `None` if it never did.
    fn run_steps(
        &mut self,
        [legacy, staged, direct]: [&Wasm; 3],
        progress: &Progress,
    ) -> Result<Option<MigrationStatus>, PlanError> {
        progress.phase("upgrading to the staged build");
        if !self.upgrade("upgrade to staged", staged)? {
            return Ok(None);
        }
        progress.phase("converting every session");
        let Some(converted) = self.settle("migration 1: sessions", MigrationPhase::Converted)? else {
            return Ok(None);
        };
        if converted.quarantined > 0 {
            self.cautions.push(format!(
                "{} sessions cannot be converted and stay in quarantine: finalizing needs \
                `migration_finalize (opt true)`, and their clients get a conflict",
                converted.quarantined
            ));
        }
        if converted.expired > 0 {
            self.cautions.push(format!("{} sessions have expired and are released", converted.expired));
        }
        progress.phase("rolling back, to measure it");
        let canister = self.steps.canister;
        let begun = canister.migration_rollback(self.steps.controller);
        if self.is_accepted("the rollback", begun) {
            self.settle("rollback", MigrationPhase::RolledBack)?;
            self.upgrade("rollback: upgrade to legacy", legacy)?;
            self.upgrade("upgrade to staged again", staged)?;
            self.settle("migration 1 again", MigrationPhase::Converted)?;
        }
        progress.phase("verifying and finalizing");
        let verifying = canister.migration_verify(self.steps.controller);
        if !self.is_accepted("the verification", verifying) {
            return Ok(Some(converted));
        }
        self.settle("verification", MigrationPhase::Converted)?;
        let finalized = canister.migration_finalize(self.steps.controller, converted.quarantined > 0);
        if !self.is_accepted("the finalization", finalized) {
            return Ok(Some(converted));
        }
        self.steps.record("finalization", steps::UPDATE_LIMIT)?;
        progress.phase("upgrading to the direct build");
        if self.upgrade("upgrade to direct", direct)? {
            progress.phase("moving payload into extents");
            if let Some(status) = self.settle("migration 2: payload", MigrationPhase::Converted)?
                && status.quarantined > 0
            {
                self.cautions.push(format!(
                    "{} sessions and blobs stay in the chunk map, since their bytes are not those that were committed",
                    status.quarantined
                ));
            }
        }
        Ok(Some(converted))
    }

    /// Upgrades, and records the cost. Returns `false` if the upgrade is refused, which is a reason against the
    /// upgrade.
    fn upgrade(&mut self, name: &str, wasm: &Wasm) -> Result<bool, PlanError> {
        let upgraded = self.steps.canister.upgrade(self.steps.controller, wasm.build.name(), &wasm.module);
        self.steps.record(name, steps::INSTALL_LIMIT)?;
        if let Err(reject) = &upgraded {
            let why = reject.reject_message.lines().next().unwrap_or_default();
            self.reasons.push(format!("{name} is refused: {why}"));
        }
        Ok(upgraded.is_ok())
    }

    /// Waits and records the cost, like [`Steps::settle`], then checks the result: a phase other than the expected one
    /// is a reason against the upgrade, and so are counts or digests that do not match. Returns the status if the
    /// migration is in the expected phase.
    fn settle(&mut self, name: &str, expected: MigrationPhase) -> Result<Option<MigrationStatus>, PlanError> {
        let status = self.steps.settle(name)?;
        let is_expected = status.phase == expected;
        if !is_expected {
            let MigrationStatus { phase, note, .. } = &status;
            let share = self.steps.canister.admin_config_get(self.steps.controller)?.compat_share_percent;
            let why = if share > 0 && *phase == MigrationPhase::Idle {
                format!(": nothing is converted while compat_share_percent is {share}, set it to 0")
            } else if note.is_empty() {
                String::new()
            } else {
                format!(": {note}")
            };
            self.reasons.push(format!("{name} is in phase {phase:?}, expected {expected:?}{why}"));
        }
        let sum = status.converted + status.already + status.quarantined + status.expired;
        if expected == MigrationPhase::Converted
            && (sum != status.source || status.digest_before != status.digest_after)
        {
            self.reasons.push(format!(
                "{name}: {sum} of {} units are accounted for, or their digests differ",
                status.source
            ));
        }
        Ok(Some(status).filter(|_| is_expected))
    }

    /// Returns whether a call was accepted. If not, the refusal becomes a reason against the upgrade.
    fn is_accepted<T>(&mut self, call: &str, result: Result<T, ClientError>) -> bool {
        if let Err(error) = &result {
            self.reasons.push(format!("{call} is refused: {error}"));
        }
        result.is_ok()
    }
}
