//! The events of sessions that are counted.

/// An event that is counted. Its number is an offset in its path's row of counters. The number 4 is missing because the
/// counter at that offset counts the bytes stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Event {
    /// The session began.
    Begun = 0,
    /// The upload became a memory.
    Finished = 1,
    /// The owner aborted the session.
    Aborted = 2,
    /// The session was idle too long or too old.
    Expired = 3,
    /// The session was evicted.
    Evicted = 5,
}
