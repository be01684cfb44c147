//! What a migration must implement for the engine.
//!
//! A unit is the smallest thing that a migration converts, identified by a key: an account, a session, a
//! file. The engine decides when units are converted and how many at a time, counts them, computes digests, and stores
//! the progress. The migration knows what a unit is and where it is stored. A unit is a *source* unit before and a
//! *target* unit after its conversion. A unit may be too large for one message: then [`Migration::convert`] converts a
//! slice of it, and returns the progress, encoded by the migration.

use crate::{
    ClassPlan, Digest, Host, Meter, Plan, QuarantineRecord, StableError, Time, Treatment, digest_of,
};

/// A migration: nine methods, and others with defaults. Methods that take `&H` change nothing.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # fn main() -> Result<(), Error> {
/// // The first page of the documentation has a whole migration. It leaves some methods at their defaults, which
/// // return:
/// let (migration, mut bank) = (&CentsToMillionths as &dyn Migration<Bank>, Bank::of([(7, 100), (8, 250)]));
/// assert_eq!(migration.waits_for(&bank)?, None, "it may begin once the migration before it is finalized");
/// assert_eq!(migration.held_by(&bank)?, None, "nothing else writes balances in cents");
/// assert!(migration.counts_ahead(), "everything is counted and digested before the first conversion");
/// migration.prepare(&mut bank)?;
/// migration.layout_entered(&mut bank)?;
/// migration.leave_in_quarantine(&mut bank)?;
/// migration.abandon(&mut bank, 7, Vec::new());
/// assert_eq!(migration.cost_beyond_digest(&bank, 7)?, 0, "the dry run estimates only the cost of digesting");
/// assert_eq!(migration.plan().classes[migration.trapped_class()].name, "trapped");
/// assert!(migration.written_since(&bank, NOW, 10).is_empty(), "only a verification finds what is unsound");
/// assert!(migration.bulk().is_none() && migration.reversal().is_some());
/// assert_eq!(migration.max_steps(1_000), 18_000);
///
/// let mut digests = Vec::new();
/// migration.digest_from(&bank, None, 10, &mut |key, digest| {
///     digests.push((key, digest));
///     true
/// })?;
/// assert_eq!(migration.digest_of_quarantined(&100_u64.to_be_bytes()), digests[0].1);
/// assert_eq!(migration.sources(&bank, Some(7), 10)?, [8]);
/// # Ok(())
/// # }
/// ```
pub trait Migration<H: Host> {
    /// Returns the declaration of the migration.
    fn plan(&self) -> &'static Plan;

    /// Returns what must happen before the migration may begin; `None` if nothing. The engine itself checks that
    /// earlier migrations are finalized.
    ///
    /// # Errors
    /// A damaged record.
    fn waits_for(&self, _: &H) -> Result<Option<String>, H::Error> {
        Ok(None)
    }

    /// Returns why nothing may be converted at present: other code of the canister still writes source units. `None` if
    /// the migration is not held. Unlike [`Self::waits_for`], this also stops a migration that has begun, but not a
    /// rollback.
    ///
    /// # Errors
    /// A damaged record.
    fn held_by(&self, _: &H) -> Result<Option<String>, H::Error> {
        Ok(None)
    }

    /// Returns whether units are counted and digested before the first is converted. A unit that a call then changes or
    /// removes without touching it first ([`Engine::touch`](crate::Engine::touch)) makes the migration stuck. Otherwise
    /// each unit is counted when the migration reaches it, which suits units that clients create and remove while the
    /// migration runs.
    fn counts_ahead(&self) -> bool {
        true
    }

    /// Prepares the host for a run, before the first unit is counted, and again for every retry.
    ///
    /// # Errors
    /// A damaged record; nothing was changed.
    fn prepare(&self, _: &mut H) -> Result<(), H::Error> {
        Ok(())
    }

    /// Records what must be known from the moment the layout changes to [`Plan::to`].
    ///
    /// # Errors
    /// A damaged record; the engine sets the layout back, and calls this again when the layout next changes.
    fn layout_entered(&self, _: &mut H) -> Result<(), StableError> {
        Ok(())
    }

    /// Lists up to `limit` source units above `after`, ascending. The list may include quarantined units. It may also
    /// include a unit that no longer exists, if [`Self::convert`] makes sure that the unit is not listed again.
    ///
    /// # Errors
    /// A damaged record; the engine stops.
    fn sources(&self, host: &H, after: Option<H::Key>, limit: usize) -> Result<Vec<H::Key>, H::Error>;

