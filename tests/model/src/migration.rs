//! The expected answers of a controller's calls to the migration.

use super::expect::{Judgement, same};
use super::operation::{Control, Stage};
use super::state::Model;
use super::target::{Phase, Refusal, TargetResult};

impl Model {
    /// Checks an answer of a call that was made in `phase`.
    pub fn controlled(
        &mut self,
        stage: Stage,
        phase: Phase,
        control: Control,
        got: &TargetResult<()>,
    ) -> Judgement {
        // Neither what is in quarantine nor how far the second migration is affects an answer to a client, so the model
        // does not track them.
        if control == Control::Retry || phase == Phase::Second && control != Control::Rollback {
            return match got {
                Ok(()) | Err(Refusal::Conflict) => Ok(()),
                Err(Refusal::Internal) if control == Control::Retry && self.damaged_in_quarantine => Ok(()),
                Err(other) => Err(format!("{control:?} in {phase:?}: got {other:?}")),
            };
        }
        let may = match (stage, control) {
            // Either deferred before it begins, or no longer deferred.
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
            // This is refused, too, while sessions use the compat path, and accepted immediately if there never was a
            // legacy record.
            (_, Control::Finalize) => {
                matches!(phase, Phase::Idle | Phase::Converted) && *got != Err(Refusal::Conflict)
            }
        };
        let expected = if may { Ok(()) } else { Err(Refusal::Conflict) };
        same(&format!("{control:?} in {phase:?}"), &expected, got)?;
        self.finalized |= may && control == Control::Finalize;
        Ok(())
    }

    /// Returns whether a rollback is in progress or complete. A build without the compat path does not serve
    /// layout 1 until the migration is resumed, so no one upgrades to one then.
    pub const fn goes_back(phase: Phase) -> bool {
        matches!(phase, Phase::RollingBack | Phase::PausedInRollback | Phase::RolledBack)
    }

    /// Checks that the migration may be in its phase.
    pub fn may_be_in(&self, phase: Phase) -> Judgement {
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
