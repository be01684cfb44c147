//! The goal of a migration that is watched.

/// The phase in which a migration should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Everything is converted, by the migration with this number or a later one.
    Converted(u16),
    /// The same as before: the module is another one of the same build, so nothing is converted.
    Unchanged,
    /// Everything is rolled back.
    RolledBack,
}
