//! The stored state of a migration: phase, progress, counts and digests.

use std::cmp::Ordering;

use minicbor::{Decode, Encode};
use serde_bytes::ByteBuf;

use crate::api::{ClassCount, MigrationPhase, MigrationStatus};
use crate::{Digest, Key, Layout, MultisetDigest, Pace, Record, codec};

/// Maximum number of bytes of a note that a reply shows: an error of the host may be of any length, and a page of the
/// journal has fifty notes.
const LONGEST_NOTE: usize = 4 * 1024;

/// Phase of a migration. The variant numbers are part of the stored format.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # fn main() -> Result<(), Error> {
/// /// Returns what a controller does in a phase.
/// fn advice(phase: Phase) -> &'static str {
///     match phase {
///         Phase::Idle => "nothing: it has not begun, or there is nothing to convert",
///         Phase::Validating | Phase::Converting | Phase::Verifying | Phase::RollingBack => "wait, or pause",
///         Phase::Paused => "resume",
///         Phase::Stuck => "read the note, then resume or roll back",
///         Phase::Converted => "look at the quarantine, verify, and finalize or roll back",
///         Phase::RolledBack => "install the old release, or resume",
///         Phase::Finalized => "nothing: the next migration may begin",
///     }
/// }
///
/// let bank = Bank::converted([(7, 100)]);
/// let advice = advice(bank.ledger.state_of(1)?.phase);
/// assert_eq!(advice, "look at the quarantine, verify, and finalize or roll back");
/// # Ok(())
/// # }
/// ```
#[derive(Encode, Decode, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(all(test, feature = "_schema"), derive(stable_schema::StableSchema))]
#[cbor(index_only)]
pub enum Phase {
    /// Nothing to do, or not begun.
    #[default]
    #[n(0)]
    Idle,
    /// Counting and digesting source units.
    #[n(1)]
    Validating,
    /// Converting source units.
    #[n(2)]
    Converting,
    /// Comparing counts and digests, and checking every converted unit if a controller requested it.
    #[n(3)]
    Verifying,
    /// Everything is converted and verified.
    #[n(4)]
    Converted,
    /// A rollback is no longer possible.
    #[n(5)]
    Finalized,
    /// Stopped by a controller, or deferred; `resume_to` is the phase to which it returns.
    #[n(6)]
    Paused,
    /// Stopped because of an error; `note` is the reason, `resume_to` the phase to which it returns (but if counts or
    /// digests do not reconcile, it returns to [`Phase::Validating`]). Until it is resumed, only units that clients use
    /// are converted, and none if the error was in a rollback.
    #[n(7)]
    Stuck,
    /// Rolling back.
    #[n(8)]
    RollingBack,
    /// Everything is rolled back.
    #[n(9)]
    RolledBack,
}

