//! What the engine asks of a migration.
//!
//! A unit is what a migration treats at a time, named by a number: a session, a blob. The engine decides when
//! and how many, counts, keeps the digests, and stores how far it is; the migration knows what a unit is and
//! where its parts lie. A unit may be larger than a message: then [`Migration::convert`] does a slice of it, and
//! says how far it came in bytes of its own.

use crate::api::Result;
use crate::meter::Meter;
use crate::session::Time;
use crate::stable::StableError;
use crate::storage::Storage;

use super::{Plan, QuarantineRecord};

/// A migration. Methods that take `&Storage` change nothing.
pub trait Migration {
    /// Its declaration.
    fn plan(&self) -> &'static Plan;

    /// What must happen before it may begin, in words; nothing when it may.
    fn waits_for(&self, _: &Storage) -> Result<Option<String>> {
        Ok(None)
    }

    /// Whether the old form is in use, so that nothing may be converted at present.
    fn is_held(&self, _: &Storage) -> Result<bool> {
        Ok(false)
    }

    /// Whether units are counted and weighed before the first is converted. Else each is when its turn comes: for
    /// units that clients make and remove while the migration is at work.
    fn counts_ahead(&self) -> bool {
        true
    }

    /// What must be so before a run counts its first unit.
    ///
    /// # Errors
    /// A damaged record; nothing was changed.
    fn prepare(&self, _: &mut Storage) -> Result<()> {
        Ok(())
    }

    /// What must be noted as the layout becomes that of [`Plan::to`].
    fn layout_entered(&self, _: &mut Storage) -> std::result::Result<(), StableError> {
        Ok(())
    }

    /// Up to `limit` units in the old form above `after`, ascending. A unit in quarantine may be among them; so may one that
    /// is gone, where the others lie behind more of those than one message can pass over.
    fn sources(&self, storage: &Storage, after: Option<u64>, limit: usize) -> Result<Vec<u64>>;

    /// Whether a unit is in the old form.
    fn is_source(&self, storage: &Storage, key: u64) -> Result<bool>;

    /// Digest of what must survive of a unit in the old form. A unit that cannot be read has one as well.
    fn weigh(&self, storage: &Storage, key: u64) -> Result<[u8; 32]>;

    /// Weighs up to `limit` units in the old form above `after`, ascending, until `each` says that it is enough.
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

    /// What would become of a unit in the old form.
    ///
    /// # Errors
    /// When the unit is not there, or a damaged record of the tables around it.
    fn classify(&self, storage: &Storage, key: u64, now: Time) -> Result<Classified>;

    /// Instructions that converting a unit takes beyond looking at it, about: an estimate for the dry run.
    ///
    /// # Errors
    /// When the unit is not there, or a damaged record of the tables around it.
    fn price(&self, storage: &Storage, key: u64) -> Result<u64>;

    /// The digest that [`Self::weigh`] had for a unit that was put into quarantine with these bytes.
    fn digest_of_quarantined(&self, raw: &[u8]) -> [u8; 32];

