//! What happens to a session in its life, for the counts.

/// An event in the life of a session. The numbers are offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Event {
    /// It began.
    Begun = 0,
    /// It became a memory.
    Finished = 1,
    /// Its caller aborted it.
    Aborted = 2,
    /// It was idle too long or too old.
    Expired = 3,
    /// It was evicted.
    Evicted = 5,
}
