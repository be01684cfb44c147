//! Time in one unit, and where it comes from.

/// A point in time: nanoseconds since 1970-01-01 UTC. The only unit of time in the project.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// From nanoseconds since 1970-01-01 UTC.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since 1970-01-01 UTC.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This much later; the end of time when it would lie beyond it (year 2554).
    pub const fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000_000)))
    }

    /// This much earlier; 1970 when it would lie before it.
    pub const fn minus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds.saturating_mul(1_000_000_000)))
    }
}

/// Tells the time. One message sees one time.
pub trait Clock {
    /// The present.
    fn now(&self) -> Time;
}

impl Clock for Time {
    /// A clock that stands still: what a single message sees, and what tests need.
    fn now(&self) -> Time {
        *self
    }
}