    /// Returns the digest of the part of a source unit that must survive, or `None` if there is no such unit.
    /// An unreadable unit has a digest, too. Usually it is [`digest_of_record`](crate::digest_of_record) of the stored
    /// bytes; plain [`digest_of`] only if every release wrote the same bytes for the same content. If it is anything
    /// other than [`digest_of`], override [`Self::digest_of_quarantined`], too.
    ///
    /// # Errors
    /// A damaged record other than the unit itself; the engine stops.
    fn digest(&self, host: &H, key: H::Key) -> Result<Option<Digest>, H::Error>;

    /// Digests up to `limit` source units above `after`, ascending, until `each` returns `false`. Override it if
    /// reading many units in one pass costs less than reading them one by one.
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

    /// Returns the class of a source unit, and the reason if it would be quarantined.
    ///
    /// # Errors
    /// If there is no such unit, or a record other than the unit itself is damaged.
    fn classify(&self, host: &H, key: H::Key, now: Time) -> Result<Classified, H::Error>;

    /// Estimates the instructions that converting a unit takes beyond digesting it, for the dry run.
    ///
    /// # Errors
    /// If there is no such unit, or a record other than the unit itself is damaged.
    fn cost_beyond_digest(&self, _: &H, _: H::Key) -> Result<u64, H::Error> {
        Ok(0)
    }

    /// Returns the digest that [`Self::digest`] returned for a unit that was quarantined with these bytes.
    fn digest_of_quarantined(&self, raw: &[u8]) -> Digest {
        digest_of(raw)
    }

