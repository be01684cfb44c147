//! The sweep, in messages of the timer.

use ic_stable_migrate::cdk::timers::Chain;

use super::app::{App, MessageMeter, now, report, uploads, with_app};
use crate::{downloads, memories};

thread_local! {
    static SWEEPS: Chain = const { Chain::new() };
}

/// Ends what has expired, and starts to remove what is left of it.
pub fn sweep() {
    sweep_some();
    if let Err(error) = with_app(|App { storage, .. }| downloads::sweep(storage, now())) {
        report("sweep", error);
    }
}

/// Runs one slice of the sweep; continues immediately as long as there is more to do.
fn sweep_some() {
    let sessions = uploads(|uploads| uploads.sweep());
    let memories = with_app(|App { storage, .. }| memories::sweep(storage, &MessageMeter));
    // A memory that cannot be removed is skipped, and there may be others after it.
    if sessions == Ok(false) || memories != Ok(true) {
        SWEEPS.with(|sweeps| sweeps.run_next(sweep_some));
    }
    for error in [sessions, memories].into_iter().filter_map(Result::err) {
        report("sweep", error);
    }
}

/// Skips a removal that made the sweep's message trap.
pub fn watch_removals() {
    let watched = with_app(|App { storage, .. }| {
        storage.blobs.watch_removals();
        Ok(())
    });
    if let Err(error) = watched {
        report("sweep", error);
    }
}
