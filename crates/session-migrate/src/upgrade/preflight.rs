//! The preflight: checks the canister before anything is changed, and changes nothing itself.

use ic_management_canister_types::{CanisterStatusResult, CanisterStatusType};
use stable_schema::Compatibility::Forbidden;
use stable_schema::interface::{self, InterfaceComparison};
use upload_canister::api::{AdminConfig, MigrationPhase, MigrationStatus};

use super::driver::Driver;
use super::error::{Checked, Refusal};
use super::{Facts, UpgradeError};
use crate::build::{self, Build, Module};
use crate::check::{self, Side};
use crate::client::ClientError;

/// Maximum number of snapshots of a canister on the IC.
const MAX_SNAPSHOTS: usize = 10;

/// Cycles for the upgrade, in addition to those that keep the canister from freezing.
const UPGRADE_CYCLES: u128 = 100_000_000_000;

impl Driver<'_, '_> {
    /// Checks the canister and the module. The inner error lists the reasons against the upgrade.
    pub(super) async fn check_canister(&self, module: &Module) -> Checked<Facts, Vec<Refusal>> {
        let retry = self.retry;
        let caller = self.plan.caller;
        let status = match retry.again(|| self.management.status()).await {
            Ok(status) => status,
            Err(error) if error.is_out_of_cycles() => return Ok(Err(vec![format!("{error}; top it up")])),
            Err(error @ ClientError::Rejected { .. }) => {
                return Ok(Err(vec![format!("{caller} may not upgrade it: {error}")]));
            }
            Err(error) => return Err(error.into()),
        };
        let mut reasons = Vec::new();
        if !status.settings.controllers.contains(&caller) {
            reasons.push(format!("{caller} is not a controller of {}", self.plan.canister));
        }
        if status.status != CanisterStatusType::Running {
            reasons.push(format!("the canister is {:?}, expected running: start it first", status.status));
        }
        let certified = self.certified().await?;
        let Some(hash) = certified.module_hash else {
            return Ok(Err(vec![format!("{} has no module: install one", self.plan.canister)]));
        };
        let build = self.metadata("build").await?.and_then(|name| name.parse::<Build>().ok());
        let Some(build) = build else {
            reasons.push(format!(
                "the module {} does not say in its metadata which build of an upload canister it is",
                hex::encode(hash)
            ));
            return Ok(Err(reasons));
        };
        let to = self.plan.to;
        if !build.leads_to(to) {
            reasons.push(format!(
                "{build} to {to} is not a step of the staged upgrade: legacy to staged, staged to direct"
            ));
        }
        if !reasons.is_empty() {
            return Ok(Err(reasons));
        }
        let compared = self.compare_modules(module).await?;
        reasons.extend(compared.reasons);
        let migration = match self.migration_status().await {
            Ok(status) => status,
            Err(error @ (ClientError::Rejected { .. } | ClientError::Refused { .. })) => {
                let reason = format!("the canister does not report the state of its migration: {error}");
                return Ok(Err(vec![reason]));
            }
            Err(error) => return Err(error.into()),
        };
        reasons.extend(wrong_phase(build, &migration));
        let config: AdminConfig = retry.again(|| self.canister.update("admin_config_get", ())).await?;
        if build == Build::Staged && config.compat_share_percent > 0 {
            reasons.push(format!(
                "compat_share_percent is {}, and nothing is converted while it is above 0: set it to 0",
                config.compat_share_percent
            ));
        }
        let snapshots = retry.again(|| self.management.snapshots()).await?;
        let snapshots: Vec<String> = snapshots.iter().map(|snapshot| hex::encode(&snapshot.id)).collect();
        reasons.extend(self.why_no_snapshot(&snapshots));
        reasons.extend(too_few_cycles(&status));
        if !reasons.is_empty() {
            return Ok(Err(reasons));
        }
        Ok(Ok(Facts {
            build,
            module_hash: hex::encode(hash),
            installed_at: certified.installed_at,
            version: status.version,
            migration: migration.migration,
            phase: format!("{:?}", migration.phase),
            layout: migration.layout,
            snapshots,
            cycles: status.cycles.to_string(),
            memory_bytes: status.memory_size.to_string(),
            stable_memory: compared.stable_memory,
        }))
    }

