//! Time of a message.

/// A time in nanoseconds since 1970-01-01 UTC, as the IC reports it.
///
/// ```
/// use ic_stable_migrate::Time;
///
/// let time = Time::from_nanos(1_800_000_000_000_000_000); // ic_cdk::api::time()
/// assert_eq!(time.as_nanos(), 1_800_000_000_000_000_000);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// Creates a time from nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
}
