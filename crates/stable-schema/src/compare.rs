//! Compares two schemas: their layouts and migrations first, then each memory.

use std::fmt;

use serde::Serialize;

use crate::rules::Rules;
use crate::{Compatibility, Memory, Migration, Reason, Rule, Schema, Structure, Way};

/// The error for the schemas of two different canisters, which cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("one schema is of the canister `{old}`, the other of `{new}`")]
pub struct SchemaMismatch {
    /// The canister of the old schema.
    pub old: String,
    /// The canister of the new schema.
    pub new: String,
}

/// The verdict on one memory, or on the layouts.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Id of the memory; `None` for the layouts.
    pub id: Option<u8>,
    /// Name of the memory, or `layouts`.
    pub name: String,
    /// The worst of the reasons.
    pub verdict: Compatibility,
    /// The reasons, the worst first.
    pub reasons: Vec<Reason>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "memory {id}, {}: {}", self.name, self.verdict),
            None => write!(f, "{}: {}", self.name, self.verdict),
        }
    }
}

/// The comparison of two builds, in both directions.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Name of the old build.
    pub old: String,
    /// Name of the new build.
    pub new: String,
    /// From the old build to the new one.
    pub upgrade: Vec<Line>,
    /// From the new build back to the old one.
    pub rollback: Vec<Line>,
}

impl Comparison {
    /// Returns the worst verdict of the upgrade.
    pub fn upgrade_verdict(&self) -> Compatibility {
        worst(self.upgrade.iter().map(|line| line.verdict))
    }

    /// Returns the worst verdict of the rollback.
    pub fn rollback_verdict(&self) -> Compatibility {
        worst(self.rollback.iter().map(|line| line.verdict))
    }
}

fn worst(verdicts: impl Iterator<Item = Compatibility>) -> Compatibility {
    verdicts.max().unwrap_or(Compatibility::Unchanged)
}

/// Compares two schemas, for the upgrade and for the rollback.
///
/// # Errors
/// [`SchemaMismatch`] if the schemas are of two different canisters.
pub fn compare(old: &Schema, new: &Schema) -> Result<Comparison, SchemaMismatch> {
    if old.canister != new.canister {
        return Err(SchemaMismatch { old: old.canister.clone(), new: new.canister.clone() });
    }
    let is_known = |number| old.migrations.iter().any(|migration| migration.number == number);
    let added: Vec<&Migration> =
        new.migrations.iter().filter(|migration| !is_known(migration.number)).collect();
    Ok(Comparison {
        old: old.build.clone(),
        new: new.build.clone(),
        upgrade: compare_memories(&Direction { from: old, to: new, added: &added, way: Way::Upgrade }),
        rollback: compare_memories(&Direction { from: new, to: old, added: &added, way: Way::Rollback }),
    })
}

/// The upgrade or the rollback.
struct Direction<'a> {
    /// The build that has written the state.
    from: &'a Schema,
    /// The build that is to be installed.
    to: &'a Schema,
    /// Migrations that only the newer build has.
    added: &'a [&'a Migration],
    way: Way,
}

fn compare_memories(direction: &Direction<'_>) -> Vec<Line> {
    let Direction { from, to, .. } = direction;
    let mut lines = vec![line(None, "layouts", compare_layouts(direction))];
    let mut ids: Vec<u8> = from.memories.iter().chain(&to.memories).map(|memory| memory.id).collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        let find = |schema: &'_ Schema| schema.memories.iter().find(|memory| memory.id == id).cloned();
        let (stored, read) = (find(from), find(to));
        let name = stored.as_ref().or(read.as_ref()).map(|memory| memory.name.clone()).unwrap_or_default();
        lines.push(line(Some(id), &name, compare_memory(direction, id, stored.as_ref(), read.as_ref())));
    }
    lines
}

/// Returns the verdict that follows from these reasons; without any, nothing has changed.
fn line(id: Option<u8>, name: &str, mut reasons: Vec<Reason>) -> Line {
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.verdict));
    Line { id, name: name.into(), verdict: worst(reasons.iter().map(|reason| reason.verdict)), reasons }
}

