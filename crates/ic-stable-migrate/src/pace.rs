//! How many units a message takes, and what happens when a message traps.
//!
//! A message that hits the instruction limit traps and is rolled back, so the engine cannot record the failure in that
//! message. Instead, the previous message or the watchdog writes an attempt marker, and a message that commits replaces
//! or clears the marker. If a message did not commit, the watchdog halves the limit on the units of a message, down to
//! one. It starts from the number of units that messages have handled so far, at most 1,024: with a higher limit, the
//! next attempt would be the same. A unit that traps alone is a poison record: it is quarantined without being decoded.
//! The migration is stuck if even the quarantining traps, or if a message limited to one unit traps in any other work.

use minicbor::{Decode, Encode};

/// Number of units in the first batch: few enough for any `post_upgrade`, and soon doubled.
const FIRST_BATCH: u32 = 16;

/// Maximum number of units in a batch: their keys are listed at once.
const LARGEST_BATCH: u32 = 1_024;

/// How the work is divided into batches and messages: a part of [`MigrationState`](crate::MigrationState), which only
/// the engine changes.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # fn main() -> Result<(), Error> {
/// let mut bank = Bank::of((0..100).map(|account| (account, 1)));
/// ENGINE.run(&mut bank, MESSAGE)?;
/// let pace: Pace = bank.ledger.state_of(1)?.pace;
/// assert_eq!((pace.messages, pace.attempts, pace.limit), (1, 0, 0));
/// assert!(pace.steps >= 200, "each was digested and converted");
/// # Ok(())
/// # }
/// ```
#[derive(Encode, Decode, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(all(test, feature = "_schema"), derive(stable_schema::StableSchema))]
pub struct Pace {
    /// Number of units in a batch, fitted to their cost; 0 before the first batch.
    #[n(0)]
    pub batch: u32,
    /// Number of the attempt that is scheduled or running, counted from the last one that committed: 1 after a commit,
    /// and one more after each attempt that did not commit. 0 if none is scheduled.
    #[n(1)]
    pub attempts: u32,
    /// Number of units and slices handled since a run, a verification, a retry or a rollback last began.
    #[n(2)]
    pub steps: u64,
    /// Number of messages used so far.
    #[n(3)]
    pub messages: u64,
    /// Maximum number of units in a message, after a message that trapped; 0 for as many as fit. A batch is never
    /// larger than this.
    #[n(4)]
    pub limit: u32,
    /// Whether the next unit is quarantined without being decoded, since it trapped alone.
    #[n(5)]
    pub skip_next: bool,
}

/// What the next attempt does after a message that trapped. Not the retry of a quarantined unit,
/// [`Control::retry`](crate::Control::retry).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// It repeats the work with fewer units, or quarantines the unit without decoding it.
    Smaller,
    /// There is no next attempt: the work cannot be made smaller.
    Never,
}

impl Pace {
    /// Returns the pace of a new run, which keeps counting messages.
    pub(crate) fn for_new_run(&self) -> Self {
        Self { messages: self.messages, ..Self::default() }
    }

    /// Returns the maximum number of units of the next batch.
    pub(crate) fn units(&self) -> usize {
        let batch = if self.batch == 0 { FIRST_BATCH } else { self.batch };
        let units = if self.limit == 0 { batch } else { batch.min(self.limit) };
        usize::try_from(units).unwrap_or(usize::MAX)
    }

    /// Fits the size of the next batch to a budget of `left` instructions, if a unit takes `each`: halves it until it
    /// fits, or doubles it if a batch of four times the size would fit. So the units of a doubled batch may cost twice
    /// `each`.
    pub(crate) fn fit_batch(&mut self, each: u64, left: u64) {
        let costs = |batch: u32| each.saturating_mul(u64::from(batch));
        let mut batch = if self.batch == 0 { FIRST_BATCH } else { self.batch };
        while batch > 1 && costs(batch) > left {
            batch >>= 1;
        }
        let doubled = batch.saturating_mul(2).min(LARGEST_BATCH);
        if costs(doubled.saturating_mul(2)) <= left {
            batch = doubled;
        }
        self.batch = batch;
    }

