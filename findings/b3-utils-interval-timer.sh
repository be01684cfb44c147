#!/usr/bin/env bash
# b3_utils 0.13.1 (crates.io), the stable timers of a canister
#
# Expected: a timer can have an interval: DefaultTaskTimer has set_timer_interval, and pop_timer returns a timer with an
#   interval and stores it again for the next time (source of b3_utils::memory::timer: "If it's an interval timer,
#   reschedule it").
# Actual: a timer is stored with 16 bytes for the interval, of which only 8 are given, so that every timer with an
#   interval panics when it is stored. One without an interval has 16 zeros and works.
# Affected: canisters with recurring tasks: the call that sets one up always traps. Store timers without an interval,
#   and set the next one after each run.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use b3_utils::memory::{init_stable_mem, timer::{DefaultTaskTimer, TaskTimerEntry}};
use b3_utils::NanoTimeStamp;
use std::panic::{catch_unwind, AssertUnwindSafe};

fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut timers: DefaultTaskTimer<u64> = init_stable_mem("timers", 1).unwrap();
    for (task, interval) in [(1, None), (2, Some(NanoTimeStamp(1))), (3, Some(NanoTimeStamp(NanoTimeStamp::NS_PER_DAY))), (4, None)] {
        let timer = TaskTimerEntry { time: NanoTimeStamp(NanoTimeStamp::NS_PER_DAY), task, interval };
        match catch_unwind(AssertUnwindSafe(|| timers.push_timer(&timer).unwrap())) {
            Ok(()) => println!("task {task}, interval {:?}: stored", timer.interval),
            Err(e) => println!("task {task}, interval {:?}: {}", timer.interval, e.downcast::<String>().unwrap()),
        }
    }
    println!("stored tasks: {:?}", timers.get_timers().iter().map(|timer| timer.task).collect::<Vec<_>>());
}
EOF
rust_program > seen <<'EOF'
b3_utils = "=0.13.1"
candid = "=0.10.12"
EOF
expect_seen <<'EOF'
task 1, interval None: stored
task 2, interval Some(NanoTimeStamp(1)): copy_from_slice: source slice length (8) does not match destination slice length (16)
task 3, interval Some(NanoTimeStamp(86400000000000)): copy_from_slice: source slice length (8) does not match destination slice length (16)
task 4, interval None: stored
stored tasks: [1, 4]
EOF
