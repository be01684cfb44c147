#!/usr/bin/env bash
# pyre-icp 1.3.0 (PyPI), pyre.data: a rollback between two versions of a collection
#
# Expected: migrate(doc, from_version) is called for records of an older version, once for each record (documentation of
#   the module: the stored version is part of the record).
# Actual: code of version 1 reads records of version 2 as they are, without an error, and the records that it writes
#   have version 1 again, whatever their shape. After the second upgrade these records, and only these, are migrated
#   again: 100 kcal become 418 kJ and then 1749. A record's own `id` and `_v` are dropped, because both names are the
#   framework's.
# Affected: every upgrade that was rolled back while people continued to work: some records are wrong, by a factor or a
#   prefix, and nothing shows which. Let migrate examine the record, or give a changed field a new name.
. "$(dirname "$0")/lib/common.sh"

python_packages env pyre-icp==1.3.0
cat > probe.py <<'EOF'
from pyre import data

old = data.collection('foods', schema={'name': str, 'energy': int})
new = data.collection('foods', schema={'name': str, 'energy': int}, version=2, migrate=lambda food, _: {**food, 'energy': round(food['energy'] * 4.184)})
ids = [old.insert({'name': name, 'energy': 100})['id'] for name in ('apple', 'bread')]
energies = lambda foods: ', '.join('%(name)s %(energy)d' % foods.get(id) for id in ids)
print('version 1: ' + energies(old))
print('upgraded: ' + energies(new))
new.update(ids[0], {'name': 'red apple'})
new.update(ids[1], {'name': 'white bread'})
print('written by version 2: ' + energies(new))
print('rolled back: ' + energies(old))
old.update(ids[0], {'name': 'green apple'})
print('one written by version 1, upgraded again: ' + energies(new))
notes = data.collection('notes')
print('id and _v of the application: %s' % notes.get(notes.insert({'id': 'mine', '_v': 7, 'text': 'x'})['id']))
EOF
env/bin/python probe.py > seen
expect_seen <<'EOF'
version 1: apple 100, bread 100
upgraded: apple 418, bread 418
written by version 2: red apple 418, white bread 418
rolled back: red apple 418, white bread 418
one written by version 1, upgraded again: green apple 1749, white bread 418
id and _v of the application: {'text': 'x', 'id': '000000000001'}
EOF
