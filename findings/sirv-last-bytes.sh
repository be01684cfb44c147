#!/usr/bin/env bash
# sirv 3.0.2 (npm) with the client seekablehttpfile 0.1.1 (PyPI)
#
# Expected: `Range: bytes=-4` asks for the last four bytes, `bytes=0-0` for the first one, and a unit that the server
#   does not know is ignored: the answer is the whole file with 200 (RFC 9110, 14.1.2 and 14.2).
# Actual: sirv reads the number after the hyphen as the last position, also where none is in front of it: the answer to
#   `bytes=-4` is 206 with the first five bytes. The zero of `bytes=0-0` counts as not given, so all bytes are sent, and
#   `items=0-3` is answered as if it said bytes. express answers as expected.
# Affected: readers that begin at the end of a file, as of ZIP archives, PDF and Parquet files: they get its beginning
#   with a success code. An archive of up to the size of the first request opens, a larger one is "not a zip file". Ask
#   for the length first, and then for positions.
. "$(dirname "$0")/lib/common.sh"

npm_packages sirv@3.0.2 express@5.1.0
python_packages env seekablehttpfile==0.1.1
cat > server.mjs <<'EOF'
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
if (!isMainThread) {
  const { default: express } = await import('express');
  const { default: sirv } = await import('sirv');
  const handler = workerData === 'sirv' ? sirv('files', { dev: true }) : express().use(express.static('files'));
  const server = http.createServer(handler).listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
} else {
  for (const name of ['sirv', 'express']) {
    const worker = new Worker(new URL(import.meta.url), { workerData: name });
    const [port] = await once(worker, 'message');
    for (const range of ['bytes=2-4', 'bytes=-4', 'bytes=0-0', 'items=0-3']) {
      const answer = await fetch(`http://127.0.0.1:${port}/digits`, { headers: { range } });
      console.log(`${name}, ${range}: ${answer.status}, ${answer.headers.get('content-range')}, ${await answer.text()}`);
    }
    for (const file of ['small.zip', 'large.zip']) {
      console.log(`${name}, ${file}: ${spawnSync('env/bin/python', ['probe.py', `http://127.0.0.1:${port}/${file}`], { encoding: 'utf8' }).stdout.trim()}`);
    }
    await worker.terminate();
  }
}
EOF
cat > probe.py <<'EOF'
import sys
import zipfile
from seekablehttpfile import SeekableHttpFile
try:
    print(zipfile.ZipFile(SeekableHttpFile(sys.argv[1])).namelist())
except zipfile.BadZipFile as error:
    print('error, %s' % error)
EOF
python3 - <<'EOF'
import os
import zipfile
os.mkdir('files')
open('files/digits', 'w').write('0123456789')
for name, size in [('small.zip', 1000), ('large.zip', 400000)]:
    with zipfile.ZipFile('files/' + name, 'w') as archive:
        archive.writestr('snapshot.bin', bytes(size))
        archive.writestr('notes.txt', 'hello')
EOF
node server.mjs > seen
expect_seen <<'EOF'
sirv, bytes=2-4: 206, bytes 2-4/10, 234
sirv, bytes=-4: 206, bytes 0-4/10, 01234
sirv, bytes=0-0: 206, bytes 0-9/10, 0123456789
sirv, items=0-3: 206, bytes 0-3/10, 0123
sirv, small.zip: ['snapshot.bin', 'notes.txt']
sirv, large.zip: error, File is not a zip file
express, bytes=2-4: 206, bytes 2-4/10, 234
express, bytes=-4: 206, bytes 6-9/10, 6789
express, bytes=0-0: 206, bytes 0-0/10, 0
express, items=0-3: 200, null, 0123456789
express, small.zip: ['snapshot.bin', 'notes.txt']
express, large.zip: ['snapshot.bin', 'notes.txt']
EOF
