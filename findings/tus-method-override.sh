#!/usr/bin/env bash
# tus-js-client 4.3.1 with @tus/server 2.4.5, @tus/file-store 2.1.1 and @uploadx/core 7.0.3 (npm): overridePatchMethod
#
# Expected: a server takes the method from X-HTTP-Method-Override if there is one (tus resumable upload protocol 1.0.0,
#   X-HTTP-Method-Override: "MUST"); overridePatchMethod is for networks that block PATCH. @tus/server lists the header
#   among those that it allows and exposes to browsers.
# Actual: neither server does so. @tus/server treats the data as a new upload and refuses it with 400. @uploadx/core
#   stores it as the beginning of a new upload, which is never complete, and answers with an offset: the client reports
#   success, and its file has no bytes.
# Affected: users behind such a network: one server accepts none of their uploads, the other loses all of them without
#   an error. Ask for the offset (HEAD) after the upload.
. "$(dirname "$0")/lib/common.sh"
. "$lib/tus.sh"

npm_packages tus-js-client@4.3.1 @tus/server@2.4.5 @tus/file-store@2.1.1 @uploadx/core@7.0.3
cat > probe.mjs <<'EOF'
import tus from 'tus-js-client';
for (const overridePatchMethod of [false, true]) {
  const said = await new Promise((resolve) => {
    const upload = new tus.Upload(Buffer.from('hello'), {
      endpoint: process.env.ENDPOINT, retryDelays: null, metadata: { filename: `${overridePatchMethod}` }, overridePatchMethod,
      onSuccess: async () => {
        const head = await fetch(upload.url, { method: 'HEAD', headers: { 'Tus-Resumable': '1.0.0' } });
        resolve(`success, offset by HEAD ${head.headers.get('upload-offset')}`);
      },
      onError: (error) => resolve(`error, ${error.message.match(/response code: .*/)[0].trim()}`),
    });
    upload.start();
  });
  console.log(`  overridePatchMethod ${overridePatchMethod}: ${said}`);
}
EOF
for server in node uploadx; do
  echo "$server"
  node tus-server.mjs $server node probe.mjs
done > seen
expect_seen <<'EOF'
node
  overridePatchMethod false: success, offset by HEAD 5
  overridePatchMethod true: error, response code: 400, response text: Upload-Length or Upload-Defer-Length header required
uploadx
  server: complete, 5 bytes
  overridePatchMethod false: success, offset by HEAD 5
  overridePatchMethod true: success, offset by HEAD 0
EOF
