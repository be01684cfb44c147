//! Metering: how many instructions a message has used.

/// Reads how many instructions the current message has used so far.
///
/// ```
/// use ic_stable_migrate::Meter;
///
/// /// Instructions as the IC counts them; with the feature `cdk`, this is `cdk::MessageMeter`.
/// struct Counter(fn(u32) -> u64);
///
/// impl Meter for Counter {
///     fn used(&self) -> u64 {
///         self.0(0)
///     }
/// }
///
/// // On the IC: `Counter(ic_cdk::api::performance_counter)`.
/// assert_eq!(Counter(|_| 1_000).used(), 1_000);
/// ```
pub trait Meter {
    /// Returns the instructions since the message began.
    fn used(&self) -> u64;
}

/// A meter that always reads zero, so that no work ends early.
///
/// ```
/// use ic_stable_migrate::{MessageBudget, Meter, Time, Unmetered};
///
/// // In tests and tools: one message does everything.
/// let message = MessageBudget { now: Time::from_nanos(0), meter: &Unmetered, budget: 1 };
/// assert_eq!(message.meter.used(), 0);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Unmetered;

impl Meter for Unmetered {
    fn used(&self) -> u64 {
        0
    }
}
