#!/usr/bin/env bash
# tuswsgi 0.5.5 (PyPI)
#
# Expected: a PATCH whose Upload-Offset is not the current offset is refused with 409 and changes nothing (tus resumable
#   upload protocol 1.0.0, PATCH).
# Actual: Upload-Offset is not read. Each piece is added to the end, also one that was sent before: "hel" sent twice and
#   "lo" are eight bytes of an upload of five. The piece with which the size is exceeded is refused with 400, but kept:
#   the offset is 8 afterwards, and the upload can never be completed. If the sizes happen to fit, it is completed.
# Affected: proxies and HTTP libraries that repeat a request after a lost connection, and two tabs that continue the
#   same upload: a file is spoilt, or stuck. Compare a digest of the whole file, and start again after 400.
. "$(dirname "$0")/lib/common.sh"
. "$lib/tus.sh"

python_packages env tuswsgi==0.5.5 requests==2.34.2
cat > probe.py <<'EOF'
import os
from urllib.parse import urljoin
import requests

tus = {'Tus-Resumable': '1.0.0'}


def create():
    made = requests.post(os.environ['ENDPOINT'], headers={**tus, 'Upload-Length': '5'})
    return urljoin(os.environ['ENDPOINT'], made.headers['Location'])


def patch(url, offset, data):
    headers = {**tus, 'Upload-Offset': str(offset), 'Content-Type': 'application/offset+octet-stream'}
    answer = requests.patch(url, data, headers=headers)
    offset_now = requests.head(url, headers=tus).headers['Upload-Offset']
    print('%r at %d: %d, offset %s' % (data.decode(), offset, answer.status_code, offset_now), flush=True)


print('a piece again')
url = create()
for offset, data in [(0, b'hel'), (0, b'hel'), (3, b'lo')]:
    patch(url, offset, data)
print('a piece again, which fits')
url = create()
for offset, data in [(0, b'h'), (0, b'h'), (1, b'ell')]:
    patch(url, offset, data)
EOF
env/bin/python tus-server.py tuswsgi env/bin/python -u probe.py > seen
expect_seen <<'EOF'
a piece again
'hel' at 0: 204, offset 3
'hel' at 0: 400, offset 6
'lo' at 3: 400, offset 8
a piece again, which fits
'h' at 0: 204, offset 1
'h' at 0: 204, offset 2
  server: complete, 'hhell'
'ell' at 1: 204, offset 5
EOF
