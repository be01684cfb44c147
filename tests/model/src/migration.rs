//! The expected answers of a controller's calls to the migration.

use super::expect::{Judgement, check_same};
use super::operation::{Control, Stage};
use super::state::Model;
use super::target::{Phase, Refusal, TargetResult};

impl Model {
    /// Checks the answer of a controller's call that was made in `phase`.
    pub fn check_control(
        &mut self,
        stage: Stage,
        phase: Phase,
        control: Control,
        got: &TargetResult<()>,
    ) -> Judgement {
        // No answer to a client depends on the contents of the quarantine or on the progress of the second migration.
        // The model tracks neither, and accepts success and conflict.
        if control == Control::Retry || phase == Phase::Second && control != Control::Rollback {
            return match got {
                Ok(()) | Err(Refusal::Conflict) => Ok(()),
                Err(Refusal::Internal) if control == Control::Retry && self.damaged_in_quarantine => Ok(()),
                Err(other) => Err(format!("{control:?} in {phase:?}: got {other:?}")),
            };
        }
        let is_allowed = match (stage, control) {
            // On the legacy build, a pause defers the migration, and a resume ends the deferral.
            (Stage::Legacy, Control::Pause) => phase == Phase::Idle,
            (Stage::Legacy, Control::Resume) => phase == Phase::Paused,
            (Stage::Legacy, _) | (Stage::Direct, Control::Rollback) | (_, Control::Retry) => false,
            (_, Control::Pause) => matches!(phase, Phase::Working | Phase::RollingBack),
            (_, Control::Resume) => {
                matches!(phase, Phase::Paused | Phase::PausedInRollback | Phase::RolledBack)
            }
            (_, Control::Rollback) => {
                !matches!(phase, Phase::Finalized | Phase::Second | Phase::RollingBack | Phase::RolledBack)
            }
            // A controller may finalize an idle migration if there never was a legacy record. The canister may also
            // refuse because sessions use the compat path, which the model does not track.
            (_, Control::Finalize) => {
                matches!(phase, Phase::Idle | Phase::Converted) && *got != Err(Refusal::Conflict)
            }
        };
        let expected = if is_allowed { Ok(()) } else { Err(Refusal::Conflict) };
        check_same(&format!("{control:?} in {phase:?}"), &expected, got)?;
        self.finalized |= is_allowed && control == Control::Finalize;
        Ok(())
    }

    /// Returns whether a rollback is in progress or complete. No test upgrades to the direct build then, since that
    /// build does not serve layout 1.
    pub const fn is_in_rollback(phase: Phase) -> bool {
        matches!(phase, Phase::RollingBack | Phase::PausedInRollback | Phase::RolledBack)
    }

    /// Checks that the migration may be in `phase`.
    pub fn check_phase(&self, phase: Phase) -> Judgement {
        match phase {
            Phase::Stuck => Err("the migration is stuck".into()),
            Phase::Finalized | Phase::Second if self.finalized => Ok(()),
            _ if self.finalized => Err(format!("the migration was finalized and is in {phase:?}")),
            Phase::Finalized | Phase::Second => {
                Err("the migration is finalized, but no controller has finalized it".into())
            }
            _ => Ok(()),
        }
    }
}
