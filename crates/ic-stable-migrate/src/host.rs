//! What the engine asks of a canister.

use std::fmt;

use ic_stable_structures::Memory;

use crate::{Error, Key, Layout, Ledger, StableError};

/// The storage of a canister whose stable memory is migrated.
///
/// It provides two things for the engine: the number of the stable layout, and the [`Ledger`]. Everything
/// else in it is up to the migrations.
pub trait Host {
    /// Stable memory of the ledger.
    type Memory: Memory;

    /// Key of the units of all migrations.
    type Key: Key;

    /// The error type of the canister's calls; [`Error`] itself will do.
    type Error: fmt::Display + From<Error> + From<StableError>;

    /// Returns the number of the stable layout.
    ///
    /// # Errors
    /// If the record that holds it is damaged.
    fn layout(&self) -> Result<Layout, StableError>;

    /// Replaces the number of the stable layout.
    fn set_layout(&mut self, layout: Layout);

    /// Returns the engine's tables.
    fn ledger(&self) -> &Ledger<Self::Key, Self::Memory>;

    /// Returns the engine's tables.
    fn ledger_mut(&mut self) -> &mut Ledger<Self::Key, Self::Memory>;

    /// Returns `Ok(())` if stable memory has room for the writes of one unit. Called before each unit.
    ///
    /// # Errors
    /// If there is none; the migration is stuck until a controller resumes it.
    fn check_room(&self) -> Result<(), Self::Error> {
        Ok(())
    }
}
