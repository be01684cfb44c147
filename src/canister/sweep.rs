//! The sweep, run by a timer: ends expired sessions and downloads, drops expired receipts, and removes released chunks
//! and the memories of deleted capsules.

use ic_stable_migrate::cdk::timers::Chain;

use super::app::{App, MessageMeter, now, report, uploads, with_app};
use crate::{downloads, memories};

thread_local! {
    static SWEEPS: Chain = const { Chain::new() };
}

/// Runs the first slice of the sweep, and ends expired downloads.
pub fn sweep() {
    sweep_slice();
    if let Err(error) = with_app(|App { storage, .. }| downloads::sweep(storage, now())) {
        report("sweep", error);
    }
}

/// Runs one slice of the sweep, of everything but downloads. If more may be left, another slice follows immediately.
fn sweep_slice() {
    let sessions = uploads(|uploads| uploads.sweep());
    let memories = with_app(|App { storage, .. }| memories::sweep(storage, &MessageMeter));
    // After an error in a memory the sweep continues with the memories after it.
    if sessions == Ok(false) || memories != Ok(true) {
        SWEEPS.with(|sweeps| sweeps.run_next(sweep_slice));
    }
    for error in [sessions, memories].into_iter().filter_map(Result::err) {
        report("sweep", error);
    }
}

/// Skips a removal of chunks whose message trapped.
pub fn watch_removals() {
    let watched = with_app(|App { storage, .. }| {
        storage.blobs.watch_removals();
        Ok(())
    });
    if let Err(error) = watched {
        report("sweep", error);
    }
}
