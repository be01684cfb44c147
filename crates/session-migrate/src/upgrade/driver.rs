//! The steps of an upgrade, in order.

mod effects;

use std::time::Duration;

use candid::Principal;
use ic_management_canister_types::{
    CanisterIdRecord, CanisterInstallMode, DeleteCanisterSnapshotArgs, InstallCodeArgs, Snapshot,
    TakeCanisterSnapshotArgs,
};
use serde::Serialize;
use upload_canister::api::{BuildInfo, MigrationStatus};

use super::error::Checked;
use super::goal::Goal;
use super::{EffectOutcome, Ending, Event, Facts, Journal, Plan, Report, Step, Unconfirmed, UpgradeError};
use crate::Verdict;
use crate::build::{Build, Module};
use crate::client::{ClientError, NO_ARGUMENTS, decode_reply, decode_result};
use crate::network::{LiveCanister, Management, Network, Retry, Target};
use crate::rehearse;
use crate::temporary;
use crate::transfer::{self, SnapshotChoice};

/// Number of slices in flight when the snapshot is downloaded for the rehearsal.
const SLICES_IN_FLIGHT: usize = 8;

/// Maximum size of a gzipped module, bytes: with its other arguments, it must fit into a message.
const MAX_MODULE_BYTES: usize = 1_900_000;

/// Number of consecutive queries that the installed build must answer.
const ANSWERS_IN_A_ROW: u32 = 3;

/// Pause after a query that another build has answered.
const OTHER_BUILD_PAUSE: Duration = Duration::from_secs(1);

/// What an upgrade needs in addition to its plan.
pub struct Tools<'a> {
    /// The network, connected with the identity of a controller.
    pub network: &'a Network,
    /// How long a call without an answer is retried, where progress is shown, and the clock for pauses and time limits.
    /// The download of the snapshot uses the system's clock instead.
    pub retry: Retry<'a>,
}

/// Executes the steps of one upgrade, and records them in its journal.
pub(super) struct Driver<'a, 'j> {
    network: &'a Network,
    pub(super) management: Management,
    pub(super) canister: LiveCanister,
    pub(super) plan: Plan,
    /// The module to install; `None` if the upgrade is aborted.
    module: Option<&'a Module>,
    pub(super) journal: &'a mut Journal<'j>,
    pub(super) retry: Retry<'a>,
}

/// Returns why the module must not or cannot be installed as this build; `None` if it can be.
pub fn why_unsuitable(module: &Module, to: Build) -> Option<String> {
    if module.features != to.features() {
        return Some(format!(
            "the module {} has the features {:?}, expected {:?} of the {to} build",
            module.sha256,
            module.features,
            to.features()
        ));
    }
    (module.gz.len() > MAX_MODULE_BYTES).then(|| {
        format!(
            "the module has {} bytes, gzipped, and a message holds at most {MAX_MODULE_BYTES}: install it by \
            hand, in chunks",
            module.gz.len()
        )
    })
}

/// Returns the call that upgrades the canister to a module.
pub(super) fn install_target(canister: Principal, wasm_module: Vec<u8>) -> Result<Target, ClientError> {
    let args = InstallCodeArgs {
        mode: CanisterInstallMode::Upgrade(None),
        canister_id: canister,
        wasm_module,
        arg: NO_ARGUMENTS.to_vec(),
        sender_canister_version: None,
    };
    Target::management("install_code", canister, (args,))
}

impl<'a, 'j> Driver<'a, 'j> {
    pub fn new(
        tools: &Tools<'a>,
        plan: Plan,
        module: Option<&'a Module>,
        journal: &'a mut Journal<'j>,
    ) -> Driver<'a, 'j> {
        Driver {
            network: tools.network,
            management: tools.network.management(plan.canister),
            canister: tools.network.canister(plan.canister),
            plan,
            module,
            journal,
            retry: tools.retry,
        }
    }
}

impl Driver<'_, '_> {
    pub(super) fn elapsed_since(&self, moment: Duration) -> Duration {
        self.retry.clock.now().saturating_sub(moment)
    }

    /// Continues the upgrade that is in the journal, to its end, and records the end in the journal.
    pub async fn run(mut self) -> Result<Report, UpgradeError> {
        let ending = self.drive().await?;
        self.end(ending)
    }

