//! The storage as the migration engine sees it, and the engine's errors as those of the interface.

use ic_stable_migrate::Host;

use super::tables::MigrationTables;
use crate::api::Error;
use crate::session::Time;
use crate::stable::layout::Layout;
use crate::stable::{Memory, StableError};
use crate::storage::Storage;

/// The engine's type of time.
pub type EngineTime = ic_stable_migrate::Time;

impl Host for Storage {
    type Memory = Memory;
    type Key = u64;
    type Error = Error;

    fn layout(&self) -> Result<ic_stable_migrate::Layout, StableError> {
        Ok(self.layout.get()?.unwrap_or(Layout::LEGACY).number())
    }

    fn set_layout(&mut self, layout: ic_stable_migrate::Layout) {
        self.layout.set(&Layout(layout.0));
    }

    fn ledger(&self) -> &MigrationTables {
        &self.migration
    }

    fn ledger_mut(&mut self) -> &mut MigrationTables {
        &mut self.migration
    }

    fn check_room(&self) -> Result<(), Error> {
        Ok(self.room.check_for_step()?)
    }
}

impl From<Time> for EngineTime {
    fn from(time: Time) -> Self {
        Self::from_nanos(time.as_nanos())
    }
}

impl From<EngineTime> for Time {
    fn from(time: EngineTime) -> Self {
        Self::from_nanos(time.as_nanos())
    }
}

impl From<Layout> for ic_stable_migrate::Layout {
    fn from(layout: Layout) -> Self {
        layout.number()
    }
}

impl From<ic_stable_migrate::Error> for Error {
    fn from(error: ic_stable_migrate::Error) -> Self {
        use ic_stable_migrate::Error::{NotEntered, NotQuarantined, Refused, Stable, WrongPhase};
        match error {
            Stable(damage) => damage.into(),
            Refused { action, phase, why } => {
                Self::conflict("migration", format!("{phase:?}"), format!("cannot {action}: {why}"))
            }
            NotEntered { number, .. } => Self::conflict("migration", number, error.to_string()),
            NotQuarantined { key } => Self::not_found("quarantined record", key),
            WrongPhase { expected, found } => {
                let why = format!(
                    "expected {expected:?}: the legacy build can only defer a migration; install the staged build"
                );
                Self::conflict("migration", format!("{found:?}"), why)
            }
            other => Self::Internal(other.to_string()),
        }
    }
}
