//! Where a migration should end.

/// The phase in which a migration should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Everything is converted; of the migration with this number or a later one.
    Converted(u16),
    /// As before: the build has changed, but the layout has not.
    Unchanged,
    /// Everything is rolled back.
    RolledBack,
}
