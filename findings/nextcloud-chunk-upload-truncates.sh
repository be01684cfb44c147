#!/usr/bin/env bash
# nextcloud-chunk-file-upload 1.1.0 (npm)
#
# Expected: uploadFile uploads the file in chunks; `complete` of its event tells whether the upload was successful
#   (README). A stream whose read() returns null has no data for now; its end is the event 'end' (Node.js
#   documentation, Stream).
# Actual: the first null of read() is taken for the end of the file. If the server stores a chunk faster than the disk
#   delivers the next one, the chunks so far are put together, and the event says complete, without an error.
# Affected: backups from network drives and busy disks to a server nearby, and programs that compute digests of files
#   at the same time: the stored file is truncated at some chunk. Compare its size with the local one.
. "$(dirname "$0")/lib/common.sh"

npm_packages nextcloud-chunk-file-upload@1.1.0
cat > probe.cjs <<'EOF'
const fs = require('node:fs'), http = require('node:http');
const Upload = require('nextcloud-chunk-file-upload');
const MiB = 2 ** 20, [disk, network] = process.argv.slice(2).map(Number);
fs.writeFileSync('film', Buffer.alloc(20 * MiB, 'x'));

// A disk that takes `disk` ms for each read.
const { read } = fs;
fs.read = (...parameters) => setTimeout(() => read(...parameters), disk);

// Nextcloud's uploads in chunks, with answers after `network` ms: MKCOL, PUT of the chunks, and MOVE, which puts them together.
const chunks = {};
let stored = 0;
const server = http.createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  if (request.method === 'PUT') chunks[request.url] = Buffer.concat(parts);
  if (request.method === 'MOVE') stored = Buffer.concat(Object.keys(chunks).sort().map((name) => chunks[name])).length;
  setTimeout(() => response.writeHead(201).end(), network);
}).listen(0, '127.0.0.1', async () => {
  const uploader = new Upload(`http://127.0.0.1:${server.address().port}/remote.php/dav`, 'user', 'user', 'password');
  const { complete, message } = await uploader.uploadFile('film', 'film', 2 * MiB).catch((event) => event);
  console.log(`disk ${disk} ms, network ${network} ms: complete ${complete}, message ${message}, stored ${stored / MiB} of 20 MiB`);
  process.exit();
});
EOF
{ node probe.cjs 1 200; node probe.cjs 200 1; } > seen
expect_seen <<'EOF'
disk 1 ms, network 200 ms: complete true, message null, stored 20 of 20 MiB
disk 200 ms, network 1 ms: complete true, message null, stored 2 of 20 MiB
EOF
