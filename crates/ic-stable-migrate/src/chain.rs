//! Checks whether a list of migrations is a chain (each starts where the one before it ends), and fits the layout and
//! the migration states in stable memory. The `Chain` of `cdk::timers` is something else: a chain of messages.

use crate::{Error, Host, Layout, Migration, Plan};

/// Checks that the numbers are consecutive, that the layouts ascend, and that each migration starts from the layout to
/// which the previous one leads.
pub(crate) fn check<H: Host>(migrations: &[&dyn Migration<H>]) -> Result<(), Error> {
    // Layouts are compared by number, to determine whether stable memory is before or after a migration.
    for plan in migrations.iter().map(|migration| migration.plan()) {
        if plan.from >= plan.to {
            return Err(Error::BackwardLayout { number: plan.number, from: plan.from, to: plan.to });
        }
    }
    for (one, next) in migrations.iter().zip(migrations.iter().skip(1)) {
        let (one, next) = (one.plan(), next.plan());
        if one.number == next.number {
            return Err(Error::DuplicateNumber { number: one.number, first: one.name, second: next.name });
        }
        if one.number.checked_add(1) != Some(next.number) {
            return Err(Error::Gap { previous: one.number, found: next.number });
        }
        if one.to != next.from {
            return Err(Error::BrokenChain { number: next.number, from: next.from, previous: one.to });
        }
    }
    Ok(())
}

/// Checks that the chain contains the host's layout (an empty chain fits any layout), every unfinished migration, and
/// the one for which its first migration would wait; and that the plan of each unfinished migration has every class
/// under which units were counted, except [`UNKNOWN`].
pub(crate) fn check_host<H: Host>(migrations: &[&dyn Migration<H>], host: &H) -> Result<(), Error> {
    let plans = || migrations.iter().map(|migration| migration.plan());
    let layouts: Vec<Layout> =
        plans().take(1).map(|plan| plan.from).chain(plans().map(|plan| plan.to)).collect();
    let found = host.layout()?;
    if let (Some(first), Some(last)) = (layouts.first(), layouts.last())
        && !layouts.contains(&found)
    {
        return Err(Error::UnknownLayout { found, first: *first, last: *last });
    }
    for (number, state) in host.ledger().unfinished()? {
        let Some(plan) = plans().find(|plan| plan.number == number) else {
            return Err(Error::MissingMigration { number, phase: state.phase });
        };
        let is_known = |name: &str| name == UNKNOWN || plan.classes.iter().any(|class| class.name == name);
        if let Some((class, _)) = state.classes.into_iter().find(|(name, _)| !is_known(name)) {
            return Err(Error::PlanShrunk { number, class });
        }
    }
    // In any other layout, the first migration has begun or has nothing to convert.
    if let Some(number) = plans().next().filter(|first| first.from == found).and_then(previous_number)
        && let state = host.ledger().state_of(number)?
        && state.blocks_next()
    {
        return Err(Error::MissingMigration { number, phase: state.phase });
    }
    Ok(())
}

/// Returns the number of the migration before the one with this plan; `None` for the first.
pub(crate) fn previous_number(plan: &Plan) -> Option<u16> {
    plan.number.checked_sub(1).filter(|previous| *previous > 0)
}

/// Name under which units are counted if their class is not in the plan.
pub(crate) const UNKNOWN: &str = "unknown";
