//! A stored record that does not decode.

/// The error for a stored record that does not decode. The record is never replaced by a default.
///
/// ```
/// use ic_stable_migrate::{StableError, Table};
/// use ic_stable_structures::VectorMemory;
///
/// let mut names: Table<u64, String, VectorMemory> = Table::over(VectorMemory::default());
/// names.insert_raw(7, vec![0xff]);
/// let damage: StableError = names.get(&7).unwrap_err();
/// assert_eq!((damage.name, damage.key.as_str()), ("text", "7"));
/// assert!(damage.to_string().starts_with("text 7: the stored record is damaged: "), "{damage}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} {key}: the stored record is damaged: {reason}")]
pub struct StableError {
    /// [`Record::NAME`](crate::Record::NAME).
    pub name: &'static str,
    /// Key of the record.
    pub key: String,
    /// What is wrong with the record.
    pub reason: String,
}
