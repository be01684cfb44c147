#!/usr/bin/env bash
# pyre-icp 1.3.0 (PyPI), AssetStore: a file that is deleted and stored again
#
# Expected: a file that finalize has published exists until it is deleted; garbage_collect removes what nothing refers
#   to (documentation of the module: deletion is bounded, and continued by garbage_collect).
# Actual: chunks are named by the digest of their file. A deletion removes 25 chunks by default; if more are left, it
#   leaves a note, with which it can be continued. If the same content is stored again in the meantime, the note is
#   kept, and the next garbage_collect removes the chunks of the new file. The file is still listed, but each read of it
#   is an error. Storing it a third time is refused, since it is "finalized".
# Affected: undo after a deletion, and a deployment that is rolled back: the file is verified right after the upload,
#   and lost with the next clean-up. Call garbage_collect until nothing is left before a file is stored again.
. "$(dirname "$0")/lib/common.sh"

python_packages env pyre-icp==1.3.0
cat > probe.py <<'EOF'
import hashlib
from pyre.assets import AssetStore

store = AssetStore('media')


def upload(name):
    content = name.encode() * (30 * 45_000)
    session = store.begin(name, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    for index in range(session['chunks']):
        store.put_chunk(session['session_id'], index, content[index * 45_000:][:45_000])
    return '%d chunks' % store.finalize(session['session_id'])['chunks']


def show(what, act):
    try:
        print('%s: %s' % (what, act()))
    except ValueError as error:
        print('%s: %s, %s' % (what, type(error).__name__, error))


for name, collect_first in [('a', True), ('b', False)]:
    show('stored', lambda: upload(name))
    show('deleted', lambda: '%(removed_chunks)d chunks, %(remaining_chunks)d remain' % store.delete(name))
    if collect_first:
        show('collected', lambda: store.garbage_collect()[0]['removed_chunks'])
    show('stored again', lambda: upload(name))
    show('verified', lambda: store.verify(name)['ok'])
    if not collect_first:
        show('collected', lambda: store.garbage_collect()[0]['removed_chunks'])
    show('read', lambda: '%d bytes' % len(store.read(name)))
show('listed', lambda: [asset['asset_id'] for asset in store.list_assets()])
show('stored a third time', lambda: upload('b'))
EOF
env/bin/python probe.py > seen
expect_seen <<'EOF'
stored: 30 chunks
deleted: 25 chunks, 5 remain
collected: 5
stored again: 30 chunks
verified: True
read: 1350000 bytes
stored: 30 chunks
deleted: 25 chunks, 5 remain
stored again: 30 chunks
verified: True
collected: 5
read: AssetNotFound, asset chunk not found
listed: ['a', 'b']
stored a third time: AssetConflict, upload session is finalized
EOF
