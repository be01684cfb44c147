#!/usr/bin/env bash
# gcs-browser-upload 1.0.2 (npm)
#
# Expected: "if the page is closed and re-opened for some reason, the upload can be resumed by passing the same file and
#   URL back" (its README); a finished start() means that the file is stored. A server that has received nothing yet
#   answers without `range` (Cloud Storage, Resumable uploads, Check the status).
# Actual: the checksum of a piece covers all pieces since the upload was begun or continued, but is compared with a
#   checksum over all pieces of the file. So an upload that was continued once cannot be continued again: it starts from
#   the first piece. With a new URL for the same id, as after a week, every attempt is a TypeError. An empty file is not
#   sent at all, although start() returns.
# Affected: people with a large file and a bad connection: from the second interruption on, each one costs the whole
#   file again.
. "$(dirname "$0")/lib/common.sh"

npm_packages gcs-browser-upload@1.0.2 regenerator-runtime@0.14.1
cat > probe.mjs <<'EOF'
import http from 'node:http';
import 'regenerator-runtime/runtime.js';

const stored = new Map(), kept = new Map(), size = 256 * 1024;
globalThis.window = {
  localStorage: { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value), removeItem: (key) => kept.delete(key) },
  FileReader: class {
    readAsArrayBuffer(blob) {
      blob.arrayBuffer().then((bytes) => { this.result = bytes; this.onload(); });
    }
  },
};
const { default: { default: Upload } } = await import('gcs-browser-upload');

// A server of resumable uploads, which stops to answer after a number of pieces.
let left, sent;
const server = http.createServer((request, response) => {
  const range = request.headers['content-range'].match(/bytes (?:\*|(\d+)-(\d+))\/(\d+)/), parts = [];
  request.on('data', (part) => parts.push(part)).on('end', () => {
    let bytes = stored.get(request.url) ?? 0;
    if (range[1] !== undefined) {
      if (left-- === 0) return request.socket.destroy();
      sent.push(Number(range[1]) / size);
      if (Number(range[1]) <= bytes) bytes = Math.max(bytes, Number(range[2]) + 1);
      stored.set(request.url, bytes);
    }
    const complete = bytes === Number(range[3]);
    response.writeHead(complete ? 200 : 308, !complete && bytes ? { range: `bytes=0-${bytes - 1}` } : {}).end();
  });
}).listen(0, '127.0.0.1', async () => {
  const address = `http://127.0.0.1:${server.address().port}`;
  const start = async (what, path, file, pieces) => {
    [left, sent] = [pieces, []];
    const outcome = await new Upload({ id: 'film', url: address + path, file, chunkSize: size }).start().then(() => 'done', (error) => error.constructor.name);
    console.log(`${what}: pieces ${sent.join(' ') || 'none'}; ${outcome}`);
  };
  const film = new Blob([Buffer.alloc(6 * size, 1)]);
  await start('begun, interrupted after 2 pieces', '/first', film, 2);
  await start('continued, interrupted after 2 pieces', '/first', film, 2);
  await start('continued again', '/first', film, Infinity);
  await start('begun, interrupted after 1 piece', '/second', film, 1);
  await start('continued with a new address', '/third', film, Infinity);
  await start('and again', '/third', film, Infinity);
  kept.clear();
  await start('an empty file', '/fourth', new Blob([]), Infinity);
  process.exit();
});
EOF
node probe.mjs > seen
expect_seen <<'EOF'
begun, interrupted after 2 pieces: pieces 0 1; Error
continued, interrupted after 2 pieces: pieces 2 3; Error
continued again: pieces 0 1 2 3 4 5; done
begun, interrupted after 1 piece: pieces 0; Error
continued with a new address: pieces none; TypeError
and again: pieces none; TypeError
an empty file: pieces none; done
EOF
