#!/usr/bin/env bash
# tuswsgi 0.5.5 (PyPI) with the client tus-js-client 4.3.1 (npm): parallelUploads
#
# Expected: of a final upload, which is put together of partial ones, the length must not be given (tus resumable upload
#   protocol 1.0.0, Concatenation); tuswsgi offers this extension.
# Actual: the request is refused with 400, "Missing Upload-Length Header", and with a length it is "Invalid
#   Upload-Length Header". With Upload-Defer-Length, which makes no sense here, the pieces are "Not Finished", for as
#   long as they exist. There is no request by which a final upload can be created.
# Affected: parallelUploads of clients that trust the list of extensions: all pieces are sent, and then the upload
#   fails; the pieces stay in the folder. Do not use it with this server.
. "$(dirname "$0")/lib/common.sh"
. "$lib/tus.sh"

python_packages env tuswsgi==0.5.5
npm_packages tus-js-client@4.3.1
cat > probe.mjs <<'EOF'
import tus from 'tus-js-client';
const endpoint = process.env.ENDPOINT;
const version = { 'Tus-Resumable': '1.0.0' };
const extensions = (await fetch(endpoint, { method: 'OPTIONS', headers: version })).headers.get('tus-extension');
console.log(`offered: ${extensions.split(',').find((name) => name === 'concatenation')}`);
const parts = [];
for (const parallelUploads of [1, 2]) {
  const said = await new Promise((resolve) => new tus.Upload(Buffer.from('hello'), {
    endpoint, retryDelays: null, parallelUploads, metadata: { filename: 'a' },
    onAfterResponse: (request, response) => {
      if (parallelUploads > 1 && request.getMethod() === 'PATCH') parts.push(request.getURL());
      if (parallelUploads > 1 && request.getMethod() === 'PATCH') console.log(`piece: ${response.getStatus()}`);
    },
    onSuccess: () => resolve('success'), onError: (error) => resolve(`error, status ${error.originalResponse.getStatus()}`),
  }).start());
  console.log(`parallelUploads ${parallelUploads}: ${said}`);
}
const concat = `final;${parts.map((part) => new URL(part).pathname).join(' ')}`;
for (const [name, headers] of [['no length', {}], ['length', { 'Upload-Length': '5' }], ['length later', { 'Upload-Defer-Length': '1' }]]) {
  const answer = await fetch(endpoint, { method: 'POST', headers: { ...version, 'Upload-Concat': concat, ...headers } });
  console.log(`final upload, ${name}: ${answer.status} ${answer.statusText}`);
}
EOF
env/bin/python tus-server.py tuswsgi node probe.mjs > seen
expect_seen <<'EOF'
offered: concatenation
  server: complete, 'hello'
parallelUploads 1: success
piece: 204
piece: 204
parallelUploads 2: error, status 400
final upload, no length: 400 Missing Upload-Length Header
final upload, length: 400 Invalid Upload-Length Header
final upload, length later: 400 One Of The Partial Uploads Is Not Finished
EOF