/// The state of a migration.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # fn main() -> Result<(), Error> {
/// let mut bank = Bank::converted([(7, 100), (8, 250)]);
/// let state = bank.ledger.state_of(1)?;
/// assert_eq!((state.source, state.converted, state.imbalance()), (2, 2, None));
/// assert_eq!(state.to_api(1, Layout(2), 5).converted, 2);
/// let lost = MigrationState { converted: 1, ..state.clone() };
/// assert!(lost.imbalance().unwrap().starts_with("source 2 is not converted 1"));
///
/// // What a call checks before it converts a unit, or writes a new one in the new layout.
/// let converts = |state: &MigrationState| !state.is_going_back() && !state.is_deferred();
/// assert!(converts(&state) && converts(&state.restarted()));
/// assert!(!converts(&MigrationState::deferred()));
/// ENGINE.control(&mut bank, NOW)?.rollback()?;
/// ENGINE.control(&mut bank, NOW)?.pause()?;
/// let state = bank.ledger.state_of(1)?;
/// assert_eq!((state.phase, state.interrupted_phase()), (Phase::Paused, Phase::RollingBack));
/// assert!(!converts(&state));
/// # Ok(())
/// # }
/// ```
#[derive(Encode, Decode, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(all(test, feature = "_schema"), derive(stable_schema::StableSchema))]
pub struct MigrationState<K: Key = u64> {
    /// Phase.
    #[n(0)]
    pub phase: Phase,
    /// Last unit that the engine has handled in its current pass over the units.
    #[cbor(n(1), with = "crate::key::opt_cbor")]
    pub cursor: Option<K>,
    /// Every source unit up to this one is included in `source` and `digest_before`; `None` before the engine has
    /// counted any. Without meaning once all of these are converted, released or quarantined.
    #[cbor(n(2), with = "crate::key::opt_cbor")]
    pub validated_through: Option<K>,
    /// Source units counted so far.
    #[n(3)]
    pub source: u64,
    /// Source units converted by the engine.
    #[n(4)]
    pub converted: u64,
    /// Source units converted when their client touched them.
    #[n(5)]
    pub already: u64,
    /// Source units in quarantine.
    #[n(6)]
    pub quarantined: u64,
    /// Source units that had expired, and were released.
    #[n(7)]
    pub expired: u64,
    /// Digest of all source units that were counted.
    #[n(8)]
    pub digest_before: MultisetDigest,
    /// Digest of the units that were converted (converted back to the source form), released or quarantined.
    #[n(9)]
    pub digest_after: MultisetDigest,
    /// Instructions used so far.
    #[n(10)]
    pub instructions: u64,
    /// Why the migration is stuck, or what the last verification, retry or rollback could not settle; otherwise empty.
    #[n(11)]
    pub note: String,
    /// The phase to which a paused or stuck migration returns; `None` in every other phase.
    #[n(12)]
    pub resume_to: Option<Phase>,
    /// Name of the migration, once it has begun.
    #[cbor(n(13), default)]
    pub name: String,
    /// SHA-256 of the plan that the run follows; `None` before it has begun.
    #[cbor(n(14), with = "crate::codec::opt_digest")]
    pub plan: Option<Digest>,
    /// How many units of each class were handled. A retried unit counts each time, since a record in quarantine does
    /// not say in which class it was counted.
    #[cbor(n(15), default)]
    pub classes: Vec<(String, u64)>,
    /// The unit that the last message left unfinished: partly converted, or partly converted back while the migration
    /// is [going back](Self::is_going_back).
    #[cbor(n(16), bound = "K: Key")]
    pub unit: Option<UnitProgress<K>>,
    /// How the work is divided into batches and messages.
    #[cbor(n(17), default)]
    pub pace: Pace,
    /// Every converted unit was read back and found sound at this time or later, nanoseconds.
    #[n(18)]
    pub proven_since: Option<u64>,
    /// The check of all converted units that a controller has requested, while it is in progress.
    #[n(19)]
    pub recheck: Option<Recheck<K>>,
    /// Progress of the last rollback; `None` if there was none since the counts were last discarded.
    #[n(20)]
    pub rollback: Option<Rollback>,
}

/// Progress of a rollback.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # fn main() -> Result<(), Error> {
/// let mut bank = Bank::converted([(7, 100), (8, 250)]);
/// ENGINE.control(&mut bank, NOW)?.rollback()?;
/// assert_eq!(bank.ledger.state_of(1)?.rollback, Some(Rollback { done: 0, left: 2 }));
/// ENGINE.run(&mut bank, MESSAGE)?;
/// assert_eq!(bank.ledger.state_of(1)?.rollback, Some(Rollback { done: 2, left: 0 }));
/// # Ok(())
/// # }
/// ```
#[derive(Encode, Decode, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(all(test, feature = "_schema"), derive(stable_schema::StableSchema))]
pub struct Rollback {
    /// Number of units converted back or restored from quarantine, and of leftover sources deleted before that.
    #[n(0)]
    pub done: u64,
    /// Number of target units, quarantined units and leftover sources that remain.
    #[n(1)]
    pub left: u64,
}

/// A unit that is partly converted, or partly converted back, and its progress.
///
/// ```
/// use ic_stable_migrate::{MigrationState, UnitProgress};
///
/// /// Returns how far the conversion of a large unit is, for a migration that stores the number of copied bytes.
/// fn copied(state: &MigrationState) -> Option<(u64, u64)> {
///     let UnitProgress { key, progress } = state.unit.as_ref()?;
///     Some((*key, u64::from_be_bytes(progress.as_slice().try_into().ok()?)))
/// }
///
/// let unit = UnitProgress { key: 7, progress: 2_500_u64.to_be_bytes().to_vec() };
/// let state = MigrationState { unit: Some(unit), ..MigrationState::default() };
/// assert_eq!(copied(&state), Some((7, 2_500)));
/// ```
#[derive(Encode, Decode, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(all(test, feature = "_schema"), derive(stable_schema::StableSchema))]
pub struct UnitProgress<K: Key = u64> {
    /// Key of the unit.
    #[cbor(n(0), with = "crate::key::cbor")]
    pub key: K,
    /// Progress of the unit, encoded by the migration.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub progress: Vec<u8>,
}

