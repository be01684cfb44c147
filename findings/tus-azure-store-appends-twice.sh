#!/usr/bin/env bash
# @tus/azure-store 2.0.2 with @tus/server 2.4.5, @azure/storage-blob 12.32.0 and the emulator azurite 3.35.0 (npm)
#
# Expected: bytes that the server has accepted are stored once, and an upload is complete when its offset is its
#   length (tus resumable upload protocol 1.0.0, Core protocol). Append Block is not idempotent; for requests that may
#   be repeated there is the condition x-ms-blob-condition-appendpos (Azure, Append Block).
# Actual: a piece is appended without that condition, while Azure's library repeats a request whose answer was lost.
#   The piece is stored twice, and the offset counts it once: the upload is complete, the client gets success, and the
#   blob is too long and wrong from the end of that piece on.
# Affected: whoever stores uploads at Azure: a connection that ends between the append and its answer spoils a file,
#   and nobody is told. Compare the size of the blob with the length in onUploadFinish.
. "$(dirname "$0")/lib/common.sh"

npm_packages azurite@3.35.0 @azure/storage-blob@12.32.0 tus-js-client@4.3.1 @tus/server@2.4.5 @tus/azure-store@2.0.2
cat > probe.mjs <<'EOF'
import { spawn } from 'node:child_process';
import http from 'node:http';
import { AzureStore } from '@tus/azure-store';
import { BlobServiceClient, StorageSharedKeyCredential } from '@azure/storage-blob';
import { Server } from '@tus/server';
import tus from 'tus-js-client';

const listen = (server) => new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));
const free = http.createServer(), blobPort = await listen(free);
await new Promise((resolve) => free.close(resolve));
const azurite = spawn('node', ['node_modules/azurite/dist/src/blob/main.js', '--inMemoryPersistence', '--disableTelemetry', '--skipApiVersionCheck',
  '--blobHost', '127.0.0.1', '--blobPort', String(blobPort)]);
process.on('exit', () => azurite.kill());
await new Promise((resolve) => azurite.stdout.on('data', (text) => { if (/successfully listens/.test(text)) resolve(); }));

// Passes requests on to the emulator, and loses the answer of the append with the given number.
let appends = 0, lost;
const proxy = http.createServer((request, response) => {
  const forwarded = http.request({ host: '127.0.0.1', port: blobPort, method: request.method, path: request.url, headers: request.headers }, (answer) => {
    if (request.url.includes('comp=appendblock') && ++appends === lost) {
      answer.resume().on('end', () => response.destroy());
    } else {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    }
  });
  request.pipe(forwarded);
});
// The account of the emulator, which is the same for everybody.
const account = new StorageSharedKeyCredential('devstoreaccount1', 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==');
const client = new BlobServiceClient(`http://127.0.0.1:${await listen(proxy)}/devstoreaccount1`, account).getContainerClient('uploads');
await client.create();

const tusd = new Server({ path: '/files', datastore: new AzureStore({ client }) });
const server = http.createServer((request, response) => tusd.handle(request, response)), endpoint = `http://127.0.0.1:${await listen(server)}/files`;
for (const [name, number] of [['every answer arrives', 0], ['the first answer is lost', 1], ['the last answer is lost', 2]]) {
  appends = 0; lost = number;
  let patches = 0;
  const upload = await new Promise((resolve, reject) => {
    const upload = new tus.Upload(Buffer.from('0123456789abcdefghij'), {
      endpoint, chunkSize: 10, retryDelays: null, onError: reject, onSuccess: () => resolve(upload),
      onBeforeRequest: (request) => { patches += request.getMethod() === 'PATCH'; },
    });
    upload.start();
  });
  const head = await fetch(upload.url, { method: 'HEAD', headers: { 'Tus-Resumable': '1.0.0' } });
  const blob = await client.getBlobClient(upload.url.split('/').pop()).downloadToBuffer();
  console.log(`${name}: success, ${patches} pieces sent, ${appends} appended, offset ${head.headers.get('upload-offset')} of ${head.headers.get('upload-length')}, stored ${blob}`);
}
process.exit();
EOF
node probe.mjs > seen
expect_seen <<'EOF'
every answer arrives: success, 2 pieces sent, 2 appended, offset 20 of 20, stored 0123456789abcdefghij
the first answer is lost: success, 2 pieces sent, 3 appended, offset 20 of 20, stored 01234567890123456789abcdefghij
the last answer is lost: success, 2 pieces sent, 3 appended, offset 20 of 20, stored 0123456789abcdefghijabcdefghij
EOF
