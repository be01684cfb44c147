#!/usr/bin/env bash
# tus-js-client 4.3.1 with @tus/server 2.4.5 and @tus/file-store 2.1.1 (npm), a Buffer in Node.js
#
# Expected: findPreviousUploads finds the started uploads of this input, by its fingerprint, so that they can be
#   continued (tus-js-client, API reference).
# Actual: the fingerprint of a Buffer is its length and a digest of its first 64 KiB. Two Buffers that differ only later
#   are treated as the same input: the second one continues the upload of the first, and the resulting file has the
#   beginning of the first and the end of the second. If the first upload is complete, no byte of the second Buffer is
#   sent, and its upload succeeds. The offsets that the server gets are consistent. Entries are kept after success
#   unless removeFingerprintOnSuccess is set.
# Affected: uploads of snapshots of a stable memory: they have the same size, and the same first page as long as the
#   memory manager's buckets are the same. Give a `fingerprint` of your own that reads every byte.
. "$(dirname "$0")/lib/common.sh"

npm_packages tus-js-client@4.3.1 @tus/server@2.4.5 @tus/file-store@2.1.1
cat > probe.mjs <<'EOF'
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import http from 'node:http';
import { FileStore } from '@tus/file-store';
import { Server } from '@tus/server';
import tus from 'tus-js-client';
const KiB = 1024;
mkdirSync('files');
const tusd = new Server({ path: '/files', datastore: new FileStore({ directory: 'files' }) });
const server = http.createServer((request, response) => tusd.handle(request, response)).listen(0, '127.0.0.1', async () => {
  const endpoint = `http://127.0.0.1:${server.address().port}/files`;
  // Uploads the data, or its first bytes only, and tells what is stored then and how much was sent.
  const upload = (name, data, urls, options) => new Promise((resolve, reject) => {
    let sent = 0, previous;
    const end = (how) => {
      const stored = readFileSync(`files/${upload.url.split('/').pop()}`);
      const pieces = [...new Set(stored.toString('latin1'))].map((of) => `${of} ${stored.filter((byte) => byte === of.charCodeAt(0)).length / KiB} KiB`);
      console.log(`${name}: ${how}, previous uploads found ${previous}, sent ${sent / KiB} KiB, stored ${pieces.join(', ')}`);
      resolve();
    };
    const upload = new tus.Upload(data, {
      endpoint, urlStorage: new tus.FileUrlStorage(urls), chunkSize: 100 * KiB, retryDelays: null, onError: reject,
      onSuccess: () => end('success'),
      onChunkComplete: async (size, accepted) => {
        sent += size;
        if (accepted === options?.stopAt) { await upload.abort(); end('interrupted'); }
      },
      ...options?.fingerprint && { fingerprint: options.fingerprint },
    });
    upload.findPreviousUploads().then((found) => {
      previous = found.length;
      if (found.length) upload.resumeFromPreviousUpload(found[0]);
      upload.start();
    });
  });
  const head = Buffer.alloc(64 * KiB, '-'), monday = Buffer.concat([head, Buffer.alloc(236 * KiB, 'm')]), friday = Buffer.concat([head, Buffer.alloc(236 * KiB, 'f')]);
  await upload('monday', monday, 'a.json', { stopAt: 200 * KiB });
  await upload('friday', friday, 'a.json');
  await upload('monday, complete', monday, 'b.json');
  await upload('friday after it', friday, 'b.json');
  const fingerprint = async (data) => createHash('sha256').update(data).digest('hex');
  await upload('monday, own fingerprint', monday, 'c.json', { stopAt: 200 * KiB, fingerprint });
  await upload('friday, own fingerprint', friday, 'c.json', { fingerprint });
  server.close(); server.closeAllConnections();
});
EOF
node probe.mjs > seen
expect_seen <<'EOF'
monday: interrupted, previous uploads found 0, sent 200 KiB, stored - 64 KiB, m 136 KiB
friday: success, previous uploads found 1, sent 100 KiB, stored - 64 KiB, m 136 KiB, f 100 KiB
monday, complete: success, previous uploads found 0, sent 300 KiB, stored - 64 KiB, m 236 KiB
friday after it: success, previous uploads found 1, sent 0 KiB, stored - 64 KiB, m 236 KiB
monday, own fingerprint: interrupted, previous uploads found 0, sent 200 KiB, stored - 64 KiB, m 136 KiB
friday, own fingerprint: success, previous uploads found 0, sent 300 KiB, stored - 64 KiB, f 236 KiB
EOF
