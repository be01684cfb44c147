//! Effects are the calls that change the canister. Each is recorded in the journal before it is sent and after it is
//! answered. If the answer is lost, the state of the canister shows whether the effect was executed (not for verify and
//! rollback, which are sent again).

use ic_management_canister_types::{CanisterStatusType, Snapshot};

use super::super::{EffectOutcome, Event, Step, UpgradeError};
use super::Driver;
use crate::client::ClientError;
use crate::network::{Certified, RequestOutcome, Target, answered_at};

impl Driver<'_, '_> {
    /// Executes an effect, and returns its outcome. A new request is made only if there is none yet, or the journal
    /// has the last one as [`Event::Lost`] or [`Event::OutOfCycles`]. This also holds for a process that resumes the
    /// upgrade.
    pub(in super::super) async fn effect(
        &mut self,
        step: Step,
        target: Target,
    ) -> Result<EffectOutcome, UpgradeError> {
        if let Some(outcome) = self.journal.receipt(step) {
            return Ok(outcome.clone());
        }
        self.retry.progress.phase(step.name());
        loop {
            let call = match self.journal.intent(step) {
                Some(ticket) => self.network.prepare_again(target.clone(), ticket)?,
                None => {
                    let call = self.network.prepare(target.clone())?;
                    let (method, ticket) = (target.method.to_owned(), call.ticket().clone());
                    self.journal.append(Event::Intent { step, method, ticket })?;
                    call
                }
            };
            let settled = self.network.settle(&call, self.retry).await?;
            if let Some(outcome) = self.record_outcome(step, settled).await? {
                return Ok(outcome);
            }
        }
    }

    /// Records the outcome of an effect that may have been sent before; sends nothing, and does nothing if it was not.
    pub(super) async fn find_outcome(&mut self, step: Step) -> Result<(), UpgradeError> {
        if self.journal.receipt(step).is_some() {
            return Ok(());
        }
        let Some(ticket) = self.journal.intent(step) else { return Ok(()) };
        let settled = self.network.find_outcome(step.name(), ticket, self.plan.canister, self.retry).await?;
        self.record_outcome(step, settled).await.map(drop)
    }

    /// Records the outcome of an effect and returns it; `None` if the request is lost, and the state of the canister
    /// does not show the effect or cannot show it.
    ///
    /// # Errors
    /// Also if the canister is out of cycles, unless this rejection is an outcome of the step ([`Step::must_be_done`]).
    async fn record_outcome(
        &mut self,
        step: Step,
        settled: RequestOutcome,
    ) -> Result<Option<EffectOutcome>, UpgradeError> {
        let outcome = match settled {
            RequestOutcome::Replied { reply, certificate } => {
                EffectOutcome::Replied { reply: hex::encode(reply), certificate: hex::encode(certificate) }
            }
            RequestOutcome::Rejected(rejection) if rejection.is_out_of_cycles() && step.must_be_done() => {
                self.journal.append(Event::OutOfCycles { step })?;
                return Err(UpgradeError::OutOfCycles(rejection.text));
            }
            RequestOutcome::Rejected(rejection) => EffectOutcome::Rejected(rejection),
            RequestOutcome::Lost if self.is_observed(step).await? => EffectOutcome::Observed,
            RequestOutcome::Lost => {
                self.journal.append(Event::Lost { step })?;
                return Ok(None);
            }
        };
        self.journal.append(Event::Receipt { step, outcome: outcome.clone() })?;
        Ok(Some(outcome))
    }

    /// Returns whether the state of the canister shows that an effect was executed; `false` also if it cannot show it.
    async fn is_observed(&self, step: Step) -> Result<bool, UpgradeError> {
        Ok(match step {
            Step::Snapshot => self.new_snapshot().await?.is_some(),
            Step::Stop => self.status().await? == CanisterStatusType::Stopped,
            Step::Start => self.status().await? == CanisterStatusType::Running,
            Step::Install => self.certified_hash().await? == self.plan.module_hash,
            Step::InstallBefore | Step::Restore => {
                let before = self.facts()?.map(|facts| facts.module_hash).unwrap_or_default();
                self.certified_hash().await? == before
            }
            // The state does not show these calls, but executing them twice is harmless.
            Step::Verify | Step::Rollback => false,
            Step::DropSnapshot => {
                let snapshot = self.snapshot()?.unwrap_or_default();
                let snapshots = self.retry.again(|| self.management.snapshots()).await?;
                !snapshots.iter().any(|other| other.id == snapshot)
            }
        })
    }

