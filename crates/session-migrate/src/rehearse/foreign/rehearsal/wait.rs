//! Waiting until a migration has settled: the interruptions meanwhile, and the recovery from them.

use std::time::Duration;

use ic_stable_migrate::api::MigrationPhase;

use super::{Rehearsal, Wait};
use crate::client::{MAX_UNCHANGED_ROUNDS, NO_ARGUMENTS, is_settled};
use crate::costs;
use crate::rehearse::foreign::MigrationInterruption;
use crate::rehearse::foreign::calls::Section;
use crate::rehearse::foreign::contract::Status;
use crate::rehearse::foreign::inputs::Release;

/// Instruction limits at which messages are made to trap, in percent of what the largest message has used.
const LIMIT_PERCENTS: [u64; 4] = [2, 20, 50, 80];

/// Number of rounds at each of these limits.
const TRAPPED_ROUNDS: u32 = 3;

/// Time between two such rounds: more than the minute after which a watchdog checks the migration, so that the watchdog
/// notices each trap.
const WATCHDOG_TIME: Duration = Duration::from_secs(61);

/// Maximum number of rounds until a migration begins after an upgrade, or after the finalization of the previous one.
const ROUNDS_TO_BEGIN: u32 = 5;

/// How often, at most, one call of `wait_until_settled` resumes the migration, or retries its units, after messages
/// that were made to trap.
const MAX_RECOVERIES: u32 = 20;

/// Maximum number of upgrades in the middle of one migration, in the rounds 1, 2, 4, 8, …
const MAX_UPGRADES: u32 = 5;