    /// Records that the message commits, and doubles the limit. Writes the marker of the next attempt if
    /// `mark_attempt`, otherwise clears it.
    pub(crate) fn record_commit(&mut self, mark_attempt: bool) {
        self.attempts = u32::from(mark_attempt);
        self.skip_next = false;
        self.limit = self.limit.saturating_mul(2);
        if self.limit > LARGEST_BATCH {
            self.limit = 0;
        }
    }

    /// Records that an attempt did not commit, and halves the limit; if there was none, half of `usual`, the number of
    /// units that messages have handled, or of [`LARGEST_BATCH`]. `may_skip` is true if the attempt was to convert
    /// units: only then can the next one quarantine a unit instead. Returns [`Retry::Never`] if a message limited to
    /// one unit has trapped, and quarantining is not allowed or has trapped, too.
    pub(crate) fn record_uncommitted(&mut self, may_skip: bool, usual: Option<u32>) -> Retry {
        self.attempts = self.attempts.saturating_add(1);
        if self.limit == 1 {
            if self.skip_next || !may_skip {
                return Retry::Never;
            }
            self.skip_next = true;
        } else {
            let unlimited = usual.map_or(LARGEST_BATCH, |usual| usual.min(LARGEST_BATCH));
            let tried = if self.limit == 0 { unlimited } else { self.limit };
            self.limit = (tried >> 1).max(1);
        }
        Retry::Smaller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_halves_until_it_fits_and_doubles_if_4_times_it_fits() {
        let fitted = |batch, each, left| {
            let mut pace = Pace { batch, ..Pace::default() };
            pace.fit_batch(each, left);
            pace.batch
        };
        assert_eq!(fitted(0, 10, 160), FIRST_BATCH);
        assert_eq!(fitted(64, 10, 160), 16);
        assert_eq!(fitted(64, 10, 159), 8);
        assert_eq!(fitted(64, 1_000, 1), 1);
        assert_eq!((fitted(16, 10, 639), fitted(16, 10, 640)), (16, 32));
        assert_eq!(fitted(LARGEST_BATCH, 0, 0), LARGEST_BATCH);
    }

    #[test]
    fn a_limit_halves_with_each_trap_and_doubles_with_each_commit() {
        let mut pace = Pace::default();
        let mut limits = Vec::new();
        while pace.limit != 1 {
            assert_eq!(pace.record_uncommitted(true, None), Retry::Smaller);
            limits.push(pace.limit);
        }
        assert_eq!(limits, [512, 256, 128, 64, 32, 16, 8, 4, 2, 1]);
        assert_eq!((pace.attempts, pace.units()), (10, 1));
        assert_eq!((pace.record_uncommitted(true, None), pace.skip_next), (Retry::Smaller, true));
        assert_eq!(pace.record_uncommitted(true, None), Retry::Never);
        for limit in [2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 0] {
            pace.record_commit(true);
            assert_eq!((pace.limit, pace.attempts, pace.skip_next), (limit, 1, false));
        }
        pace.record_commit(false);
        assert_eq!((pace.limit, pace.attempts), (0, 0));
    }

    #[test]
    fn a_limit_starts_at_half_of_what_messages_have_handled() {
        for (usual, limit) in [(5_000, 512), (1_024, 512), (100, 50), (4, 2), (1, 1)] {
            let mut pace = Pace::default();
            assert_eq!((pace.record_uncommitted(true, Some(usual)), pace.limit), (Retry::Smaller, limit));
            let mut limited = Pace { limit: 64, ..pace };
            assert_eq!((limited.record_uncommitted(true, Some(usual)), limited.limit), (Retry::Smaller, 32));
        }
    }

    #[test]
    fn a_new_run_keeps_only_the_number_of_messages() {
        let used = Pace { batch: 8, attempts: 1, steps: 9, messages: 7, limit: 4, skip_next: true };
        assert_eq!(used.for_new_run(), Pace { messages: 7, ..Pace::default() });
    }

    #[test]
    fn a_step_that_cannot_be_skipped_is_tried_alone_once() {
        let mut pace = Pace { limit: 2, ..Pace::default() };
        assert_eq!((pace.record_uncommitted(false, None), pace.limit), (Retry::Smaller, 1));
        assert_eq!((pace.record_uncommitted(false, None), pace.skip_next), (Retry::Never, false));
    }
}
