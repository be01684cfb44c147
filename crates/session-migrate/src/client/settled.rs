//! Waits until a migration has settled.

use std::time::Duration;

use upload_canister::api::{MigrationPhase, MigrationStatus};

use super::{Canister, ClientError};

/// Number of consecutive rounds without a change of the status after which a migration is no longer waited for. One
/// round is a second of IC time.
pub(crate) const MAX_UNCHANGED_ROUNDS: u32 = 300;

impl Canister<'_> {
    /// Lets time pass until the migration does nothing more by itself, or its status has not changed for
    /// `MAX_UNCHANGED_ROUNDS` rounds. Returns the last status, whose phase shows which of the two happened.
    /// `each_round` is called after every round.
    ///
    /// # Errors
    /// If the status cannot be read, or the error of `each_round`.
    pub fn wait_until_settled<E: From<ClientError>>(
        &self,
        mut status: MigrationStatus,
        mut each_round: impl FnMut() -> Result<(), E>,
    ) -> Result<MigrationStatus, E> {
        let mut unchanged_rounds = 0;
        while !is_settled(status.phase) && unchanged_rounds < MAX_UNCHANGED_ROUNDS {
            self.pass(Duration::from_secs(1), 1);
            each_round()?;
            let next = self.migration_status()?;
            unchanged_rounds = if next == status { unchanged_rounds + 1 } else { 0 };
            status = next;
        }
        Ok(status)
    }
}

/// Returns whether a migration does nothing by itself in this phase; it need not be complete.
pub(crate) fn is_settled(phase: MigrationPhase) -> bool {
    matches!(
        phase,
        MigrationPhase::Converted
            | MigrationPhase::Finalized
            | MigrationPhase::Stuck
            | MigrationPhase::Paused
            | MigrationPhase::RolledBack
    )
}
