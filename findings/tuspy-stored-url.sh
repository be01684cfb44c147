#!/usr/bin/env bash
# tuspy 1.1.0 (PyPI) with @tus/server 2.4.5 and @tus/file-store 2.1.1 (npm): store_url
#
# Expected: with store_url the address of an upload is kept, and an upload of the same file continues it; if the server
#   no longer has the upload, the client begins from scratch (tus resumable upload protocol 1.0.0, FAQ and HEAD: 404,
#   410).
# Actual: an address that the server has removed stays in the storage: each further upload of this file is an error in
#   the constructor, until the storage is edited. With `file_stream` instead of `file_path` the first one fails, too:
#   the constructor closes the stream while it computes the fingerprint.
# Affected: scheduled uploads whose server cleans up unfinished uploads: after one long pause that file never arrives.
#   Catch TusCommunicationError of the constructor, and call `remove_item` of the storage.
. "$(dirname "$0")/lib/common.sh"
. "$lib/tus.sh"

npm_packages @tus/server@2.4.5 @tus/file-store@2.1.1
python_packages env tuspy==1.1.0
cat > probe.py <<'EOF'
import io, os
import requests
from tusclient.client import TusClient
from tusclient.storage.filestorage import FileStorage

client, storage = TusClient(os.environ['ENDPOINT']), FileStorage('urls.json')
with open('data', 'wb') as file:
    file.write(b'hello')


def attempt(what, act):
    try:
        act()
        print('%s: done' % what)
    except Exception as error:
        print('%s: %s, %s' % (what, type(error).__name__, error))


def uploader(**source):
    return client.uploader(metadata={'filename': 'data'}, chunk_size=2, store_url=True, url_storage=storage, **(source or {'file_path': 'data'}))


begun = uploader()
attempt('first piece', begun.upload_chunk)
attempt('continued', lambda: uploader().upload_chunk())
print('removed by the server: status %d' % requests.delete(begun.url, headers={'Tus-Resumable': '1.0.0'}).status_code)
attempt('again', lambda: uploader().upload())
attempt('and again', lambda: uploader().upload())
storage.remove_item(begun._get_fingerprint())
attempt('with the address removed by hand', lambda: uploader().upload())
attempt('of a stream', lambda: uploader(file_stream=io.BytesIO(b'other')).upload())
EOF
node tus-server.mjs node env/bin/python probe.py > seen
expect_seen <<'EOF'
first piece: done
continued: done
removed by the server: status 204
again: TusCommunicationError, Attempt to retrieve offset fails with status 404
and again: TusCommunicationError, Attempt to retrieve offset fails with status 404
with the address removed by hand: done
of a stream: ValueError, I/O operation on closed file.
EOF
