//! Points in time, and the clock that returns the current one.

/// A point in time: nanoseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// Creates a time from nanoseconds since 1970-01-01 UTC.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the number of nanoseconds since 1970-01-01 UTC.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the time `seconds` later, saturating at the maximum (year 2554).
    pub const fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000_000)))
    }

    /// Returns the time `seconds` earlier, saturating at 1970.
    pub const fn minus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds.saturating_mul(1_000_000_000)))
    }
}

/// A source of time. Within a message the time does not change.
pub trait Clock {
    /// Returns the current time.
    fn now(&self) -> Time;
}

/// A time serves as a clock that stands still: the time of a message, or one that a test chooses.
impl Clock for Time {
    fn now(&self) -> Time {
        *self
    }
}
