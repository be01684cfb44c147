#!/usr/bin/env bash
# ic-python-db 0.12.0 with ic-python-logging 0.3.4 (PyPI), Database.dump_json
#
# Expected: dump_json returns all database data, organized by type (its documentation). An id may be any text: the
#   parameter _id takes a custom one, and such an entity is stored, counted and loaded.
# Actual: a key is TYPE@ID and is split at every @. An entity whose id has an @ is left out, without an error, as are
#   aliases with an @: the dump of three users may contain only one.
# Affected: exports and moves to another canister by dump_json: users whose id is a mail address, files whose id is a
#   package with its version, are not in it. Use raw_dump_json, and compare the number of entities with count().
. "$(dirname "$0")/lib/common.sh"
. "$lib/ic-python-db.sh"

cat > probe.py <<'EOF'
import json
from ic_python_db import Database, Entity, String

db = Database.init()
class User(Entity):
    name = String()
class Package(Entity):
    __alias__ = 'name'
    name = String()
User(_id='ann', name='Ann')
User(_id='bob@example.org', name='Bob')
User(_id='eve@example.org', name='Eve')
Package(name='tool@1.2.0')
Package(name='tool')
print('users:', User.count(), [User.load(id).name for id in ('ann', 'bob@example.org', 'eve@example.org')])
dump = json.loads(db.dump_json())
print('users in the dump:', list(dump['User']))
print('aliases in the dump:', dump['Package_name_alias'], 'found by alias:', Package['tool@1.2.0'].name)
print('users in the raw dump:', [key for key in json.loads(db.raw_dump_json()) if key.startswith('User@')])
EOF
python_db_probe
expect_seen <<'EOF'
users: 3 ['Ann', 'Bob', 'Eve']
users in the dump: ['ann']
aliases in the dump: {'tool': '2'} found by alias: tool@1.2.0
users in the raw dump: ['User@ann', 'User@bob@example.org', 'User@eve@example.org']
EOF
