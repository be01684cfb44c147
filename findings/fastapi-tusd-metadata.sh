#!/usr/bin/env bash
# fastapi-tusd 0.100.2 (PyPI) with the clients aiotus 1.1.0 and resumable-upload 0.3.0 (PyPI)
#
# Expected: HEAD returns the metadata as it was given: pairs of a key and a value in Base64 (tus resumable upload
#   protocol 1.0.0, Creation); OPTIONS says which extensions the server has.
# Actual: HEAD returns the values as Python prints them, `b'YS50eHQ='`. What a client decodes from this is not what was
#   sent, or an error. OPTIONS raises an exception in the server, which the client sees as a closed connection.
# Affected: clients that continue an upload of another program, or list uploads by name, and those that first ask what
#   the server can do. Keep the metadata on the client.
. "$(dirname "$0")/lib/common.sh"
. "$lib/tus.sh"

python_packages env fastapi-tusd==0.100.2 fastapi==0.165.0 uvicorn==0.54.0 filelock==3.20.0 aiotus==1.1.0 resumable-upload==0.3.0
cat > probe.py <<'EOF'
import asyncio
import io
import os
import urllib.request
import aiotus
import resumable_upload

endpoint = os.environ['ENDPOINT']
client = resumable_upload.TusClient(endpoint, checksum=False)
url = client.upload_file(file_stream=io.BytesIO(b'hello'), metadata={'filename': 'a.txt'})
head = urllib.request.Request(url, method='HEAD', headers={'Tus-Resumable': '1.0.0'})
print('HEAD: Upload-Metadata:', urllib.request.urlopen(head).headers['Upload-Metadata'])


def attempt(name, ask):
    try:
        print('%s: %s' % (name, ask()))
    except Exception as error:
        print('%s: error, %s' % (name, type(error).__name__))


attempt('resumable-upload, metadata', lambda: client.get_metadata(url))
attempt('aiotus, metadata', lambda: asyncio.run(aiotus.metadata(url)))
attempt('resumable-upload, extensions', client.get_server_info)
EOF
env/bin/python tus-server.py fastapi env/bin/python -u probe.py 2> errors | grep -v '^My application' > seen
expect_seen <<'EOF'
HEAD: Upload-Metadata: filename b'YS50eHQ='
resumable-upload, metadata: {'filename': "b'YS50eHQ='"}
aiotus, metadata: error, ProtocolError
resumable-upload, extensions: error, RemoteDisconnected
EOF
