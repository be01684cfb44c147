//! Dry run: counts, classifies and prices the units of a migration, page by page, without writing.

use crate::api::{ClassForecast, DryRun, Result};
use crate::migrations;
use crate::storage::Storage;

use super::unit::count;
use super::{Classified, Message, Migration};

/// Most units on a page.
const LARGEST_PAGE: u32 = 10_000;

/// Examples of each class on a page.
const EXAMPLES: usize = 3;

/// Returns a page of at most `limit` units of the current migration above `after`.
pub fn dry_run(
    storage: &Storage,
    message: Message<'_>,
    after: Option<u64>,
    limit: Option<u32>,
) -> Result<DryRun> {
    let number = storage.migration.current();
    let Some(migration) = migrations::ALL.iter().find(|migration| migration.plan().number == number) else {
        return Ok(DryRun::default());
    };
    dry_run_of(*migration, storage, message, after, limit)
}

/// Returns a page of a migration.
pub fn dry_run_of(
    migration: &dyn Migration,
    storage: &Storage,
    message: Message<'_>,
    after: Option<u64>,
    limit: Option<u32>,
) -> Result<DryRun> {
    let plan = migration.plan();
    let limit = limit.unwrap_or(LARGEST_PAGE).min(LARGEST_PAGE);
    let begun_with = message.meter.used();
    let mut page = DryRun {
        migration: plan.number,
        name: plan.name.into(),
        waits_for: migration.waits_for(storage)?,
        ..DryRun::default()
    };
    let keys = migration.sources(storage, after, usize::try_from(limit).unwrap_or(usize::MAX))?;
    let listed = keys.len();
    let (mut seen, mut writing): (u64, u64) = (0, 0);
    for key in keys {
        if message.meter.used() > message.budget {
            break;
        }
        page.next = Some(key);
        count(&mut seen);
        // A unit that stays in place while quarantined is not converted.
        if storage.migration.quarantine.contains(plan.number, key) {
            continue;
        }
        if !migration.counts_ahead() && !migration.is_source(storage, key)? {
            continue;
        }
        migration.weigh(storage, key)?;
        let classified = migration.classify(storage, key, message.now)?;
        writing = writing.saturating_add(migration.price(storage, key)?);
        add(migration, &mut page, key, classified);
        count(&mut page.units);
    }
    let all = seen == listed as u64 && listed < usize::try_from(limit).unwrap_or(usize::MAX);
    if all {
        page.next = None;
    }
    page.instructions = message.meter.used().saturating_sub(begun_with);
    // Every unit is digested once, and checked once more when it is written.
    page.estimated_instructions = page.instructions.saturating_add(writing);
    page.estimated_messages = page.estimated_instructions.div_ceil(message.budget.max(1));
    Ok(page)
}

fn add(migration: &dyn Migration, page: &mut DryRun, key: u64, classified: Classified) {
    let Classified { class, reason } = classified;
    let Some(class) = migration.plan().classes.get(class) else {
        return;
    };
    let place = page.classes.iter().position(|forecast| forecast.class == class.name);
    let place = place.unwrap_or_else(|| {
        page.classes.push(ClassForecast {
            class: class.name.into(),
            treatment: class.treatment.name().into(),
            count: 0,
            examples: Vec::new(),
            reason: String::new(),
        });
        page.classes.len().saturating_sub(1)
    });
    let Some(forecast) = page.classes.get_mut(place) else {
        return;
    };
    count(&mut forecast.count);
    if forecast.examples.len() < EXAMPLES {
        forecast.examples.push(key);
    }
    if forecast.reason.is_empty() {
        forecast.reason = reason.unwrap_or_default();
    }
}
