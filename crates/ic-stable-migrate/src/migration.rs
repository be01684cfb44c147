//! What the engine asks of a migration.
//!
//! A unit is the smallest thing that a migration converts, identified by a key: an account, a session, a
//! file. The engine decides when and how many, counts, computes digests, and stores the progress; the
//! migration knows what a unit is and where its parts are. A unit is a *source* unit before and a *target*
//! unit after its conversion. It may be larger than a message: then [`Migration::convert`] converts a slice
//! of it and returns the progress in an encoding of its own.

use crate::{
    ClassPlan, Digest, Host, Meter, Plan, QuarantineRecord, StableError, Time, Treatment, digest_of,
};

/// A migration: nine methods, and others with defaults. Methods that take `&H` change nothing.
pub trait Migration<H: Host> {
    /// Returns its declaration.
    fn plan(&self) -> &'static Plan;

    /// Returns what must happen before the migration may begin; `None` if it may.
    ///
    /// # Errors
    /// A damaged record.
    fn waits_for(&self, _: &H) -> Result<Option<String>, H::Error> {
        Ok(None)
    }

    /// Returns why nothing may be converted at present: something else still writes source units. `None` if
    /// nothing holds the migration.
    ///
    /// # Errors
    /// A damaged record.
    fn held_by(&self, _: &H) -> Result<Option<String>, H::Error> {
        Ok(None)
    }

    /// Returns whether units are counted and digested before the first is converted. Otherwise each is
    /// counted when its turn comes: for units that clients create and remove while the migration runs.
    fn counts_ahead(&self) -> bool {
        true
    }

    /// Establishes what a run needs before it counts its first unit.
    ///
    /// # Errors
    /// A damaged record; nothing was changed.
    fn prepare(&self, _: &mut H) -> Result<(), H::Error> {
        Ok(())
    }

    /// Records what must be known from the moment the layout changes to [`Plan::to`].
    ///
    /// # Errors
    /// A damaged record.
    fn layout_entered(&self, _: &mut H) -> Result<(), StableError> {
        Ok(())
    }

    /// Lists up to `limit` source units above `after`, ascending. The list may include quarantined units, and
    /// units that no longer exist if more of those come first than one message can skip.
    ///
    /// # Errors
    /// A damaged record; the engine stops.
    fn sources(&self, host: &H, after: Option<H::Key>, limit: usize) -> Result<Vec<H::Key>, H::Error>;

    /// Returns the digest of the part of a source unit that must survive, or `None` if there is no such unit.
    /// An unreadable unit has a digest, too: usually [`digest_of`] its bytes.
    ///
    /// # Errors
    /// A damaged record in the tables around it; the engine stops.
    fn digest(&self, host: &H, key: H::Key) -> Result<Option<Digest>, H::Error>;

    /// Digests up to `limit` source units above `after`, ascending, until `each` returns `false`. For a
    /// migration that can read many units more cheaply than one by one.
    ///
    /// # Errors
    /// As [`Self::digest`].
    fn digest_from(
        &self,
        host: &H,
        after: Option<H::Key>,
        limit: usize,
        each: &mut dyn FnMut(H::Key, Digest) -> bool,
    ) -> Result<(), H::Error> {
        for key in self.sources(host, after, limit)? {
            let Some(digest) = self.digest(host, key.clone())? else { continue };
            if !each(key, digest) {
                break;
            }
        }
        Ok(())
    }

    /// Returns what would become of a source unit.
    ///
    /// # Errors
    /// If there is no such unit, or a record in the tables around it is damaged.
    fn classify(&self, host: &H, key: H::Key, now: Time) -> Result<Classified, H::Error>;

    /// Estimates the instructions that converting a unit takes beyond digesting it, for the dry run.
    ///
    /// # Errors
    /// If there is no such unit, or a record in the tables around it is damaged.
    fn price(&self, _: &H, _: H::Key) -> Result<u64, H::Error> {
        Ok(0)
    }

    /// Returns the digest that [`Self::digest`] returned for a unit that was quarantined with these bytes.
    fn digest_of_quarantined(&self, raw: &[u8]) -> Digest {
        digest_of(raw)
    }

