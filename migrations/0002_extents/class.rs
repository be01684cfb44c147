//! The classes of units, and the treatment of each.
//!
//! The names are stored, like those of migration 1, so the class of units whose conversion traps is still named "cut
//! off".

use crate::migrate::{ClassPlan, Treatment};

/// A class of units of migration 2; `Class` of migration 1 is another type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Session,
    Blob,
    DamagedSession,
    DamagedBlob,
    TrappedAlone,
}

/// Name and treatment of every class, in the order of `Class`.
pub const CLASSES: &[ClassPlan] = &[
    ClassPlan { name: "session", treatment: Treatment::Convert, what: "a session in flight" },
    ClassPlan { name: "blob", treatment: Treatment::Convert, what: "a committed blob" },
    ClassPlan {
        name: "damaged session",
        treatment: Treatment::Quarantine,
        what: "a session of which a chunk has arrived that is not stored, or is stored with another length",
    },
    ClassPlan {
        name: "damaged blob",
        treatment: Treatment::Quarantine,
        what: "a committed blob of which a chunk is missing or too short",
    },
    ClassPlan {
        name: "cut off",
        treatment: Treatment::Quarantine,
        what: "a unit whose conversion trapped, although the message did nothing else",
    },
];

impl Class {
    pub const fn index(self) -> usize {
        self as usize
    }
}

const _: () = assert!(CLASSES.len() == Class::TrappedAlone.index() + 1, "every class is declared");
