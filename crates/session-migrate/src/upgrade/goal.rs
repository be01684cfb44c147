//! The state in which a watched migration should end.

/// The state in which a watched migration should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// The migration with this number, or a later one, has converted everything.
    Converted(u16),
    /// At rest: another module of the same build was installed, which converts nothing.
    Unchanged,
    /// The migration is rolled back, so that everything is in the earlier layout again.
    RolledBack,
}