    /// Handles a unit according to its class, or as much of it as the message has budget for. Removes the source of a
    /// converted unit once the target has been read back. A unit that a client touches is converted wholly in the
    /// client's message: its budget is unlimited, and this is called until it returns something other than
    /// [`Advance::More`].
    ///
    /// # Errors
    /// If a record other than the unit itself is damaged: the unit is not changed, and the engine stops. What earlier
    /// slices of the unit have allocated is released, since the next call begins with empty progress.
    fn convert(&self, host: &mut H, key: H::Key, work: &mut Work<'_>) -> Result<Advance, H::Error>;

    /// Restores a quarantined unit as a source unit, to be retried or rolled back. Must not overwrite a record: the
    /// canister should refuse calls that would write under the key of a unit in quarantine.
    ///
    /// # Errors
    /// A damaged record, or the host's error if the unit cannot be stored at present; nothing is changed.
    fn restore(&self, host: &mut H, key: H::Key, quarantined: QuarantineRecord) -> Result<(), H::Error>;

    /// Removes a source unit without decoding it, and returns the record with which it is quarantined for this reason.
    /// A migration may leave its quarantined units in place: then this removes nothing.
    ///
    /// # Errors
    /// A damaged record; nothing is changed.
    fn take_out(&self, host: &mut H, key: H::Key, reason: String) -> Result<QuarantineRecord, H::Error>;

    /// Called at finalization: releases what is still reserved for units that are left in quarantine permanently, such
    /// as bytes that count against their owners' limits.
    ///
    /// # Errors
    /// A damaged record.
    fn leave_in_quarantine(&self, _: &mut H) -> Result<(), H::Error> {
        Ok(())
    }

    /// Returns the index in [`Plan::classes`] of the class for units whose conversion trapped; by default, the first
    /// class that is quarantined. Without such a class, these units are counted as `unknown`.
    fn trapped_class(&self) -> usize {
        let is_quarantined = |class: &ClassPlan| class.treatment == Treatment::Quarantine;
        self.plan().classes.iter().position(is_quarantined).unwrap_or(usize::MAX)
    }

    /// Releases what the slices of a unit have allocated, and removes its partial target: the client has removed the
    /// unit, its conversion trapped, another unit is handled first, or a rollback begins. If the unit still exists, its
    /// conversion begins again later, with empty progress; in a rollback, it simply remains a source unit.
    ///
    /// Never called for a unit after [`Self::convert`] has returned [`Advance::Done`], [`Advance::Gone`] or an error,
    /// also if that was for a client's touch. So that the engine knows, a client's call that removes a unit must touch
    /// it first ([`Engine::touch`](crate::Engine::touch)), unless its key is never used again. Never called for a
    /// unit that is partly converted back, either ([`Reversal::revert`]).
    fn abandon(&self, _: &mut H, _: H::Key, _progress: Vec<u8>) {}

    /// Lists up to `limit` target units above `after`, ascending.
    fn targets(&self, host: &H, after: Option<H::Key>, limit: usize) -> Vec<H::Key>;

    /// Returns what is wrong with a target unit; `None` if it is sound or no longer exists.
    ///
    /// # Errors
    /// A damaged record other than the unit itself.
    fn check(&self, host: &H, key: H::Key) -> Result<Option<String>, H::Error>;

    /// Lists up to `limit` target units that clients have written at or after `since`. Finalization checks these; with
    /// the default, none, it relies on the last verification.
    fn written_since(&self, _: &H, _: Time, _: usize) -> Vec<H::Key> {
        Vec::new()
    }

    /// Returns the conversion of many units at a time; `None` if the migration has none, so that [`Self::convert`] is
    /// used.
    fn bulk(&self) -> Option<&dyn Bulk<H>> {
        None
    }

    /// Returns the rollback; `None` if the migration cannot be rolled back.
    fn reversal(&self) -> Option<&dyn Reversal<H>> {
        None
    }

    /// Returns the number of steps after which a run of this many units counts as failed. A unit takes one step to be
    /// digested, and one to be converted, or one for each of its slices. The default allows several times as many;
    /// a migration with more slices must allow more.
    fn max_steps(&self, units: u64) -> u64 {
        units.saturating_mul(8).saturating_add(10_000)
    }
}

/// Conversion of many small units at a time, for a migration in which reading units and reading them back costs less
/// that way. It leaves the sources of converted units in place instead of removing them one by one. Such a leftover is
/// invisible to the methods of the migration and to clients.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # fn main() -> Result<(), Error> {
/// /// Converts the first balances that are not in the new map yet; in the old map, they stay until the end.
/// struct InBulk;
///
/// impl Bulk<Bank> for InBulk {
///     fn convert_first(
///         &self,
///         bank: &mut Bank,
///         limit: usize,
///         _: Time,
///         has_budget: &mut dyn FnMut() -> bool,
///     ) -> Result<Vec<Settled>, Error> {
///         let through = bank.millionths.last_key_value().map(|(key, _)| key);
///         let some: Vec<_> = bank.cents.range(after(through)).take(limit).map(|entry| entry.into_pair()).collect();
///         let mut settled = Vec::new();
///         for (key, cents) in some {
///             bank.millionths.insert(key, u128::from(cents) * 10_000);
///             let back = bank.millionths.get(&key).and_then(to_cents).unwrap_or_default();
///             settled.push(Settled { key, class: 0, fate: Fate::Converted(digest_of(&back.to_be_bytes())) });
///             if !has_budget() {
///                 break;
///             }
///         }
///         Ok(settled)
///     }
///
///     fn leftovers(&self, bank: &Bank, limit: usize) -> Vec<u64> {
///         bank.millionths.keys_range(..).filter(|key| bank.cents.contains_key(key)).take(limit).collect()
///     }
///
///     fn drop_leftover(&self, bank: &mut Bank, key: u64) {
///         bank.cents.remove(&key);
///     }
///
///     fn clear_leftovers(&self, bank: &mut Bank) {
///         bank.cents.clear_new();
///     }
/// }
///
/// let mut bank = Bank::of([(7, 100), (8, 250)]);
/// let settled = InBulk.convert_first(&mut bank, 1, NOW, &mut || true)?;
/// assert_eq!((settled[0].key, InBulk.leftovers(&bank, 9)), (7, vec![7]));
/// InBulk.convert_first(&mut bank, 9, NOW, &mut || true)?;
/// // Before a rollback, the leftovers are dropped one by one; in the end, all at once.
/// InBulk.drop_leftover(&mut bank, 7);
/// InBulk.clear_leftovers(&mut bank);
/// assert_eq!((bank.cents.len(), bank.millionths.len()), (0, 2));
/// # Ok(())
/// # }
/// ```
pub trait Bulk<H: Host> {
    /// Converts the first source units, ascending, at most `limit`. Calls `has_budget` after each unit, and stops if it
    /// returns `false`. Also stops before a unit that fails, with which the next call then begins. Returns the outcomes
    /// of the units that it has handled; none if there is no source unit.
    ///
    /// # Errors
    /// The error of the failed unit, if no unit was handled before it.
    fn convert_first(
        &self,
        host: &mut H,
        limit: usize,
        now: Time,
        has_budget: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Settled<H::Key>>, H::Error>;

    /// Lists up to `limit` units whose sources are left in place, ascending.
    fn leftovers(&self, host: &H, limit: usize) -> Vec<H::Key>;

    /// Removes the source that was left in place of a converted unit.
    fn drop_leftover(&self, host: &mut H, key: H::Key);

    /// Removes all sources that were left in place, at once. Called when everything is converted and accounted for.
    fn clear_leftovers(&self, host: &mut H);
}

/// A unit that has been converted, released or quarantined.
///
/// ```
/// use ic_stable_migrate::{Fate, Settled, digest_of};
///
/// // What a bulk conversion returns for the unit 7, of the first class of its plan.
/// let settled = Settled { key: 7_u64, class: 0, fate: Fate::Converted(digest_of(&100_u64.to_be_bytes())) };
/// assert_eq!(settled.key, 7);
/// ```
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
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # fn main() -> Result<(), Error> {
/// let mut bank = Bank::converted([(7, 100), (8, 250)]);
/// let reversal = CentsToMillionths.reversal().expect("it has one");
/// reversal.allowed().expect("this build serves cents");
/// assert_eq!(reversal.left(&bank), 2);
/// // The engine calls `revert` for one unit after the other, and repeatedly for a unit that has several slices.
/// let mut work = Work { now: NOW, meter: &Unmetered, budget: 0, progress: Vec::new() };
/// assert_eq!(reversal.revert(&mut bank, 7, &mut work)?, Reverted::Done);
/// assert_eq!((bank.cents.get(&7), reversal.left(&bank)), (Some(100), 1));
/// # Ok(())
/// # }
/// ```
pub trait Reversal<H: Host> {
    /// Returns `Ok(())` if this build may roll back.
    ///
    /// # Errors
    /// Why it may not, and what to do instead.
    fn allowed(&self) -> Result<(), String>;