impl Rehearsal<'_> {
    /// Runs rounds until the migration does nothing more by itself, or makes no progress. In each round, makes one call
    /// of `[during]`, from the first on, unless the migration needs recovery. With interruptions, also interrupts the
    /// migration, and makes the remaining calls at the end.
    pub(super) fn wait_until_settled(&mut self, wait: Wait) -> Result<Status, String> {
        let with_interruptions = wait == Wait::WithInterruptions;
        let mut calls = self.calls_of(Section::During);
        let mut status = if with_interruptions {
            // Before the migration's first message, there is nothing to interrupt.
            self.run_rounds_until(|status| status.phase != MigrationPhase::Idle)?
        } else {
            self.pair.status()?
        };
        let (mut unchanged_rounds, mut round) = (0, 0);
        let mut recoveries = 0;
        loop {
            if recoveries < MAX_RECOVERIES && self.recover(&status)? {
                recoveries += 1;
                status = self.pair.status()?;
            }
            if is_settled(status.phase) || unchanged_rounds >= MAX_UNCHANGED_ROUNDS {
                break;
            }
            round += 1;
            if with_interruptions {
                self.interrupt(round)?;
            }
            // The interruption may have changed the status.
            if !self.needs_recovery(&self.pair.status()?) {
                self.play(calls.by_ref().take(1));
            }
            self.pair.run_round(Duration::from_secs(1));
            let next = self.pair.status()?;
            unchanged_rounds = if next == status { unchanged_rounds + 1 } else { 0 };
            status = next;
        }
        if with_interruptions {
            self.play(calls);
        }
        Ok(status)
    }

    /// Runs rounds until the status meets a condition, at most [`ROUNDS_TO_BEGIN`]. Returns the last status.
    pub(super) fn run_rounds_until(&self, is_reached: impl Fn(&Status) -> bool) -> Result<Status, String> {
        for _ in 0..ROUNDS_TO_BEGIN {
            let status = self.pair.status()?;
            if is_reached(&status) {
                return Ok(status);
            }
            self.pair.run_round(Duration::from_secs(1));
        }
        self.pair.status()
    }

    /// Returns whether messages that were made to trap have left the migration stuck, or too many units in quarantine.
    /// Until the migration has recovered, the canister rightly refuses calls about these units.
    fn needs_recovery(&self, status: &Status) -> bool {
        let may_have_trapped = !self.interruptions.is_empty()
            && self.options.interruptions.contains(&MigrationInterruption::Trap);
        let is_stuck = status.phase == MigrationPhase::Stuck;
        may_have_trapped && (is_stuck || status.quarantined > self.options.max_quarantined)
    }

    /// If the migration needs recovery, resumes it or retries the units in quarantine, as a controller would. Returns
    /// `false` if nothing was called.
    fn recover(&self, status: &Status) -> Result<bool, String> {
        use MigrationPhase::{Converted, Converting, Stuck, Verifying};
        if !self.needs_recovery(status) {
            return Ok(false);
        }
        let (endpoint, arg) = match status.phase {
            Stuck => ("migration_resume", NO_ARGUMENTS.to_vec()),
            Converting | Verifying | Converted => ("migration_retry", retry_all_arg()),
            _ => return Ok(false),
        };
        if !self.has_endpoint(endpoint) {
            return Ok(false);
        }
        self.pair.control(endpoint, &arg)?;
        Ok(true)
    }

    /// Interrupts the migration in this round, if that is requested: traps are in round 1, upgrades in the rounds 1, 2,
    /// 4, 8, …
    fn interrupt(&mut self, round: u32) -> Result<(), String> {
        let is_requested = |how| self.options.interruptions.contains(&how);
        let (upgrade, trap) =
            (is_requested(MigrationInterruption::Upgrade), is_requested(MigrationInterruption::Trap));
        if trap && round == 1 {
            self.trap_messages();
        }
        if upgrade && round.is_power_of_two() && round < 1 << MAX_UPGRADES {
            self.pair
                .upgrade(self.inputs, Release::New)
                .map_err(|why| format!("the upgrade in the middle of the migration failed: {why}"))?;
            self.interruptions.push(format!("upgraded again in round {round} of the migration"));
        }
        Ok(())
    }

    /// Makes the migration's messages trap, with each of the [`LIMIT_PERCENTS`] as their instruction limit.
    fn trap_messages(&mut self) {
        let (pic, id) = (self.pair.pic, self.pair.id);
        // One round without a limit shows how many instructions the migration's messages use.
        self.pair.run_round(Duration::from_secs(1));
        let costs = match costs::messages(pic, id, 0) {
            Ok(costs) => costs,
            Err(error) => return self.notes.push(format!("not tested: messages that trap: {error}")),
        };
        let after_install = costs.iter().rposition(|cost| cost.is_install()).map_or(0, |last| last + 1);
        // The migration's messages are those that no call of the rehearsal has caused.
        let is_called = |method: &str| {
            method.starts_with("migration_") || self.inputs.calls.iter().any(|call| call.method == method)
        };
        let messages = costs.iter().skip(after_install).filter(|cost| !is_called(&cost.method));
        let Some(largest) = messages.map(|cost| cost.instructions).max() else {
            self.none_trapped = true;
            return;
        };
        let first_message = costs::index_after(&costs);
        for percent in LIMIT_PERCENTS {
            let limit = limit_at(percent, largest);
            if let Err(error) = costs::limit_message(pic, id, Some(limit)) {
                return self.notes.push(format!("not tested: messages that trap: {error}"));
            }
            (0..TRAPPED_ROUNDS).for_each(|_| self.pair.run_round(WATCHDOG_TIME));
            if let Err(error) = costs::limit_message(pic, id, None) {
                return self.pair.problems.push(error.to_string());
            }
        }
        let trapped = match costs::messages(pic, id, first_message) {
            Ok(costs) => costs.iter().filter(|cost| !cost.ok).count(),
            Err(error) => return self.notes.push(format!("not tested: messages that trap: {error}")),
        };
        self.none_trapped = trapped == 0;
        if self.none_trapped {
            return;
        }
        let limits = LIMIT_PERCENTS.map(|percent| format!("{percent} %")).join(", ");
        self.interruptions.push(format!(
            "{trapped} messages trapped at instruction limits of {limits} of the {largest} that the largest had used"
        ));
        // Gives the watchdog the time to notice the last trap.
        self.pair.run_round(WATCHDOG_TIME);
    }
}

/// Returns `percent` of a number of instructions as a limit, at least 1.
fn limit_at(percent: u64, instructions: u64) -> u64 {
    (instructions.saturating_mul(percent) / 100).max(1)
}

/// Encodes the argument with which `migration_retry` retries every unit: `null`, which decodes as an `opt` of any type.
fn retry_all_arg() -> Vec<u8> {
    candid::encode_args(((),)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_below_100_instructions_differ_by_percentage() {
        assert_eq!(LIMIT_PERCENTS.map(|percent| limit_at(percent, 99)), [1, 19, 49, 79]);
        assert_eq!(LIMIT_PERCENTS.map(|percent| limit_at(percent, 1_000)), [20, 200, 500, 800]);
        assert_eq!((limit_at(2, 1), limit_at(80, 0)), (1, 1));
    }
}
