//! What the engine asks of a migration.
//!
//! A unit is what a migration converts as one, named by a number: a session, a blob. The engine decides when
//! and how many, counts, keeps the digests, and stores the progress; the migration knows what a unit is and
//! where its parts lie. A unit is a *source* unit before and a *target* unit after its conversion. It may be
//! larger than a message: then [`Migration::convert`] converts a slice of it and returns the progress in bytes of
//! its own.

use crate::api::Result;
use crate::meter::Meter;
use crate::session::Time;
use crate::stable::StableError;
use crate::storage::Storage;

use super::{Plan, QuarantineRecord};

/// A migration. Methods that take `&Storage` change nothing.
pub trait Migration {
    /// Returns its declaration.
    fn plan(&self) -> &'static Plan;

    /// Returns what must happen before it may begin, in words; `None` if it may.
    fn waits_for(&self, _: &Storage) -> Result<Option<String>> {
        Ok(None)
    }

    /// Returns whether the compat path is in use, so that nothing may be converted at present.
    fn is_held(&self, _: &Storage) -> Result<bool> {
        Ok(false)
    }

    /// Returns whether units are counted and digested before the first is converted. Otherwise each is when
    /// its turn comes: for units that clients make and remove while the migration runs.
    fn counts_ahead(&self) -> bool {
        true
    }

    /// Establishes what a run needs before it counts its first unit.
    ///
    /// # Errors
    /// A damaged record; nothing was changed.
    fn prepare(&self, _: &mut Storage) -> Result<()> {
        Ok(())
    }

    /// Records what must be known from the moment the layout becomes that of [`Plan::to`].
    fn layout_entered(&self, _: &mut Storage) -> std::result::Result<(), StableError> {
        Ok(())
    }

    /// Lists up to `limit` source units above `after`, ascending. Quarantined units may be among them; so may
    /// units that are gone, where more of those precede the others than one message can skip.
    fn sources(&self, storage: &Storage, after: Option<u64>, limit: usize) -> Result<Vec<u64>>;

    /// Returns whether a unit is a source unit.
    fn is_source(&self, storage: &Storage, key: u64) -> Result<bool>;

    /// Returns the digest of what must survive of a source unit. An unreadable unit has one as well.
    fn weigh(&self, storage: &Storage, key: u64) -> Result<[u8; 32]>;

    /// Digests up to `limit` source units above `after`, ascending, until `each` says that it is enough.
    fn weigh_from(
        &self,
        storage: &Storage,
        after: Option<u64>,
        limit: usize,
        each: &mut dyn FnMut(u64, [u8; 32]) -> bool,
    ) -> Result<()> {
        for key in self.sources(storage, after, limit)? {
            if !each(key, self.weigh(storage, key)?) {
                break;
            }
        }
        Ok(())
    }

    /// Returns what would become of a source unit.
    ///
    /// # Errors
    /// If there is no such unit, or a record in the tables around it is damaged.
    fn classify(&self, storage: &Storage, key: u64, now: Time) -> Result<Classified>;

    /// Estimates the instructions that converting a unit takes beyond digesting it, for the dry run.
    ///
    /// # Errors
    /// If there is no such unit, or a record in the tables around it is damaged.
    fn price(&self, storage: &Storage, key: u64) -> Result<u64>;

    /// Returns the digest that [`Self::weigh`] had for a unit that was quarantined with these bytes.
    fn digest_of_quarantined(&self, raw: &[u8]) -> [u8; 32];