    async fn status(&self) -> Result<CanisterStatusType, ClientError> {
        Ok(self.retry.again(|| self.management.status()).await?.status)
    }

    /// Returns what the network certifies about the canister. Refuses a state that is older than the answer to the last
    /// effect; some nodes may have such a state.
    pub(in super::super) async fn certified(&self) -> Result<Certified, ClientError> {
        let last = self.journal.last_certificate().and_then(|certificate| hex::decode(certificate).ok());
        let last_answer_at = last.and_then(|certificate| answered_at(&certificate)).unwrap_or_default();
        let read_recent = || async {
            let certified = self.management.certified().await?;
            if certified.at >= last_answer_at {
                return Ok(certified);
            }
            let detail = "the answer is older than the last effect".to_owned();
            Err(ClientError::Unanswered { method: "read_state", detail })
        };
        self.retry.again(read_recent).await
    }

    /// Returns the certified module hash, hex; empty without a module.
    pub(in super::super) async fn certified_hash(&self) -> Result<String, ClientError> {
        let certified = self.certified().await?;
        Ok(certified.module_hash.map(hex::encode).unwrap_or_default())
    }

    /// Returns the id of the snapshot that did not exist at the preflight and was taken before the request for a
    /// snapshot expired; `None` if there is none.
    ///
    /// # Errors
    /// Also if there are several such snapshots: only one of them can be that of this upgrade.
    pub(super) async fn new_snapshot(&self) -> Result<Option<Vec<u8>>, UpgradeError> {
        let before = self.facts()?.map(|facts| facts.snapshots).unwrap_or_default();
        let expiry = self.journal.intent(Step::Snapshot).map_or(u64::MAX, |ticket| ticket.expiry);
        only_new(self.retry.again(|| self.management.snapshots()).await?, &before, expiry)
    }
}

/// Returns the id of the only snapshot that is not in `before` and was taken at `expiry`, nanoseconds, or earlier.
fn only_new(
    snapshots: Vec<Snapshot>,
    before: &[String],
    expiry: u64,
) -> Result<Option<Vec<u8>>, UpgradeError> {
    let taken_in_time = snapshots.into_iter().filter(|snapshot| snapshot.taken_at_timestamp <= expiry);
    let new = taken_in_time.map(|snapshot| snapshot.id).filter(|id| !before.contains(&hex::encode(id)));
    let mut new: Vec<Vec<u8>> = new.collect();
    if new.len() > 1 {
        let snapshots = new.into_iter().map(hex::encode).collect();
        return Err(UpgradeError::SeveralSnapshots { snapshots });
    }
    Ok(new.pop())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_new_snapshots_are_an_error_that_lists_them() {
        let snapshot =
            |id: u8, taken_at_timestamp| Snapshot { id: vec![id], taken_at_timestamp, total_size: 1 };
        let all = |ids: &[u8]| ids.iter().map(|id| snapshot(*id, u64::from(*id))).collect::<Vec<_>>();
        let before = ["01".to_owned()];
        assert_eq!(only_new(all(&[1]), &before, 9).unwrap(), None);
        assert_eq!(only_new(all(&[1, 2]), &before, 9).unwrap(), Some(vec![2]));
        assert_eq!(
            only_new(all(&[1, 2, 3]), &before, 2).unwrap(),
            Some(vec![2]),
            "the third one was taken after the request had expired"
        );
        let error = only_new(all(&[1, 2, 3]), &before, 9).unwrap_err();
        assert!(error.to_string().contains("new snapshots, 02, 03, and"), "{error}");
    }
}
