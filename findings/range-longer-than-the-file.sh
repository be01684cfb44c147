#!/usr/bin/env bash
# range-parser 1.3.0 (as in express 5.1.0), header-range-parser 2.0.0, @serwist/range-requests 8.4.4 (npm) and werkzeug
#   3.1.9 (PyPI); starlette 1.10.0 and aiohttp 3.14.5 (PyPI)
#
# Expected: if the last so many bytes are asked for, and the file is shorter, all of it is sent; a last position after
#   the end means the end (RFC 9110, 14.1.2).
# Actual: `bytes=-20` of ten bytes is 416 with four of the six. @serwist/range-requests refuses `bytes=5-99`, too, and
#   answers `bytes=5-10` with `Content-Range: bytes 5-10/10`, which is not valid: the position 10 does not exist.
# Affected: readers of the last 64 KiB or so, as of archives and media files: large files open, and small ones do not.
#   On 416 ask for the whole file.
. "$(dirname "$0")/lib/common.sh"

npm_packages express@5.1.0 range-parser@1.3.0 header-range-parser@2.0.0 @serwist/range-requests@8.4.4
python_packages env werkzeug==3.1.9 starlette==1.10.0 uvicorn==0.54.0 aiohttp==3.14.5
mkdir files && printf 0123456789 > files/digits
cat > probe.mjs <<'EOF'
import { once } from 'node:events';
import http from 'node:http';
import express from 'express';
import rangeParser from 'range-parser';
import { parseRange } from 'header-range-parser';
import { createPartialResponse } from '@serwist/range-requests';
const answer = async (response) => `${response.status} ${response.headers.get('content-range')} ${response.ok ? await response.text() : ''}`.trim();
const ways = {
  'range-parser': (range) => JSON.stringify(rangeParser(10, range)),
  'header-range-parser': (range) => JSON.stringify(parseRange(10, range)),
  express: async (range) => answer(await fetch(`http://127.0.0.1:${server.address().port}/digits`, { headers: { range } })),
  serwist: async (range) => answer(await createPartialResponse(new Request('http://localhost/', { headers: { range } }), new Response('0123456789'))),
};
const server = http.createServer(express().set('env', 'test').use(express.static('files'))).listen(0, '127.0.0.1');
await once(server, 'listening');
for (const [name, way] of Object.entries(ways)) {
  for (const range of ['bytes=-10', 'bytes=-20', 'bytes=5-10', 'bytes=5-99']) console.log(`${name}, ${range}: ${await way(range)}`);
}
process.exit();
EOF
cat > probe.py <<'EOF'
import asyncio, logging, os, socket, threading, urllib.error, urllib.request
import uvicorn, werkzeug.serving, werkzeug.utils, werkzeug.wrappers
from aiohttp import web
from starlette.staticfiles import StaticFiles

logging.disable(logging.CRITICAL)
listening = {name: socket.create_server(('127.0.0.1', 0)) for name in ['starlette', 'aiohttp', 'werkzeug']}


@werkzeug.wrappers.Request.application
def send(request):
    return werkzeug.utils.send_file(os.path.abspath('files/digits'), request.environ, conditional=True)


async def serve():
    application = web.Application()
    application.router.add_static('/', 'files')
    runner = web.AppRunner(application)
    await runner.setup()
    await web.SockSite(runner, listening['aiohttp']).start()
    await uvicorn.Server(uvicorn.Config(StaticFiles(directory='files'), log_config=None)).serve(sockets=[listening['starlette']])

flask = werkzeug.serving.make_server('127.0.0.1', 0, send, fd=listening['werkzeug'].fileno())
threading.Thread(target=flask.serve_forever, daemon=True).start()
threading.Thread(target=asyncio.run, args=(serve(),), daemon=True).start()
for name in ['werkzeug', 'starlette', 'aiohttp']:
    for wanted in ['bytes=-10', 'bytes=-20', 'bytes=5-10', 'bytes=5-99']:
        url = 'http://127.0.0.1:%d/digits' % listening[name].getsockname()[1]
        try:
            answer = urllib.request.urlopen(urllib.request.Request(url, headers={'Range': wanted}))
            said = '%d %s %s' % (answer.status, answer.headers['Content-Range'], answer.read().decode())
        except urllib.error.HTTPError as error:
            said = '%d %s' % (error.code, error.headers['Content-Range'])
        print('%s, %s: %s' % (name, wanted, said), flush=True)
os._exit(0)
EOF
{ NODE_ENV=production node probe.mjs; env/bin/python probe.py; } > seen
expect_seen <<'EOF'
range-parser, bytes=-10: [{"start":0,"end":9}]
range-parser, bytes=-20: -1
range-parser, bytes=5-10: [{"start":5,"end":9}]
range-parser, bytes=5-99: [{"start":5,"end":9}]
header-range-parser, bytes=-10: [{"end":9,"start":0}]
header-range-parser, bytes=-20: -1
header-range-parser, bytes=5-10: [{"end":9,"start":5}]
header-range-parser, bytes=5-99: [{"end":9,"start":5}]
express, bytes=-10: 206 bytes 0-9/10 0123456789
express, bytes=-20: 416 bytes */10
express, bytes=5-10: 206 bytes 5-9/10 56789
express, bytes=5-99: 206 bytes 5-9/10 56789
serwist, bytes=-10: 206 bytes 0-9/10 0123456789
serwist, bytes=-20: 416 null
serwist, bytes=5-10: 206 bytes 5-10/10 56789
serwist, bytes=5-99: 416 null
werkzeug, bytes=-10: 206 bytes 0-9/10 0123456789
werkzeug, bytes=-20: 416 bytes */10
werkzeug, bytes=5-10: 206 bytes 5-9/10 56789
werkzeug, bytes=5-99: 206 bytes 5-9/10 56789
starlette, bytes=-10: 206 bytes 0-9/10 0123456789
starlette, bytes=-20: 206 bytes 0-9/10 0123456789
starlette, bytes=5-10: 206 bytes 5-9/10 56789
starlette, bytes=5-99: 206 bytes 5-9/10 56789
aiohttp, bytes=-10: 206 bytes 0-9/10 0123456789
aiohttp, bytes=-20: 206 bytes 0-9/10 0123456789
aiohttp, bytes=5-10: 206 bytes 5-9/10 56789
aiohttp, bytes=5-99: 206 bytes 5-9/10 56789
EOF