/// A check of all converted units.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/bank.rs"));
/// # fn main() -> Result<(), Error> {
/// let mut bank = Bank::converted([(7, 100), (8, 250)]);
/// ENGINE.control(&mut bank, NOW)?.verify()?;
/// ENGINE.run(&mut bank, STEP)?;
/// let recheck: Recheck = bank.ledger.state_of(1)?.recheck.expect("a check is in progress");
/// assert_eq!((recheck.since, recheck.cursor, recheck.seen, recheck.unsound), (NOW.as_nanos(), Some(7), 1, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Encode, Decode, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(all(test, feature = "_schema"), derive(stable_schema::StableSchema))]
pub struct Recheck<K: Key = u64> {
    /// When the check began, nanoseconds.
    #[n(0)]
    pub since: u64,
    /// Last unit checked.
    #[cbor(n(1), with = "crate::key::opt_cbor")]
    pub cursor: Option<K>,
    /// Units checked so far.
    #[n(2)]
    pub seen: u64,
    /// Units found unsound so far.
    #[n(3)]
    pub unsound: u64,
    /// What is wrong with the first unsound unit.
    #[n(4)]
    pub first: String,
}

impl<K: Key> Default for MigrationState<K> {
    fn default() -> Self {
        Self {
            phase: Phase::default(),
            cursor: None,
            validated_through: None,
            source: 0,
            converted: 0,
            already: 0,
            quarantined: 0,
            expired: 0,
            digest_before: MultisetDigest::default(),
            digest_after: MultisetDigest::default(),
            instructions: 0,
            note: String::new(),
            resume_to: None,
            name: String::new(),
            plan: None,
            classes: Vec::new(),
            unit: None,
            pace: Pace::default(),
            proven_since: None,
            recheck: None,
            rollback: None,
        }
    }
}

impl<K: Key> Recheck<K> {
    pub(crate) const fn begun_at(since: u64) -> Self {
        Self { since, cursor: None, seen: 0, unsound: 0, first: String::new() }
    }
}

impl<K: Key> MigrationState<K> {
    /// Returns whether a source unit is counted already. Any other unit is counted when it is touched, or when the
    /// engine reaches it.
    pub(crate) fn is_validated(&self, key: &K) -> bool {
        !self.is_settled() && self.validated_through.as_ref().is_some_and(|through| key <= through)
    }

    /// Returns whether every counted unit is converted, released or quarantined, so that a source unit that is not
    /// quarantined is a new one, whatever its key.
    fn is_settled(&self) -> bool {
        matches!(self.interrupted_phase(), Phase::Verifying | Phase::Converted)
    }

    /// Makes the next count include new units below those that are counted already, if these are all settled. Must be
    /// called before the phase changes.
    pub(crate) fn count_from_first(&mut self) {
        if self.is_settled() {
            self.validated_through = None;
        }
    }

    /// Returns the number of units converted, released or quarantined.
    fn settled(&self) -> u64 {
        let Self { converted, already, quarantined, expired, .. } = self;
        [converted, already, quarantined, expired].into_iter().copied().fold(0, u64::saturating_add)
    }

    /// Returns which count or digest does not reconcile; `None` if everything does.
    pub fn imbalance(&self) -> Option<String> {
        let Self { source, converted, already, quarantined, expired, .. } = self;
        let settled = self.settled();
        if *source != settled {
            return Some(format!(
                "source {source} is not converted {converted} + already {already} + quarantined {quarantined} + \
                 expired {expired} = {settled}"
            ));
        }
        (self.digest_before != self.digest_after)
            .then(|| "the digest of the converted records differs from that of the source records".into())
    }

    /// Returns [`Self::imbalance`], how many units it is about, and the usual cause: for the note.
    pub(crate) fn explained_imbalance(&self) -> Option<String> {
        let imbalance = self.imbalance()?;
        let (source, settled) = (self.source, self.settled());
        let cause = match source.cmp(&settled) {
            Ordering::Greater => format!(
                "counted, but neither converted nor quarantined: {}; a call must touch a unit before it removes it",
                source.saturating_sub(settled)
            ),
            Ordering::Less => {
                format!("converted or quarantined, but not counted: {}", settled.saturating_sub(source))
            }
            Ordering::Equal => "a call must touch a unit before it changes it".into(),
        };
        Some(format!("{imbalance}; {cause}"))
    }

    /// Returns whether the migration is stuck because its counts or digests do not reconcile. Comparing them again
    /// gives the same result.
    pub(crate) fn is_stuck_by_imbalance(&self) -> bool {
        self.phase == Phase::Stuck
            && self.resume_to == Some(Phase::Verifying)
            && self.recheck.is_none()
            && self.imbalance().is_some()
    }

