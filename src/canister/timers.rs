//! The canister's timers: jobs that are due once a minute, and chains of messages that continue immediately.
//! Every update and every job checks whether one is overdue; `ic_stable_migrate::cdk::timers` says how a timer gets
//! lost.

use std::cell::Cell;
use std::time::Duration;

pub use ic_stable_migrate::cdk::timers::Chain;
use ic_stable_migrate::cdk::timers::{self, EVERY};

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
    static HEADERS_ARE_WRITTEN: Cell<bool> = const { Cell::new(false) };
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

    /// Returns when it last began to run, nanoseconds; before its first run, when it was set.
    pub fn ran_at(self) -> u64 {
        self.with(timers::Job::ran_at)
    }

    fn is_overdue(self, now: u64) -> bool {
        self.with(|job| job.is_overdue(now))
    }

    /// Sets its interval, replacing the existing one.
    fn set(self, now: u64) {
        self.with(|job| job.set(move || self.run(), now));
    }

    fn run(self) {
        self.with(|job| job.begin(ic_cdk::api::time()));
        restart_overdue();
        match self {
            Self::Sweep => super::sweep(),
            Self::Watch => watch(),
        }
    }
}

/// Sets all timers of a canister whose heap is new.
pub fn start() {
    // In a separate message, not in that of the installation.
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
            let ran_at = job.ran_at();
            job.set(now);
            ic_cdk_timers::set_timer(Duration::ZERO, async move { job.run() });
            let late = now.saturating_sub(ran_at).div_euclid(1_000_000_000);
            super::report("timers", format!("{} did not run for {late} s, and was restarted", job.name()));
        }
    }
    timers::wake(now);
}

fn watch() {
    if !HEADERS_ARE_WRITTEN.get() {
        HEADERS.with(|headers| headers.run_next(write_headers));
    }
    super::watch_removals();
    super::migration::watch();
    super::access_keys::watch();
}

/// If the message traps, the next run writes them.
fn write_headers() {
    if let Err(error) = super::write_headers() {
        super::report("type tables", error);
    }
    HEADERS_ARE_WRITTEN.set(true);
}
