//! The canister's timers: jobs that are due once a minute, and chains of messages that continue immediately.
//!
//! `ic-cdk-timers` keeps the deadline that it has passed to the IC on the heap, and sets another one only if
//! that is earlier. If the two disagree, no timer runs until the next upgrade. This happens if the message
//! `canister_global_timer` traps or the canister is frozen when it is due: the IC has dropped the deadline,
//! but the heap still has it. It also happens if a snapshot is loaded into another canister: that restores
//! the heap but sets no deadline. Furthermore, an interval is not run again after five of its calls got no
//! answer. Therefore each job records when it last ran, and every update and every job checks whether one is
//! overdue: if so, its interval is set again, and the deadline is passed to the IC directly, without the
//! library.

use std::cell::Cell;
use std::time::Duration;

use ic_cdk_timers::TimerId;

/// Interval of the sweep (idle sessions, old receipts, released chunks) and of the migration's watchdog.
const EVERY: Duration = Duration::from_secs(60);

/// Time after which a job that did not run is overdue, nanoseconds: five intervals, since on a busy subnet a
/// job may be late by one or two.
const OVERDUE_NANOS: u64 = 5 * 60 * 1_000_000_000;

/// Jobs that run once a minute, each in a separate message, so that one that traps does not affect the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Ends idle sessions and removes what is left of ended ones.
    Sweep,
    /// Checks that the migration makes progress.
    Watch,
}

/// When a job ran and when it is due.
struct Schedule {
    interval: Cell<Option<TimerId>>,
    /// When it last completed or was set, nanoseconds.
    ran_at: Cell<u64>,
}

impl Schedule {
    const fn new() -> Self {
        Self { interval: Cell::new(None), ran_at: Cell::new(0) }
    }
}

thread_local! {
    static SWEEP: Schedule = const { Schedule::new() };
    static WATCH: Schedule = const { Schedule::new() };
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

    fn with<T>(self, f: impl FnOnce(&Schedule) -> T) -> T {
        match self {
            Self::Sweep => SWEEP.with(f),
            Self::Watch => WATCH.with(f),
        }
    }

    /// Returns when it last completed, nanoseconds; before its first run, when it was set.
    pub fn ran_at(self) -> u64 {
        self.with(|schedule| schedule.ran_at.get())
    }

    /// Sets its interval, replacing the existing one.
    fn set(self, now: u64) {
        self.with(|schedule| {
            let interval = ic_cdk_timers::set_timer_interval(EVERY, move || async move { self.run() });
            if let Some(earlier) = schedule.interval.replace(Some(interval)) {
                ic_cdk_timers::clear_timer(earlier);
            }
            schedule.ran_at.set(now);
        });
    }

    fn run(self) {
        self.with(|schedule| schedule.ran_at.set(ic_cdk::api::time()));
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
    if Job::ALL.iter().any(|job| is_overdue(job.ran_at(), now)) {
        restart(now);
    }
}

#[cold]
fn restart(now: u64) {
    for job in Job::ALL {
        let ran_at = job.ran_at();
        if is_overdue(ran_at, now) {
            job.set(now);
            ic_cdk_timers::set_timer(Duration::ZERO, async move { job.run() });
            let late = now.saturating_sub(ran_at).div_euclid(1_000_000_000);
            super::report("timers", format!("{} did not run for {late} s, and was restarted", job.name()));
        }
    }
    // The library believes that an earlier deadline is set, and does not set one. It then runs whatever is
    // due, and sets the deadline of the next timer.
    ic_cdk::api::global_timer_set(now);
}

/// Returns whether a job that last ran at `ran_at` is overdue. This is also the case if a loaded heap comes
/// from a canister whose clock was ahead.
const fn is_overdue(ran_at: u64, now: u64) -> bool {
    now.wrapping_sub(ran_at) >= OVERDUE_NANOS
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

/// A chain of messages, one at a time: a caller that finds more work while it is running does not start a
/// second chain.
pub struct Chain {
    next: Cell<Option<TimerId>>,
}

impl Chain {
    /// Creates an empty chain.
    pub const fn new() -> Self {
        Self { next: Cell::new(None) }
    }

    /// Runs `work` in the next message, replacing any work that was scheduled.
    pub fn run_next(&self, work: impl FnOnce() + 'static) {
        self.run_after(Duration::ZERO, work);
    }

    fn run_after(&self, delay: Duration, work: impl FnOnce() + 'static) {
        let next = ic_cdk_timers::set_timer(delay, async move { work() });
        if let Some(earlier) = self.next.replace(Some(next)) {
            ic_cdk_timers::clear_timer(earlier);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_overdue_after_five_turns_or_by_another_clock() {
        let ran_at = 1_700_000_000_000_000_000;
        let after = |seconds: u64| is_overdue(ran_at, ran_at + seconds * 1_000_000_000);
        assert_eq!([0, 60, 299, 300, 50 * 3_600].map(after), [false, false, false, true, true]);
        assert!(is_overdue(ran_at, ran_at - 1), "it ran in the future of this canister");
    }
}
