//! Batches of units: counting, converting, checking and rolling back within one message.

use crate::run::MigrationRun;
use crate::unit::{ConvertedBy, account, increment, settle};
use crate::{
    Advance, Bulk, Digest, Fate, Host, MessageBudget, Meter, Phase, Reverted, Settled, UnitProgress, Work,
};

/// Decides after each unit of a batch whether the message has budget for another unit of the highest cost seen. For
/// batches that the migration walks itself ([`Migration::digest_from`](crate::Migration::digest_from),
/// [`Bulk::convert_first`]); [`MigrationRun::handle_batch`] walks the others.
struct BatchBudget<'a> {
    meter: &'a dyn Meter,
    budget: u64,
    /// Highest cost of a unit in this message so far, instructions.
    highest_cost: &'a mut u64,
    /// Reading of the meter after the latest unit; at first, when the batch began.
    last_reading: u64,
}

impl<'a> BatchBudget<'a> {
    fn of(message: MessageBudget<'a>, highest_cost: &'a mut u64) -> Self {
        let MessageBudget { meter, budget, .. } = message;
        Self { meter, budget, highest_cost, last_reading: meter.used() }
    }

    /// Records the cost of the unit that was just handled. Returns `false` if the budget is too small for another one.
    fn allows_another(&mut self) -> bool {
        let used = self.meter.used();
        *self.highest_cost = (*self.highest_cost).max(used.saturating_sub(self.last_reading));
        self.last_reading = used;
        used.saturating_add(*self.highest_cost) <= self.budget
    }
}

impl<'a, H: Host> MigrationRun<'a, H> {
    /// Handles units one by one, until the message is full or a unit remains unfinished; the keys after that are listed
    /// again for the next batch.
    pub(super) fn handle_batch(
        &mut self,
        keys: Vec<H::Key>,
        mut handle: impl FnMut(&mut Self, H::Key) -> Result<(), H::Error>,
    ) -> Result<(), H::Error> {
        let used_at_start = self.message.meter.used();
        let mut handled: u64 = 0;
        for key in keys {
            let used_before = self.message.meter.used();
            increment(&mut self.state.pace.steps);
            handle(self, key)?;
            increment(&mut handled);
            self.highest_cost = self.highest_cost.max(self.message.meter.used().saturating_sub(used_before));
            if self.is_full() || self.state.unit.is_some() {
                break;
            }
        }
        self.fit_next_batch(used_at_start, handled);
        Ok(())
    }

    /// Fits the size of the next batch to the budget left in the message, at the average cost of the `handled` units;
    /// `used_at_start` is the meter reading when this batch began.
    fn fit_next_batch(&mut self, used_at_start: u64, handled: u64) {
        let used = self.message.meter.used();
        let each = used.saturating_sub(used_at_start).checked_div(handled).unwrap_or(0);
        self.state.pace.fit_batch(each, self.message.budget.saturating_sub(used));
    }

    /// Counts and digests a batch of source units after `validated_through`. Returns how many units it found, including
    /// those that are quarantined in place, which are counted already.
    pub(super) fn validate_batch(&mut self) -> Result<u64, H::Error> {
        let Self { migration, host, state, message, highest_cost } = self;
        let used_at_start = message.meter.used();
        let mut found: u64 = 0;
        let (through, units) = (state.validated_through.clone(), state.pace.units());
        let mut budget = BatchBudget::of(*message, highest_cost);
        let (number, quarantine) = (migration.plan().number, &host.ledger().quarantine);
        migration.digest_from(host, through, units, &mut |key, digest| {
            if state.quarantined == 0 || !quarantine.contains(number, &key) {
                state.digest_before.add(digest);
                increment(&mut state.source);
            }
            increment(&mut state.pace.steps);
            increment(&mut found);
            state.validated_through = Some(key.clone());
            state.cursor = Some(key);
            budget.allows_another()
        })?;
        self.fit_next_batch(used_at_start, found);
        Ok(found)
    }

    /// Converts a batch of source units, or a slice of one. Returns `false` if it found no unit; without a bulk
    /// conversion, it searches only above the cursor.
    pub(super) fn convert_batch(&mut self) -> Result<bool, H::Error> {
        // The unit to be quarantined without being decoded (`skip_next`) is not converted in bulk.
        match self.migration.bulk().filter(|_| !self.state.pace.skip_next) {
            Some(bulk) => self.convert_in_bulk(bulk),
            None => {
                let units = self.state.pace.units();
                let keys = self.migration.sources(self.host, self.state.cursor.clone(), units)?;
                let found = !keys.is_empty();
                self.handle_batch(keys, Self::convert)?;
                Ok(found)
            }
        }
    }

