//! Installs and upgrades the canister, and controls its migration.

use std::path::Path;

use candid::Principal;
use pocket_ic::PocketIc;
use upload_canister::api::{MigrationPhase, MigrationStatus};

use super::accounting::{self, Bounds};
use super::upload_run::Clients;
use super::wasms::Wasm;
use super::{MigrationReport, MigrationRun, RehearseError, StageReport};
use crate::build::Build;
use crate::client::{Canister, NO_ARGUMENTS};
use crate::costs;
use crate::inspect::Contents;
use crate::snapshot::{self, Snapshot};
use crate::trace::Tape;

/// The rehearsed canister, and the records of its installation, its upgrades and its migrations.
pub(super) struct Stages<'p> {
    canister: Canister<'p>,
    controller: Principal,
    /// Legacy, staged, direct.
    pub wasms: [Wasm; 3],
    /// The installation and the upgrades so far.
    pub done: Vec<StageReport>,
    /// Status of migration 1 at the end of its last run, rollbacks excepted; `None` before the first.
    pub migration: Option<MigrationStatus>,
    /// Status of migration 2 at the end of its run; `None` before.
    pub payload: Option<MigrationStatus>,
    /// Every run of a migration, including rollbacks.
    pub runs: Vec<MigrationRun>,
    /// Uploads that were in flight when the legacy build was last replaced.
    in_flight: u64,
    /// Bounds from a loaded snapshot: how many of its records cannot be converted, and how many have expired. For a new
    /// canister, both are 0.
    bounds: Bounds,
}

/// The controller of every rehearsed canister, the upload canister or another.
pub(super) fn controller() -> Principal {
    Principal::self_authenticating("controller of the rehearsal")
}

impl<'p> Stages<'p> {
    pub fn new(pic: &'p PocketIc, wasms: [Wasm; 3]) -> Self {
        let controller = controller();
        let canister = Canister::new(pic, pic.create_canister_with_settings(Some(controller), None));
        Stages {
            canister,
            controller,
            wasms,
            done: Vec::new(),
            migration: None,
            payload: None,
            runs: Vec::new(),
            in_flight: 0,
            bounds: Bounds::default(),
        }
    }

