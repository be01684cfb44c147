//! The sweep, run by a timer: ends expired sessions and downloads, drops expired receipts, and removes released chunks
//! and the memories of deleted capsules.

use ic_stable_migrate::cdk::timers::Chain;

use super::app::{App, MessageMeter, now, report, with_app, with_uploads};
use crate::{downloads, memories};

thread_local! {
    /// Further slices of a sweep that did not fit one message.
    static SWEEPS: Chain = const { Chain::new() };
}

/// Runs once a minute: begins a sweep, and sweeps all downloads.
pub fn sweep() {
    sweep_slice();
    if let Err(error) = with_app(|App { storage, .. }| downloads::sweep(storage, now())) {
        report("sweep", error);
    }
}

/// Sweeps everything but downloads, as far as one message allows. If more may be left, another slice follows.
fn sweep_slice() {
    let sessions = with_uploads(|uploads| uploads.sweep());
    let memories = with_app(|App { storage, .. }| memories::sweep(storage, &MessageMeter));
    // After an error in a memory the sweep continues with the memories after it.
    if sessions == Ok(false) || memories != Ok(true) {
        SWEEPS.with(|sweeps| sweeps.run_next(sweep_slice));
    }
    for error in [sessions, memories].into_iter().filter_map(Result::err) {
        report("sweep", error);
    }
}

/// If the message of a removal of chunks has trapped, makes the sweep skip that removal.
pub fn watch_removals() {
    let watched = with_app(|App { storage, .. }| {
        storage.blobs.watch_removals();
        Ok(())
    });
    if let Err(error) = watched {
        report("sweep", error);
    }
}
