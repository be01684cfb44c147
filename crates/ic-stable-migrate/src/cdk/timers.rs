//! Detects lost timers, and sets them again.
//!
//! `ic-cdk-timers` keeps on the heap the deadline that it has passed to the IC, and passes a new deadline only if that
//! is earlier than the one on the heap. If the heap has a deadline that the IC does not have, no timer runs until the
//! next upgrade:
//!
//! - If the message `canister_global_timer` traps, the IC has dropped the deadline, but the heap still has it.
//! - If a snapshot is loaded into another canister, the heap is restored, but no deadline is set.
//!
//! (A canister that is frozen when a timer is due keeps its deadline.) Furthermore, `ic-cdk-timers` runs an interval by
//! calling the canister itself, and stops the interval after five calls without a reply. Therefore a [`Job`] records
//! when it last ran. Every update should check whether a job is overdue; if so, it should set the job again, and call
//! [`wake`].

use std::cell::Cell;
use std::time::Duration;

#[cfg(not(test))]
use ic_cdk::api::global_timer_set;
#[cfg(not(test))]
use ic_cdk_timers::{TimerId, clear_timer, set_timer, set_timer_interval};

#[cfg(test)]
use crate::tests::ic::{TimerId, clear_timer, global_timer_set, set_timer, set_timer_interval};

/// Interval of a [`Job`].
///
/// ```
/// use ic_stable_migrate::cdk::timers::EVERY;
///
/// assert_eq!(EVERY.as_secs(), 60);
/// ```
pub const EVERY: Duration = Duration::from_secs(60);

/// A job is overdue if it has not run for this long, nanoseconds: five intervals, since on a busy subnet it may be late
/// by one or two.
const OVERDUE_NANOS: u64 = 5 * 60 * 1_000_000_000;

/// A job that runs once a minute, in a message of its own.
///
/// ```
/// use ic_cdk::api::time;
/// use ic_stable_migrate::cdk::timers::{Job, wake};
///
/// thread_local!(static SWEEP: Job = const { Job::new() });
///
/// /// In `init`, and at the end of `post_upgrade`.
/// fn set() {
///     SWEEP.with(|job| job.set(sweep, time()));
/// }
///
/// fn sweep() {
///     SWEEP.with(|job| job.begin(time()));
///     // Remove what has expired.
/// }
///
/// /// In every update.
/// fn ensure() {
///     if SWEEP.with(|job| job.is_overdue(time())) {
///         set();
///         wake(time());
///     }
/// }
///
/// SWEEP.with(|job| {
///     let now = 1_800_000_000_000_000_000;
///     job.begin(now);
///     assert_eq!(job.ran_at(), now);
///     assert!(!job.is_overdue(now + 60_000_000_000) && job.is_overdue(now + 300_000_000_000));
/// });
/// ```
#[derive(Default)]
pub struct Job {
    /// The job's timer; `None` before it is first set.
    interval: Cell<Option<TimerId>>,
    /// See [`Job::ran_at()`].
    ran_at: Cell<u64>,
}

impl Job {
    /// Creates a job that is not set.
    #[must_use]
    pub const fn new() -> Self {
        Self { interval: Cell::new(None), ran_at: Cell::new(0) }
    }

    /// Sets the job's timer, replacing an earlier one. The job is overdue five intervals after `now` if it does not
    /// run.
    pub fn set(&self, run: impl Fn() + Copy + 'static, now: u64) {
        let interval = set_timer_interval(EVERY, move || async move { run() });
        replace_timer(&self.interval, interval);
        self.ran_at.set(now);
    }

    /// Records that the job runs now; called at the beginning of each run.
    pub fn begin(&self, now: u64) {
        self.ran_at.set(now);
    }

    /// Returns the time at which the job last began to run or was last set, nanoseconds; 0 if it was never set.
    #[must_use]
    pub fn ran_at(&self) -> u64 {
        self.ran_at.get()
    }

    /// Returns whether the job is overdue, as is one that was never set. An overdue job must be set again, and [`wake`]
    /// must be called.
    #[must_use]
    pub fn is_overdue(&self, now: u64) -> bool {
        is_overdue(self.ran_at(), now)
    }
}

/// A `ran_at` in the future counts as overdue, since the difference wraps: then the heap comes from a snapshot of a
/// canister whose clock was ahead.
const fn is_overdue(ran_at: u64, now: u64) -> bool {
    now.wrapping_sub(ran_at) >= OVERDUE_NANOS
}

/// Makes the IC run the timers of `ic-cdk-timers` as soon as possible, even if the library itself would pass no
/// deadline to the IC because its heap already has an earlier one. The library then runs all timers that are due, and
/// passes the next deadline.
///
/// ```
/// use ic_stable_migrate::cdk::timers::wake;
///
/// /// After loading a snapshot: the timers that the heap believes to be set do not run by themselves.
/// fn repair() {
///     wake(ic_cdk::api::time());
/// }
/// ```
pub fn wake(now: u64) {
    global_timer_set(now);
}

/// A chain of messages, each scheduled by the one before. Work that is scheduled while a message is pending replaces
/// that message, so that there is never a second chain.
///
/// ```
/// use std::time::Duration;
///
/// use ic_stable_migrate::cdk::timers::Chain;
///
/// thread_local!(static UPLOADS: Chain = const { Chain::new() });
///
/// fn send_next() {
///     let is_more = false; // Send some, and check whether there are more.
///     if is_more {
///         UPLOADS.with(|chain| chain.run_next(send_next));
///     }
/// }
///
/// /// An update that finds more to send in the meantime calls `run_next`, which replaces this message.
/// fn retry_later() {
///     UPLOADS.with(|chain| chain.run_after(Duration::from_secs(10), send_next));
/// }
///
/// send_next();
/// ```
#[derive(Default)]
pub struct Chain {
    /// The timer that was set last; it may have run already.
    next: Cell<Option<TimerId>>,
}

impl Chain {
    /// Creates an empty chain.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: Cell::new(None) }
    }

    /// Runs `work` in the next message, replacing any work that was scheduled.
    pub fn run_next(&self, work: impl FnOnce() + 'static) {
        self.run_after(Duration::ZERO, work);
    }

    /// Runs `work` after a delay, replacing any work that was scheduled.
    pub fn run_after(&self, delay: Duration, work: impl FnOnce() + 'static) {
        replace_timer(&self.next, set_timer(delay, async move { work() }));
    }
}

/// Stores `by` in `timer`, and clears the timer that it replaces.
fn replace_timer(timer: &Cell<Option<TimerId>>, by: TimerId) {
    if let Some(earlier) = timer.replace(Some(by)) {
        clear_timer(earlier);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_overdue_after_five_intervals_or_by_another_clock() {
        let ran_at = 1_700_000_000_000_000_000;
        let after = |seconds: u64| is_overdue(ran_at, ran_at + seconds * 1_000_000_000);
        assert_eq!([0, 60, 299, 300, 50 * 3_600].map(after), [false, false, false, true, true]);
        assert!(is_overdue(ran_at, ran_at - 1), "a job that ran in the future is overdue");
    }
}
