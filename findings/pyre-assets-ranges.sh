#!/usr/bin/env bash
# pyre-icp 1.3.0 (PyPI), AssetStore.response: requests with several ranges
#
# Expected: a server that does not serve several ranges at once sends the whole file; it ignores a unit that it does not
#   know, and accepts the name of the unit in upper and lower case. 416 says that none of the ranges overlaps the file
#   (RFC 9110, 14.1, 14.2, 15.5.17).
# Actual: each of these requests is answered with 416 and no bytes, and so is a list of one range that ends with a
#   comma.
# Affected: readers of PDF files, which ask for several ranges of large documents, and download managers: "cannot be
#   opened" for a file that is complete.
. "$(dirname "$0")/lib/common.sh"

python_packages env pyre-icp==1.3.0
cat > probe.py <<'EOF'
import hashlib
from pyre.assets import AssetStore
from pyre.http_types import Request

store, content = AssetStore('media'), bytes(2_000)
session = store.begin('a', size=len(content), sha256=hashlib.sha256(content).hexdigest())
store.put_chunk(session['session_id'], 0, content)
store.finalize(session['session_id'])
for value in [None, 'bytes=0-9', 'bytes=-10', 'bytes=0-9,100-109', 'bytes=0-9,', 'Bytes=0-9', 'lines=0-9', 'bytes=2000-']:
    response = store.response('a', Request('GET', '/a', headers={'range': value} if value else {}))
    print('%s: %d, %d bytes' % (value, response.status, len(response.body)))
EOF
env/bin/python probe.py > seen
expect_seen <<'EOF'
None: 200, 2000 bytes
bytes=0-9: 206, 10 bytes
bytes=-10: 206, 10 bytes
bytes=0-9,100-109: 416, 0 bytes
bytes=0-9,: 416, 0 bytes
Bytes=0-9: 416, 0 bytes
lines=0-9: 416, 0 bytes
bytes=2000-: 416, 0 bytes
EOF
