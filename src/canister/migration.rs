//! Runs the engine: as much as fits into `post_upgrade`, the rest by timer.

pub use crate::migrate::controls;

use super::{App, Duration, MessageMeter, now, with_app};
use crate::migrate::{self, Progress};
use crate::upload::limits::MESSAGE_INSTRUCTIONS;

/// Instructions that the migration may use in `post_upgrade`: two thirds of the 300 billion of an
/// installation, so that one more record can never exceed them.
const UPGRADE_INSTRUCTIONS: u64 = 200_000_000_000;

pub fn start() {
    run(UPGRADE_INSTRUCTIONS);
}

pub fn go_on() {
    run(MESSAGE_INSTRUCTIONS);
}

fn run(budget: u64) {
    let progress = with_app(|App { storage, .. }| migrate::run(storage, now(), &MessageMeter, budget));
    match progress {
        Ok(Progress::Done) => {}
        Ok(Progress::More) => {
            ic_cdk_timers::set_timer(Duration::ZERO, async { go_on() });
        }
        Err(error) => ic_cdk::api::debug_print(format!("migration: {error}")),
    }
}