/// Checks that the build to be installed accepts every layout that the other build may have stored, and contains every
/// migration that may be in progress. For the upgrade, also lists the added migrations.
fn compare_layouts(direction: &Direction<'_>) -> Vec<Reason> {
    let Direction { from, to, added, way } = direction;
    let mut rules = Rules::new(*way);
    let refused: Vec<u16> =
        from.layouts.iter().copied().filter(|layout| !to.layouts.contains(layout)).collect();
    for layout in &refused {
        let migration_into = from.migrations.iter().find(|migration| migration.to == *layout);
        let leads_out =
            |migration: &&Migration| migration.from == *layout && to.layouts.contains(&migration.to);
        let migration_out = from.migrations.iter().find(leads_out);
        let text = match (migration_into, migration_out) {
            (Some(migration), _) if migration.reversible => {
                let (number, build) = (migration.number, &from.build);
                format!("layout {layout} is refused: first roll back migration {number} on the {build} build")
            }
            (_, Some(migration)) => {
                let (number, build) = (migration.number, &from.build);
                format!(
                    "layout {layout} is refused: first let migration {number} finish on the {build} build"
                )
            }
            (Some(migration), None) => {
                let (number, build) = (migration.number, &from.build);
                format!(
                    "layout {layout} is refused, and the {build} build cannot roll migration {number} back: \
                     possible only until that migration begins"
                )
            }
            (None, None) => format!("layout {layout} is refused"),
        };
        // No step helps if every layout is refused, or if no migration leads into this layout, or out of it into an
        // accepted one.
        let verdict =
            if refused.len() == from.layouts.len() || (migration_into.is_none() && migration_out.is_none()) {
                Compatibility::Forbidden
            } else {
                Compatibility::Conditional
            };
        rules.add_reason("", Rule::Layout, verdict, text);
    }
    for Migration { number, to: layout, .. } in &from.migrations {
        let is_continued = to.migrations.iter().any(|migration| migration.number == *number);
        if !is_continued && to.layouts.contains(layout) {
            let text =
                format!("the {} build cannot continue migration {number}: first finalize it", to.build);
            rules.add_reason("", Rule::Migration, Compatibility::Conditional, text);
        }
    }
    if *way == Way::Upgrade {
        for Migration { number, name, from, to, .. } in *added {
            let text =
                format!("migration {number}, {name}, takes layout {from} to layout {to} after the upgrade");
            rules.add_reason("", Rule::Migration, Compatibility::NeedsMigration(*number), text);
        }
    }
    rules.reasons
}

/// Compares the memory with this id, as the build that has written the state has it, with that of the build to be
/// installed; `None` if a build does not have it.
fn compare_memory(
    direction: &Direction<'_>,
    id: u8,
    stored: Option<&Memory>,
    read: Option<&Memory>,
) -> Vec<Reason> {
    let mut rules = Rules::new(direction.way);
    match (stored, read) {
        (Some(stored), Some(read)) => compare_contents(direction, &mut rules, stored, read),
        (Some(stored), None) => compare_unread(direction, &mut rules, stored),
        (None, Some(read)) if direction.way == Way::Upgrade => {
            let text = match read.structure {
                Structure::Reserved => "the id is reserved from now on",
                _ => "a new memory, empty at first",
            };
            rules.add_reason("", Rule::NewMemory, Compatibility::Compatible, text);
        }
        (None, Some(read)) if read.structure == Structure::Reserved => {}
        // `Conditional` is enough: the upgrade drops this memory, and is therefore forbidden already.
        (None, Some(_)) => {
            let text = "the newer build does not use this memory, so it may contain anything when the \
                older one is installed again";
            rules.add_reason("", Rule::DroppedMemory, Compatibility::Conditional, text);
        }
        (None, None) => {}
    }
    add_migrations(direction, &mut rules, id);
    rules.reasons
}