    /// Returns the current phase; for a paused or stuck migration, the phase that was interrupted.
    pub fn interrupted_phase(&self) -> Phase {
        self.resume_to.unwrap_or(self.phase)
    }

    /// Returns whether a rollback is in progress or complete, so that nothing is converted.
    pub fn is_going_back(&self) -> bool {
        matches!(self.interrupted_phase(), Phase::RollingBack | Phase::RolledBack)
    }

    /// Returns whether the migration is deferred, or has counted a unit or changed the layout since it was last reset.
    /// A plan does not show that: the end of a deferral or of a rollback leaves one, too, and in earlier releases a
    /// touch of a unit that does not exist.
    pub(crate) const fn has_begun(&self) -> bool {
        !matches!(self.phase, Phase::Idle) || self.source > 0 || self.proven_since.is_some()
    }

    /// Returns whether the next migration must wait for this one.
    pub(crate) fn blocks_next(&self) -> bool {
        self.has_begun() && self.phase != Phase::Finalized
    }

    /// Returns the state of the same migration before it has done anything, but with the instructions and messages that
    /// it has used so far.
    pub fn restarted(&self) -> Self {
        Self { instructions: self.instructions, pace: self.pace.for_new_run(), ..Self::default() }
    }

    /// Removes the positions in the order of the keys, which a finalized migration does not need: a later release must
    /// decode the state even if its type of keys has changed.
    pub(crate) fn clear_positions(&mut self) {
        self.cursor = None;
        self.validated_through = None;
    }

    /// Returns the state of a deferred migration, which has not begun.
    pub fn deferred() -> Self {
        Self { phase: Phase::Paused, resume_to: Some(Phase::Idle), ..Self::default() }
    }

    /// Returns whether the migration is deferred: everything is still in the old layout, and stays in it.
    pub fn is_deferred(&self) -> bool {
        self.phase == Phase::Paused && self.resume_to == Some(Phase::Idle)
    }

    /// Counts one unit of the class.
    pub(crate) fn count_class(&mut self, name: &str) {
        match self.classes.iter_mut().find(|(class, _)| class == name) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.classes.push((name.to_owned(), 1)),
        }
    }

    /// Converts the state to the type of the endpoints.
    pub fn to_api(&self, migration: u16, layout: Layout, journal_entries: u64) -> MigrationStatus<K> {
        let counts = self.classes.iter();
        let mut note = self.note.clone();
        note.truncate(note.floor_char_boundary(LONGEST_NOTE));
        MigrationStatus {
            migration,
            name: self.name.clone(),
            layout: layout.0,
            phase: match self.phase {
                Phase::Idle => MigrationPhase::Idle,
                Phase::Validating => MigrationPhase::Validating,
                Phase::Converting => MigrationPhase::Converting,
                Phase::Verifying => MigrationPhase::Verifying,
                Phase::Converted => MigrationPhase::Converted,
                Phase::Finalized => MigrationPhase::Finalized,
                Phase::Paused => MigrationPhase::Paused,
                Phase::Stuck => MigrationPhase::Stuck,
                Phase::RollingBack => MigrationPhase::RollingBack,
                Phase::RolledBack => MigrationPhase::RolledBack,
            },
            cursor: self.cursor.clone(),
            source: self.source,
            converted: self.converted,
            already: self.already,
            quarantined: self.quarantined,
            expired: self.expired,
            digest_before: ByteBuf::from(self.digest_before.to_bytes()),
            digest_after: ByteBuf::from(self.digest_after.to_bytes()),
            instructions: self.instructions,
            messages: self.pace.messages,
            batch: self.pace.batch,
            attempts: self.pace.attempts,
            classes: counts
                .map(|(class, count)| ClassCount { class: class.clone(), count: *count })
                .collect(),
            proven_since: self.proven_since,
            journal_entries,
            note,
            rollback_done: self.rollback.map(|rollback| rollback.done),
            rollback_left: self.rollback.map(|rollback| rollback.left),
        }
    }
}

/// The first byte of every stored state.
pub(crate) const VERSION: u8 = 1;

impl<K: Key> Record for MigrationState<K> {
    const NAME: &'static str = "migration state";
    const FORMAT: Option<u8> = Some(VERSION);

    fn encode(&self) -> Vec<u8> {
        codec::encode(VERSION, self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        codec::decode(VERSION, bytes)
    }
}
