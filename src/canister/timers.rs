//! The canister's timers: two jobs that are due once a minute, and one message that caches Candid headers. Every update
//! and every job checks whether a job is overdue; `ic_stable_migrate::cdk::timers` explains how a timer gets lost.

use std::cell::Cell;
use std::time::Duration;

use ic_stable_migrate::cdk::timers::{self, Chain, EVERY};

use super::app::report;
use super::{access_keys, migration, sweep};

pub type CacheCandidHeaders = fn() -> Result<(), candid::Error>;

/// A job that runs once a minute, in a separate message, so that a trap in one job does not affect the other. Its timer
/// is a [`timers::Job`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    Sweep,
    /// Handles messages of timers that trapped, keeps the migration running, and renews the keys of access tokens.
    Watch,
}

thread_local! {
    static SWEEP: timers::Job = const { timers::Job::new() };
    static WATCH: timers::Job = const { timers::Job::new() };
    static CANDID_HEADERS: Chain = const { Chain::new() };
    /// The function that caches the Candid headers; `None` once a message has called it without a trap.
    static CACHE_CANDID_HEADERS: Cell<Option<CacheCandidHeaders>> = const { Cell::new(None) };
}

impl Job {
    pub const ALL: [Self; 2] = [Self::Sweep, Self::Watch];

    /// Returns the name of the job in `/metrics`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sweep => "sweep",
            Self::Watch => "watch",
        }
    }

    /// Calls `f` with the timer of this job.
    fn with_timer<T>(self, f: impl FnOnce(&timers::Job) -> T) -> T {
        match self {
            Self::Sweep => SWEEP.with(f),
            Self::Watch => WATCH.with(f),
        }
    }

    /// Returns when the job last began to run or its timer was set, whichever is later, nanoseconds.
    pub fn ran_at(self) -> u64 {
        self.with_timer(timers::Job::ran_at)
    }

    fn is_overdue(self, now: u64) -> bool {
        self.with_timer(|job| job.is_overdue(now))
    }

    fn set(self, now: u64) {
        self.with_timer(|job| job.set(move || self.run(), now));
    }

    fn run(self) {
        self.with_timer(|job| job.begin(ic_cdk::api::time()));
        restart_overdue();
        match self {
            Self::Sweep => sweep::sweep(),
            Self::Watch => watch(),
        }
    }
}

/// Sets all timers after an installation or an upgrade, when the heap is new.
pub fn start(cache: CacheCandidHeaders) {
    CACHE_CANDID_HEADERS.set(Some(cache));
    // In a later message, so that neither its cost nor a trap affects the installation or upgrade.
    CANDID_HEADERS.with(|headers| headers.run_after(EVERY, cache_candid_headers));
    let now = ic_cdk::api::time();
    for job in Job::ALL {
        job.set(now);
    }
}

/// Runs overdue jobs in a message of their own, and sets their timers again. Must be called at the beginning of every
/// update and every job.
pub fn restart_overdue() {
    let now = ic_cdk::api::time();
    if Job::ALL.iter().any(|job| job.is_overdue(now)) {
        restart_jobs(now);
    }
}

/// Does what [`restart_overdue`] promises, out of line, since it is rarely needed.
#[cold]
fn restart_jobs(now: u64) {
    for job in Job::ALL {
        if job.is_overdue(now) {
            job.set(now);
            ic_cdk_timers::set_timer(Duration::ZERO, async move { job.run() });
            // The same text each time, so that all reports about a job take one slot of the stored errors.
            report("timers", format!("{} was overdue, and was restarted", job.name()));
        }
    }
    timers::wake(now);
}

/// Runs [`Job::Watch`].
fn watch() {
    if CACHE_CANDID_HEADERS.get().is_some() {
        CANDID_HEADERS.with(|headers| headers.run_next(cache_candid_headers));
    }
    sweep::watch_removals();
    migration::watch();
    access_keys::watch();
}

/// Caches the Candid headers. If the message traps, the next run of [`watch`] starts it again; after an error it is not
/// repeated.
fn cache_candid_headers() {
    if let Some(Err(error)) = CACHE_CANDID_HEADERS.take().map(|cache| cache()) {
        report("candid headers", error);
    }
}
