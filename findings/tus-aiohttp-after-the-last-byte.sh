#!/usr/bin/env bash
# aiohttp-tus 1.1.0 with aiohttp 3.14.5, and the client tuspy 1.1.0 (PyPI)
#
# Expected: HEAD reports what the server has received, also for complete uploads, so that a client whose last answer was
#   lost learns that its upload is complete; an upload of no bytes is complete as soon as it is made (tus resumable
#   upload protocol 1.0.0: HEAD; Creation).
# Actual: an upload is forgotten with its last byte, and HEAD is 404, as if it had never existed. Beginning it again is
#   refused with 409, because the file exists. An empty file is never complete: no hook is called, and there is no file
#   under its name.
# Affected: clients behind a proxy that drops the last answer: a stored file is reported as failed by every attempt.
#   Folders with an empty file in them (`__init__.py`, `.gitkeep`) arrive without it.
. "$(dirname "$0")/lib/common.sh"
. "$lib/tus.sh"

python_packages env aiohttp-tus==1.1.0 aiohttp==3.14.5 tuspy==1.1.0
cat > probe.py <<'EOF'
import io, os, pathlib
import requests
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

client = TusClient(os.environ['ENDPOINT'])


def upload(name, content, **options):
    upload = client.uploader(file_stream=io.BytesIO(content), metadata={'filename': name}, **options)
    upload.upload()
    return upload.url


def show(what, act):
    try:
        said = act()
    except TusCommunicationError as error:
        said = 'error, status %s' % error.status_code
    print('%s: %s' % (what, said), flush=True)


def files():
    return sorted('%s (%d bytes)' % (path.name, path.stat().st_size) for path in pathlib.Path('files').iterdir() if path.is_file())


url = upload('a.txt', b'hello')
show('HEAD after the last byte', lambda: requests.head(url, headers={'Tus-Resumable': '1.0.0'}).status_code)
show('continue it', lambda: client.uploader(file_stream=io.BytesIO(b'hello'), url=url).upload())
show('begin again', lambda: upload('a.txt', b'hello'))
upload('empty.txt', b'')
show('after an empty upload, files', files)
EOF
env/bin/python tus-server.py aiohttp env/bin/python probe.py > seen
expect_seen <<'EOF'
  server: complete, 'hello'
HEAD after the last byte: 404
continue it: error, status 404
begin again: error, status 409
after an empty upload, files: ['a.txt (5 bytes)']
EOF
