#!/usr/bin/env bash
# pyre-icp 1.3.0 (PyPI), AssetStore: an upload that is continued with other settings
#
# Expected: an upload that was interrupted can be continued, or begun again; chunk_size and the type of the content are
#   parameters of an upload (documentation of the module).
# Actual: a chunk is named by the content of the whole file, never by its own content, and can be neither replaced nor
#   removed. If the canister answers with another chunk_size later, a file whose upload has begun can be neither
#   continued nor begun again, under any session id, because its new chunks differ from the old ones; there is no
#   function to abort. With a new content type, the same content is a conflict, too, unless another session id is
#   invented for it.
# Affected: anyone who changes chunk_size with an upgrade while uploads are in flight: exactly these files can never be
#   stored under their names again.
. "$(dirname "$0")/lib/common.sh"

python_packages env pyre-icp==1.3.0
cat > probe.py <<'EOF'
import hashlib
from pyre.assets import AssetStore

before, after = AssetStore('media', chunk_size=1_024), AssetStore('media', chunk_size=2_048)


def upload(store, name, content, pieces=None, **options):
    session = store.begin(name, size=len(content), sha256=hashlib.sha256(content).hexdigest(), **options)
    for index in range(pieces or session['chunks']):
        store.put_chunk(session['session_id'], index, content[index * store.chunk_size:][:store.chunk_size])
    return '1 chunk sent' if pieces else 'stored as %s' % store.finalize(session['session_id'])['content_type']


def show(what, act):
    try:
        print('%s: %s' % (what, act()))
    except ValueError as error:
        print('%s: %s, %s' % (what, type(error).__name__, error))


film = b'film' * 1_000
show('film, interrupted', lambda: upload(before, 'film', film, pieces=1))
show('film, larger chunks', lambda: upload(after, 'film', film))
show('film, larger chunks, new session', lambda: upload(after, 'film', film, session_id='another'))
show('film, deleted', lambda: after.delete('film'))
show('film, collected', lambda: after.garbage_collect())
show('another name', lambda: upload(after, 'film-2', film))
show('page', lambda: upload(after, 'page', b'<p>', content_type='text/plain'))
show('page, as HTML', lambda: upload(after, 'page', b'<p>', content_type='text/html'))
show('page, as HTML, new session', lambda: upload(after, 'page', b'<p>', content_type='text/html', session_id='another-page'))
EOF
env/bin/python probe.py > seen
expect_seen <<'EOF'
film, interrupted: 1 chunk sent
film, larger chunks: AssetConflict, session id already describes another upload
film, larger chunks, new session: AssetConflict, conflicting chunk data
film, deleted: AssetNotFound, asset or generation not found
film, collected: []
another name: stored as application/octet-stream
page: stored as text/plain
page, as HTML: AssetConflict, session id already describes another upload
page, as HTML, new session: stored as text/html
EOF
