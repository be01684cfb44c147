//! Metering: how many instructions a message has used.

/// Tells how many instructions the current message has used so far.
pub trait Meter {
    /// Returns the instructions since the message began.
    fn used(&self) -> u64;
}

/// Outside of the IC nothing is metered, so no work is cut short.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unmetered;

impl Meter for Unmetered {
    fn used(&self) -> u64 {
        0
    }
}
