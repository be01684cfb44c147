//! Recovery from a failed upgrade: rolls the migration back and installs the previous module, or restores the snapshot.

use ic_management_canister_types::{LoadCanisterSnapshotArgs, SnapshotDataKind};
use sha2::{Digest, Sha256};
use upload_canister::api::{AdminStats, MigrationPhase, PathCounts};

use super::driver::{Driver, install_target};
use super::error::Checked;
use super::goal::Goal;
use super::{EffectOutcome, Ending, Facts, OnFailure, Step, UpgradeError, WriteCounts};
use crate::build::Build;
use crate::client::ClientError;
use crate::network::Target;
use crate::transfer::SLICE_BYTES;

/// Fact of the journal: why the upgrade has failed, so that a recovery has begun. From this fact and those below, a
/// later process knows where to continue.
const FAILED: &str = "failed";
/// Fact of the journal: why the rollback has failed.
const NO_ROLLBACK: &str = "no_rollback";
/// Fact of the journal: what is lost when the snapshot is restored.
const LOST: &str = "lost";

impl Driver<'_, '_> {
    /// Recovers from a failure, as far as `on_failure` allows.
    pub(super) async fn recover(
        &mut self,
        facts: &Facts,
        snapshot: &[u8],
        why: String,
        on_failure: OnFailure,
    ) -> Result<Ending, UpgradeError> {
        if on_failure == OnFailure::Hold {
            return Ok(Ending::Held { why, no_recovery: "--on-failure hold".into() });
        }
        self.retry.progress.line(&format!("failed: {why}"));
        // Before a recovery begins, the module must still be the one that was installed.
        if !self.journal.is_known(FAILED) {
            let hash = self.certified_hash().await?;
            if hash != self.plan.module_hash {
                let no_recovery =
                    format!("somebody else has installed the module {hash}, which stays as it is");
                return Ok(Ending::Held { why, no_recovery });
            }
            self.record_fact(FAILED, &why)?;
        }
        let no_rollback: String = match self.journal.known(NO_ROLLBACK)? {
            Some(known) => known,
            None => match self.roll_back(facts, snapshot).await? {
                Ok(()) => return Ok(Ending::RolledBack { why }),
                Err(no_recovery) if on_failure == OnFailure::Rollback => {
                    return Ok(Ending::Held { why, no_recovery });
                }
                Err(no_rollback) => self.record_fact(NO_ROLLBACK, no_rollback)?,
            },
        };
        // The loss is recorded before the restore, which also resets the counts from which the loss is computed.
        // The journal has `null` if the canister did not report the loss.
        let lost: Option<WriteCounts> = match self.journal.known(LOST)? {
            Some(known) => known,
            None => {
                let lost = self.loss().await;
                self.record_fact(LOST, lost)?
            }
        };
        if let Some(lost) = &lost {
            self.retry.progress.line(&format!("restoring the snapshot loses {lost}"));
        }
        let args = LoadCanisterSnapshotArgs {
            canister_id: self.plan.canister,
            snapshot_id: snapshot.to_vec(),
            sender_canister_version: None,
        };
        let target = Target::management("load_canister_snapshot", self.plan.canister, (args,))?;
        let restored = self.effect(Step::Restore, target).await?;
        if let EffectOutcome::Rejected(rejection) = restored {
            let no_recovery = format!("{no_rollback}; and the restore is refused: {}", rejection.text);
            return Ok(Ending::Held { why, no_recovery });
        }
        match self.confirm(&facts.module_hash, facts.build).await? {
            Ok(()) => Ok(Ending::Restored { why, no_rollback, lost }),
            Err(unconfirmed) => {
                Ok(Ending::Held { why, no_recovery: format!("{no_rollback}; and {unconfirmed}") })
            }
        }
    }

    /// Returns why the upgrade has failed, if a recovery has begun.
    pub(super) fn failure(&self) -> Result<Option<String>, UpgradeError> {
        self.journal.known(FAILED)
    }

    /// Rolls the migration back if necessary, and installs the previous module.
    async fn roll_back(&mut self, facts: &Facts, snapshot: &[u8]) -> Checked<()> {
        let installed = match self.journal.receipt(Step::InstallBefore) {
            Some(outcome) => outcome.clone(),
            None => {
                let module = match self.module_before(facts, snapshot).await? {
                    Ok(module) => module,
                    Err(why) => return Ok(Err(why)),
                };
                if let Err(why) = self.roll_back_migration(facts).await? {
                    return Ok(Err(why));
                }
                self.effect(Step::InstallBefore, install_target(self.plan.canister, module)?).await?
            }
        };
        match installed {
            EffectOutcome::Rejected(rejection) => {
                Ok(Err(format!("the previous module is refused: {}", rejection.text)))
            }
            EffectOutcome::Replied { .. } | EffectOutcome::Observed => {
                let confirmed = self.confirm(&facts.module_hash, facts.build).await?;
                Ok(confirmed.map_err(|unconfirmed| unconfirmed.to_string()))
            }
        }
    }