    /// Returns the number of steps that a rollback still takes: one for each target unit, and one for each source left
    /// in place. The engine adds the quarantined units.
    fn left(&self, host: &H) -> u64;

    /// Converts a unit, or a slice of it, back to its source form. Removes the target only with the last slice.
    ///
    /// A unit that is partly converted back is continued before any other, also if its client has changed or removed it
    /// since the last slice: then this must copy again what was changed, or remove what earlier slices have written and
    /// return [`Reverted::Done`].
    ///
    /// # Errors
    /// A damaged record; nothing is changed. The next call for the unit has the same progress.
    fn revert(&self, host: &mut H, key: H::Key, work: &mut Work<'_>) -> Result<Reverted, H::Error>;
}

/// Budget and time of a slice of work, and the progress of its unit.
///
/// ```
/// use ic_stable_migrate::{Advance, Fate, Unmetered, Time, Work, digest_of};
///
/// /// Copies a file in slices of 1,000 bytes, as long as the message has budget; its progress is the number of copied
/// /// bytes.
/// fn convert(file: &[u8], copy: &mut Vec<u8>, work: &mut Work<'_>) -> Advance {
///     let copied = work.progress.as_slice().try_into().map(u64::from_be_bytes).unwrap_or(0);
///     copy.truncate(usize::try_from(copied).unwrap_or(0));
///     for slice in file[copy.len()..].chunks(1_000) {
///         if work.is_used_up() {
///             work.progress = (copy.len() as u64).to_be_bytes().to_vec();
///             return Advance::More;
///         }
///         copy.extend_from_slice(slice);
///     }
///     Advance::Done { class: 0, fate: Fate::Converted(digest_of(copy)) }
/// }
///
/// let (file, mut copy) = (vec![7; 2_500], Vec::new());
/// let mut work = Work { now: Time::default(), meter: &Unmetered, budget: 1_000_000, progress: Vec::new() };
/// assert!(matches!(convert(&file, &mut copy, &mut work), Advance::Done { .. }));
/// assert_eq!(copy, file);
/// ```
pub struct Work<'a> {
    /// Time of the message.
    pub now: Time,
    /// Reads how many instructions the message has used.
    pub meter: &'a dyn Meter,
    /// Instructions of the message after which a large unit must be left to the next message.
    pub budget: u64,
    /// Progress of the unit, encoded by the migration: empty at the start, stored between the slices.
    pub progress: Vec<u8>,
}

impl Work<'_> {
    /// Returns whether the message has no budget left.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.meter.used() > self.budget
    }
}