    /// Converts a unit, or as much of it as the message has budget for, and removes the source once the
    /// target has been read back.
    ///
    /// # Errors
    /// If the tables around the unit are damaged: nothing is changed, and the engine stops.
    fn convert(&self, host: &mut H, key: H::Key, work: &mut Work<'_>) -> Result<Advance, H::Error>;

    /// Restores a quarantined unit as a source unit, to be retried.
    ///
    /// # Errors
    /// A damaged record, or an error of the host while the unit's location is occupied; nothing is changed.
    fn restore(&self, host: &mut H, key: H::Key, kept: QuarantineRecord) -> Result<(), H::Error>;

    /// Removes a source unit without decoding it, to be quarantined for this reason. A unit that may stay in
    /// place while it is quarantined stays.
    ///
    /// # Errors
    /// A damaged record; nothing is changed.
    fn take_out(&self, host: &mut H, key: H::Key, reason: String) -> Result<QuarantineRecord, H::Error>;

    /// Releases what the owners of units that are left in quarantine permanently still hold.
    ///
    /// # Errors
    /// A damaged record.
    fn leave_in_quarantine(&self, _: &mut H) -> Result<(), H::Error> {
        Ok(())
    }

    /// Returns the index in [`Plan::classes`] of units whose conversion trapped; by default, the first class
    /// that is quarantined.
    fn trapped_class(&self) -> usize {
        let is_quarantined = |class: &ClassPlan| class.treatment == Treatment::Quarantine;
        self.plan().classes.iter().position(is_quarantined).unwrap_or(usize::MAX)
    }

    /// Releases what a slice of a unit has allocated, since its client removed the unit before it was
    /// finished.
    fn abandon(&self, _: &mut H, _: H::Key, _progress: Vec<u8>) {}

    /// Lists up to `limit` target units above `after`, ascending.
    fn targets(&self, host: &H, after: Option<H::Key>, limit: usize) -> Vec<H::Key>;

    /// Returns what is wrong with a target unit; `None` if it is sound or no longer exists.
    ///
    /// # Errors
    /// A damaged record in the tables around it.
    fn check(&self, host: &H, key: H::Key) -> Result<Option<String>, H::Error>;

    /// Lists up to `limit` target units that clients have written at or after `since`.
    fn written_since(&self, _: &H, _: Time, _: usize) -> Vec<H::Key> {
        Vec::new()
    }

    /// Returns the conversion of many units at a time, for a migration that has one.
    fn bulk(&self) -> Option<&dyn Bulk<H>> {
        None
    }

    /// Returns the rollback, for a migration that has one.
    fn reversal(&self) -> Option<&dyn Reversal<H>> {
        None
    }

    /// Returns the number of steps after which a run of this many units counts as failed: each unit is
    /// digested, converted and checked once, and once more if a controller requests it. Larger units need
    /// more.
    fn max_steps(&self, units: u64) -> u64 {
        units.saturating_mul(8).saturating_add(10_000)
    }
}

/// Conversion of many small units at a time, for a migration that can read and read back more cheaply that
/// way. It leaves the sources of converted units in place instead of removing them one by one. Such a
/// leftover is invisible to the methods of the migration and to clients.
pub trait Bulk<H: Host> {
    /// Converts the first source units, ascending, at most `limit`, until `room` reports after one that there
    /// is no room for another. Returns the outcome of each. A unit whose conversion fails ends the call.
    ///
    /// # Errors
    /// The error of the first unit, if that fails.
    fn convert_first(
        &self,
        host: &mut H,
        limit: usize,
        now: Time,
        room: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Settled<H::Key>>, H::Error>;

    /// Lists up to `limit` units whose sources are left in place, ascending.
    fn leftovers(&self, host: &H, limit: usize) -> Vec<H::Key>;

    /// Removes the source of a converted unit.
    fn drop_leftover(&self, host: &mut H, key: H::Key);

    /// Removes the sources of all converted units at once: everything is converted and accounted for.
    fn clear_leftovers(&self, host: &mut H);
}

/// A unit that has left its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled<K = u64> {
    /// Key of the unit.
    pub key: K,
    /// Index of its class in [`Plan::classes`].
    pub class: usize,
    /// Its outcome.
    pub fate: Fate,
}

/// The rollback of a migration.
pub trait Reversal<H: Host> {
    /// Returns `Ok(())` if this build may roll back.
    ///
    /// # Errors
    /// Why it may not, and what to do instead.
    fn allowed(&self) -> Result<(), String>;

    /// Returns the steps that a rollback takes: one for each target unit, and one for each source left in
    /// place.
    fn left(&self, host: &H) -> u64;

    /// Converts a unit back to its source form, or a slice of it.
    ///
    /// # Errors
    /// A damaged record; nothing is changed.
    fn revert(&self, host: &mut H, key: H::Key, work: &mut Work<'_>) -> Result<Reverted, H::Error>;
}

/// Budget and time of a slice of work, and the progress of its unit.
pub struct Work<'a> {
    /// Time of the message.
    pub now: Time,
    /// Tells how many instructions the message has used.
    pub meter: &'a dyn Meter,
    /// Instructions of the message after which conversion of a large unit stops.
    pub budget: u64,
    /// Progress of the unit, in an encoding of the migration's own; empty at the start, kept when it stops.
    pub progress: Vec<u8>,
}

impl Work<'_> {
    /// Returns whether the message has no budget left.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.meter.used() > self.budget
    }
}

/// What would become of a source unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classified {
    /// Index of its class in [`Plan::classes`].
    pub class: usize,
    /// Why it would be quarantined.
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
    /// It is converted; the digest of the result, converted back to the source form.
    Converted(Digest),
    /// It had expired and is released; its digest before that.
    Released(Digest),
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
    /// It cannot be represented in the source form; nothing is changed. The reason.
    Refused(String),
}
