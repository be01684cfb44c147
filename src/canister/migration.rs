//! Runs the migration engine: a little in `post_upgrade`, the rest in messages of timers, with a watchdog once a minute.

use std::cell::Cell;

pub use crate::migrate::controls;

use ic_stable_migrate::cdk::timers::{self, Chain};

use super::app::{App, MessageMeter, now, report, with_app};
use crate::api::{DryRun, Result};
use crate::build_profile::SERVES_LAYOUT_1;
use crate::migrate::{self, MessageBudget, RunOutcome, Watched};

/// Instructions for the migration in `post_upgrade`: enough for a small canister, and so few compared with the 300
/// billion of an upgrade that no number of sessions can make one fail.
const UPGRADE_INSTRUCTIONS: u64 = 50_000_000;

/// Instructions after which a message of the migration ends, even if units are left: few enough not to delay clients,
/// and for a dry run to stay below the 5 billion of a query.
const MESSAGE_INSTRUCTIONS: u64 = 1_500_000_000;

thread_local! {
    /// For `Engine::watch`: how many messages the first migration with work left had used when [`watch`] last ran.
    static SEEN_MESSAGES: Cell<Option<u64>> = const { Cell::new(None) };

    /// See [`stepped_at`].
    static STEPPED_AT: Cell<Option<u64>> = const { Cell::new(None) };

    /// Timer messages of the engine, each of which schedules the next. Calls by controllers schedule one, too, and must
    /// not start a second chain.
    static MESSAGES: Chain = const { Chain::new() };
}

/// Must be called in `post_upgrade`. Abandons a rollback or deferral if this build cannot serve layout 1, and runs the
/// engine for the first time.
pub fn start() {
    let go_forward = |app: &mut App| controls::go_forward(&mut app.storage, now(), SERVES_LAYOUT_1);
    if let Err(error) = with_app(go_forward) {
        report("migration", error);
    }
    run(UPGRADE_INSTRUCTIONS);
}

pub fn dry_run(after: Option<u64>, limit: Option<u32>) -> Result<DryRun> {
    let message = MessageBudget { now: now().into(), meter: &MessageMeter, budget: MESSAGE_INSTRUCTIONS };
    with_app(|App { storage, .. }| migrate::dry_run(storage, message, after, limit))
}

/// Runs the engine in a message of its own: if a record traps, the call that changed the state of the migration is kept,
/// and [`watch`] can isolate the record.
pub fn run_next_message() {
    schedule();
    // The message must also run if the timers were lost less than five minutes ago.
    timers::wake(now().as_nanos());
}

/// Ensures that a migration with work left makes progress.
pub fn watch() {
    let mut seen = SEEN_MESSAGES.get();
    let watched = with_app(|App { storage, .. }| migrate::ENGINE.watch(storage, now(), &mut seen));
    SEEN_MESSAGES.set(seen);
    match watched {
        Ok(Watched::Quiet) => {}
        Ok(Watched::Run) => schedule(),
        Err(error) => report("migration", error),
    }
}

fn run(budget: u64) {
    match run_engine(budget) {
        Ok(RunOutcome::Done) => {}
        Ok(RunOutcome::More) => schedule(),
        Err(error) => report("migration", error),
    }
}

/// Returns when the engine was last called, nanoseconds; `None` if it was not called since the canister was installed
/// or last upgraded.
pub fn stepped_at() -> Option<u64> {
    STEPPED_AT.get()
}

fn run_engine(budget: u64) -> Result<RunOutcome> {
    STEPPED_AT.set(Some(now().as_nanos()));
    with_app(|App { storage, .. }| migrate::run(storage, now(), &MessageMeter, budget))
}

/// Runs the engine in the next message, once, however often this is called before.
fn schedule() {
    MESSAGES.with(|messages| messages.run_next(|| run(MESSAGE_INSTRUCTIONS)));
}
