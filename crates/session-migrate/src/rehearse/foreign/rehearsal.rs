//! A rehearsal of two wasms: its state, and its steps.

mod wait;

use std::collections::BTreeSet;
use std::time::Duration;

use ic_stable_migrate::api::MigrationPhase;
use pocket_ic::PocketIc;

use super::calls::Section;
use super::contract::{STATUS, Status, finalize_arg, untestable_notes};
use super::inputs::{EncodedCall, Inputs, Release};
use super::pair::{Pair, Rejected, not_installed};
use super::{CanisterPart, ForeignOptions, MigrationInterruption};
use crate::client::NO_ARGUMENTS;
use crate::costs;
use crate::progress::Progress;
use crate::rehearse::accounting::{self, Bounds};
use crate::rehearse::{MigrationReport, MigrationRun, RehearseError, StageReport};
use crate::trace::CallKind;

/// A rehearsal in progress, and what it has found so far.
pub(super) struct Rehearsal<'a> {
    options: &'a ForeignOptions,
    inputs: &'a Inputs,
    progress: &'a Progress,
    pair: Pair<'a>,
    /// The distinct queries of the file; all of them are made after every step.
    queries: Vec<&'a EncodedCall>,
    stages: Vec<StageReport>,
    runs: Vec<MigrationRun>,
    notes: Vec<String>,
    /// Descriptions of the interruptions, for the report.
    interruptions: Vec<String>,
    /// Whether messages were to trap, and none did.
    none_trapped: bool,
}

/// Whether a migration is interrupted while it is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Undisturbed,
    /// With the interruptions that the options request.
    WithInterruptions,
}

/// What follows a migration that was finalized.
enum Finalized {
    /// Another migration has begun.
    NextHasBegun,
    /// It was the last migration.
    WasLast,
}

pub(super) struct RehearsalOutcome {
    pub problems: Vec<String>,
    pub notes: Vec<String>,
    pub stages: Vec<StageReport>,
    pub runs: Vec<MigrationRun>,
    pub part: CanisterPart,
}

