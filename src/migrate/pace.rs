//! How many units are taken at a time, and what happens when a message is cut off.
//!
//! A message that exceeds its instructions is undone by the IC as a whole, so the engine cannot note there that
//! it failed. It announces each message in the one before it instead, and a message that comes back withdraws
//! the announcement. One that does not come back halves what the next one tries, down to a single unit. A unit whose
//! conversion is cut off alone is put into quarantine unseen, and when not even that comes back, or another step of the
//! engine does not, it is stuck.

use minicbor::{Decode, Encode};

/// Units of the first batch: few enough for any post_upgrade, and soon doubled.
const FIRST_BATCH: u32 = 16;

/// Units that are taken at a time at most: their keys are listed at once.
const LARGEST_BATCH: u32 = 1_024;

/// How the work is divided into batches and messages.
#[derive(Encode, Decode, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Units that are taken at a time; 0 before the first.
    #[n(0)]
    pub batch: u32,
    /// Messages that were announced and have not come back: 1 while one is on its way.
    #[n(1)]
    pub attempts: u32,
    /// Units and slices treated in this run.
    #[n(2)]
    pub steps: u64,
    /// Messages used so far.
    #[n(3)]
    pub messages: u64,
    /// Units that a message may treat, after one that was cut off; 0 for as many as fit.
    #[n(4)]
    pub limit: u32,
    /// The next unit is put into quarantine unseen: it was cut off alone.
    #[n(5)]
    pub skip_next: bool,
}

/// What to try after a message that was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Again, with less.
    Smaller,
    /// Nothing: there is no less.
    Never,
}

impl Pace {
    /// Of a run that begins, behind the messages that were used before.
    pub fn of_new_run(&self) -> Self {
        Self { messages: self.messages, ..Self::default() }
    }

    /// How many units to take.
    pub fn units(&self) -> usize {
        let batch = if self.batch == 0 { FIRST_BATCH } else { self.batch };
        let units = if self.limit == 0 { batch } else { batch.min(self.limit) };
        usize::try_from(units).unwrap_or(usize::MAX)
    }

    /// Fits the next batch to the instructions that the message has left, when a unit takes `each`.
    pub fn fit(&mut self, each: u64, left: u64) {
        let costs = |batch: u32| each.saturating_mul(u64::from(batch));
        let mut batch = if self.batch == 0 { FIRST_BATCH } else { self.batch };
        while batch > 1 && costs(batch) > left {
            batch >>= 1;
        }
        let double = batch.saturating_mul(2).min(LARGEST_BATCH);
        if costs(double.saturating_mul(2)) <= left {
            batch = double;
        }
        self.batch = batch;
    }

    /// The message has come back; `announce` another one, or none.
    pub fn came_back(&mut self, announce: bool) {
        self.attempts = u32::from(announce);
        self.skip_next = false;
        self.limit = self.limit.saturating_mul(2);
        if self.limit > LARGEST_BATCH {
            self.limit = 0;
        }
    }

    /// The announced message has not come back. `may_skip` says that it has converted units, which can be put aside.
    pub fn was_cut_off(&mut self, may_skip: bool) -> Retry {
        self.attempts = self.attempts.saturating_add(1);
        if self.limit == 1 {
            if self.skip_next || !may_skip {
                return Retry::Never;
            }
            self.skip_next = true;
        } else {
            let tried = if self.limit == 0 { LARGEST_BATCH } else { self.limit };
            self.limit = (tried >> 1).max(1);
        }
        Retry::Smaller
    }
}