    /// Runs the preflight. If nothing prevents the upgrade, enters it into the journal and executes it to its end.
    pub async fn begin(mut self) -> Result<Report, UpgradeError> {
        match self.run_preflight().await.map_err(UpgradeError::before_begin)? {
            Err(ending) => Ok(self.report_without_begin(ending)),
            Ok(facts) => {
                self.journal.begin(self.plan.clone())?;
                self.record_fact("preflight", facts)?;
                self.run().await
            }
        }
    }

    fn end(self, ending: Ending) -> Result<Report, UpgradeError> {
        self.journal.append(Event::Ended { ending: Box::new(ending.clone()) })?;
        self.report(ending)
    }

    fn report(&self, ending: Ending) -> Result<Report, UpgradeError> {
        let is_dropped = self.is_done(Step::DropSnapshot);
        let snapshot = self.snapshot()?.filter(|_| !is_dropped).map(hex::encode);
        Ok(Report { before: self.facts()?, snapshot, ..self.report_without_begin(ending) })
    }

    /// Returns the report of an upgrade that was not begun. Does not read the journal, which may contain an earlier
    /// upgrade.
    fn report_without_begin(&self, ending: Ending) -> Report {
        Report {
            canister: self.plan.canister,
            to: self.plan.to,
            module_hash: self.plan.module_hash.clone(),
            before: None,
            snapshot: None,
            ending,
        }
    }

    /// Runs the preflight. The inner error is the ending of an upgrade that does not begin: nothing to do, or refused.
    async fn run_preflight(&self) -> Checked<Facts, Ending> {
        self.retry.progress.phase("preflight");
        let Some(module) = self.module else {
            let reasons = vec!["there is no module to install".into()];
            return Ok(Err(Ending::Refused { reasons }));
        };
        if let Some(reason) = why_unsuitable(module, self.plan.to) {
            return Ok(Err(Ending::Refused { reasons: vec![reason] }));
        }
        if self.certified_hash().await? == self.plan.module_hash {
            return Ok(Err(Ending::NothingToDo));
        }
        let found = self.check_canister(module).await?;
        Ok(found.map_err(|reasons| Ending::Refused { reasons }))
    }

    /// Executes all steps, except those whose outcome is in the journal.
    async fn drive(&mut self) -> Result<Ending, UpgradeError> {
        // The facts are missing if an earlier process ended right after it had begun the upgrade.
        let facts = match self.facts()? {
            Some(facts) => facts,
            None => match self.run_preflight().await? {
                Ok(facts) => self.record_fact("preflight", facts)?,
                Err(ending) => return Ok(ending),
            },
        };
        // An earlier process has begun to recover; continue.
        if let (Some(why), Some(snapshot)) = (self.failure()?, self.snapshot()?) {
            let on_failure = self.plan.on_failure.or_rollback();
            return self.recover(&facts, &snapshot, why, on_failure).await;
        }
        let snapshot = match self.take_snapshot().await? {
            Ok(snapshot) => snapshot,
            Err(why) => return Ok(Ending::NotInstalled { why }),
        };
        if self.plan.rehearse
            && let Err(why) = self.rehearse(&snapshot).await?
        {
            return Ok(Ending::NotInstalled { why });
        }
        let installed = self.install(&facts).await?;
        let started = self.start_again().await?;
        let checked = match (installed, started) {
            (Ok(()), Ok(())) => self.check_upgrade(&facts).await?,
            (Ok(()), Err(why)) => Err(why),
            (Err(why), Ok(())) => return Ok(Ending::NotInstalled { why }),
            (Err(why), Err(stopped)) => return Ok(Ending::NotInstalled { why: format!("{why}; {stopped}") }),
        };
        let quarantined = match checked {
            Ok(quarantined) => quarantined,
            Err(why) => {
                let on_failure = self.plan.on_failure;
                return self.recover(&facts, &snapshot, why, on_failure).await;
            }
        };
        if self.plan.drop_snapshot {
            self.drop_snapshot(snapshot).await?;
        }
        Ok(Ending::Upgraded { quarantined })
    }