    /// Installs the legacy build; `given` is its path if it was not built from the tree. From then on, all calls are
    /// recorded on the tape, if there is one.
    pub fn install_legacy(
        &mut self,
        tape: Option<&'p Tape>,
        given: Option<&Path>,
    ) -> Result<Canister<'p>, RehearseError> {
        let install_error = |message| RehearseError::Install { given: given.map(Path::to_path_buf), message };
        let [legacy, ..] = &self.wasms;
        // Reinstalling into an empty canister is the same as installing. If it fails, `reinstall_canister` returns an
        // error, whereas `install_canister` panics.
        let (pic, id) = (self.canister.pic(), self.canister.id());
        pic.reinstall_canister(id, legacy.module.gz.clone(), NO_ARGUMENTS.to_vec(), Some(self.controller))
            .map_err(|reject| install_error(reject.reject_message))?;
        self.canister = self.canister.recorded(tape);
        let build = legacy.build;
        expect_build(&self.canister, build).map_err(install_error)?;
        self.record_stage(build, format!("install {build}"), true, 0);
        Ok(self.canister)
    }

    /// Loads a snapshot into the canister, with the legacy build as its module.
    pub fn load(&mut self, snapshot: &Snapshot, contents: &Contents) -> Result<Canister<'p>, RehearseError> {
        let [legacy, ..] = &self.wasms;
        let (pic, id) = (self.canister.pic(), self.canister.id());
        snapshot::load(pic, id, self.controller, snapshot, contents.as_of, &legacy.module)?;
        let build = legacy.build;
        expect_build(&self.canister, build)
            .map_err(|why| RehearseError::File { path: snapshot.path.clone(), why })?;
        self.bounds =
            Bounds { min_source: 0, max_quarantined: contents.unconvertible, max_expired: contents.expired };
        self.record_stage(build, "load the snapshot".into(), true, 0);
        Ok(self.canister)
    }

    /// Upgrades to a build. If the upgrade fails, records the problem and returns `false`.
    pub fn upgrade(&mut self, build: Build, clients: &mut Clients) -> bool {
        let Some(wasm) = self.wasms.iter().find(|wasm| wasm.build == build) else {
            clients.problems.push(format!("there is no wasm of the {build} build"));
            return false;
        };
        // The legacy build is about to be replaced.
        if self.done.last().is_some_and(|stage| stage.build == Build::Legacy.name()) {
            self.in_flight = clients.runs.iter().filter(|run| run.is_in_flight()).count() as u64;
        }
        let first_message = costs::next_index(self.canister.pic(), self.canister.id());
        let answer = self
            .canister
            .upgrade(self.controller, build.name(), &wasm.module)
            .map_err(|reject| reject.reject_message)
            .and_then(|()| expect_build(&self.canister, build));
        let upgraded = answer.is_ok();
        if let Err(why) = answer {
            clients.problems.push(format!("the upgrade to the {build} build failed: {why}"));
        }
        self.record_stage(build, format!("upgrade to {build}"), upgraded, first_message);
        upgraded
    }

    /// Returns the name of the last installation or upgrade.
    pub fn last_name(&self) -> &str {
        self.done.last().map_or("", |stage| stage.name.as_str())
    }

    /// Rolls the migration back. Records a problem unless everything is in layout 1 again.
    pub fn roll_back(&mut self, canister: &Canister<'_>, clients: &mut Clients) {
        let rolled_back = canister.migration_rollback(self.controller);
        let Some(status) = clients
            .ok_or_problem(rolled_back.and_then(|status| canister.wait_until_settled(status, || Ok(()))))
        else {
            return;
        };
        self.record_run(&status);
        if status.phase != MigrationPhase::RolledBack || status.layout != 1 {
            let MigrationStatus { phase, layout, note, .. } = status;
            clients
                .problems
                .push(format!("the rollback ended in phase {phase:?} in layout {layout} ({note})"));
        }
    }

    /// Verifies and finalizes migration 1, so that the direct build may begin migration 2. Returns whether migration 1
    /// is finalized.
    pub fn finalize(&mut self, canister: &Canister<'_>, clients: &mut Clients) -> bool {
        // The problem is recorded already, by `wait_until_converted`.
        if self.migration.as_ref().is_none_or(|status| status.phase != MigrationPhase::Converted) {
            return false;
        }
        let verified = canister
            .migration_verify(self.controller)
            .and_then(|status| canister.wait_until_settled(status, || Ok(())));
        let leave_quarantined = self.bounds.max_quarantined > 0;
        let finalized =
            verified.and_then(|_| canister.migration_finalize(self.controller, leave_quarantined));
        let Some(MigrationStatus { phase, note, .. }) = clients.ok_or_problem(finalized) else {
            return false;
        };
        if phase != MigrationPhase::Finalized {
            clients.problems.push(format!("the migration is not finalized, its phase is {phase:?} ({note})"));
        }
        phase == MigrationPhase::Finalized
    }

    fn record_stage(&mut self, build: Build, name: String, upgrade_ok: bool, first_message: u64) {
        self.done.push(StageReport {
            name,
            build: build.name().to_owned(),
            upgrade_ok,
            instructions: costs::last_install(self.canister.pic(), self.canister.id(), first_message),
        });
    }

    fn record_run(&mut self, status: &MigrationStatus) {
        self.runs.push(MigrationRun {
            stage: self.last_name().to_owned(),
            migration: status.migration,
            phase: format!("{:?}", status.phase),
            counts: MigrationReport::from(status),
        });
    }

    /// Lets time pass until the migration has settled. Records a problem unless everything is converted and reconciles.
    pub fn wait_until_converted(&mut self, canister: &Canister<'_>, clients: &mut Clients) {
        let status =
            canister.migration_status().and_then(|status| canister.wait_until_settled(status, || Ok(())));
        let Some(status) = clients.ok_or_problem(status) else { return };
        let build = self.done.last().map_or("", |stage| stage.build.as_str());
        // Only the units of migration 1 are sessions; those of migration 2 are also committed blobs.
        let min_source = if status.migration == 1 { self.in_flight } else { 0 };
        clients.problems.extend(accounting::check(build, &status, Bounds { min_source, ..self.bounds }));
        self.record_run(&status);
        let latest = if status.migration == 1 { &mut self.migration } else { &mut self.payload };
        *latest = Some(status);
    }
}

/// Returns an error unless the canister reports this build.
fn expect_build(canister: &Canister<'_>, build: Build) -> Result<(), String> {
    let info = canister.build_info().map_err(|error| error.to_string())?;
    if info.build == build.name() {
        Ok(())
    } else {
        Err(format!("expected the {build} build, build_info reports `{}`", info.build))
    }
}
