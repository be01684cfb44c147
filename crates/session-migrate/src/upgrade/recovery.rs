//! Recovery from a failed upgrade: the previous module over a rolled back migration, or the snapshot.

use ic_management_canister_types::{LoadCanisterSnapshotArgs, SnapshotDataKind};
use sha2::{Digest, Sha256};
use upload_canister::api::{AdminStats, PathCounts};

use super::driver::{Driver, install};
use super::watch::Goal;
use super::{Ending, Facts, Lost, OnFailure, Outcome, Step, UpgradeError};
use crate::build::Build;
use crate::client::ClientError;
use crate::network::Target;
use crate::transfer::SLICE;

impl Driver<'_, '_> {
    /// Goes back as far as the plan allows, after an upgrade that failed because of `why`.
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
        self.progress.line(&format!("failed: {why}"));
        let no_rollback = match self.roll_back(facts, snapshot).await? {
            Ok(()) => return Ok(Ending::RolledBack { why }),
            Err(no_rollback) => no_rollback,
        };
        if on_failure == OnFailure::Rollback {
            return Ok(Ending::Held { why, no_recovery: no_rollback });
        }
        let lost = self.lost().await;
        if let Some(lost) = &lost {
            self.progress.line(&format!("restoring the snapshot loses {lost}"));
        }
        let args = LoadCanisterSnapshotArgs {
            canister_id: self.plan.canister,
            snapshot_id: snapshot.to_vec(),
            sender_canister_version: None,
        };
        let target = Target::management("load_canister_snapshot", self.plan.canister, (args,))?;
        let restored = self.effect(Step::Restore, target).await?;
        if let Outcome::Rejected(rejection) = restored {
            let no_recovery = format!("{no_rollback}; and the restore is refused: {}", rejection.text);
            return Ok(Ending::Held { why, no_recovery });
        }
        match self.confirm(&facts.module_hash).await? {
            Ok(()) => Ok(Ending::Restored { why, no_rollback, lost }),
            Err(other) => Ok(Ending::Held { why, no_recovery: format!("{no_rollback}; and {other}") }),
        }
    }

    /// Rolls the migration back if there is one, and installs the previous module. Returns why that is not
    /// possible.
    async fn roll_back(
        &mut self,
        facts: &Facts,
        snapshot: &[u8],
    ) -> Result<Result<(), String>, UpgradeError> {
        if facts.build == Build::Legacy {
            if let Err(why) = self.migration_effect(Step::Rollback, "migration_rollback").await? {
                return Ok(Err(why));
            }
            self.progress.phase("rolling back");
            if let Err(why) = self.watch(Goal::RolledBack).await? {
                return Ok(Err(format!("the rollback has failed: {why}")));
            }
        }
        let module = self.module_before(facts, snapshot).await?;
        let target = install(self.plan.canister, module)?;
        match self.effect(Step::InstallBefore, target).await? {
            Outcome::Rejected(rejection) => {
                Ok(Err(format!("the previous module is refused: {}", rejection.text)))
            }
            Outcome::Replied { .. } | Outcome::Observed => self.confirm(&facts.module_hash).await,
        }
    }

    /// Reads the previous module out of the snapshot: it need not be on this machine.
    async fn module_before(&self, facts: &Facts, snapshot: &[u8]) -> Result<Vec<u8>, UpgradeError> {
        self.progress.phase("reading the previous module");
        let retry = self.retry();
        let bytes = retry.again(|| self.management.snapshot_metadata(snapshot)).await?.wasm_module_size;
        let mut module = Vec::new();
        while (module.len() as u64) < bytes {
            let offset = module.len() as u64;
            let size = (bytes - offset).min(SLICE);
            let kind = SnapshotDataKind::WasmModule { offset, size };
            let slice = retry.again(|| self.management.snapshot_data(snapshot, kind.clone())).await?;
            if slice.is_empty() {
                break;
            }
            module.extend(slice);
        }
        let got = hex::encode(Sha256::digest(&module));
        if got != facts.module_hash {
            return Err(UpgradeError::ModuleBefore {
                snapshot: hex::encode(snapshot),
                why: format!("its module hash is {got}, expected {}", facts.module_hash),
            });
        }
        Ok(module)
    }

    /// Returns what was written since the snapshot, if the canister still says.
    async fn lost(&self) -> Option<Lost> {
        let before = serde_json::from_value(self.journal.known("written")?.clone()).ok()?;
        Some(self.written().await.ok()?.since(before))
    }

    /// Returns what clients have written so far.
    pub(super) async fn written(&self) -> Result<Lost, ClientError> {
        let stats: AdminStats = self.retry().again(|| self.canister.update("admin_stats", ())).await?;
        let counts = [stats.counts.compat, stats.counts.direct, stats.counts.no_path];
        let sum = |of: fn(&PathCounts) -> u64| counts.iter().map(of).fold(0, u64::saturating_add);
        Ok(Lost {
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
