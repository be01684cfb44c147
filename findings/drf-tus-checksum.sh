#!/usr/bin/env bash
# drf-tus 2.0.3 with Django 5.2.19 and the client tuspy 1.1.0 (PyPI)
#
# Expected: the value of Upload-Checksum is the name of the algorithm, and the digest in Base64 (tus resumable upload
#   protocol 1.0.0, Checksum).
# Actual: drf-tus compares what was sent with the digest in hexadecimal: of a correct checksum it says "Checksum
#   Mismatch" with 460, of one in hexadecimal, which no other server accepts, it does not.
# Affected: all who turn checksums on (upload_checksum in tuspy): no upload succeeds, and the error says that the
#   connection damages the data. Retries do not help. Compare a digest of the whole file instead.
. "$(dirname "$0")/lib/common.sh"
. "$lib/tus.sh"

python_packages env drf-tus==2.0.3 Django==5.2.19 tuspy==1.1.0 requests==2.34.2
cat > probe.py <<'EOF'
import base64
import hashlib
import io
import os
from urllib.parse import urljoin
import requests
from tusclient.client import TusClient
from tusclient.exceptions import TusUploadFailed

endpoint = os.environ['ENDPOINT']
for checksum in [False, True]:
    try:
        TusClient(endpoint).uploader(file_stream=io.BytesIO(b'hello'), metadata={'filename': 'a'}, upload_checksum=checksum).upload()
        said = 'stored'
    except TusUploadFailed as error:
        said = 'error, %s, %s' % (error.status_code, error.response_content.decode())
    print('tuspy, upload_checksum %s: %s' % (checksum, said), flush=True)
digest = hashlib.sha256(b'hello')
tus = {'Tus-Resumable': '1.0.0'}
for way, value in [('Base64', base64.b64encode(digest.digest()).decode()), ('hexadecimal', digest.hexdigest())]:
    made = requests.post(endpoint, headers={**tus, 'Upload-Length': '5'})
    answer = requests.patch(urljoin(endpoint, made.headers['Location']), b'hello', headers={
        **tus, 'Upload-Offset': '0', 'Content-Type': 'application/offset+octet-stream', 'Upload-Checksum': 'sha256 ' + value})
    print('sha256 in %s: %s' % (way, answer.status_code), flush=True)
EOF
env/bin/python tus-server.py drf env/bin/python probe.py 2> errors > seen
expect_seen <<'EOF'
  server: complete, 'hello'
tuspy, upload_checksum False: stored
tuspy, upload_checksum True: error, 460, "Checksum Mismatch."
sha256 in Base64: 460
  server: complete, 'hello'
sha256 in hexadecimal: 204
EOF