/// Compares a memory that both builds have, or have reserved.
fn compare_contents(direction: &Direction<'_>, rules: &mut Rules, stored: &Memory, read: &Memory) {
    let was_reserved = stored.structure == Structure::Reserved;
    match (was_reserved, read.structure == Structure::Reserved, direction.way) {
        // A reserved id may be renamed: it has no data.
        (true, true, _) => return,
        (true, false, Way::Upgrade) => {
            let text = format!("id {} is reserved, and must not be used; it is now {}", stored.id, read.name);
            return rules.add_reason("", Rule::ReusedId, Compatibility::Forbidden, text);
        }
        (false, true, Way::Upgrade) => {
            let text = "its id is reserved from now on; what is stored stays there, unread";
            return rules.add_reason("", Rule::RetiredMemory, Compatibility::Compatible, text);
        }
        (true, false, Way::Rollback) => {
            let text = "the newer build does not use it: its contents are those that the older build left, \
                however long ago";
            return rules.add_reason("", Rule::RetiredMemory, Compatibility::Conditional, text);
        }
        (false, true, Way::Rollback) => {
            let text = format!("the older build has reserved id {}", stored.id);
            return rules.add_reason("", Rule::ReusedId, Compatibility::Conditional, text);
        }
        (false, false, _) => {}
    }
    if stored.name != read.name {
        let text = format!(
            "id {} is {}, and is read as {}: an id is never used for anything else, so keep the name or take a new id",
            stored.id, stored.name, read.name
        );
        rules.add_reason("", Rule::ReusedId, Compatibility::Forbidden, text);
    }
    if stored.structure != read.structure {
        let text = format!("{:?} where {:?} is read", stored.structure, read.structure);
        return rules.add_reason("", Rule::ChangedStructure, Compatibility::Forbidden, text);
    }
    if let (Some(stored), Some(read)) = (&stored.key, &read.key) {
        rules.compare_plain("key", stored, read);
    }
    if let (Some(stored), Some(read)) = (&stored.value, &read.value) {
        rules.compare_value("value", stored, read);
    }
    if stored.key.is_some() != read.key.is_some() || stored.value.is_some() != read.value.is_some() {
        rules.add_reason(
            "",
            Rule::ChangedType,
            Compatibility::Forbidden,
            "one build has keys or values and the other has none",
        );
    }
}

/// Judges a memory of the build that has written the state, which the build to be installed does not have.
fn compare_unread(direction: &Direction<'_>, rules: &mut Rules, stored: &Memory) {
    match (direction.way, &stored.structure) {
        (Way::Upgrade, Structure::Reserved) => {
            let text = format!("id {} is no longer reserved, and could be used again", stored.id);
            rules.add_reason("", Rule::DroppedTombstone, Compatibility::Forbidden, text);
        }
        (Way::Upgrade, _) => {
            let text = format!("it is dropped: reserve id {}, so that the id is never used again", stored.id);
            rules.add_reason("", Rule::DroppedMemory, Compatibility::Forbidden, text);
        }
        (Way::Rollback, Structure::Reserved) => {}
        (Way::Rollback, _) if direction.to.refuses_unknown_memories => {
            let text = "the older build does not have this memory, and refuses the upgrade once it is in use";
            rules.add_reason("", Rule::NewMemory, Compatibility::Conditional, text);
        }
        (Way::Rollback, _) => {
            let text = "the older build does not have this memory, and leaves it unchanged";
            rules.add_reason("", Rule::NewMemory, Compatibility::Compatible, text);
        }
    }
}

/// Adds a reason for each migration that only the newer build has: for the upgrade, if it takes records from the
/// memory; for the rollback, also if it puts records into it. [`compare_contents`] compares the types of these records:
/// in the newer build's schema, a memory that a migration takes records from has the type as which the migration reads
/// them.
fn add_migrations(direction: &Direction<'_>, rules: &mut Rules, id: u8) {
    for Migration { number, name, reversible, takes_from, puts_into, .. } in direction.added {
        match direction.way {
            Way::Upgrade if takes_from.contains(&id) => {
                let text = format!(
                    "migration {number}, {name}, moves its records into {}",
                    format_memory_ids(puts_into)
                );
                rules.add_reason("", Rule::Migration, Compatibility::NeedsMigration(*number), text);
            }
            Way::Upgrade => {}
            Way::Rollback if takes_from.contains(&id) || puts_into.contains(&id) => {
                let text = if *reversible {
                    format!(
                        "first roll back migration {number}, {name}, on the {} build",
                        direction.from.build
                    )
                } else {
                    format!(
                        "possible only until migration {number}, {name}, begins: it cannot be rolled back"
                    )
                };
                rules.add_reason("", Rule::Migration, Compatibility::Conditional, text);
            }
            Way::Rollback => {}
        }
    }
}

fn format_memory_ids(ids: &[u8]) -> String {
    let word = if ids.len() == 1 { "memory" } else { "memories" };
    format!("{word} {}", ids.iter().map(u8::to_string).collect::<Vec<_>>().join(", "))
}