    /// Ends an unfinished upgrade. Starts the canister if the upgrade has stopped it, and recovers if the module is
    /// already installed.
    pub async fn abort(mut self) -> Result<Report, UpgradeError> {
        let why = "it was aborted".to_owned();
        self.retry.progress.phase("aborting");
        // The canister is started first, since a stopped canister rejects its clients, and finding the outcome of the
        // installation can take until the request has expired. The request may still be in transit, and then upgrades a
        // running canister, as without `--stop`: the callback of a call that is open at that moment runs in the new
        // module. This risk is accepted: the recovery installs the previous module on a running canister, too. The
        // outcome is not missed: the search for it, below, ends when it is found or when the request has expired.
        let started = self.start_again().await?;
        self.retry.progress.phase("finding the outcomes of earlier requests");
        // What to do depends on these steps, and the journal may lack the outcome of the last one.
        for step in [Step::Snapshot, Step::Install] {
            match self.find_outcome(step).await {
                // The installation begins only after the snapshot of this upgrade is known, so nothing is installed,
                // and the snapshot is not needed.
                Err(UpgradeError::SeveralSnapshots { .. }) => {}
                found => found?,
            }
        }
        let facts = self.facts()?;
        let is_installed = self.is_done(Step::Install);
        let why = match started {
            Ok(()) => why,
            Err(stopped) => format!("{why}; {stopped}"),
        };
        let ending = match (facts, self.snapshot()?) {
            (Some(facts), Some(snapshot)) if is_installed => {
                let on_failure = self.plan.on_failure.or_rollback();
                self.recover(&facts, &snapshot, why, on_failure).await?
            }
            _ => Ending::NotInstalled { why },
        };
        self.end(ending)
    }

    /// Returns whether the journal shows that the step was executed.
    fn is_done(&self, step: Step) -> bool {
        matches!(self.journal.receipt(step), Some(EffectOutcome::Replied { .. } | EffectOutcome::Observed))
    }

    /// Records a fact that later steps depend on.
    pub(super) fn record_fact<T: Serialize>(&mut self, name: &str, fact: T) -> Result<T, UpgradeError> {
        let value = serde_json::to_value(&fact).map_err(|error| self.not_encodable(&error))?;
        self.journal.append(Event::Known { fact: name.to_owned(), value })?;
        Ok(fact)
    }

    fn not_encodable(&self, error: &serde_json::Error) -> UpgradeError {
        let (path, source) = (self.journal.path().to_path_buf(), std::io::Error::other(error.to_string()));
        UpgradeError::Journal { path, source }
    }

    /// Returns the preflight's facts, once they are in the journal.
    fn facts(&self) -> Result<Option<Facts>, UpgradeError> {
        self.journal.known("preflight")
    }

    /// Returns the id of this upgrade's snapshot, once it is in the journal.
    fn snapshot(&self) -> Result<Option<Vec<u8>>, UpgradeError> {
        self.journal.known("snapshot")
    }

    /// Records how much clients have written, and takes the snapshot; the canister keeps running.
    async fn take_snapshot(&mut self) -> Checked<Vec<u8>> {
        if let Some(snapshot) = self.snapshot()? {
            return Ok(Ok(snapshot));
        }
        if !self.journal.is_known("written") {
            let written = self.written().await?;
            self.record_fact("written", written)?;
        }
        let args = TakeCanisterSnapshotArgs {
            canister_id: self.plan.canister,
            replace_snapshot: self.plan.replace_snapshot.as_ref().and_then(|id| hex::decode(id).ok()),
            uninstall_code: None,
            sender_canister_version: None,
        };
        let target = Target::management("take_canister_snapshot", self.plan.canister, (args,))?;
        let method = target.method;
        let id = match self.effect(Step::Snapshot, target).await? {
            EffectOutcome::Rejected(rejection) => return Ok(Err(rejection.text)),
            EffectOutcome::Replied { reply, .. } => {
                let reply = hex::decode(reply).unwrap_or_default();
                decode_reply::<(Snapshot,)>(method, &reply)?.0.id
            }
            EffectOutcome::Observed => match self.new_snapshot().await? {
                Some(id) => id,
                None => return Ok(Err("the snapshot of this upgrade has been deleted".into())),
            },
        };
        Ok(Ok(self.record_fact("snapshot", id)?))
    }

