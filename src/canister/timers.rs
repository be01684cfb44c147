//! The canister's timers: jobs that are due once a minute, and chains of messages that continue immediately. Every
//! update and every job checks whether a job is overdue; `ic_stable_migrate::cdk::timers` explains how a timer gets
//! lost.

use std::cell::Cell;
use std::time::Duration;

use ic_stable_migrate::cdk::timers::{self, Chain, EVERY};

use super::app::report;
use super::{access_keys, migration, sweep};

/// Writes the type tables of the entry points.
pub type WriteHeaders = fn() -> Result<(), candid::Error>;

/// Jobs that run once a minute, each in a separate message, so that one that traps does not affect the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Ends idle sessions and removes what is left of ended ones.
    Sweep,
    /// Checks that the migration makes progress.
    Watch,
}

thread_local! {
    static SWEEP: timers::Job = const { timers::Job::new() };
    static WATCH: timers::Job = const { timers::Job::new() };
    static HEADERS: Chain = const { Chain::new() };
    /// The function that is still to write the type tables; `None` once they are written.
    static WRITE_HEADERS: Cell<Option<WriteHeaders>> = const { Cell::new(None) };
}

impl Job {
    /// All jobs.
    pub const ALL: [Self; 2] = [Self::Sweep, Self::Watch];

    /// Returns its name in `/metrics`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sweep => "sweep",
            Self::Watch => "watch",
        }
    }

    fn with<T>(self, f: impl FnOnce(&timers::Job) -> T) -> T {
        match self {
            Self::Sweep => SWEEP.with(f),
            Self::Watch => WATCH.with(f),
        }
    }

    /// Returns when the job last began to run, nanoseconds; before its first run, when its timer was set.
    pub fn ran_at(self) -> u64 {
        self.with(timers::Job::ran_at)
    }

    fn is_overdue(self, now: u64) -> bool {
        self.with(|job| job.is_overdue(now))
    }

    /// Sets the timer of the job, replacing the existing one.
    fn set(self, now: u64) {
        self.with(|job| job.set(move || self.run(), now));
    }

    fn run(self) {
        self.with(|job| job.begin(ic_cdk::api::time()));
        restart_overdue();
        match self {
            Self::Sweep => sweep::sweep(),
            Self::Watch => watch(),
        }
    }
}

/// Sets all timers after an installation or an upgrade, when the heap is new.
pub fn start(write: WriteHeaders) {
    WRITE_HEADERS.set(Some(write));
    // In a message of its own, after that of the installation.
    HEADERS.with(|headers| headers.run_after(EVERY, write_headers));
    let now = ic_cdk::api::time();
    for job in Job::ALL {
        job.set(now);
    }
}

/// Sets overdue timers again. Called at the beginning of every update.
pub fn restart_overdue() {
    let now = ic_cdk::api::time();
    if Job::ALL.iter().any(|job| job.is_overdue(now)) {
        restart(now);
    }
}

#[cold]
fn restart(now: u64) {
    for job in Job::ALL {
        if job.is_overdue(now) {
            job.set(now);
            ic_cdk_timers::set_timer(Duration::ZERO, async move { job.run() });
            // The same text each time, so that it takes one slot of the stored errors.
            report("timers", format!("{} was overdue, and was restarted", job.name()));
        }
    }
    timers::wake(now);
}

fn watch() {
    if WRITE_HEADERS.get().is_some() {
        HEADERS.with(|headers| headers.run_next(write_headers));
    }
    sweep::watch_removals();
    migration::watch();
    access_keys::watch();
}

/// Writes the type tables. If the message traps, the next run of [`watch`] tries again.
fn write_headers() {
    if let Some(Err(error)) = WRITE_HEADERS.take().map(|write| write()) {
        report("type tables", error);
    }
}
