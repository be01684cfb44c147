//! What a migration declares before it does anything: its layouts, and the treatment of every class of unit.

use crate::{Digest, Layout, digest_of};

/// Number of the migration whose state and quarantine may have their own memories.
pub(crate) const FIRST_MIGRATION: u16 = 1;

/// The declaration of a migration. The journal entries of a migration that has begun contain the digest of its plan,
/// which differs between builds that treat a class differently.
///
/// **What is frozen.** Number, name and layouts never change once a release has them, and classes are only added. The
/// *source* types are a frozen copy in the migration's module. The *target* types are the types of the layout
/// [`Plan::to`], and are frozen with it: a canister may skip any number of releases before it runs this migration, and
/// the next migration of the chain reads what this one writes. While the migration is the last one, its target types
/// are the live types. The release that changes them adds a new layout, a migration to it, and a copy of the old types
/// for this migration. Check this with a test that converts a known record, and compares the resulting bytes with those
/// that the first release wrote.
///
/// ```
/// use ic_stable_migrate::{ClassPlan, Layout, Plan, Treatment};
///
/// static PLAN: Plan = Plan {
///     number: 1,
///     name: "cents to millionths",
///     from: Layout(1),
///     to: Layout(2),
///     classes: &[ClassPlan { name: "balance", treatment: Treatment::Convert, what: "every balance" }],
///     fields: &[("balance", "millionths: ten thousand times as many")],
/// };
///
/// // A plan that treats a class differently has another digest, which the journal records.
/// let changed = Plan {
///     classes: &[ClassPlan { name: "balance", treatment: Treatment::Release, what: "every balance" }],
///     ..PLAN
/// };
/// assert_ne!(PLAN.digest(), changed.digest());
/// ```
#[derive(Debug)]
pub struct Plan {
    /// Number of the migration; migrations apply in order of their numbers. Stored, never reused.
    pub number: u16,
    /// Name of the migration.
    pub name: &'static str,
    /// Layout that the migration starts from.
    pub from: Layout,
    /// Layout to which the migration leads. The layout changes just before the first conversion.
    pub to: Layout,
    /// Every class of unit that the migration knows.
    pub classes: &'static [ClassPlan],
    /// Every field of the source record, with the field of the target record that it becomes.
    pub fields: &'static [(&'static str, &'static str)],
}

/// A class of unit, and its treatment.
///
/// ```
/// use ic_stable_migrate::{ClassPlan, Treatment};
///
/// /// The first class that is quarantined also gets the units whose conversion trapped.
/// const CLASSES: &[ClassPlan] = &[
///     ClassPlan { name: "session", treatment: Treatment::Convert, what: "it decodes" },
///     ClassPlan { name: "expired", treatment: Treatment::Release, what: "its last call was more than a day ago" },
///     ClassPlan { name: "damaged", treatment: Treatment::Quarantine, what: "it does not decode" },
/// ];
/// assert_eq!(CLASSES.iter().filter(|class| class.treatment == Treatment::Quarantine).count(), 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassPlan {
    /// Name of the class.
    pub name: &'static str,
    /// Treatment of a unit of this class.
    pub treatment: Treatment,
    /// What makes a unit a member of this class.
    pub what: &'static str,
}

/// Treatment of a unit.
///
/// ```
/// use ic_stable_migrate::Treatment;
///
/// let names = [Treatment::Convert, Treatment::Release, Treatment::Quarantine].map(Treatment::name);
/// assert_eq!(names, ["convert", "release", "quarantine"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// The unit is converted.
    Convert,
    /// The unit has expired, and what it holds is released.
    Release,
    /// The unit is quarantined unchanged, with the reason.
    Quarantine,
}

impl Treatment {
    /// Returns the treatment as one word, as used in documents and in the interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Convert => "convert",
            Self::Release => "release",
            Self::Quarantine => "quarantine",
        }
    }
}

impl Plan {
    /// Returns the SHA-256 of the declaration, except for the descriptions ([`ClassPlan::what`]).
    #[must_use]
    pub fn digest(&self) -> Digest {
        let Self { number, name, from, to, classes, fields } = self;
        let mut lines = vec![format!("{number} {name} {} {}", from.0, to.0)];
        lines.extend(classes.iter().map(|class| format!("class {} {}", class.name, class.treatment.name())));
        lines.extend(fields.iter().map(|(field, place)| format!("field {field} {place}")));
        digest_of(lines.join("\n").as_bytes())
    }
}