impl<'a> Rehearsal<'a> {
    /// Installs the old wasm twice, and plays the calls before the upgrade.
    ///
    /// # Errors
    /// If the old wasm cannot be installed, or two canisters with the old wasm answer a call differently.
    pub fn begin(
        options: &'a ForeignOptions,
        inputs: &'a Inputs,
        pic: &'a PocketIc,
        progress: &'a Progress,
    ) -> Result<Rehearsal<'a>, RehearseError> {
        progress.phase("installing the old wasm");
        let Inputs { old, new, calls, init_arg, .. } = inputs;
        let interfaces = [old.interface.as_ref(), new.interface.as_ref()];
        let pair = Pair::install(pic, &old.module, init_arg, interfaces, &options.may_differ)
            .map_err(|message| not_installed(&options.old, message))?;
        let mut seen = BTreeSet::new();
        let queries = calls.iter().filter(|call| {
            call.kind == CallKind::Query
                && seen.insert((call.caller, call.method.as_str(), call.arg.as_slice()))
        });
        let queries: Vec<&EncodedCall> = queries.collect();
        let mut rehearsal = Rehearsal {
            options,
            inputs,
            progress,
            pair,
            queries,
            stages: Vec::new(),
            runs: Vec::new(),
            notes: untestable_notes(&new.methods),
            interruptions: Vec::new(),
            none_trapped: false,
        };
        rehearsal.record_stage("install old", Release::Old, true, 0);
        progress.phase("calls before the upgrade");
        let before = calls.iter().filter(|call| call.section == Section::Before);
        let answerable = rehearsal.queries.iter().copied().filter(|query| query.old_has_method);
        rehearsal
            .pair
            .play_before_upgrade(before.chain(answerable))
            .map_err(|why| RehearseError::File { path: options.calls.clone(), why })?;
        Ok(rehearsal)
    }

    /// Runs all steps from the upgrade on; what goes wrong is recorded as a problem.
    pub fn run(&mut self) {
        if !self.upgrade("upgrade to new", Release::New) {
            return;
        }
        self.compare_queries();
        if self.has_endpoint(STATUS) {
            self.run_migrations();
        } else {
            self.run_without_endpoints();
        }
    }

    pub fn end(self) -> RehearsalOutcome {
        let Rehearsal { options, inputs, pair, stages, runs, mut notes, interruptions, none_trapped, .. } =
            self;
        if let Some(Rejected { count, first }) = &pair.rejected {
            notes.push(format!("{count} calls were rejected by the old wasm, too, the first in {first}"));
        }
        if pair.methods.values().all(|method| method.compared == 0) {
            notes.push(
                "not tested: answers; none was compared, since there are no calls, or all may differ".into(),
            );
        }
        let wants_interruptions = !options.interruptions.is_empty() && inputs.new.methods.has(STATUS);
        if wants_interruptions && interruptions.is_empty() && pair.problems.is_empty() {
            notes.push(
                "not tested: interruptions; the migration was complete before it could be interrupted: \
                create more records in [before]"
                    .into(),
            );
        } else if none_trapped {
            notes.push(
                "not tested: messages that trap; none reached its limit: create more records in [before]"
                    .into(),
            );
        }
        let part = CanisterPart {
            old: options.old.display().to_string(),
            new: options.new.display().to_string(),
            methods: pair.methods.into_values().collect(),
            interruptions,
        };
        RehearsalOutcome { problems: pair.problems, notes, stages, runs, part }
    }

    fn has_endpoint(&self, endpoint: &str) -> bool {
        self.inputs.new.methods.has(endpoint)
    }

    fn last_stage(&self) -> String {
        self.stages.last().map_or(String::new(), |stage| stage.name.clone())
    }

    /// Returns the last installation or upgrade as text; a problem of the current step begins with it.
    fn when(&self) -> String {
        format!("after {}", self.last_stage())
    }

    /// Returns the value of a successful answer; records an error as a problem, and returns `None`.
    fn ok_or_problem<T>(&mut self, answer: Result<T, String>) -> Option<T> {
        answer.map_err(|why| self.add_problem(&why)).ok()
    }

    fn add_problem(&mut self, why: &str) {
        let when = self.when();
        self.pair.problems.push(format!("{when}: {why}"));
    }

    /// Records an installation or upgrade, whose messages have the number `first_message` or a higher one.
    fn record_stage(&mut self, name: &str, release: Release, upgrade_ok: bool, first_message: u64) {
        self.stages.push(StageReport {
            name: name.to_owned(),
            build: release.name().to_owned(),
            upgrade_ok,
            instructions: costs::last_install(self.pair.pic, self.pair.id, first_message),
        });
    }

    /// Upgrades the canister to one of the wasms; returns whether the upgrade succeeded.
    fn upgrade(&mut self, name: &str, to: Release) -> bool {
        self.progress.phase(name);
        let first_message = costs::next_index(self.pair.pic, self.pair.id);
        let answer = self.pair.upgrade(self.inputs, to);
        let upgrade_ok = answer.is_ok();
        self.record_stage(name, to, upgrade_ok, first_message);
        if let Err(why) = answer {
            let unlike_init = self.inputs.upgrade_args.unlike_init.as_ref().filter(|_| to == Release::New);
            let hint = unlike_init.map_or(String::new(), |why| format!(" (--upgrade-args: {why})"));
            self.pair.problems.push(format!("{name} failed: {why}{hint}"));
        }
        upgrade_ok
    }

    /// Makes every query on both canisters, and records the differences.
    fn compare_queries(&mut self) {
        let when = self.when();
        self.pair.compare_queries(self.queries.iter().copied(), &when);
    }

    fn calls_of(&self, section: Section) -> impl Iterator<Item = &'a EncodedCall> + use<'a> {
        self.inputs.calls.iter().filter(move |call| call.section == section)
    }

    fn play(&mut self, calls: impl Iterator<Item = &'a EncodedCall>) {
        let when = self.when();
        calls.for_each(|call| self.pair.play(call, &when));
    }

    /// Tests what can be tested without [`STATUS`].
    fn run_without_endpoints(&mut self) {
        self.progress.phase("calls after the upgrade");
        for call in self.calls_of(Section::During) {
            self.play(std::iter::once(call));
            self.pair.run_round(Duration::from_secs(1));
        }
        self.play(self.calls_of(Section::After));
        self.compare_queries();
        if self.options.interruptions.contains(&MigrationInterruption::Upgrade)
            && self.upgrade("upgrade again", Release::New)
        {
            self.compare_queries();
        }
        if self.options.rollback && self.upgrade("back to old", Release::Old) {
            self.compare_queries();
        }
    }

    /// Runs the migrations of the new wasm, one after the other. If all were finalized, upgrades again.
    fn run_migrations(&mut self) {
        let mut finalized = self.run_migration(true);
        while let Some(Finalized::NextHasBegun) = finalized {
            finalized = self.run_migration(false);
        }
        if let Some(Finalized::WasLast) = finalized
            && self.upgrade("upgrade after the end", Release::New)
        {
            self.compare_queries();
        }
    }

    /// Runs one migration, rolls it back and runs it again if requested, and finalizes it. Returns `None` if the
    /// rehearsal cannot continue. Only the rollback of the first migration is followed by a return to the old wasm,
    /// which does not support the layouts from which later migrations start.
    fn run_migration(&mut self, is_first: bool) -> Option<Finalized> {
        self.progress.phase("migrating under traffic");
        if !self.wait_until_converted(Wait::WithInterruptions) {
            return None;
        }
        self.play(self.calls_of(Section::After));
        self.compare_queries();
        if self.has_endpoint("migration_verify") {
            self.progress.phase("verifying every unit");
            let verified = self.pair.control("migration_verify", NO_ARGUMENTS);
            self.ok_or_problem(verified)?;
            let Status { note, .. } = self.wait_and_reconcile(Wait::Undisturbed)?;
            // If the verification has found unsound units, the phase is `Converted` and the counts agree all the same;
            // only the note says so.
            if !note.is_empty() {
                self.add_problem(&format!("migration_verify has found: {note}"));
                return None;
            }
        }
        if self.options.rollback && self.has_endpoint("migration_rollback") && !self.roll_back(is_first) {
            return None;
        }
        if self.has_endpoint("migration_finalize") { self.finalize() } else { None }
    }

    /// Waits until everything is converted, and records the run. Returns `false` if that fails, so that the rehearsal
    /// cannot continue.
    fn wait_until_converted(&mut self, wait: Wait) -> bool {
        let Some(status) = self.wait_and_reconcile(wait) else { return false };
        self.record_run(&status);
        if status.expired > 0 {
            self.notes.push(format!("{} of {} units have expired", status.expired, status.source));
        }
        true
    }

    /// Waits until the migration has settled, reconciles its counts and digests, and makes every query. Returns the
    /// status if the migration is converted and reconciles.
    fn wait_and_reconcile(&mut self, wait: Wait) -> Option<Status> {
        let settled = self.wait_until_settled(wait);
        let status = self.ok_or_problem(settled)?;
        // The rehearsal does not know how many units exist, nor how many of them may expire.
        let bounds =
            Bounds { min_source: 0, max_quarantined: self.options.max_quarantined, max_expired: u64::MAX };
        let problems = accounting::check("new", &status, bounds);
        let is_sound = problems.is_empty();
        if !is_sound {
            // The callers record the run only if they get a status.
            self.record_run(&status);
        }
        self.pair.problems.extend(problems);
        self.compare_queries();
        is_sound.then_some(status)
    }

    fn record_run(&mut self, status: &Status) {
        self.runs.push(MigrationRun {
            stage: self.last_stage(),
            migration: status.migration,
            phase: format!("{:?}", status.phase),
            counts: MigrationReport::from(status),
        });
    }

    /// Rolls back, returns to the old wasm if `to_old`, makes calls, and migrates again. Returns whether the rehearsal
    /// can continue.
    fn roll_back(&mut self, to_old: bool) -> bool {
        self.progress.phase("rolling back");
        let rolled_back = self.pair.control("migration_rollback", NO_ARGUMENTS);
        let settled = rolled_back.and_then(|_| self.wait_until_settled(Wait::Undisturbed));
        let Some(status) = self.ok_or_problem(settled) else { return false };
        self.record_run(&status);
        if status.phase != MigrationPhase::RolledBack {
            let Status { phase, note, .. } = status;
            self.add_problem(&format!("the rollback ended in phase {phase:?} ({note})"));
            return false;
        }
        self.compare_queries();
        if to_old && !self.upgrade("back to old", Release::Old) {
            return false;
        }
        self.play(self.calls_of(Section::During).chain(self.calls_of(Section::After)));
        self.compare_queries();
        if to_old && !self.upgrade("upgrade to new again", Release::New) {
            return false;
        }
        let status = self.pair.status();
        let Some(status) = self.ok_or_problem(status) else { return false };
        if matches!(status.phase, MigrationPhase::RolledBack | MigrationPhase::Paused) {
            if !self.has_endpoint("migration_resume") {
                self.notes.push(
                    "not tested: the conversion after the rollback, and finalization; the migration stays rolled \
                    back, and there is no migration_resume"
                        .into(),
                );
                return false;
            }
            let resumed = self.pair.control("migration_resume", NO_ARGUMENTS);
            if self.ok_or_problem(resumed).is_none() {
                return false;
            }
        }
        self.progress.phase("migrating again");
        self.wait_until_converted(Wait::Undisturbed)
    }

    /// Finalizes the migration. Returns `None` if it is not finalized, so that the rehearsal cannot continue.
    fn finalize(&mut self) -> Option<Finalized> {
        self.progress.phase("finalizing");
        let this_migration = self.runs.last().map_or(0, |run| run.migration);
        let leaves_quarantined = self.runs.last().is_some_and(|run| run.counts.quarantined > 0);
        let finalized = self.pair.control("migration_finalize", &finalize_arg(leaves_quarantined));
        let finalized = self.ok_or_problem(finalized)?;
        // The next migration begins in a message of its own.
        let begun = self.run_rounds_until(|status| status.migration > this_migration);
        let Status { migration, phase, note, .. } = self.ok_or_problem(begun)?;
        self.compare_queries();
        if migration.max(finalized.migration) > this_migration {
            return Some(Finalized::NextHasBegun);
        }
        if phase != MigrationPhase::Finalized {
            self.add_problem(&format!("the migration is not finalized, its phase is {phase:?} ({note})"));
        }
        (phase == MigrationPhase::Finalized).then_some(Finalized::WasLast)
    }
}
