#!/usr/bin/env bash
# ic-python-db 0.12.0 with ic-python-logging 0.3.4 (PyPI), check_upgrade_compatibility
#
# Expected: called in post_upgrade, it refuses an upgrade that changes the type of a field without a migration, so that
#   no data is damaged (the package's README, Upgrade compatibility enforcement).
# Actual: any method migrate() satisfies the check, even one that an earlier upgrade has left in the class. If
#   __version__ was not raised as well, migrate() is never called: the check passes and stores the new schema, but
#   records still have a value of the old type in a field of the new one. The next check sees no change. A class without
#   migrate() is refused.
# Affected: the second migration of a class: code that reads the field fails later, record by record. Compare the
#   versions in the list of changes: without VERSION_CHANGED for the class nothing is migrated.
. "$(dirname "$0")/lib/common.sh"
. "$lib/ic-python-db.sh"

cat > probe.py <<'EOF'
from ic_python_db import Database, Entity, Integer, String
from ic_python_db.storage import MemoryStorage

data = MemoryStorage()  # as a stable map, which outlives a module

def install(when, define):
    Database._instance = None  # a new module has none
    db = Database.init(db_storage=data)
    File = define()
    try:
        print(f'{when}: {db.check_upgrade_compatibility()}')
    except Exception as error:
        print(f'{when}: {type(error).__name__}')
    return File

def first():
    class File(Entity):
        size = Integer()
    return File

def second():
    class File(Entity):
        __version__ = 2
        size = Integer()

        @classmethod
        def migrate(cls, obj, from_version, to_version):
            return {**obj, 'size': obj['size'] * 1000} if from_version == 1 else obj
    return File

def third():
    class File(Entity):
        __version__ = 2  # should be 3
        size = String()

        @classmethod
        def migrate(cls, obj, from_version, to_version):
            return {**obj, 'size': f"{obj['size']} bytes"}
    return File

def without():
    class File(Entity):
        __version__ = 2
        size = String()
    return File

install('version 1', first)(size=5)
print('  size of the file:', repr(install('version 2', second).load('1').size))
install('text without migrate()', without)
print('  size of the file:', repr(install('text with the old version', third).load('1').size))
install('checked again', third)
EOF
python_db_probe
expect_seen <<'EOF'
version 1: []
version 2: [SchemaChange(File: version_changed, safe=True)]
  size of the file: 5000
text without migrate(): SchemaIncompatibleError
text with the old version: [SchemaChange(File.size: type_changed, safe=False)]
  size of the file: 5000
checked again: []
EOF
