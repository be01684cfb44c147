#!/usr/bin/env bash
# gcs-resumable-upload 6.0.0 (npm)
#
# Expected: an interrupted upload is continued only with the same data: the first 16 kB are stored to tell, and a new
#   upload is started if they differ (README).
# Actual: the first 16 bytes are stored and compared. Data that differ later are taken for the same: the object has
#   the beginning of the interrupted data and the end of the new ones, has the right size, and the stream ends with
#   'finish'.
# Affected: builds and snapshots that are uploaded to the same name: modules, archives, databases and snapshots of a
#   stable memory begin with the same 16 bytes. After an interruption, the next version is mixed with the last one.
#   Give configPath a new file for each version, or compare md5Hash of the 'metadata' event.
. "$(dirname "$0")/lib/common.sh"

npm_packages gcs-resumable-upload@6.0.0
cat > probe.cjs <<'EOF'
const http = require('node:http'), { Readable } = require('node:stream');
const { upload } = require('gcs-resumable-upload');
const KiB = 1024;

// The resumable uploads of Google's JSON API; whole pieces of 256 KiB are kept if a connection ends before the request.
const sessions = [];
let stored, interruptAt;
const server = http.createServer((request, response) => {
  const session = sessions[request.url.split('/session/')[1]], parts = [];
  const keep = (bytes) => { session.data = Buffer.concat([session.data, bytes]); };
  request.on('error', () => {});
  request.on('data', (part) => {
    parts.push(part);
    const received = Buffer.concat(parts);
    if (received.length < interruptAt) return;
    interruptAt = Infinity;
    keep(received.subarray(0, received.length - received.length % (256 * KiB)));
    request.destroy();
  });
  request.on('end', () => {
    if (request.method === 'POST') {
      response.writeHead(200, { location: `${endpoint()}/session/${sessions.push({ data: Buffer.alloc(0) }) - 1}` }).end();
    } else if (request.headers['content-range'] === 'bytes */*') {
      response.writeHead(308, session.data.length ? { range: `bytes=0-${session.data.length - 1}` } : {}).end();
    } else {
      keep(Buffer.concat(parts));
      stored = session.data;
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ size: String(stored.length) }));
    }
  });
});
const endpoint = () => `http://127.0.0.1:${server.address().port}`;

/** Uploads `data` to the object, and returns how the stream ended. */
const send = (object, data, interrupt = Infinity) => new Promise((resolve) => {
  interruptAt = interrupt;
  const stream = upload({ bucket: 'bucket', file: object, apiEndpoint: endpoint(), configPath: `${process.cwd()}/config.json`, retryOptions: { autoRetry: false, maxRetries: 0 } });
  stream.on('error', () => resolve('interrupted')).on('finish', () => resolve('finish'));
  Readable.from(Array.from({ length: data.length / KiB / 64 }, (_, piece) => data.subarray(piece * 64 * KiB, (piece + 1) * 64 * KiB))).pipe(stream);
});
/** The letters of the data, each with the number of its bytes. */
const letters = (data) => [...new Set(data.toString('latin1'))].map((letter) => `${letter} ${data.filter((byte) => byte === letter.charCodeAt(0)).length}`).join(', ');
server.listen(0, '127.0.0.1', async () => {
  for (const same of [15, 16, 8000]) {
    const version = (letter) => Buffer.concat([Buffer.alloc(same, '-'), Buffer.alloc(1024 * KiB - same, letter)]);
    const before = sessions.length, how = [await send(`same-${same}`, version('m'), 600 * KiB), await send(`same-${same}`, version('f'))];
    console.log(`the first ${same} bytes are the same: ${how.join(', then ')}, in ${sessions.length - before} sessions; stored ${letters(stored)}, ${stored.equals(version('f')) ? 'the second version' : 'neither version'}`);
  }
  process.exit();
});
EOF
node probe.cjs > seen
expect_seen <<'EOF'
the first 15 bytes are the same: interrupted, then finish, in 2 sessions; stored - 15, f 1048561, the second version
the first 16 bytes are the same: interrupted, then finish, in 1 sessions; stored - 16, m 524272, f 524288, neither version
the first 8000 bytes are the same: interrupted, then finish, in 1 sessions; stored - 8000, m 516288, f 524288, neither version
EOF