/// The class of a source unit, and the reason if the unit would be quarantined.
///
/// ```
/// use ic_stable_migrate::Classified;
///
/// /// Classes of the plan: 0 is "balance", 1 is "too large".
/// fn classify(cents: u64) -> Classified {
///     match cents.checked_mul(10_000) {
///         Some(_) => Classified { class: 0, reason: None },
///         None => Classified { class: 1, reason: Some(format!("{cents} cents are too many millionths")) },
///     }
/// }
///
/// assert_eq!(classify(100).class, 0);
/// assert_eq!(classify(u64::MAX).class, 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classified {
    /// Index of its class in [`Plan::classes`].
    pub class: usize,
    /// Why the unit would be quarantined; `None` if it would not.
    pub reason: Option<String>,
}

/// What [`Migration::convert`] did.
///
/// ```
/// use ic_stable_migrate::{Advance, Fate, digest_of};
///
/// /// Converts a balance, if its client has not closed the account in the meantime.
/// fn convert(cents: Option<u64>) -> Advance {
///     match cents {
///         None => Advance::Gone,
///         // `Advance::More` would mean that only a slice of a large unit is converted.
///         Some(cents) => Advance::Done { class: 0, fate: Fate::Converted(digest_of(&cents.to_be_bytes())) },
///     }
/// }
///
/// assert_eq!(convert(None), Advance::Gone);
/// assert_ne!(convert(Some(1)), Advance::More);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advance {
    /// A slice of the unit is converted; the message has no budget for more.
    More,
    /// The whole unit is handled.
    Done {
        /// Index of its class in [`Plan::classes`].
        class: usize,
        /// Its outcome.
        fate: Fate,
    },
    /// The unit no longer exists: its client has removed it. What earlier slices have allocated is released. If the unit
    /// was counted ahead ([`Migration::counts_ahead`]), the client's call should have touched it first; now the counts
    /// will not reconcile.
    Gone,
}

/// Outcome of a unit.
///
/// ```
/// use ic_stable_migrate::{Fate, QuarantineRecord, digest_of};
///
/// /// Returns the outcome of a session that is stored as text.
/// fn fate(stored: &[u8], is_expired: bool) -> Fate {
///     match str::from_utf8(stored) {
///         Err(error) => Fate::Quarantined(QuarantineRecord::new(error.to_string(), stored.to_vec())),
///         Ok(_) if is_expired => Fate::Released(digest_of(stored)),
///         Ok(_) => Fate::Converted(digest_of(stored)),
///     }
/// }
///
/// assert_eq!(fate(b"abc", false), Fate::Converted(digest_of(b"abc")));
/// assert_eq!(fate(b"abc", true), Fate::Released(digest_of(b"abc")));
/// assert!(matches!(fate(&[0xff], true), Fate::Quarantined(record) if record.raw == [0xff]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The unit is converted. The digest is that of the target, read back and converted to the source form.
    Converted(Digest),
    /// The unit had expired and is released. The digest is that of the source unit.
    Released(Digest),
    /// The unit is to be quarantined: the engine stores this record.
    Quarantined(QuarantineRecord),
}

/// What [`Reversal::revert`] did.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # fn main() -> Result<(), Error> {
/// let mut bank = Bank::converted([(7, 100)]);
/// bank.millionths.insert(8, 5);
/// let mut work = Work { now: NOW, meter: &Unmetered, budget: 0, progress: Vec::new() };
/// assert_eq!(CentsToMillionths.revert(&mut bank, 7, &mut work)?, Reverted::Done);
/// // `Reverted::More` would say that this unit has more slices; a balance has one.
/// match CentsToMillionths.revert(&mut bank, 8, &mut work)? {
///     Reverted::Refused(why) => assert_eq!(why, "balance 8 has 5 millionths, a fraction of a cent"),
///     Reverted::Done | Reverted::More => unreachable!(),
/// }
/// assert_eq!(bank.millionths.get(&8), Some(5), "nothing is lost");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reverted {
    /// The unit is a source unit again.
    Done,
    /// A slice of the unit is converted back; the message has no budget for more.
    More,
    /// The unit cannot be represented in the source form, for this reason. It is a target unit as before; what earlier
    /// slices have written is removed.
    Refused(String),
}
