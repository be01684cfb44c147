#!/usr/bin/env bash
# aiotus 1.1.0 (PyPI) with @tus/server 2.4.5, @tus/file-store 2.1.1, @uploadx/core 7.0.3 (npm)
#
# Expected: a value of Upload-Metadata is Base64 of any bytes, and is returned by HEAD unchanged (tus resumable upload
#   protocol 1.0.0, Creation); aiotus has metadata of type bytes for that reason.
# Actual: both servers of Node.js read the value as UTF-8 and send back U+FFFD for bytes that are not UTF-8, so that two
#   digests can have the same metadata. Neither reports it.
# Affected: a digest or a key that is sent with a file as bytes: after the upload it has changed. Write it as
#   hexadecimal text.
. "$(dirname "$0")/lib/common.sh"
. "$lib/tus.sh"

npm_packages @tus/server@2.4.5 @tus/file-store@2.1.1 @uploadx/core@7.0.3
python_packages env aiotus==1.1.0
cat > probe.py <<'EOF'
import asyncio, io, os
from urllib.parse import urljoin
import aiotus

once = aiotus.RetryConfiguration(retry_attempts=1)
for digest in [bytes([0x6a, 0x6b]), bytes([0x8a, 0x9b]), bytes([0x9c, 0x8d])]:
    metadata = {'filename': digest.hex().encode(), 'filetype': b'text/plain', 'digest': digest}
    url = asyncio.run(aiotus.upload(os.environ['ENDPOINT'], io.BytesIO(b'hello'), metadata, config=once))
    back = asyncio.run(aiotus.metadata(urljoin(os.environ['ENDPOINT'], str(url)), config=once)).get('digest')
    print('  %s: %s' % (digest.hex(), back.hex() if back else 'none'))
EOF
for server in node uploadx; do
  echo "$server"
  node tus-server.mjs $server env/bin/python probe.py
done | grep -v 'server: ' > seen
expect_seen <<'EOF'
node
  6a6b: 6a6b
  8a9b: efbfbdefbfbd
  9c8d: efbfbdefbfbd
uploadx
  6a6b: 6a6b
  8a9b: efbfbdefbfbd
  9c8d: efbfbdefbfbd
EOF