    /// Rehearses the upgrade on the snapshot, unless a rehearsal has already passed. The inner error says that it has
    /// failed.
    async fn rehearse(&mut self, snapshot: &[u8]) -> Checked<()> {
        if self.journal.is_known("rehearsed") {
            return Ok(Ok(()));
        }
        let failed = |error: std::io::Error| UpgradeError::Rehearsal(error.to_string());
        let temporary = temporary::folder().map_err(failed)?;
        let folder = temporary.path().join("snapshot");
        let options = transfer::Options { parallel: SLICES_IN_FLIGHT, retry_for: self.retry.retry_for };
        let choice = SnapshotChoice::Id(hex::encode(snapshot));
        transfer::download(self.network, self.plan.canister, &choice, &folder, options, self.retry.progress)
            .await?;
        let wasm = temporary.path().join("module.wasm.gz");
        std::fs::write(&wasm, self.module.map(|module| module.gz.as_slice()).unwrap_or_default())
            .map_err(failed)?;
        let options = rehearse::Options {
            snapshot: Some(folder),
            files: Vec::new(),
            clients: 1,
            seed: 1,
            // On a snapshot, the rehearsal includes a rollback anyway.
            rollback: false,
            wasms: rehearse::Wasms { staged: Some(wasm), ..rehearse::Wasms::default() },
            record: None,
        };
        let progress = self.retry.progress;
        // The rehearsal blocks, and its PocketIC client has a runtime of its own.
        let rehearsed = tokio::task::block_in_place(|| {
            std::thread::scope(|scope| scope.spawn(|| rehearse::run(&options, progress)).join())
        });
        let report = match rehearsed {
            Ok(Ok(report)) => report,
            Ok(Err(error)) => return Err(UpgradeError::Rehearsal(error.to_string())),
            Err(panic) => return Err(UpgradeError::Rehearsal(crate::panic_text(&*panic))),
        };
        if report.verdict == Verdict::Fail {
            let first = report.problems.first().map_or("", String::as_str);
            return Ok(Err(format!("the rehearsal on the snapshot failed: {first}")));
        }
        self.record_fact("rehearsed", report.verdict.word())?;
        Ok(Ok(()))
    }

    /// Installs the module, unless the canister has changed since the preflight. If planned, stops the canister first.
    async fn install(&mut self, facts: &Facts) -> Checked<()> {
        let module = self.module.map(|module| module.gz.clone()).unwrap_or_default();
        if self.journal.intent(Step::Install).is_none() {
            self.retry.progress.phase("comparing the canister with the preflight");
            if let Some(why) = self.changed_since(facts).await? {
                return Ok(Err(why));
            }
        }
        if self.plan.stop {
            let args = CanisterIdRecord { canister_id: self.plan.canister };
            let target = Target::management("stop_canister", self.plan.canister, (args,))?;
            if let EffectOutcome::Rejected(rejection) = self.effect(Step::Stop, target).await? {
                return Ok(Err(rejection.text));
            }
        }
        match self.effect(Step::Install, install_target(self.plan.canister, module)?).await? {
            EffectOutcome::Rejected(rejection) => Ok(Err(rejection.text)),
            EffectOutcome::Replied { .. } | EffectOutcome::Observed => Ok(Ok(())),
        }
    }

    /// Starts the canister if it may have been stopped. That includes a rejected stop, after which the canister may
    /// still be stopping.
    async fn start_again(&mut self) -> Checked<()> {
        self.find_outcome(Step::Stop).await?;
        if self.journal.intent(Step::Stop).is_none() {
            return Ok(Ok(()));
        }
        let args = CanisterIdRecord { canister_id: self.plan.canister };
        let target = Target::management("start_canister", self.plan.canister, (args,))?;
        match self.effect(Step::Start, target).await? {
            EffectOutcome::Rejected(rejection) => {
                Ok(Err(format!("the canister is stopped, and could not be started: {}", rejection.text)))
            }
            EffectOutcome::Replied { .. } | EffectOutcome::Observed => Ok(Ok(())),
        }
    }

    /// Checks that the network certifies this module hash, and that the canister reports this build, first in a
    /// certified answer and then in its answers to queries.
    pub(super) async fn confirm(&self, hash: &str, build: Build) -> Checked<(), Unconfirmed> {
        self.retry.progress.phase("confirming the module hash and the build");
        let got = self.certified_hash().await?;
        if got != hash {
            return Ok(Err(Unconfirmed::ModuleReplaced { expected: hash.to_owned(), got }));
        }
        let check_build = |info: BuildInfo| match info.build == build.name() {
            true => Ok(()),
            false => Err(Unconfirmed::OtherBuild { expected: build, got: info.build }),
        };
        // All nodes of the subnet agree on this answer.
        let certified = self.retry.again(|| self.canister.replicated_query_plain("build_info")).await;
        match certified.map(check_build) {
            Ok(Ok(())) => {}
            Ok(Err(unconfirmed)) => return Ok(Err(unconfirmed)),
            Err(error) => return rejection_as_unconfirmed(error),
        }
        // A query is answered by a single node, which may still run the previous module for a while.
        let (began, mut in_a_row) = (self.retry.clock.now(), 0);
        while in_a_row < ANSWERS_IN_A_ROW {
            let answer = self.retry.again(|| self.canister.query_plain("build_info")).await;
            match answer.map(check_build) {
                Ok(Ok(())) => in_a_row += 1,
                Ok(Err(unconfirmed)) if self.elapsed_since(began) >= self.retry.retry_for => {
                    return Ok(Err(unconfirmed));
                }
                Ok(Err(_)) => {
                    in_a_row = 0;
                    self.retry.clock.pause(OTHER_BUILD_PAUSE).await;
                }
                Err(error) => return rejection_as_unconfirmed(error),
            }
        }
        Ok(Ok(()))
    }