    /// Converts a unit, or as much of it as the message has budget for, and removes the source once the
    /// target has been read back.
    ///
    /// # Errors
    /// If the tables around the unit are damaged: nothing is changed, and the engine stops.
    fn convert(&self, storage: &mut Storage, key: u64, work: &mut Work<'_>) -> Result<Advance>;

    /// Restores a quarantined unit as a source unit, to be retried.
    ///
    /// # Errors
    /// A damaged record, or [`crate::api::Error::Conflict`] while the unit's place is taken; nothing is
    /// changed.
    fn restore(&self, storage: &mut Storage, key: u64, kept: QuarantineRecord) -> Result<()>;

    /// Removes a source unit without decoding it, to be quarantined for this reason. A unit that may stay in
    /// place while it is quarantined stays.
    ///
    /// # Errors
    /// A damaged record; nothing is changed.
    fn take_out(&self, storage: &mut Storage, key: u64, reason: String) -> Result<QuarantineRecord>;

    /// Releases what the owners of units still hold that are left in quarantine for good.
    fn leave_in_quarantine(&self, _: &mut Storage) -> Result<()> {
        Ok(())
    }

    /// Returns the index in [`Plan::classes`] of units whose conversion trapped.
    fn trapped_class(&self) -> usize;

    /// Releases what a slice of a unit made, since its client removed the unit before it was finished.
    fn abandon(&self, _: &mut Storage, _: u64, _progress: Vec<u8>) {}

    /// Lists up to `limit` target units above `after`, ascending.
    fn targets(&self, storage: &Storage, after: Option<u64>, limit: usize) -> Vec<u64>;

    /// Returns what is wrong with a target unit, in words; `None` if it is sound or gone.
    fn check(&self, storage: &Storage, key: u64) -> Result<Option<String>>;

    /// Lists up to `limit` target units that clients have written at or after `since`.
    fn written_since(&self, _: &Storage, _: Time, _: usize) -> Vec<u64> {
        Vec::new()
    }

    /// Returns the conversion of many units at a time, for a migration that has one.
    fn bulk(&self) -> Option<&dyn Bulk> {
        None
    }

    /// Returns the rollback, for a migration that has one.
    fn reversal(&self) -> Option<&dyn Reversal> {
        None
    }

    /// Returns the number of steps after which a run of this many units has failed: each unit is digested,
    /// converted and checked once, and once more if a controller asks for it. Larger units need more.
    fn max_steps(&self, units: u64) -> u64 {
        units.saturating_mul(8).saturating_add(10_000)
    }
}

/// Conversion of many small units at a time, for a migration that reads and reads back more cheaply so. It
/// leaves the sources of converted units in place instead of removing them one by one. No method of the
/// migration and no client sees such a leftover.
pub trait Bulk {
    /// Converts the first source units, ascending, at most `limit`, until `room` says after one that there is
    /// none for another. Returns the outcome of each. A unit whose conversion fails ends the call; its error
    /// is the call's error only if it is the first.
    fn convert_first(
        &self,
        storage: &mut Storage,
        limit: usize,
        now: Time,
        room: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Settled>>;

    /// Lists up to `limit` units whose sources are left in place, ascending.
    fn left_behind(&self, storage: &Storage, limit: usize) -> Vec<u64>;

    /// Removes the source of a converted unit.
    fn drop_left_behind(&self, storage: &mut Storage, key: u64);

    /// Removes the sources of all converted units at once: everything is converted and accounted for.
    fn clear_left_behind(&self, storage: &mut Storage);
}

/// A unit that has left its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Number of the unit.
    pub key: u64,
    /// Index of its class in [`Plan::classes`].
    pub class: usize,
    /// Its outcome.
    pub fate: Fate,
}

/// The rollback of a migration.
pub trait Reversal {
    /// Returns `Ok(())` if this build may roll back.
    fn allowed(&self) -> std::result::Result<(), String>;

    /// Returns the steps that a rollback takes: one for each target unit, and one for each source left in
    /// place.
    fn left(&self, storage: &Storage) -> u64;

    /// Converts a unit back to its source form, or does a slice of that.
    ///
    /// # Errors
    /// A damaged record; nothing is changed.
    fn revert(&self, storage: &mut Storage, key: u64, work: &mut Work<'_>) -> Result<Reverted>;
}

/// Budget and time of a slice of work, and the progress of its unit.
pub struct Work<'a> {
    /// Time of the message.
    pub now: Time,
    /// Tells how many instructions the message has used.
    pub meter: &'a dyn Meter,
    /// Instructions of the message after which a large unit stops.
    pub budget: u64,
    /// Progress of the unit, in bytes of the migration's own; empty at the start, kept when it stops.
    pub progress: Vec<u8>,
}

impl Work<'_> {
    /// Returns whether the message has no budget left.
    pub fn is_used_up(&self) -> bool {
        self.meter.used() > self.budget
    }
}

/// What would become of a source unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classified {
    /// Index of its class in [`Plan::classes`].
    pub class: usize,
    /// Why it would be quarantined, in words.
    pub reason: Option<String>,
}

/// What [`Migration::convert`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advance {
    /// A slice; the message has no budget for more.
    More,
    /// All of it.
    Done {
        /// Index of its class in [`Plan::classes`].
        class: usize,
        /// Its outcome.
        fate: Fate,
    },
    /// Its client has removed it since it was listed.
    Gone,
}

/// Outcome of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is converted; the digest of the result, projected to the source form.
    Converted([u8; 32]),
    /// It had expired and is released; the digest of what it was.
    Released([u8; 32]),
    /// It is to be quarantined like this.
    Quarantined(QuarantineRecord),
}

/// What [`Reversal::revert`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reverted {
    /// The unit is a source unit again.
    Done,
    /// A slice; the message has no budget for more.
    More,
    /// It cannot be represented in the source form; nothing is changed. The reason, in words.
    Refused(String),
}
