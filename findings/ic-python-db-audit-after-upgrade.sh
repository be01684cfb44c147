#!/usr/bin/env bash
# ic-python-db 0.12.0 with ic-python-logging 0.3.4 (PyPI), the database of Python canisters (Basilisk, formerly Kybra),
#   audit log
#
# Expected: with a stable map as its storage, data persists automatically across upgrades; the audit log keeps all
#   changes, and its storage is given like that of the data, by the argument db_audit (the package's README and
#   Database.init).
# Actual: each Database.init sets the first and the next number of the log to 0, even if the log has entries. After an
#   upgrade, whose new module calls init again, get_audit is empty, and each change overwrites an old entry. The data
#   and its counters are kept.
# Affected: Python canisters that must show who changed what: every upgrade begins a new history on top of the old one.
#   Restore the value of "_max_id" after init.
. "$(dirname "$0")/lib/common.sh"
. "$lib/ic-python-db.sh"

cat > probe.py <<'EOF'
from ic_python_db import Database, Entity, Integer
from ic_python_db.storage import MemoryStorage

data, audit = MemoryStorage(), MemoryStorage()  # as stable maps, which outlive a module

def install():
    Database._instance = None  # a new module has none
    return Database.init(audit_enabled=True, db_storage=data, db_audit=audit)

def show(when, db):
    log = db.get_audit().values()
    print(f'{when}: {File.count()} files, {len(log)} entries of the log about', sorted({key for _, _, key, _ in log if key.startswith('File@')}))

db = install()
class File(Entity):
    size = Integer()
for size in (10, 20, 30):
    File(size=size)
show('before the upgrade', db)
kept = audit.get('_max_id')
db = install()
show('after it', db)
File(size=40)
show('after one more file', db)
audit.insert('_max_id', kept)
show('with the old number put back', db)
EOF
python_db_probe
expect_seen <<'EOF'
before the upgrade: 3 files, 9 entries of the log about ['File@1', 'File@2', 'File@3']
after it: 3 files, 0 entries of the log about []
after one more file: 4 files, 3 entries of the log about ['File@4']
with the old number put back: 4 files, 9 entries of the log about ['File@2', 'File@3', 'File@4']
EOF
