#!/usr/bin/env bash
# ic-python-db 0.12.0 with ic-python-logging 0.3.4 (PyPI), migrate() and indexed fields
#
# Expected: the index of a field declared with indexed=True is maintained automatically on create, update and delete;
#   migrate() is the place for data transformations, and its result is persisted (the package's README, Indexed Fields
#   and Schema Versioning).
# Actual: the changes of migrate() are stored, but the index stays as it was: find_by and count_by find nothing under
#   the new value, and under the old value they find records that no longer have it. A later update of another field
#   does not fix the index, and deleting the record leaves its id under the old value. rebuild_field_index adds the new
#   value and keeps the old one.
# Affected: lists after an upgrade that renames a status or changes the case of names. Instead of changing the field in
#   migrate(), set it after loading, first to another value and then to the new one.
. "$(dirname "$0")/lib/common.sh"
. "$lib/ic-python-db.sh"

cat > probe.py <<'EOF'
from ic_python_db import Database, Entity, Integer, String
from ic_python_db.storage import MemoryStorage

data = MemoryStorage()  # as a stable map, which outlives a module

def install():
    Database._instance = None  # a new module has none
    Database.init(db_storage=data)

def show(when):
    print(f"{when}: open {File.count_by('state', 'open')}, receiving {File.count_by('state', 'receiving')}, found",
          [(file._id, file.state) for state in ('open', 'receiving') for file in File.find_by('state', state)[0]])

install()
class File(Entity):
    state = String(indexed=True)
    size = Integer()
for size in (10, 20):
    File(state='open', size=size)
show('version 1')

install()
class File(Entity):
    __version__ = 2
    state = String(indexed=True)
    size = Integer()

    @classmethod
    def migrate(cls, obj, from_version, to_version):
        return {**obj, 'state': 'receiving'}

files = File.load_some(1, 10)
print('loaded by version 2:', [(file._id, file.state) for file in files])
show('version 2')
files[0].size = 11
show('after an update of the size')
File.rebuild_field_index('state')
show('after rebuild_field_index')
files[1].delete()
show('after the second was deleted')
EOF
python_db_probe
expect_seen <<'EOF'
version 1: open 2, receiving 0, found [('1', 'open'), ('2', 'open')]
loaded by version 2: [('1', 'receiving'), ('2', 'receiving')]
version 2: open 2, receiving 0, found [('1', 'receiving'), ('2', 'receiving')]
after an update of the size: open 2, receiving 0, found [('1', 'receiving'), ('2', 'receiving')]
after rebuild_field_index: open 2, receiving 2, found [('1', 'receiving'), ('2', 'receiving'), ('1', 'receiving'), ('2', 'receiving')]
after the second was deleted: open 2, receiving 1, found [('1', 'receiving'), ('1', 'receiving')]
EOF
