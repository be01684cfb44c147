#!/usr/bin/env bash
# tuspyserver 4.4.3 (FastAPI) with the clients tuspy 1.1.0 and aiotus 1.1.0 (PyPI): metadata of an upload
#
# Expected: metadata is the client's affair, and optional; HEAD answers with the offset, and with the metadata that the
#   client has given when it created the upload (tus resumable upload protocol 1.0.0: HEAD; Creation, Upload-Metadata).
# Actual: an upload without `filename` and `filetype`, or with an empty one, is created and accepts data, but HEAD is
#   refused with 400: the upload can be sent, but not continued. aiotus asks for the offset before it sends anything, so
#   it cannot upload such a file at all. HEAD returns no other metadata.
# Affected: clients written for other servers: they work until a connection breaks, and then the upload cannot be
#   continued.
. "$(dirname "$0")/lib/common.sh"
. "$lib/tus.sh"

python_packages env tuspyserver==4.4.3 uvicorn==0.54.0 fastapi==0.165.0 tuspy==1.1.0 aiotus==1.1.0
cat > probe.py <<'EOF'
import asyncio, io, logging, os
import aiotus, requests
from tusclient.client import TusClient

logging.disable(logging.CRITICAL)
endpoint, once = os.environ['ENDPOINT'], aiotus.RetryConfiguration(retry_attempts=1)


def tuspy(metadata):
    upload = TusClient(endpoint).uploader(file_stream=io.BytesIO(b'hello'), metadata=metadata, chunk_size=2)
    upload.upload_chunk()
    head = requests.head(upload.url, headers={'Tus-Resumable': '1.0.0'})
    print('tuspy, %s: sent %d bytes, HEAD %d, offset %s' % (metadata, upload.offset, head.status_code, head.headers.get('Upload-Offset')))


tuspy({'filename': 'a', 'filetype': 'text/plain'})
tuspy({})
tuspy({'filename': 'a'})
tuspy({'filename': 'a', 'filetype': ''})
for metadata in [{}, {'filename': b'a', 'filetype': b'text/plain', 'owner': b'x'}]:
    url = asyncio.run(aiotus.upload(endpoint, io.BytesIO(b'hello'), metadata, config=once))
    said = 'stored, metadata %s' % asyncio.run(aiotus.metadata(url, config=once)) if url else 'not stored'
    print('aiotus, %s: %s' % (metadata, said))
EOF
env/bin/python tus-server.py tuspyserver env/bin/python probe.py > seen
expect_seen <<'EOF'
tuspy, {'filename': 'a', 'filetype': 'text/plain'}: sent 2 bytes, HEAD 200, offset 2
tuspy, {}: sent 2 bytes, HEAD 400, offset None
tuspy, {'filename': 'a'}: sent 2 bytes, HEAD 400, offset None
tuspy, {'filename': 'a', 'filetype': ''}: sent 2 bytes, HEAD 400, offset None
aiotus, {}: not stored
  server: complete, 'hello'
aiotus, {'filename': b'a', 'filetype': b'text/plain', 'owner': b'x'}: stored, metadata {'filename': b'a', 'filetype': b'text/plain'}
EOF
