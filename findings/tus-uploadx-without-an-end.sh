#!/usr/bin/env bash
# @uploadx/core 7.0.3 with the client tus-js-client 4.3.1 (npm): uploads of unknown length, and without metadata
#
# Expected: the length may be sent with a later request (tus resumable upload protocol 1.0.0, Creation,
#   Upload-Defer-Length), and an upload is complete when its offset is its length; metadata is optional.
# Actual: creation-defer-length is not among the extensions that the server offers, but the server does not refuse such
#   an upload: it accepts all bytes, never checks the length, and does not call onComplete, while the client reports
#   success. An upload without metadata is created, but its first bytes are refused with 403, "Authenticated user is not
#   allowed access", although no user is authenticated; the same happens to the pieces of parallelUploads.
# Affected: recordings and streams, whose length is not known before: they stay in the folder of unfinished uploads
#   until they are cleaned up. Buffer the stream, and give every upload a file name.
. "$(dirname "$0")/lib/common.sh"
. "$lib/tus.sh"

npm_packages tus-js-client@4.3.1 @tus/server@2.4.5 @tus/file-store@2.1.1 @uploadx/core@7.0.3
cat > probe.mjs <<'EOF'
import { Readable } from 'node:stream';
import tus from 'tus-js-client';
const options = (await fetch(process.env.ENDPOINT, { method: 'OPTIONS', headers: { 'Tus-Resumable': '1.0.0' } })).headers;
console.log(`extensions: ${options.get('tus-extension')}`);
const refusal = (response) => `error, status ${response.getStatus()}, ${JSON.parse(response.getBody()).error.message}`;
const attempt = (name, data, options) => new Promise((resolve) => {
  new tus.Upload(data, {
    endpoint: process.env.ENDPOINT, retryDelays: null, metadata: { filename: name },
    onSuccess: () => resolve('success'), onError: (error) => resolve(refusal(error.originalResponse)), ...options,
  }).start();
}).then((said) => console.log(`${name}: client: ${said}`));
await attempt('length at once', Buffer.from('hello'));
await attempt('length with the last piece', Readable.from([Buffer.from('hel'), Buffer.from('lo')]), { uploadLengthDeferred: true, chunkSize: 2 });
await attempt('without metadata', Buffer.from('hello'), { metadata: {} });
EOF
node tus-server.mjs uploadx node probe.mjs > seen
expect_seen <<'EOF'
extensions: creation,creation-with-upload,termination,checksum
  server: complete, 5 bytes
length at once: client: success
length with the last piece: client: success
without metadata: client: error, status 403, Authenticated user is not allowed access
EOF
