#!/usr/bin/env bash
# koa-range 0.3.0 with koa 3.0.3 (npm)
#
# Expected: if the last position is not within the file, the range ends with the file; `bytes=-4` asks for the last four
#   bytes; a range that begins at or after the end is 416 with `Content-Range: bytes */10` (RFC 9110, 14.1.2 and
#   15.5.17).
# Actual: the end of the file is not looked at. `bytes=8-11` of ten bytes is answered with a Content-Length of 4 and two
#   bytes, so the client fails while it reads; `bytes=10-13` is 206 with `Content-Range: bytes 10-13/10`. `bytes=-4` is
#   416, without the size.
# Affected: downloads in pieces of a fixed size, and with a client that continues where it stopped: all pieces arrive
#   but the last one, unless the size is a multiple of that of the pieces, and no retry helps. Never ask for more than
#   the size in Content-Range of the first answer.
. "$(dirname "$0")/lib/common.sh"

npm_packages koa@3.0.3 koa-range@0.3.0
cat > probe.mjs <<'EOF'
import { once } from 'node:events';
import http from 'node:http';
import Koa from 'koa';
import range from 'koa-range';
const app = new Koa().use(range).use((context) => { context.body = Buffer.from('0123456789'); });
app.silent = true;
const server = http.createServer(app.callback()).listen(0, '127.0.0.1');
await once(server, 'listening');
const show = async (range) => {
  const answer = await fetch(`http://127.0.0.1:${server.address().port}/`, { headers: { range } });
  const { status, headers } = answer;
  const body = await answer.text().catch((error) => `error, ${error.cause?.message ?? error.message}`);
  console.log(`${range}: ${status}, Content-Range ${headers.get('content-range')}, Content-Length ${headers.get('content-length')}: ${body}`);
};
console.log('in pieces of 4');
for (const piece of ['bytes=0-3', 'bytes=4-7', 'bytes=8-11']) await show(piece);
console.log('others');
for (const other of ['bytes=8-', 'bytes=-4', 'bytes=10-13', 'bytes=10-']) await show(other);
process.exit();
EOF
node --no-deprecation probe.mjs > seen 2> errors
expect_seen <<'EOF'
in pieces of 4
bytes=0-3: 206, Content-Range bytes 0-3/10, Content-Length 4: 0123
bytes=4-7: 206, Content-Range bytes 4-7/10, Content-Length 4: 4567
bytes=8-11: 206, Content-Range bytes 8-11/10, Content-Length 4: error, other side closed
others
bytes=8-: 206, Content-Range bytes 8-9/10, Content-Length 2: 89
bytes=-4: 416, Content-Range null, Content-Length 21: Range Not Satisfiable
bytes=10-13: 206, Content-Range bytes 10-13/10, Content-Length 4: error, other side closed
bytes=10-: 206, Content-Range bytes 10-9/10, Content-Length 0: 
EOF
