#!/usr/bin/env bash
# ic-basilisk-toolkit 0.5.4 with ic-basilisk 0.16.1 and ic-python-db 0.12.0 (PyPI): TaskManager
#
# Expected: TaskManager.run starts every pending task whose schedule is due, and a new task is pending (documentation of
#   the module; `status` of Task has the default "pending").
# Actual: the manager compares the status, a text, with the members of an Enum, which are not texts, so that no task is
#   ever pending; the field refuses such a member with a TypeError. No timer is set and no error is logged: "No pending
#   tasks to execute". After an upgrade, the same comparison keeps the manager from setting the timers again.
# Affected: anyone who relies on recurring work in a Python canister: expiry, backups and payments never happen, and the
#   log looks like that of a canister with nothing to do.
. "$(dirname "$0")/lib/common.sh"

python_packages env ic-basilisk-toolkit==0.5.4 ic-basilisk==0.16.1 ic-python-db==0.12.0
cat > probe.py <<'EOF'
from ic_basilisk_toolkit import task_manager
from ic_basilisk_toolkit.entities import Call, Codex, Task, TaskSchedule, TaskStep
from ic_basilisk_toolkit.status import TaskStatus


class Network:
    """The clock and the timers that a canister has."""
    timers = []

    @staticmethod
    def time():
        return 1_700_000_000 * 10**9

    @classmethod
    def set_timer(cls, delay, callback):
        cls.timers.append(callback)
        return len(cls.timers)


task_manager.ic = Network
seen = open('seen', 'w')
task = Task(name='backup')
TaskStep(task=task, call=Call(is_async=False, codex=Codex(name='code', code='pass')), run_next_after=0)
TaskSchedule(name='daily', task=task, repeat_every=86_400)
task_manager.TaskManager().run()
print('a task of status %r: %d timers' % (task.status, len(Network.timers)), file=seen)
print("'pending' == TaskStatus.PENDING: %s" % ('pending' == TaskStatus.PENDING), file=seen)
try:
    task.status = TaskStatus.PENDING
except TypeError as error:
    print('set to TaskStatus.PENDING: TypeError, %s' % error, file=seen)


# The same manager with texts instead of the members of the Enum, to show that the comparison is the cause.
class Texts:
    PENDING, RUNNING, COMPLETED, FAILED = (status.value for status in TaskStatus)


task_manager.TaskStatus = Texts
task_manager.TaskManager().run()
print('if texts were compared: status %r, %d timer' % (task.status, len(Network.timers)), file=seen)
EOF
env/bin/python probe.py > log 2>&1
expect_seen <<'EOF'
a task of status 'pending': 0 timers
'pending' == TaskStatus.PENDING: False
set to TaskStatus.PENDING: TypeError, status must be of type str
if texts were compared: status 'running', 1 timer
EOF
