//! How much of its instructions a message has used.

/// Tells the instructions that the present message has used so far.
pub trait Meter {
    /// Instructions since the message began.
    fn used(&self) -> u64;
}

/// Outside of the IC nothing is counted, and no work is ever cut short.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unmetered;

impl Meter for Unmetered {
    fn used(&self) -> u64 {
        0
    }
}
