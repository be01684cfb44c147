//! The time of an instance: the current time, and the time of the last round.
//!
//! All times are nanoseconds since 1970-01-01 UTC.

use super::error::OpError;
use std::time::SystemTime;

/// The earliest and the default initial time: 2021-05-06 19:17:10 UTC.
pub const GENESIS_NANOS: u64 = 1_620_328_630_000_000_000;

/// Returns the time of the host.
pub fn host_time() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Two times: `time`, the earliest that the next round can have, and `last_round`, which queries see. A time set by
/// [`Clock::set`] is therefore seen only after a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    time: u64,
    last_round: u64,
}

impl Clock {
    /// Returns the clock of a new instance: one nanosecond after `initial`, as if a first round had been executed.
    pub fn new(initial: u64) -> Self {
        let first = initial.saturating_add(1);
        Self { time: first, last_round: first }
    }

    /// Returns the current time: what `get_time` answers.
    pub fn now(&self) -> u64 {
        self.time
    }

    /// Returns the time of the last round: what queries see.
    pub fn last_round(&self) -> u64 {
        self.last_round
    }

    /// Begins a round and returns its time, which is later than the time of any earlier round.
    pub fn begin_round(&mut self) -> u64 {
        if self.time <= self.last_round {
            self.time = self.last_round.saturating_add(1);
        }
        self.last_round = self.time;
        self.time
    }

    /// Sets the current time; an error if it would move backwards.
    pub fn set(&mut self, nanos: u64) -> Result<(), OpError> {
        if nanos < self.time {
            return Err(OpError::SettingTimeIntoPast(self.time, nanos));
        }
        self.time = nanos;
        Ok(())
    }

    /// Does the same as [`Self::set`], but queries see the new time immediately, as if a round had been executed.
    pub fn set_certified(&mut self, nanos: u64) -> Result<(), OpError> {
        self.set(nanos)?;
        self.last_round = nanos;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_time_shows_after_a_round_and_then_moves_by_one() {
        let mut clock = Clock::new(GENESIS_NANOS);
        assert_eq!(clock.now(), GENESIS_NANOS + 1);
        let target = GENESIS_NANOS + 1_000;
        clock.set(target).unwrap();
        assert_eq!(clock.now(), target);
        assert_eq!(clock.last_round(), GENESIS_NANOS + 1);
        assert_eq!(clock.begin_round(), target);
        assert_eq!(clock.last_round(), target);
        assert_eq!(clock.begin_round(), target + 1);
    }

    #[test]
    fn certified_time_shows_at_once() {
        let mut clock = Clock::new(GENESIS_NANOS);
        let target = GENESIS_NANOS + 5_000;
        clock.set_certified(target).unwrap();
        assert_eq!(clock.last_round(), target);
        assert_eq!(clock.begin_round(), target + 1);
    }

    #[test]
    fn time_never_goes_backwards() {
        let mut clock = Clock::new(GENESIS_NANOS);
        let now = clock.now();
        assert_eq!(clock.set(now), Ok(()));
        assert_eq!(clock.set(now - 1), Err(OpError::SettingTimeIntoPast(now, now - 1)));
        assert_eq!(clock.now(), now);
    }
}
