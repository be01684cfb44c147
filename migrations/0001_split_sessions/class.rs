//! The classes of legacy records, clean and dirty, and the treatment of each.
//!
//! A record belongs to the first class that matches. A test compares the table in `README.md` with this one.
//!
//! The names are stored: in the counts of the migration's state, and hashed in the journal's digest of the plan. So the
//! class of records whose conversion traps is still named "cut off".

use super::legacy::DecodeError;
use super::{Split, Unconvertible};
use crate::migrate::{ClassPlan, Treatment};
use crate::session::{SessionStatus, Time};

macro_rules! classes {
    ($($(#[doc = $what:literal])+ $class:ident = $name:literal => $treatment:ident;)*) => {
        /// A class of legacy record.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Class {
            $($(#[doc = $what])+ $class,)*
        }

        /// Name and treatment of every class, in the order of [`Class`].
        pub const CLASSES: &[ClassPlan] = &[$(ClassPlan {
            name: $name,
            treatment: Treatment::$treatment,
            what: concat!($($what),+).trim_ascii(),
        }),*];

        #[cfg(test)]
        impl Class {
            /// All classes.
            pub const ALL: &[Self] = &[$(Self::$class),*];
        }
    };
}

classes! {
    /// the bytes are not the record of any version
    Undecodable = "undecodable" => Quarantine;
    /// the version in front of the record is not 1
    UnknownVersion = "unknown version" => Quarantine;
    /// the record is stored under the key of another session
    ForeignKey = "foreign key" => Quarantine;
    /// `chunk_size` is 0, or does not fit 32 bits
    ChunkSize = "chunk size" => Quarantine;
    /// `expected_chunks` is not `chunk_count`
    CountsDisagree = "counts disagree" => Quarantine;
    /// the size in the metadata is not `expected_chunks` chunks
    SizeDisagrees = "size disagrees" => Quarantine;
    /// a chunk is stored that the file does not have
    ExtraChunks = "extra chunks" => Quarantine;
    /// the last activity is longer ago than a session lives
    Expired = "expired" => Release;
    /// `created_at` is in seconds, milliseconds or microseconds; the stored number does not change, and is converted to nanoseconds only if the last activity is derived from it
    TimeUnit = "time in another unit" => Convert;
    /// `created_at` is not a plausible time in any unit; the stored number does not change, and the session lives from its conversion on
    NoTime = "no time" => Convert;
    /// another session in flight has the same idempotency key; the key leads to the one that was begun later
    DuplicateKey = "duplicate key" => Convert;
    /// the idempotency key is empty, as the first public release allowed
    EmptyKey = "empty key" => Convert;
    /// committed, with its blob, and every chunk is stored
    Committed = "committed" => Convert;
    /// committed, with its blob, and chunks are missing
    CommittedIncomplete = "committed, chunks missing" => Convert;
    /// committed, but no blob is named
    CommittedWithoutBlob = "committed without blob" => Convert;
    /// chunks may arrive, though a blob is named already
    PendingWithBlob = "pending with blob" => Convert;
    /// chunks may arrive, and all are stored
    PendingComplete = "pending, complete" => Convert;
    /// chunks may arrive, and some are stored
    PendingPartial = "pending, some chunks" => Convert;
    /// chunks may arrive, and none is stored
    PendingEmpty = "pending, no chunk" => Convert;
    /// converting the record trapped, although the message did nothing else
    TrappedAlone = "cut off" => Quarantine;
}

impl Class {
    /// Returns the index in [`CLASSES`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns the class of a record that does not decode.
    pub const fn of_undecodable(error: &DecodeError) -> Self {
        match error {
            DecodeError::Version(_) => Self::UnknownVersion,
            DecodeError::Bytes(_) => Self::Undecodable,
        }
    }

    /// Returns the class of a record that cannot be represented in layout 2.
    pub const fn of_unconvertible(error: &Unconvertible) -> Self {
        match error {
            Unconvertible::ForeignKey { .. } => Self::ForeignKey,
            Unconvertible::ChunkSize(_) => Self::ChunkSize,
            Unconvertible::CountsDisagree { .. } => Self::CountsDisagree,
            Unconvertible::SizeDisagrees { .. } => Self::SizeDisagrees,
            Unconvertible::ExtraChunks { .. } => Self::ExtraChunks,
            // Cannot occur here: only `revert` returns this error.
            Unconvertible::Owner(_) => Self::Undecodable,
        }
    }

    /// Returns the class of a convertible record: by its time, then by its key, then by its status, blob and chunks.
    /// `key_leads_elsewhere`: before the conversion, the idempotency key leads to another session in flight.
    pub fn of_convertible(split: &Split, unit: TimeUnit, key_leads_elsewhere: bool) -> Self {
        let Split { session, meta } = split;
        let is_complete = session.received_idxs.contains_all_below(session.chunk_count());
        match unit {
            TimeUnit::Nanoseconds => {}
            TimeUnit::Unknown => return Self::NoTime,
            TimeUnit::Microseconds | TimeUnit::Milliseconds | TimeUnit::Seconds => return Self::TimeUnit,
        }
        if key_leads_elsewhere {
            return Self::DuplicateKey;
        }
        if session.session_meta.idem.is_empty() {
            return Self::EmptyKey;
        }
        match (session.session_meta.status, meta.blob_id) {
            (SessionStatus::Committed { .. }, None) => Self::CommittedWithoutBlob,
            (SessionStatus::Committed { .. }, Some(_)) if is_complete => Self::Committed,
            (SessionStatus::Committed { .. }, Some(_)) => Self::CommittedIncomplete,
            (SessionStatus::Pending, Some(_)) => Self::PendingWithBlob,
            (SessionStatus::Pending, None) if is_complete => Self::PendingComplete,
            (SessionStatus::Pending, None) if session.received_idxs.is_empty() => Self::PendingEmpty,
            (SessionStatus::Pending, None) => Self::PendingPartial,
        }
    }
}

/// The unit of a time in layout 1. ([`Class::TimeUnit`] is the class of the records with another unit than
/// nanoseconds.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// Nanoseconds, as specified.
    Nanoseconds,
    /// Microseconds.
    Microseconds,
    /// Milliseconds, as returned by JavaScript's `Date.now()`.
    Milliseconds,
    /// Seconds, as in Unix time.
    Seconds,
    /// None of these: in no unit could a session have begun at this time.
    Unknown,
}

/// 2020-01-01 UTC, nanoseconds: before the IC existed.
const EARLIEST_NANOS: u64 = 1_577_836_800_000_000_000;

/// Assumed maximum lead of one subnet's clock over another's, in seconds.
const CLOCK_SKEW_SECONDS: u64 = 24 * 60 * 60;

impl TimeUnit {
    /// Returns the first unit in which `time` is between 2020 and a day from now; `Unknown` if there is none.
    pub fn of(time: u64, now: Time) -> Self {
        let latest = now.plus_seconds(CLOCK_SKEW_SECONDS).as_nanos();
        let units = [Self::Nanoseconds, Self::Microseconds, Self::Milliseconds, Self::Seconds];
        let fits = |unit: &Self| {
            let nanos = time.checked_mul(unit.in_nanos());
            nanos.is_some_and(|nanos| (EARLIEST_NANOS..=latest).contains(&nanos))
        };
        units.into_iter().find(fits).unwrap_or(Self::Unknown)
    }

    /// Returns `time` interpreted in this unit; `now` if the unit is unknown.
    pub fn to_time(self, time: u64, now: Time) -> Time {
        match self {
            Self::Unknown => now,
            _ => Time::from_nanos(time.saturating_mul(self.in_nanos())),
        }
    }

    const fn in_nanos(self) -> u64 {
        match self {
            Self::Nanoseconds | Self::Unknown => 1,
            Self::Microseconds => 1_000,
            Self::Milliseconds => 1_000_000,
            Self::Seconds => 1_000_000_000,
        }
    }
}
