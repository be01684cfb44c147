#!/usr/bin/env bash
# tuspyserver 4.4.3 (FastAPI, PyPI) with the client tus-js-client 4.3.1 (npm): parallelUploads
#
# Expected: with parallelUploads the client sends pieces, and then has them put together; a piece is not a file, and the
#   upload is complete with the last request (tus resumable upload protocol 1.0.0, Concatenation).
# Actual: on_upload_complete is called for each piece, with its path and without metadata, and again for the whole file.
#   With the client's default of one upload at a time it is called once.
# Affected: anyone who moves, scans or records files in that hook: a piece that was moved away is missing when the
#   pieces are put together, and each file is recorded several times. A call without a file name may be for a piece.
. "$(dirname "$0")/lib/common.sh"
. "$lib/tus.sh"

python_packages env tuspyserver==4.4.3 uvicorn==0.54.0 fastapi==0.165.0
npm_packages tus-js-client@4.3.1
cat > probe.mjs <<'EOF'
import tus from 'tus-js-client';
for (const parallelUploads of [1, 3]) {
  console.log(`parallelUploads ${parallelUploads}`);
  await new Promise((onSuccess, onError) => new tus.Upload(Buffer.from('the whole file'), {
    endpoint: process.env.ENDPOINT, retryDelays: null, parallelUploads, metadata: { filename: 'a', filetype: 'text/plain' }, onSuccess, onError,
  }).start());
  console.log('  client: success');
}
EOF
env/bin/python tus-server.py tuspyserver node probe.mjs > all
# Pieces arrive in any order.
{ sed -n '1,3p' all; sed -n '4p' all; sed -n '5,8p' all | sort; sed -n '9,$p' all; } > seen
expect_seen <<'EOF'
parallelUploads 1
  server: complete, 'the whole file'
  client: success
parallelUploads 3
  server: complete, 'e file'
  server: complete, 'the '
  server: complete, 'the whole file'
  server: complete, 'whol'
  client: success
EOF