    /// Converts a unit, or as much of it as the message has room for, and removes its old form once the new one
    /// has been read back.
    ///
    /// # Errors
    /// When the tables around the unit are damaged; then nothing was changed, and the engine stops.
    fn convert(&self, storage: &mut Storage, key: u64, work: &mut Work<'_>) -> Result<Advance>;

    /// Puts a unit that is in quarantine like this back into the old form, to be tried again.
    ///
    /// # Errors
    /// A damaged record, or [`crate::api::Error::Conflict`] while the unit's place is not free; nothing was changed.
    fn restore(&self, storage: &mut Storage, key: u64, kept: QuarantineRecord) -> Result<()>;

    /// Takes a unit out of the old form unseen, to be put into quarantine for this reason. A unit that may stay where
    /// it is while it is in quarantine stays.
    ///
    /// # Errors
    /// A damaged record; nothing was changed.
    fn take_out(&self, storage: &mut Storage, key: u64, reason: String) -> Result<QuarantineRecord>;

    /// Gives back what the owners of units still hold that are left in quarantine for good.
    fn leave_in_quarantine(&self, _: &mut Storage) -> Result<()> {
        Ok(())
    }

    /// Place in [`Plan::classes`] of the units that cut a message off.
    fn trapped_class(&self) -> usize;

    /// Gives back what a slice of a unit made, since its client has removed the unit in the middle.
    fn abandon(&self, _: &mut Storage, _: u64, _progress: Vec<u8>) {}

    /// Up to `limit` units in the new form above `after`, ascending.
    fn targets(&self, storage: &Storage, after: Option<u64>, limit: usize) -> Vec<u64>;

    /// What is wrong with a unit in the new form, in words; nothing when it is sound, or gone.
    fn check(&self, storage: &Storage, key: u64) -> Result<Option<String>>;

    /// Up to `limit` units in the new form that clients have written at or after `since`.
    fn written_since(&self, _: &Storage, _: Time, _: usize) -> Vec<u64> {
        Vec::new()
    }

    /// Conversion of many units at a time; nothing for a migration that has none.
    fn bulk(&self) -> Option<&dyn Bulk> {
        None
    }

    /// The way back; nothing for a migration that has none.
    fn reversal(&self) -> Option<&dyn Reversal> {
        None
    }

    /// Steps after which a run of this many units has failed: each unit is weighed, converted and checked once,
    /// and once more if a controller asks for it. Larger units need more.
    fn max_steps(&self, units: u64) -> u64 {
        units.saturating_mul(8).saturating_add(10_000)
    }
}

/// Many small units at a time, for a migration that reads and reads back cheaper so. It leaves the old form of what it
/// has converted behind instead of removing it unit by unit. What is left behind is in the old form for nobody: for no
/// method of the migration and for no client.
pub trait Bulk {
    /// Converts the first units in the old form, ascending, at most `limit`, until `room` says after one that there is
    /// none for another. Says what became of each. A unit whose conversion is an error ends the call; it is this call's
    /// error when it is the first.
    fn convert_first(
        &self,
        storage: &mut Storage,
        limit: usize,
        now: Time,
        room: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Settled>>;

    /// Up to `limit` units whose old form is left behind, ascending.
    fn left_behind(&self, storage: &Storage, limit: usize) -> Vec<u64>;

    /// Removes the old form of a unit that is left behind.
    fn drop_left_behind(&self, storage: &mut Storage, key: u64);

    /// Removes everything that is left behind at once: all units are converted and accounted for.
    fn clear_left_behind(&self, storage: &mut Storage);
}

/// A unit that is not in the old form any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Which unit.
    pub key: u64,
    /// Place of its class in [`Plan::classes`].
    pub class: usize,
    /// What became of it.
    pub fate: Fate,
}

/// The way back of a migration.
pub trait Reversal {
    /// Nothing, when this build may go back.
    fn allowed(&self) -> std::result::Result<(), String>;

    /// Steps that taking everything back takes: one for each unit in the new form, and for each old form that is left behind.
    fn left(&self, storage: &Storage) -> u64;

    /// Takes a unit back to the old form, or does a slice of that.
    ///
    /// # Errors
    /// A damaged record; nothing was changed.
    fn revert(&self, storage: &mut Storage, key: u64, work: &mut Work<'_>) -> Result<Reverted>;
}

/// Room and time of a slice of work, and how far its unit is.
pub struct Work<'a> {
    /// The time of the message.
    pub now: Time,
    /// Tells the instructions that the message has used.
    pub meter: &'a dyn Meter,
    /// Instructions of the message after which a large unit stops.
    pub budget: u64,
    /// How far the unit is, in bytes of the migration's own; empty at its beginning. Kept when it stops.
    pub progress: Vec<u8>,
}

impl Work<'_> {
    /// Whether the message has no room left.
    pub fn is_used_up(&self) -> bool {
        self.meter.used() > self.budget
    }
}

/// What would become of a unit in the old form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classified {
    /// Place of its class in [`Plan::classes`].
    pub class: usize,
    /// Why it would be put into quarantine, in words.
    pub reason: Option<String>,
}

/// What [`Migration::convert`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advance {
    /// A slice; the message has no room for more.
    More,
    /// All of it.
    Done {
        /// Place of its class in [`Plan::classes`].
        class: usize,
        /// What became of it.
        fate: Fate,
    },
    /// Its client has removed it since it was listed.
    Gone,
}

/// What became of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is in the new form, whose projection to the old one has this digest.
    Converted([u8; 32]),
    /// It was over, and what it held is given back. The digest of what it was.
    Released([u8; 32]),
    /// It is to be kept aside like this.
    Quarantined(QuarantineRecord),
}

/// What [`Reversal::revert`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reverted {
    /// The unit is in the old form again.
    Done,
    /// A slice; the message has no room for more.
    More,
    /// It has no old form that leads back to it; nothing was changed. The reason, in words.
    Refused(String),
}
