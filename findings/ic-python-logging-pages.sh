#!/usr/bin/env bash
# ic-python-logging 0.3.4 (PyPI), the log of a canister in Python
#
# Expected: get_logs(from_entry, max_entries), and the query get_canister_logs on it, start from an entry and return at
#   most the given number, "oldest first by default" (its documentation): a loop that asks again from the last number
#   plus one reads everything.
# Actual: of the entries from that one on, the newest are returned instead of the first. The documented loop skips all
#   but the last page. The answers show no gap, since the entries in each of them are in order.
# Affected: monitoring that reads the log of a canister in pages (which it must, since a reply is limited to 2 MiB)
#   loses entries that are written faster than it asks, such as the first error of a series. Compare the first number
#   with the one asked for, and ask again with a smaller distance.
. "$(dirname "$0")/lib/common.sh"

python_packages env ic-python-logging==0.3.4
cat > probe.py <<'PY'
import contextlib
import os

with contextlib.redirect_stdout(open(os.devnull, 'w')):
    from ic_python_logging import get_logger, get_logs
    logger = get_logger('upload')
    for number in range(1, 11):
        logger.info(f'line {number}')

print('all:', [entry['id'] for entry in get_logs()])
seen, start = [], 1
while page := get_logs(from_entry=start, max_entries=4):
    seen += [entry['id'] for entry in page]
    start = page[-1]['id'] + 1
print('in pages of 4:', seen)
PY
env/bin/python probe.py > seen
expect_seen <<'EXPECTED'
all: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
in pages of 4: [7, 8, 9, 10]
EXPECTED
