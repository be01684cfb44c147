#!/usr/bin/env bash
# aiotus 1.1.0, tuspy 1.1.0 (PyPI) and tus-js-client 4.3.1 (npm) with @tus/server 2.4.5, @tus/file-store 2.1.1 (npm)
#
# Expected: `Location` may be relative to the address of the request (RFC 9110, 10.2.2); the tus protocol requires
#   nothing else, and relativeLocation of @tus/server is meant for servers behind a proxy.
# Actual: aiotus creates the upload and then cannot use its address: it appends the path, which its own URL type forbids
#   if the path begins with a slash. It raises no exception: upload() logs one line and returns None. Both other clients
#   resolve it.
# Affected: scripts that do not check the result of upload(): nothing is stored, each run leaves one more empty upload
#   on the server, and the exit code is 0.
. "$(dirname "$0")/lib/common.sh"
. "$lib/tus.sh"

npm_packages tus-js-client@4.3.1 @tus/server@2.4.5 @tus/file-store@2.1.1
python_packages env aiotus==1.1.0 tuspy==1.1.0
cat > probe.py <<'EOF'
import asyncio, io, logging, os, re, sys
import aiotus
from tusclient.client import TusClient

logging.basicConfig(stream=sys.stdout, level=logging.ERROR, format='aiotus, log: %(message)s')
logging.getLogger().handlers[0].addFilter(lambda record: setattr(record, 'msg', re.sub('[0-9a-f]{32}', 'ID', record.msg)) or True)
print('aiotus: %s' % asyncio.run(aiotus.upload(os.environ['ENDPOINT'], io.BytesIO(b'hello'), {'filename': b'a'})))
upload = TusClient(os.environ['ENDPOINT']).uploader(file_stream=io.BytesIO(b'hello'), metadata={'filename': 'a'})
upload.upload()
print('tuspy: %d bytes' % upload.offset)
EOF
cat > probe.mjs <<'EOF'
import tus from 'tus-js-client';
await new Promise((onSuccess, onError) => new tus.Upload(Buffer.from('hello'), { endpoint: process.env.ENDPOINT, retryDelays: null, onSuccess, onError }).start());
console.log('tus-js-client: success');
EOF
for location in node node-relative; do
  echo "$location"
  node tus-server.mjs $location env/bin/python probe.py | sed 's|http://.*|stored|'
  node tus-server.mjs $location node probe.mjs
done > seen
expect_seen <<'EOF'
node
aiotus: stored
tuspy: 5 bytes
tus-js-client: success
node-relative
aiotus, log: Unable to upload file: Appending path '/files/ID' starting from slash is forbidden
aiotus: None
tuspy: 5 bytes
tus-js-client: success
EOF
