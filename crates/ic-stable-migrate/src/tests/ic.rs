//! The IC as a [`Driver`](crate::cdk::Driver) needs it: a clock, timers, and a caller who is a controller. In unit
//! tests, `cdk` uses these functions instead of those of the CDK, which work only in a canister.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use candid::Principal;

use super::NOW;

thread_local! {
    static CLOCK: Cell<u64> = const { Cell::new(NOW.as_nanos()) };
    static INSTRUCTIONS: Cell<u64> = const { Cell::new(0) };
    static LAST_ID: Cell<u64> = const { Cell::new(0) };
    static TIMERS: RefCell<Vec<Timer>> = const { RefCell::new(Vec::new()) };
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TimerId(u64);

struct Timer {
    id: TimerId,
    /// When the timer is due, nanoseconds.
    at: u64,
    /// Nanoseconds until it is due again; `None` if it runs once.
    interval: Option<u64>,
    start: Box<dyn FnMut() -> Pin<Box<dyn Future<Output = ()>>>>,
}

fn add_timer(
    delay: Duration,
    repeats: bool,
    start: impl FnMut() -> Pin<Box<dyn Future<Output = ()>>> + 'static,
) -> TimerId {
    LAST_ID.set(LAST_ID.get() + 1);
    let (id, delay) = (TimerId(LAST_ID.get()), u64::try_from(delay.as_nanos()).unwrap());
    let timer = Timer { id, at: time() + delay, interval: repeats.then_some(delay), start: Box::new(start) };
    TIMERS.with_borrow_mut(|timers| timers.push(timer));
    id
}

pub fn set_timer(delay: Duration, future: impl Future<Output = ()> + 'static) -> TimerId {
    let mut future = Some(future);
    add_timer(delay, false, move || Box::pin(future.take().expect("a timer that runs once")))
}

pub fn set_timer_interval<F: Future<Output = ()> + 'static>(
    interval: Duration,
    mut run: impl FnMut() -> F + 'static,
) -> TimerId {
    add_timer(interval, true, move || Box::pin(run()))
}

pub fn clear_timer(id: TimerId) {
    TIMERS.with_borrow_mut(|timers| timers.retain(|timer| timer.id != id));
}

/// Does nothing: the timers of this simulation are never lost.
pub fn global_timer_set(_: u64) {}

/// Removes all timers, as an upgrade does.
pub fn drop_timers() {
    TIMERS.set(Vec::new());
}

/// Lets time pass, and runs each timer that becomes due in a `message` of its own.
pub fn pass(time_passed: Duration, message: impl Fn(&mut dyn FnMut())) {
    let end = time() + u64::try_from(time_passed.as_nanos()).unwrap();
    while let Some(mut timer) = take_first_due(end) {
        CLOCK.set(timer.at.max(time()));
        INSTRUCTIONS.set(0);
        let future = RefCell::new((timer.start)());
        if let Some(interval) = timer.interval {
            timer.at += interval;
            TIMERS.with_borrow_mut(|timers| timers.push(timer));
        }
        message(&mut || {
            let polled = future.borrow_mut().as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_ready(), "a timer of the engine awaits nothing");
        });
    }
    CLOCK.set(end);
}

/// Removes the timer that is due first, if it is due at `end`; of several, the one that was set first.
fn take_first_due(end: u64) -> Option<Timer> {
    TIMERS.with_borrow_mut(|timers| {
        let first = (0..timers.len()).min_by_key(|index| (timers[*index].at, timers[*index].id.0))?;
        (timers[first].at <= end).then(|| timers.remove(first))
    })
}

pub fn time() -> u64 {
    CLOCK.get()
}

/// Each reading costs 1 instruction, and nothing else costs any.
pub fn performance_counter(_: u32) -> u64 {
    INSTRUCTIONS.set(INSTRUCTIONS.get() + 1);
    INSTRUCTIONS.get()
}

pub fn msg_caller() -> Principal {
    Principal::anonymous()
}

pub fn is_controller(_: &Principal) -> bool {
    true
}

pub fn debug_print(text: String) {
    println!("{text}");
}

pub fn trap(text: String) -> ! {
    panic!("{text}")
}
