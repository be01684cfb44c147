#!/usr/bin/env bash
# tuspy 1.1.0 (PyPI) with @tus/server 2.4.5 and @tus/file-store 2.1.1 (npm): an upload without metadata
#
# Expected: metadata is optional, and a header without a pair is not valid: Upload-Metadata has "one or more" pairs (tus
#   resumable upload protocol 1.0.0, Upload-Metadata). Both packages belong to the project that has written the
#   protocol.
# Actual: without metadata tuspy sends the header with nothing in it, which @tus/server answers with 400: such an upload
#   cannot be created. The error does not name the header. One pair, whichever, is enough.
# Affected: the shortest program of tuspy's introduction against the server that is used most in Node.js. Give a file
#   name.
. "$(dirname "$0")/lib/common.sh"
. "$lib/tus.sh"

npm_packages @tus/server@2.4.5 @tus/file-store@2.1.1 tus-js-client@4.3.1
python_packages env tuspy==1.1.0
cat > probe.py <<'EOF'
import io, os
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

for options in [{}, {'metadata': {}}, {'metadata': {'any': ''}}]:
    upload = None
    try:
        upload = TusClient(os.environ['ENDPOINT']).uploader(file_stream=io.BytesIO(b'hello'), **options)
        upload.upload()
        said = 'stored'
    except TusCommunicationError as error:
        said = '%s, %r' % (error, error.response_content.decode())
    print('tuspy, %s: %s' % (options, said))
    print('  Upload-Metadata: %r' % upload.get_url_creation_headers()['upload-metadata'])
EOF
cat > probe.mjs <<'EOF'
import tus from 'tus-js-client';
await new Promise((onSuccess, onError) => new tus.Upload(Buffer.from('hello'), { endpoint: process.env.ENDPOINT, retryDelays: null, onSuccess, onError }).start());
console.log('tus-js-client, without metadata: stored');
EOF
node tus-server.mjs node env/bin/python probe.py > seen
node tus-server.mjs node node probe.mjs >> seen
expect_seen <<'EOF'
tuspy, {}: Attempt to retrieve create file url with status 400, 'Invalid upload-metadata\n'
  Upload-Metadata: ''
tuspy, {'metadata': {}}: Attempt to retrieve create file url with status 400, 'Invalid upload-metadata\n'
  Upload-Metadata: ''
tuspy, {'metadata': {'any': ''}}: stored
  Upload-Metadata: 'any '
tus-js-client, without metadata: stored
EOF
