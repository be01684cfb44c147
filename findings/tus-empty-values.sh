#!/usr/bin/env bash
# fastapi-tusd 0.100.2, drf-tus 2.0.3, tuswsgi 0.5.5 and resumable-upload 0.3.0 (PyPI) with the client tus-js-client
#   4.3.1 (npm)
#
# Expected: the value of a piece of metadata may be empty; the space before it may then be left out. An Upload-Length
#   may be 0 (tus resumable upload protocol 1.0.0, Upload-Metadata and Upload-Length: a non-negative integer).
# Actual: metadata with an empty value is refused by tuswsgi with 400; in fastapi-tusd and drf-tus it is an exception,
#   which the client sees as 500. drf-tus refuses an empty file, as if its length had not been given. resumable-upload
#   accepts both.
# Affected: forms that send each of their fields with the file: uploads fail for the users who left one of them empty,
#   in the browser with an error that does not name the field. Leave empty fields and empty files out.
. "$(dirname "$0")/lib/common.sh"
. "$lib/tus.sh"

python_packages env fastapi-tusd==0.100.2 fastapi==0.165.0 uvicorn==0.54.0 filelock==3.20.0 resumable-upload==0.3.0 tuswsgi==0.5.5 \
  drf-tus==2.0.3 Django==5.2.19
npm_packages tus-js-client@4.3.1
cat > probe.mjs <<'EOF'
import { Agent } from 'node:http';
import tus from 'tus-js-client';
// Servers close the connection after an exception.
const httpStack = new tus.DefaultHttpStack({ agent: new Agent({ keepAlive: false }) });
for (const [name, data, note] of [['with a note', 'hello', 'n'], ['with an empty note', 'hello', ''], ['empty file', '', 'n']]) {
  const said = await new Promise((resolve) => new tus.Upload(Buffer.from(data), {
    endpoint: process.env.ENDPOINT, httpStack, retryDelays: null, metadata: { filename: 'a', note },
    onSuccess: () => resolve('success'), onError: (error) => resolve(`error, status ${error.originalResponse.getStatus()}`),
  }).start());
  console.log(`  ${name}: ${said}`);
}
EOF
for server in fastapi drf tuswsgi resumable-upload; do
  rm -rf files uploads.db
  echo "$server"
  env/bin/python tus-server.py $server node probe.mjs 2> errors | grep ': success$\|: error'
done > seen
expect_seen <<'EOF'
fastapi
  with a note: success
  with an empty note: error, status 500
  empty file: success
drf
  with a note: success
  with an empty note: error, status 500
  empty file: error, status 400
tuswsgi
  with a note: success
  with an empty note: error, status 400
  empty file: success
resumable-upload
  with a note: success
  with an empty note: success
  empty file: success
EOF
