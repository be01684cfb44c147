#!/usr/bin/env bash
# ic-basilisk-toolkit 0.5.4 (PyPI), ic_basilisk_toolkit.date_utils: days before 1970
#
# Expected: dates are of the form YYYY-MM-DD, a day is 86,400 seconds, and add_days takes negative numbers
#   (documentation of the module, which stands in for datetime in canisters); nothing limits it to days after 1969.
# Actual: the years before 1970 are not counted at all: 1950-05-01 and 1969-05-01 are the same second as 1970-05-01. One
#   day before 1970-01-01 is 1970-01-00. No error; weekdays and differences are wrong accordingly.
# Affected: dates of birth, of photographs and letters: ages, sorting and anniversaries are wrong for half of a family,
#   while every test with a date of this century passes.
. "$(dirname "$0")/lib/common.sh"

python_packages env ic-basilisk-toolkit==0.5.4
cat > probe.py <<'EOF'
import datetime
from ic_basilisk_toolkit.date_utils import add_days, date_str_to_epoch, day_of_week, diff_days

epoch, born = datetime.date(1970, 1, 1), '1950-05-01'
for day in ['2000-02-29', '1970-01-01', '1969-05-01', born]:
    date = datetime.date.fromisoformat(day)
    print('%s: %d seconds, Python %d; weekday %d, Python %d' % (day, date_str_to_epoch(day), (date - epoch).days * 86400, day_of_week(day), date.weekday()))
print('1970-01-01 - 1 day: %s' % add_days('1970-01-01', -1))
print('2000-05-01 - %s: %d days, Python %d' % (born, diff_days('2000-05-01', born), (datetime.date(2000, 5, 1) - datetime.date.fromisoformat(born)).days))
EOF
env/bin/python probe.py | grep -v '^Note: ' > seen
expect_seen <<'EOF'
2000-02-29: 951782400 seconds, Python 951782400; weekday 1, Python 1
1970-01-01: 0 seconds, Python 0; weekday 3, Python 3
1969-05-01: 10368000 seconds, Python -21168000; weekday 4, Python 3
1950-05-01: 10368000 seconds, Python -620784000; weekday 4, Python 0
1970-01-01 - 1 day: 1970-01-00
2000-05-01 - 1950-05-01: 10958 days, Python 18263
EOF