    /// Confirms the installation, waits for the migration, and checks that nobody has replaced the module in the
    /// meantime. Returns the number of records in quarantine.
    async fn check_upgrade(&mut self, facts: &Facts) -> Checked<u64> {
        let (hash, build) = (self.plan.module_hash.clone(), self.plan.to);
        if let Err(unconfirmed) = self.confirm(&hash, build).await? {
            return Ok(Err(unconfirmed.to_string()));
        }
        let checked = self.wait_until_verified(facts).await?;
        let got = self.certified_hash().await?;
        if got != hash {
            return Ok(Err(Unconfirmed::ModuleReplaced { expected: hash, got }.to_string()));
        }
        Ok(checked)
    }

    /// Waits until everything is converted and verified or, if the build is the same as before, until the migration
    /// does nothing more by itself. Returns the number of records in quarantine.
    async fn wait_until_verified(&mut self, facts: &Facts) -> Checked<u64> {
        let goal = match (facts.build, self.plan.to, facts.phase.as_str()) {
            (from, to, _) if from == to => Goal::Unchanged,
            // The direct build begins the migration after the finalized one.
            (_, Build::Direct, "Finalized") => Goal::Converted(facts.migration + 1),
            _ => Goal::Converted(facts.migration),
        };
        self.retry.progress.phase("watching the migration");
        let status = match self.watch(goal).await? {
            Ok(status) => status,
            Err(why) => return Ok(Err(why)),
        };
        if goal == Goal::Unchanged {
            return Ok(Ok(status.quarantined));
        }
        if let Err(why) = self.migration_effect(Step::Verify, "migration_verify").await? {
            return Ok(Err(why));
        }
        let verified = self.watch(goal).await?;
        Ok(verified.map(|status| status.quarantined))
    }

    /// Calls one of the canister's `migration_…` methods as an effect (`effects.rs`).
    pub(super) async fn migration_effect(&mut self, step: Step, method: &'static str) -> Checked<()> {
        let target = Target::canister(method, self.plan.canister, ())?;
        match self.effect(step, target).await? {
            EffectOutcome::Rejected(rejection) => Ok(Err(rejection.text)),
            EffectOutcome::Observed => Ok(Ok(())),
            EffectOutcome::Replied { reply, .. } => {
                let reply = hex::decode(reply).unwrap_or_default();
                match decode_result::<MigrationStatus>(method, &reply) {
                    Ok(_) => Ok(Ok(())),
                    Err(error @ ClientError::Refused { .. }) => Ok(Err(error.to_string())),
                    Err(error) => Err(error.into()),
                }
            }
        }
    }

    /// Deletes the snapshot. If the call is rejected, the upgrade succeeds nevertheless.
    async fn drop_snapshot(&mut self, snapshot_id: Vec<u8>) -> Result<(), UpgradeError> {
        let args = DeleteCanisterSnapshotArgs { canister_id: self.plan.canister, snapshot_id };
        let target = Target::management("delete_canister_snapshot", self.plan.canister, (args,))?;
        self.effect(Step::DropSnapshot, target).await.map(drop)
    }
}

/// A rejection shows that the canister does not answer, and becomes [`Unconfirmed::NoAnswer`]. Other errors are
/// returned: a lack of cycles, after which the upgrade can be resumed, and errors that say nothing about the canister.
fn rejection_as_unconfirmed(error: ClientError) -> Checked<(), Unconfirmed> {
    match error {
        ClientError::Rejected { .. } if !error.is_out_of_cycles() => Ok(Err(Unconfirmed::NoAnswer(error))),
        error => Err(error.into()),
    }
}