    fn convert_in_bulk(&mut self, bulk: &dyn Bulk<H>) -> Result<bool, H::Error> {
        // A build without the bulk conversion may have begun a unit, which is not to be abandoned once it is converted.
        self.abandon_unit();
        let MessageBudget { now, meter, .. } = self.message;
        let used_at_start = meter.used();
        let units = self.state.pace.units();
        let mut budget = BatchBudget::of(self.message, &mut self.highest_cost);
        let settled = bulk.convert_first(self.host, units, now, &mut || budget.allows_another())?;
        let settled_count = settled.len() as u64;
        for unit in settled {
            increment(&mut self.state.pace.steps);
            settle(self.migration, self.host, &mut self.state, unit, ConvertedBy::Engine)?;
        }
        self.fit_next_batch(used_at_start, settled_count);
        Ok(settled_count > 0)
    }

    /// Converts a unit or a slice of it, or quarantines it if `skip_next`. Skips a unit that is quarantined in place.
    fn convert(&mut self, key: H::Key) -> Result<(), H::Error> {
        self.host.check_room()?;
        let number = self.migration.plan().number;
        // A unit that is quarantined in place is still listed, and is accounted for already.
        if self.state.quarantined > 0 && self.host.ledger().quarantine.contains(number, &key) {
            self.state.cursor = Some(key);
            return Ok(());
        }
        let counts_now = !self.migration.counts_ahead();
        let digest = if counts_now { self.migration.digest(self.host, key.clone())? } else { None };
        if std::mem::take(&mut self.state.pace.skip_next) {
            self.abandon_unit();
            let reason = "its conversion trapped, although the message did nothing else".to_owned();
            let record = self.migration.take_out(self.host, key.clone(), reason)?;
            let class = self.migration.trapped_class();
            return self.account(digest, Settled { key, class, fate: Fate::Quarantined(record) });
        }
        let mut work = self.begin_or_continue(&key);
        match self.migration.convert(self.host, key.clone(), &mut work)? {
            Advance::More => self.state.unit = Some(UnitProgress { key, progress: work.progress }),
            Advance::Gone => self.state.cursor = Some(key),
            Advance::Done { class, fate } => self.account(digest, Settled { key, class, fate })?,
        }
        Ok(())
    }

    /// Accounts for a unit. `digest` is that of the source unit if the migration does not count ahead; otherwise
    /// `None`, since the unit is counted already.
    fn account(&mut self, digest: Option<Digest>, unit: Settled<H::Key>) -> Result<(), H::Error> {
        account(self.migration, self.host, &mut self.state, digest, unit, ConvertedBy::Engine)
    }

    /// Returns the work on a unit, with the unit's progress if an earlier message has begun the unit. Abandons any
    /// other begun unit.
    fn begin_or_continue(&mut self, key: &H::Key) -> Work<'a> {
        let MessageBudget { now, meter, budget } = self.message;
        let begun = self.state.unit.take_if(|unit| unit.key == *key);
        self.abandon_unit();
        Work { now, meter, budget, progress: begun.map_or_else(Vec::new, |unit| unit.progress) }
    }

    /// Discards the progress of the unit that an earlier message left unfinished, if there is one.
    pub(super) fn abandon_unit(&mut self) {
        if let Some(unit) = self.state.unit.take() {
            self.migration.abandon(self.host, unit.key, unit.progress);
        }
    }

    /// Checks a target unit for a verification. Changes no unit: counts it, and notes the first problem found.
    pub(super) fn recheck(&mut self, key: H::Key) -> Result<(), H::Error> {
        let problem = self.migration.check(self.host, key.clone())?;
        if let Some(recheck) = &mut self.state.recheck {
            recheck.cursor = Some(key);
            increment(&mut recheck.seen);
            if let Some(problem) = problem {
                increment(&mut recheck.unsound);
                if recheck.unsound == 1 {
                    recheck.first = problem;
                }
            }
        }
        Ok(())
    }

    /// Converts a unit, or a slice of it, back. If the unit cannot be converted back, the whole migration becomes
    /// stuck. The begun unit, if there is one, must be this unit.
    pub(super) fn revert(&mut self, key: H::Key) -> Result<(), H::Error> {
        // After a refused unit, the migration is stuck: the other units of the batch stay converted.
        if self.state.phase != Phase::RollingBack {
            return Ok(());
        }
        self.host.check_room()?;
        let Some(reversal) = self.migration.reversal() else {
            return self
                .become_stuck(format!("the migration `{}` has no rollback", self.migration.plan().name));
        };
        let MessageBudget { now, meter, budget } = self.message;
        // The progress stays in the state until the slice has succeeded: an error changes nothing.
        let progress = self.state.unit.as_ref().map_or_else(Vec::new, |unit| unit.progress.clone());
        let mut work = Work { now, meter, budget, progress };
        let reverted = reversal.revert(self.host, key.clone(), &mut work)?;
        self.state.unit = None;
        match reverted {
            Reverted::Done => {
                self.state.cursor = Some(key);
                self.count_rolled_back();
            }
            Reverted::More => self.state.unit = Some(UnitProgress { key, progress: work.progress }),
            Reverted::Refused(reason) => self.become_stuck(reason)?,
        }
        Ok(())
    }
}
