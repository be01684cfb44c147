#!/usr/bin/env bash
# fastapi-tusd 0.100.2, resumable-upload 0.3.0, drf-tus 2.0.3 and tuswsgi 0.5.5 (PyPI) with the client tus-js-client
#   4.3.1 (npm): creation-defer-length
#
# Expected: an upload may be created without its length, which the client sends with a later request, once it knows it
#   (tus resumable upload protocol 1.0.0, Creation, Upload-Defer-Length). All four servers offer that extension.
# Actual: fastapi-tusd and resumable-upload refuse the first piece, with 412 and 400, if it does not bring the length.
#   drf-tus never reads the length of a later request: it accepts all bytes, the client reports success, and the file is
#   neither saved nor announced. tuswsgi does as expected.
# Affected: recordings and other streams, whose length is known with the last piece: they cannot be sent, or seem to be
#   stored and are not. Buffer the stream, and give the length at once.
. "$(dirname "$0")/lib/common.sh"
. "$lib/tus.sh"

python_packages env fastapi-tusd==0.100.2 fastapi==0.165.0 uvicorn==0.54.0 filelock==3.20.0 resumable-upload==0.3.0 tuswsgi==0.5.5 \
  drf-tus==2.0.3 Django==5.2.19
npm_packages tus-js-client@4.3.1
cat > probe.mjs <<'EOF'
import { Readable } from 'node:stream';
import tus from 'tus-js-client';
for (const [name, data, options] of [
  ['length at once', Buffer.from('hello'), {}],
  ['length with the last piece', Readable.from([Buffer.from('hel'), Buffer.from('lo')]), { uploadLengthDeferred: true, chunkSize: 2 }],
]) {
  const said = await new Promise((resolve) => new tus.Upload(data, {
    endpoint: process.env.ENDPOINT, retryDelays: null, metadata: { filename: 'recording' },
    onSuccess: () => resolve('success'), onError: (error) => resolve(`error, status ${error.originalResponse.getStatus()}`), ...options,
  }).start());
  console.log(`${name}: client: ${said}`);
}
EOF
for server in fastapi resumable-upload drf tuswsgi; do
  rm -rf files uploads.db
  echo "$server"
  env/bin/python tus-server.py $server node probe.mjs | grep -v '^My application'
  echo "  in the folder: $(find files -type f ! -name '*.info' ! -name '*.lock' -size +0 | wc -l) of 2 files"
done > seen
expect_seen <<'EOF'
fastapi
length at once: client: success
length with the last piece: client: error, status 412
  in the folder: 1 of 2 files
resumable-upload
  server: complete, 'hello'
length at once: client: success
length with the last piece: client: error, status 400
  in the folder: 1 of 2 files
drf
  server: complete, 'hello'
length at once: client: success
length with the last piece: client: success
  in the folder: 1 of 2 files
tuswsgi
  server: complete, 'hello'
length at once: client: success
  server: complete, 'hello'
length with the last piece: client: success
  in the folder: 2 of 2 files
EOF
