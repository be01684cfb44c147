#!/usr/bin/env bash
# pyre-icp 1.3.0 (PyPI), pyre.tasks: upgrades and rollbacks
#
# Expected: work that was scheduled survives upgrades, and is executed at least once (documentation of the module:
#   "upgrade-safe, persistent", "at-least-once"); `completed` is the state of a task that has run.
# Actual: a task of `after` whose time comes while the canister is stopped for an upgrade is `completed`, with run_count
#   0; only catch_up="run_once" helps, and "skip" is the default. A task that one version does not have is `orphaned`;
#   when a later version, or a rollback, brings it back, it stays `orphaned`, without a timer: in a canister, such tasks
#   are examined only when the canister starts, and the mark is not removed.
# Affected: expiry, payments and reminders that were due during an upgrade, and all recurring work after a rollback over
#   two versions: the list shows the task as completed or orphaned, and no error is logged. Call `resume`.
. "$(dirname "$0")/lib/common.sh"

python_packages env pyre-icp==1.3.0
cat > version.py <<'EOF'
"""A version of a canister: has the tasks named in the arguments, starts at the hour given, runs what is due until then plus one."""
import json, os, sys
from pyre import _platform, kv, tasks


class StableMap(dict):
    """The map in stable memory, which outlives the process."""
    insert = dict.__setitem__


hour, names = int(sys.argv[1]), sys.argv[2:]
state = StableMap(json.load(open('state')) if os.path.exists('state') else {})
state.remove = lambda key: state.pop(key, None)
kv.bind_backend(state)
tasks.in_canister = lambda: True
timers, clock = [], [hour * 3_600 * 10**9]
_platform.now_ns = lambda: clock[0]
_platform.set_timer = lambda delay, callback: timers.append((clock[0] + delay, callback)) or len(timers)
_platform.clear_timer = lambda handle: timers.clear()
definitions = {'remind': lambda: tasks.after(seconds=2 * 3_600, name='remind'), 'sweep': lambda: tasks.every(seconds=3_600, name='sweep')}
for name in names:
    definitions[name]()(lambda: None)
tasks.restore()
while timers and timers[0][0] <= (hour + 1) * 3_600 * 10**9:
    at, callback = timers.pop(0)
    clock[0] = at
    for _ in callback():
        pass
shown = ', '.join('%(name)s %(state)s, run %(run_count)d times' % task for task in tasks.list())
print('hour %d, version with %s: %s; %d timer' % (hour, ' and '.join(names), shown, len(timers)))
json.dump(state, open('state', 'w'))
EOF
{
  # The canister is stopped at hour 1, and started again at hour 4.
  env/bin/python version.py 0 remind sweep
  env/bin/python version.py 4 remind sweep
  # A version without the task, and back to the one before.
  env/bin/python version.py 5 remind
  env/bin/python version.py 6 remind sweep
  env/bin/python version.py 8 remind sweep
} > log 2> errors
grep '^hour' log > seen
expect_seen <<'EOF'
hour 0, version with remind and sweep: remind scheduled, run 0 times, sweep scheduled, run 1 times; 1 timer
hour 4, version with remind and sweep: remind completed, run 0 times, sweep scheduled, run 2 times; 1 timer
hour 5, version with remind: remind completed, run 0 times, sweep orphaned, run 2 times; 0 timer
hour 6, version with remind and sweep: remind completed, run 0 times, sweep orphaned, run 2 times; 0 timer
hour 8, version with remind and sweep: remind completed, run 0 times, sweep orphaned, run 2 times; 0 timer
EOF