    /// Returns metadata of the running module; `None` if the module has none of this name.
    async fn metadata(&self, name: &str) -> Result<Option<String>, ClientError> {
        let found = self.retry.again(|| self.management.metadata(name)).await?;
        Ok(found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Compares the interface and the schema of the module with those of the running module.
    async fn compare_modules(&self, module: &Module) -> Result<ModuleComparison, UpgradeError> {
        let old_did = self.metadata("candid:service").await?;
        let old_schema = self.metadata(stable_schema::METADATA).await?;
        let wasm = build::unpack(&module.gz).unwrap_or_default();
        let (new_did, new_schema) = (build::interface_of(&wasm), build::schema_of(&wasm));
        let (Some(old_did), Some(new_did)) = (old_did, new_did) else {
            return Ok(ModuleComparison::refused(
                "the interface of the module that runs, or of the new one, is unknown",
            ));
        };
        let Some(old_schema) = old_schema else {
            // A module of an earlier release has no schema, so only the interfaces can be compared.
            return Ok(match interface::compare(&old_did, &new_did) {
                Ok(comparison) => {
                    ModuleComparison { reasons: breaking_changes(&comparison), stable_memory: None }
                }
                Err(error) => ModuleComparison::refused(error),
            });
        };
        let old = Side::of("the module that runs".into(), Some(old_schema.as_bytes()), Some(old_did));
        let new = Side::of("the new module".into(), new_schema.as_deref().map(str::as_bytes), Some(new_did));
        Ok(match old.and_then(|old| check::compare(&old, &new?)) {
            Ok(report) => ModuleComparison {
                reasons: forbidden_changes(&report),
                stable_memory: Some(report.schemas.upgrade_verdict().to_string()),
            },
            Err(error) => ModuleComparison::refused(error),
        })
    }

    /// Returns why no snapshot can be taken: there is no room, or no such snapshot to replace.
    fn why_no_snapshot(&self, snapshots: &[String]) -> Option<String> {
        match &self.plan.replace_snapshot {
            Some(replaced) if !snapshots.contains(replaced) => {
                Some(format!("the canister has no snapshot {replaced} to be replaced"))
            }
            None if snapshots.len() >= MAX_SNAPSHOTS => Some(format!(
                "the canister has {} snapshots, at most {MAX_SNAPSHOTS} are allowed: delete one, or name one with \
                 --replace-snapshot: {}",
                snapshots.len(),
                snapshots.join(", ")
            )),
            _ => None,
        }
    }

    /// Returns why the module must not be installed: the canister differs from the preflight's facts, or the caller is
    /// no longer a controller. `None` if it may be. A higher version is not a difference, since every client's call
    /// increases it.
    pub(super) async fn changed_since(&self, facts: &Facts) -> Result<Option<String>, UpgradeError> {
        let certified = self.certified().await?;
        let hash = certified.module_hash.map(hex::encode).unwrap_or_default();
        if hash != facts.module_hash {
            return Ok(Some(format!(
                "somebody has installed the module {hash} since the preflight, which found {}",
                facts.module_hash
            )));
        }
        if certified.installed_at != facts.installed_at {
            return Ok(Some("somebody has installed the same module again since the preflight".into()));
        }
        let status = match self.retry.again(|| self.management.status()).await {
            Ok(status) => status,
            Err(error @ ClientError::Rejected { .. }) => {
                return Ok(Some(format!("{} may no longer upgrade it: {error}", self.plan.caller)));
            }
            Err(error) => return Err(error.into()),
        };
        if !status.settings.controllers.contains(&self.plan.caller) {
            return Ok(Some(format!("{} is no longer a controller", self.plan.caller)));
        }
        if status.version < facts.version {
            return Ok(Some(format!(
                "its version is {}, the preflight found {}: it is not the same canister",
                status.version, facts.version
            )));
        }
        Ok(None)
    }
}

/// The outcome of the comparison of the running module with the new one.
struct ModuleComparison {
    /// Reasons against the upgrade.
    reasons: Vec<String>,
    /// The verdict on stable memory, if the running module has a schema.
    stable_memory: Option<String>,
}

impl ModuleComparison {
    fn refused(reason: impl ToString) -> ModuleComparison {
        ModuleComparison { reasons: vec![reason.to_string()], stable_memory: None }
    }
}

fn breaking_changes(comparison: &InterfaceComparison) -> Vec<String> {
    let line = |why| format!("clients of the canister could not use the module's interface: {why}");
    comparison.breaking.iter().map(line).collect()
}

/// Returns what `check` forbids. Its conditional verdicts depend on the phase of the migration, which [`wrong_phase`]
/// checks.
fn forbidden_changes(report: &check::Report) -> Vec<String> {
    let mut reasons = report.interfaces.as_ref().map(breaking_changes).unwrap_or_default();
    for line in &report.schemas.upgrade {
        let forbidden = line.reasons.iter().filter(|reason| reason.verdict == Forbidden);
        let place = line.id.map_or(line.name.clone(), |id| format!("memory {id}, {}", line.name));
        reasons.extend(
            forbidden.map(|reason| format!("the module would not read what is stored: {place}: {reason}")),
        );
    }
    reasons
}

/// Returns why an upgrade from the build `from` cannot begin in the phase of this status.
fn wrong_phase(from: Build, status: &MigrationStatus) -> Option<String> {
    use MigrationPhase::{Converted, Finalized, Idle, Paused, RolledBack};
    let phase = status.phase;
    let (is_right, expected) = match from {
        Build::Legacy => (matches!(phase, Idle | RolledBack), "Idle or RolledBack"),
        Build::Staged | Build::Direct => {
            (matches!(phase, Idle | Converted | Finalized), "Idle, Converted or Finalized")
        }
    };
    let advice = match (phase, status.note.as_str()) {
        _ if is_right => return None,
        (Paused, _) => ": it was paused, `migration_resume ()` continues it".to_owned(),
        (_, "") => ": wait for it".to_owned(),
        (_, note) => format!(": {note}"),
    };
    Some(format!("the migration is {phase:?}, expected {expected}{advice}"))
}

/// Returns why the balance does not suffice for a snapshot. A snapshot is at most as large as the canister, and costs
/// as much as memory of the same size. So it at most doubles the cycles that keep the canister from freezing.
fn too_few_cycles(status: &CanisterStatusResult) -> Option<String> {
    let to_u128 = |nat: &candid::Nat| u128::try_from(&nat.0).unwrap_or(u128::MAX);
    let burned_per_day = to_u128(&status.idle_cycles_burned_per_day);
    let freezing = burned_per_day.saturating_mul(to_u128(&status.settings.freezing_threshold)) / 86_400;
    let needed = freezing.saturating_mul(2).saturating_add(UPGRADE_CYCLES);
    let cycles = to_u128(&status.cycles);
    (cycles < needed).then(|| {
        format!(
            "the balance is {cycles} cycles, and {needed} are needed: {freezing} keep the canister from freezing, as much \
             again with a snapshot, and {UPGRADE_CYCLES} for the upgrade; top it up"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ic_stable_migrate::{MigrationState, Phase};
    use upload_canister::stable::layout::Layout;

    #[test]
    fn a_refusal_names_every_phase_that_is_accepted() {
        let phases = [Phase::Idle, Phase::Converted, Phase::Finalized, Phase::RolledBack, Phase::Stuck];
        for from in Build::ALL {
            let refusal = |phase| {
                let state = MigrationState { phase, ..MigrationState::default() };
                wrong_phase(from, &state.to_api(1, Layout::LEGACY.into(), 0))
            };
            let stuck = refusal(Phase::Stuck).unwrap();
            for phase in phases {
                let is_named = stuck.split_once(", expected ").unwrap().1.contains(&format!("{phase:?}"));
                assert_eq!(refusal(phase).is_none(), is_named, "{from}, {phase:?}: {stuck}");
            }
        }
    }
}
