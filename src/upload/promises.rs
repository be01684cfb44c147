//! Promised bytes, which sessions in flight have reserved but not filled yet: one sum, updated at every begin, put and
//! end of a session.
//!
//! Sessions that began before the canister kept this sum are not counted. Counting them would require reading all of
//! them, and they end within the maximum age of a session.
//!
//! ```text
//! place 4096    bytes promised
//! place 4097    id of the first session that is counted; all later sessions are counted, too; 0: none is counted yet
//! ```

use crate::session::SessionId;
use crate::stable::{Counters, Memories, memory_ids};

/// Place of the sum among the upload counters. The next place has the first session that is counted.
pub const PROMISES_PLACE: u32 = 4096;

/// The sum of promised bytes.
pub struct Promises {
    counters: Counters,
}

impl Promises {
    /// Opens the sum, or creates it as 0.
    pub fn open(memories: &Memories) -> Self {
        Self { counters: Counters::open(memories, memory_ids::UPLOAD_COUNTS) }
    }

    /// Starts counting the sessions after `last`, unless counting has already started.
    pub fn start_counting_after(&self, last: u64) {
        let [promised, first_counted] = self.counters.get(PROMISES_PLACE);
        if first_counted == 0 {
            self.counters.set(PROMISES_PLACE, [promised, last.saturating_add(1)]);
        }
    }

    /// Returns the sum.
    pub fn total(&self) -> u64 {
        let [promised] = self.counters.get(PROMISES_PLACE);
        promised
    }

    /// Returns whether a session is counted.
    pub fn is_counted(&self, id: SessionId) -> bool {
        let [first_counted] = self.counters.get(PROMISES_PLACE.saturating_add(1));
        // While it is 0, no session is counted.
        (1..=id.0).contains(&first_counted)
    }

    /// Adds bytes that a session has reserved but not filled yet, if the session is counted; otherwise does nothing.
    pub fn add(&self, id: SessionId, bytes: u64) {
        self.update(id, |promised| promised.saturating_add(bytes));
    }

    /// Subtracts bytes that a session has filled or no longer needs, if the session is counted; otherwise does nothing.
    pub fn subtract(&self, id: SessionId, bytes: u64) {
        self.update(id, |promised| promised.saturating_sub(bytes));
    }

    /// Sets the sum to 0, whatever it is. To be called when no session is in flight.
    pub fn clear(&self) {
        if self.total() > 0 {
            self.counters.set(PROMISES_PLACE, [0]);
        }
    }

    fn update(&self, id: SessionId, change: impl FnOnce(u64) -> u64) {
        let [promised, first_counted] = self.counters.get(PROMISES_PLACE);
        let changed = change(promised);
        if (1..=id.0).contains(&first_counted) && changed != promised {
            self.counters.set(PROMISES_PLACE, [changed]);
        }
    }
}