    /// Rolls the migration back if the previous build is the legacy build, which cannot read converted records.
    async fn roll_back_migration(&mut self, facts: &Facts) -> Checked<()> {
        // The previous module is sent only once everything is rolled back, so its request in the journal proves that.
        if facts.build != Build::Legacy || self.journal.intent(Step::InstallBefore).is_some() {
            return Ok(Ok(()));
        }
        let refused = self.migration_effect(Step::Rollback, "migration_rollback").await?.err();
        if let Some(why) = refused
            && !self.is_rolling_back().await?
        {
            return Ok(Err(why));
        }
        self.retry.progress.phase("rolling back");
        let rolled_back = self.watch(Goal::RolledBack).await?;
        Ok(rolled_back.map(drop).map_err(|why| format!("the rollback has failed: {why}")))
    }

    /// Returns whether the migration is rolling back or rolled back, so that a refused rollback is no failure.
    async fn is_rolling_back(&self) -> Result<bool, UpgradeError> {
        match self.migration_status().await {
            Ok(status) => {
                Ok(matches!(status.phase, MigrationPhase::RollingBack | MigrationPhase::RolledBack))
            }
            Err(ClientError::Rejected { .. } | ClientError::Refused { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the previous module from the snapshot, since this machine need not have it.
    async fn module_before(&self, facts: &Facts, snapshot: &[u8]) -> Checked<Vec<u8>> {
        self.retry.progress.phase("reading the previous module");
        let unreadable = |why: String| {
            format!("the previous module cannot be read from snapshot {}: {why}", hex::encode(snapshot))
        };
        let module = match self.module_of(snapshot).await {
            Ok(module) => module,
            Err(error @ ClientError::Rejected { .. }) if !error.is_out_of_cycles() => {
                return Ok(Err(unreadable(error.to_string())));
            }
            Err(error) => return Err(error.into()),
        };
        let got = hex::encode(Sha256::digest(&module));
        Ok(match got == facts.module_hash {
            true => Ok(module),
            false => Err(unreadable(format!("its module hash is {got}, expected {}", facts.module_hash))),
        })
    }

    /// Downloads the module of a snapshot. It may be too short if the network sends too little.
    async fn module_of(&self, snapshot: &[u8]) -> Result<Vec<u8>, ClientError> {
        let retry = self.retry;
        let bytes = retry.again(|| self.management.snapshot_metadata(snapshot)).await?.wasm_module_size;
        let mut module = Vec::new();
        while (module.len() as u64) < bytes {
            let offset = module.len() as u64;
            let size = (bytes - offset).min(SLICE_BYTES);
            let kind = SnapshotDataKind::WasmModule { offset, size };
            let slice = retry.again(|| self.management.snapshot_data(snapshot, kind.clone())).await?;
            // If the network sends too little, the caller finds a wrong module hash.
            if slice.is_empty() {
                break;
            }
            module.extend(slice);
        }
        Ok(module)
    }

    /// Returns what clients have written since the snapshot; `None` if that cannot be determined.
    async fn loss(&self) -> Option<WriteCounts> {
        let before = self.journal.known("written").ok()??;
        Some(self.written().await.ok()?.since(before))
    }

    /// Returns what clients have written so far.
    pub(super) async fn written(&self) -> Result<WriteCounts, ClientError> {
        let stats: AdminStats = self.retry.again(|| self.canister.update("admin_stats", ())).await?;
        let counts = [stats.counts.compat, stats.counts.direct, stats.counts.no_path];
        let sum = |of: fn(&PathCounts) -> u64| counts.iter().map(of).fold(0, u64::saturating_add);
        Ok(WriteCounts {
            calls: sum(|path| {
                let calls = [&path.begin, &path.put_chunk, &path.finish, &path.abort, &path.put_whole];
                calls.iter().map(|call| call.messages).fold(0, u64::saturating_add)
            }),
            sessions_begun: sum(|path| path.sessions_begun),
            sessions_finished: sum(|path| path.sessions_finished),
            bytes_stored: sum(|path| path.bytes_stored),
        })
    }
}
