//! Runs the engine: a little in `post_upgrade`, the rest by timer, and looks once a minute whether it goes on.

use std::cell::Cell;

use ic_cdk_timers::TimerId;

pub use crate::migrate::controls;

use super::{App, Duration, MessageMeter, now, with_app};
use crate::api::{DryRun, Error, Result};
use crate::build_profile::SERVES_LAYOUT_1;
use crate::migrate::{self, Message, Progress, Watched};

/// Instructions that the migration uses in `post_upgrade`: enough for a small canister, and so little of the 300
/// billion of an installation that no number of sessions can make an upgrade fail.
const UPGRADE_INSTRUCTIONS: u64 = 50_000_000;

/// Instructions after which a message of the migration ends. With one more unit it stays under the 2 billion of
/// a query, so that it holds up no client.
const MESSAGE_INSTRUCTIONS: u64 = 1_500_000_000;

thread_local! {
    /// Messages that the engine had used a minute ago.
    static SEEN: Cell<Option<u64>> = const { Cell::new(None) };

    /// The timer of the next message of the engine, if there is to be one.
    static NEXT: Cell<Option<TimerId>> = const { Cell::new(None) };
}

pub fn start() {
    let forward = |app: &mut App| controls::go_forward(&mut app.storage, now(), SERVES_LAYOUT_1);
    if let Err(error) = with_app(forward) {
        report(&error);
    }
    run(UPGRADE_INSTRUCTIONS);
}

pub fn dry_run(after: Option<u64>, limit: Option<u32>) -> Result<DryRun> {
    let message = Message { now: now(), meter: &MessageMeter, budget: MESSAGE_INSTRUCTIONS };
    with_app(|App { storage, .. }| migrate::dry_run(storage, message, after, limit))
}

pub fn go_on() {
    run(MESSAGE_INSTRUCTIONS);
}

/// Makes sure that a migration that has work goes on.
pub fn watch() {
    let mut seen = SEEN.get();
    let watched = with_app(|App { storage, .. }| migrate::watch(storage, now(), &mut seen));
    SEEN.set(seen);
    match watched {
        Ok(Watched::Quiet) => {}
        Ok(Watched::Run) => arm(),
        Err(error) => report(&error),
    }
}

fn run(budget: u64) {
    match slice(budget) {
        Ok(Progress::Done) => {}
        Ok(Progress::More) => arm(),
        Err(error) => report(&error),
    }
}

fn slice(budget: u64) -> Result<Progress> {
    with_app(|App { storage, .. }| migrate::run(storage, now(), &MessageMeter, budget))
}

/// Sets the timer of the next message, in place of one that was set before: calls of controllers run the engine as well, and
/// each would begin a chain of messages of its own.
fn arm() {
    if let Some(earlier) = NEXT.take() {
        ic_cdk_timers::clear_timer(earlier);
    }
    NEXT.set(Some(ic_cdk_timers::set_timer(Duration::ZERO, async { go_on() })));
}

fn report(error: &Error) {
    ic_cdk::api::debug_print(format!("migration: {error}"));
}
