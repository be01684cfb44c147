//! Watches the migration of a live canister until it has reached its goal, or the upgrade has failed.

use std::time::Duration;

use upload_canister::api::{MigrationPhase, MigrationStatus};

use super::driver::Driver;
use super::error::{Checked, Refusal};
use super::goal::Goal;
use super::{Event, UpgradeError};
use crate::client::ClientError;

/// Pause between two checks of the status.
const PAUSE: Duration = Duration::from_secs(1);

/// Time between two progress lines while the phase does not change.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// How long a canister may refuse to report its status.
const PATIENCE: Duration = Duration::from_secs(60);

impl Driver<'_, '_> {
    /// Reads the status in an update call, so that the answer is certified.
    pub(super) async fn migration_status(&self) -> Result<MigrationStatus, ClientError> {
        self.retry.again(|| self.canister.update("migration_status", ())).await
    }

    /// Waits until the migration has reached its goal, and returns its status.
    ///
    /// # Errors
    /// Also [`UpgradeError::Paused`].
    pub(super) async fn watch(&mut self, goal: Goal) -> Checked<MigrationStatus> {
        let limit = Duration::from_secs(self.plan.time_limit);
        let (began, mut refused_since, mut reported_at) = (self.retry.clock.now(), None, None);
        let mut last_phase = None;
        loop {
            let status = match self.migration_status().await {
                Ok(status) => status,
                Err(error) if error.is_out_of_cycles() => return Err(error.into()),
                Err(error @ (ClientError::Rejected { .. } | ClientError::Refused { .. })) => {
                    let since = *refused_since.get_or_insert_with(|| self.retry.clock.now());
                    if self.elapsed_since(since) >= PATIENCE.min(limit) {
                        return Ok(Err(format!("the canister does not answer: {error}")));
                    }
                    self.retry.clock.pause(PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            refused_since = None;
            let seen = seen_event(&status);
            if last_phase != Some((status.migration, status.phase)) {
                last_phase = Some((status.migration, status.phase));
                self.journal.append(seen.clone())?;
                self.show_progress(&seen);
                reported_at = Some(self.retry.clock.now());
            } else if reported_at.is_none_or(|reported_at| self.elapsed_since(reported_at) >= LINE_INTERVAL) {
                self.show_progress(&seen);
                reported_at = Some(self.retry.clock.now());
            }
            if let Some(result) = self.check_goal(goal, status, self.elapsed_since(began) >= limit)? {
                return Ok(result);
            }
            self.retry.clock.pause(PAUSE).await;
        }
    }

    fn show_progress(&self, seen: &Event) {
        if let Event::Seen { migration, phase, done, source, quarantined } = seen {
            self.retry.progress.line(&format!(
                "migration {migration}: {phase}, {done} of {source} records, {quarantined} in quarantine"
            ));
        }
    }

    /// Returns whether the goal is reached, or why it cannot be reached; `None` if it is not reached yet, but still can
    /// be.
    fn check_goal(
        &self,
        goal: Goal,
        status: MigrationStatus,
        is_late: bool,
    ) -> Result<Option<Result<MigrationStatus, Refusal>>, UpgradeError> {
        use MigrationPhase::{Converted, Finalized, Idle, Paused, RolledBack, RollingBack, Stuck};
        let phase = status.phase;
        let failed = |why: String| Ok(Some(Err(why)));
        if let Some(max) = self.plan.max_quarantined
            && status.quarantined > max
            && goal != Goal::RolledBack
        {
            return failed(format!("{} records are in quarantine, at most {max} may be", status.quarantined));
        }
        let is_reached = match goal {
            Goal::Converted(number) => phase == Converted && status.migration >= number,
            Goal::Unchanged => matches!(phase, Converted | Finalized | Idle),
            Goal::RolledBack => phase == RolledBack,
        };
        if is_reached {
            return match goal {
                Goal::RolledBack => Ok(Some(Ok(status))),
                _ => Ok(Some(reconcile(status))),
            };
        }
        match phase {
            Stuck => failed(format!("the migration is stuck: {}", status.note)),
            Paused => Err(UpgradeError::Paused {
                converted: status.converted.saturating_add(status.already),
                source_units: status.source,
            }),
            RollingBack | RolledBack if goal != Goal::RolledBack => {
                failed("somebody has rolled the migration back".into())
            }
            _ if is_late => failed(format!(
                "the migration is still {phase:?} after {} s, with {} of {} records",
                self.plan.time_limit,
                settled_records(&status),
                status.source
            )),
            _ => Ok(None),
        }
    }
}

/// Checks that the counts of a converted migration add up, that its digests agree, and that it has no note.
fn reconcile(status: MigrationStatus) -> Result<MigrationStatus, Refusal> {
    let sum = settled_records(&status);
    if sum != status.source || status.digest_before != status.digest_after {
        return Err(format!("{sum} of {} records are accounted for, or their digests differ", status.source));
    }
    if !status.note.is_empty() {
        return Err(format!("the migration notes: {}", status.note));
    }
    Ok(status)
}

/// Returns the number of records that have an outcome.
fn settled_records(status: &MigrationStatus) -> u64 {
    [status.converted, status.already, status.quarantined, status.expired].iter().sum()
}

fn seen_event(status: &MigrationStatus) -> Event {
    Event::Seen {
        migration: status.migration,
        phase: format!("{:?}", status.phase),
        done: settled_records(status),
        source: status.source,
        quarantined: status.quarantined,
    }
}
