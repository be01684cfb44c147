#!/usr/bin/env bash
# @tus/file-store 2.1.1 with @tus/server 2.4.5 (npm): which uploads expire
#
# Expected: expirationPeriodInMilliseconds is the time before an ongoing upload is considered expired (README of
#   @tus/file-store), and a server may remove unfinished uploads once they expire (tus resumable upload protocol
#   1.0.0, Expiration).
# Actual: whether an upload is unfinished is read from the offset that was stored when it was created, which is 0 and
#   never updated. After the period, cleanUpExpiredUploads() deletes every file, complete ones too; only empty files
#   stay. A client that asks for a complete file by HEAD after the period is told 410, also before it is deleted.
# Affected: whoever sets the option to remove abandoned uploads, and leaves the files in the folder in which they were
#   uploaded: all files are deleted. Move a file away in onUploadFinish, or delete what is old and has another size on
#   disk than in its .json by a program of your own.
. "$(dirname "$0")/lib/common.sh"

npm_packages tus-js-client@4.3.1 @tus/server@2.4.5 @tus/file-store@2.1.1
cat > probe.mjs <<'EOF'
import { existsSync, mkdirSync } from 'node:fs';
import http from 'node:http';
import { FileStore } from '@tus/file-store';
import { Server } from '@tus/server';
import tus from 'tus-js-client';
mkdirSync('files');
const tusd = new Server({ path: '/files', datastore: new FileStore({ directory: 'files', expirationPeriodInMilliseconds: 1000 }) });
const server = http.createServer((request, response) => tusd.handle(request, response)).listen(0, '127.0.0.1', async () => {
  const endpoint = `http://127.0.0.1:${server.address().port}/files`, uploads = {};
  const upload = (name, size, pieces) => new Promise((resolve, reject) => {
    let left = pieces;
    const upload = uploads[name] = new tus.Upload(Buffer.alloc(size, 'x'), {
      endpoint, chunkSize: 1000, retryDelays: null, onError: reject, onSuccess: () => resolve('complete'),
      onChunkComplete: async () => { if (--left === 0) { await upload.abort(); resolve('interrupted'); } },
    });
    upload.start();
  }).then((state) => console.log(`${name}: ${state}`));
  const stored = (name) => existsSync(`files/${uploads[name].url.split('/').pop()}`) ? 'stored' : 'gone';
  await upload('film', 3000);
  await upload('abandoned', 3000, 2);
  await upload('empty', 0);
  console.log(`uploads deleted at once: ${await tusd.cleanUpExpiredUploads()}`);
  await new Promise((resolve) => setTimeout(resolve, 1200));
  console.log(`HEAD of film after the period: ${(await fetch(uploads.film.url, { method: 'HEAD', headers: { 'Tus-Resumable': '1.0.0' } })).status}, ${stored('film')}`);
  console.log(`uploads deleted after the period: ${await tusd.cleanUpExpiredUploads()}`);
  for (const name in uploads) console.log(`${name}: ${stored(name)}`);
  server.close(); server.closeAllConnections();
});
EOF
node probe.mjs > seen
expect_seen <<'EOF'
film: complete
abandoned: interrupted
empty: complete
uploads deleted at once: 0
HEAD of film after the period: 410, stored
uploads deleted after the period: 2
film: gone
abandoned: gone
empty: stored
EOF
