#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unreachable,
        reason = "nothing traps on input"
    )
)]

pub mod api;
mod batches;
#[cfg(feature = "cdk")]
pub mod cdk;
mod chain;
pub mod codec;
mod control;
mod deferral;
mod digest;
mod dry_run;
mod engine;
mod error;
mod host;
mod journal;
mod key;
mod layout;
mod ledger;
mod message;
mod meter;
mod migration;
mod pace;
mod plan;
mod quarantine;
mod register;
mod run;
mod stable_error;
mod state;
mod table;
mod time;
mod unit;
mod watch;

pub use control::Control;
pub use deferral::{defer, discard_progress, release};
pub use digest::{Digest, MultisetDigest, digest_of, digest_of_record};
pub use engine::Engine;
pub use error::Error;
pub use host::Host;
pub use journal::{Build, JournalRecord};
pub use key::Key;
pub use layout::Layout;
pub use ledger::{FirstMemories, Ledger, LedgerMemories};
pub use message::{MessageBudget, RunOutcome};
pub use meter::{Meter, Unmetered};
pub use migration::{Advance, Bulk, Classified, Fate, Migration, Reversal, Reverted, Settled, Work};
pub use pace::Pace;
pub use plan::{ClassPlan, Plan, Treatment};
pub use quarantine::{Quarantine, QuarantineRecord};
pub use register::Register;
pub use stable_error::StableError;
pub use state::{MigrationState, Phase, Recheck, Rollback, UnitProgress};
pub use table::{Record, Table, newer_format};
pub use time::Time;
pub use watch::Watched;

use std::ops::Bound;

/// The schema of the engine's own records, by their names ([`Record::NAME`]), as JSON of the crate `stable-schema`. A
/// canister that publishes the schema of its stable memory uses it for the tables of its [`Ledger`].
///
/// ```
/// // The tables of the engine, in the schema of a canister.
/// let records: serde_json::Value = serde_json::from_str(ic_stable_migrate::SCHEMA)?;
/// for name in ["migration state", "journal entry", "quarantined record"] {
///     assert!(records[name].is_object(), "{name}");
/// }
/// # Ok::<(), serde_json::Error>(())
/// ```
pub const SCHEMA: &str = include_str!("../schema.json");

/// Returns the range of the keys above `last`, or of all keys if `last` is `None`: for [`Migration::sources`] and
/// [`Migration::targets`].
///
/// ```
/// use ic_stable_migrate::after;
/// use ic_stable_structures::{StableBTreeMap, VectorMemory};
///
/// let mut map = StableBTreeMap::init(VectorMemory::default());
/// for key in [1_u64, 2, 5] {
///     map.insert(key, key);
/// }
/// assert_eq!(map.keys_range(after(None::<u64>)).take(2).collect::<Vec<_>>(), [1, 2]);
/// assert_eq!(map.keys_range(after(Some(2))).take(2).collect::<Vec<_>>(), [5]);
/// ```
#[must_use]
pub fn after<K>(last: Option<K>) -> (Bound<K>, Bound<K>) {
    (last.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

#[cfg(test)]
mod tests;
