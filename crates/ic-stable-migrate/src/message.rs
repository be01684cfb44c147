//! The budget that a message passes to the engine, and the outcome that the engine returns.

use crate::{Meter, Time};

/// Whether a run of the engine has left work for another message.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # fn main() -> Result<(), Error> {
/// let mut bank = Bank::of([(7, 100), (8, 250)]);
/// let mut messages = 1;
/// while ENGINE.run(&mut bank, STEP)? == RunOutcome::More {
///     // On the IC, the next message is one of a timer.
///     messages += 1;
/// }
/// assert_eq!(ENGINE.run(&mut bank, STEP)?, RunOutcome::Done);
/// assert!(messages > 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// No migration has work at present. A migration that is paused, stuck, held or waiting has none.
    Done,
    /// The message ends before the work does; run again.
    More,
}

/// Time and instruction budget of a message.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # fn main() -> Result<(), Error> {
/// /// The IC's instruction counter.
/// struct Counter;
///
/// impl Meter for Counter {
///     fn used(&self) -> u64 {
///         123_456 // ic_cdk::api::performance_counter(0)
///     }
/// }
///
/// let mut bank = Bank::of([(7, 100)]);
/// let now = Time::from_nanos(1_800_000_000_000_000_000);
/// let message = MessageBudget { now, meter: &Counter, budget: 20_000_000_000 };
/// ENGINE.run(&mut bank, message)?;
/// assert_eq!(bank.ledger.state_of(1)?.converted, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct MessageBudget<'a> {
    /// Time of the message.
    pub now: Time,
    /// Reads how many instructions the message has used.
    pub meter: &'a dyn Meter,
    /// Instructions that the message may use: the engine stops when another unit would exceed them, but takes at least
    /// one step.
    pub budget: u64,
}
