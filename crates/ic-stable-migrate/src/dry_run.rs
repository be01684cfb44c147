//! Dry run: counts and classifies the units of a migration and estimates its cost, page by page, without writing.

use crate::api::{ClassForecast, DryRun};
use crate::run::blocking_predecessor;
use crate::unit::increment;
use crate::{Classified, Host, MessageBudget, Migration};

/// Maximum number of units on a page, whatever the caller's limit is.
const LARGEST_PAGE: u32 = 10_000;

/// Maximum number of example keys per class on a page.
const EXAMPLES: usize = 3;

/// Returns a page of the dry run of a migration. Examines the source keys above `after`, at least one, until `limit`,
/// [`LARGEST_PAGE`] or the message's budget is reached. Keys in quarantine and keys without a unit are examined, but not
/// counted in `units`.
pub(crate) fn page<H: Host>(
    migration: &dyn Migration<H>,
    host: &H,
    message: MessageBudget<'_>,
    after: Option<H::Key>,
    limit: Option<u32>,
) -> Result<DryRun<H::Key>, H::Error> {
    let plan = migration.plan();
    let limit = limit.unwrap_or(LARGEST_PAGE).clamp(1, LARGEST_PAGE);
    let used_before = message.meter.used();
    let mut page = DryRun {
        migration: plan.number,
        name: plan.name.into(),
        waits_for: match blocking_predecessor(migration, host)? {
            Some(why) => Some(why),
            None => migration.waits_for(host)?,
        },
        ..DryRun::default()
    };
    let keys = migration.sources(host, after, usize::try_from(limit).unwrap_or(usize::MAX))?;
    let listed_count = keys.len();
    let (mut seen, mut cost_beyond_digests): (u64, u64) = (0, 0);
    for key in keys {
        if seen > 0 && message.meter.used() > message.budget {
            break;
        }
        // The next page begins after this key.
        page.next = Some(key.clone());
        increment(&mut seen);
        // `sources` may list units that are in quarantine; the migration skips them.
        if host.ledger().quarantine.contains(plan.number, &key) {
            continue;
        }
        // Digests the unit as the migration would, for the cost; there is no digest if the unit no longer exists.
        if migration.digest(host, key.clone())?.is_none() {
            continue;
        }
        let classified = migration.classify(host, key.clone(), message.now)?;
        cost_beyond_digests =
            cost_beyond_digests.saturating_add(migration.cost_beyond_digest(host, key.clone())?);
        add_unit(migration, &mut page, key, classified);
        increment(&mut page.units);
    }
    let is_last_page =
        seen == listed_count as u64 && listed_count < usize::try_from(limit).unwrap_or(usize::MAX);
    if is_last_page {
        page.next = None;
    }
    page.instructions = message.meter.used().saturating_sub(used_before);
    // Listing and digesting these units costs the migration what it cost this page.
    page.estimated_instructions = page.instructions.saturating_add(cost_beyond_digests);
    page.estimated_messages = page.estimated_instructions.div_ceil(message.budget.max(1));
    Ok(page)
}

/// Counts a unit in the forecast of its class. A forecast keeps the first keys as examples, and the first reason.
fn add_unit<H: Host>(
    migration: &dyn Migration<H>,
    page: &mut DryRun<H::Key>,
    key: H::Key,
    classified: Classified,
) {
    let Classified { class, reason } = classified;
    let Some(class) = migration.plan().classes.get(class) else {
        return;
    };
    let index = page.classes.iter().position(|forecast| forecast.class == class.name);
    let index = index.unwrap_or_else(|| {
        page.classes.push(ClassForecast {
            class: class.name.into(),
            treatment: class.treatment.name().into(),
            count: 0,
            examples: Vec::new(),
            reason: String::new(),
        });
        page.classes.len().saturating_sub(1)
    });
    let Some(forecast) = page.classes.get_mut(index) else {
        return;
    };
    increment(&mut forecast.count);
    if forecast.examples.len() < EXAMPLES {
        forecast.examples.push(key);
    }
    if forecast.reason.is_empty() {
        forecast.reason = reason.unwrap_or_default();
    }
}
