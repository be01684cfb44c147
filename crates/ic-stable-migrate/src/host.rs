//! What a canister must provide for the engine.

use std::fmt;

use ic_stable_structures::Memory;

use crate::{Error, Key, Layout, Ledger, StableError};

/// The storage of a canister whose stable memory is migrated.
///
/// It provides for the engine the number of the stable layout, the [`Ledger`], and a check for room in stable memory.
/// The engine uses nothing else in the storage; the migrations do.
///
/// ```
/// use ic_stable_migrate::{Build, Error, Host, Layout, Ledger, LedgerMemories, Register, StableError};
/// use ic_stable_structures::{Memory, VectorMemory};
///
/// /// Pages that a conversion may need at most.
/// const PAGES: u64 = 4;
/// const LIMIT: u64 = 1_000;
///
/// struct Storage {
///     layout: Register<Layout, VectorMemory>,
///     ledger: Ledger<u64, VectorMemory>,
///     accounts: VectorMemory,
/// }
///
/// impl Host for Storage {
///     type Memory = VectorMemory;
///     type Key = u64;
///     type Error = Error;
///
///     fn layout(&self) -> Result<Layout, StableError> {
///         // The release before the first migration wrote no header.
///         Ok(self.layout.get()?.unwrap_or(Layout(1)))
///     }
///
///     fn set_layout(&mut self, layout: Layout) {
///         self.layout.set(&layout);
///     }
///
///     fn ledger(&self) -> &Ledger<u64, VectorMemory> {
///         &self.ledger
///     }
///
///     fn ledger_mut(&mut self) -> &mut Ledger<u64, VectorMemory> {
///         &mut self.ledger
///     }
///
///     fn check_room(&self) -> Result<(), Error> {
///         let reason = "no room to convert another account";
///         let full = || StableError { name: "accounts", key: String::new(), reason: reason.into() };
///         if self.accounts.size() + PAGES > LIMIT { Err(full().into()) } else { Ok(()) }
///     }
/// }
///
/// let memory = VectorMemory::default;
/// let tables = LedgerMemories { states: memory(), journal: memory(), quarantine: memory(), first: None };
/// let mut storage = Storage {
///     layout: Register::over(memory()),
///     ledger: Ledger::open(tables, Build::default()),
///     accounts: memory(),
/// };
/// assert_eq!(storage.layout()?, Layout(1));
/// storage.set_layout(Layout(2));
/// assert_eq!(storage.layout()?, Layout(2));
/// storage.ledger().check()?;
/// assert_eq!(storage.ledger_mut().current(), 1);
/// storage.check_room()?;
/// # Ok::<(), Error>(())
/// ```
pub trait Host {
    /// Stable memory of the ledger.
    type Memory: Memory + Clone;

    /// Key of the units of all migrations.
    type Key: Key;

    /// The error type of the canister's calls; [`Error`] itself will do.
    type Error: fmt::Display + From<Error> + From<StableError>;

    /// Returns the number of the stable layout.
    ///
    /// # Errors
    /// If the record that holds the number is damaged.
    fn layout(&self) -> Result<Layout, StableError>;

    /// Replaces the number of the stable layout.
    fn set_layout(&mut self, layout: Layout);

    /// Returns the engine's tables.
    fn ledger(&self) -> &Ledger<Self::Key, Self::Memory>;

    /// Returns the engine's tables.
    fn ledger_mut(&mut self) -> &mut Ledger<Self::Key, Self::Memory>;

    /// Returns `Ok(())` if stable memory has room for the writes of one unit. Called before a unit is converted,
    /// converted back, or restored from quarantine, but not for the units of a [`Bulk`](crate::Bulk) conversion.
    ///
    /// # Errors
    /// If there is no room. If the engine was running, the migration is then stuck until a controller resumes it;
    /// otherwise only the call of the client or controller fails.
    fn check_room(&self) -> Result<(), Self::Error> {
        Ok(())
    }
}
