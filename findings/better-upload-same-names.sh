#!/usr/bin/env bash
# @better-upload/client 3.0.19 and @better-upload/server 3.0.19 (npm), uploads to S3
#
# Expected: uploadFiles sends every file to the address that the server signed for it, and returns those that could
#   not be uploaded in failedFiles. CompleteMultipartUpload may be answered with 200 and an error in the body, so that
#   clients have to read it (Amazon S3 API reference).
# Actual: the address of a file is looked up by name, size and type. Of files that agree in these, from different
#   folders, all are sent to the first address: one overwrites the other, the other object never exists, and its file
#   is neither in files nor in failedFiles. The first is reported as complete under its key, with the bytes of the
#   last. Of the answer to CompleteMultipartUpload only the status is read: a large file that S3 could not put
#   together is complete.
# Affected: folders with parts of films (a/init.mp4, b/init.mp4), snapshots or fixed records of one size. Make a new
#   File whose name has the folder in it, and ask for the object after the upload.
. "$(dirname "$0")/lib/common.sh"

npm_packages @better-upload/client@3.0.19 @better-upload/server@3.0.19 react@19.2.0 jsdom@24.1.3
cat > probe.mjs <<'EOF'
import http from 'node:http';
import { JSDOM } from 'jsdom';
import { uploadFiles } from '@better-upload/client';
import { handleRequest, route } from '@better-upload/server';
import { custom } from '@better-upload/server/clients';

const { window } = new JSDOM('', { url: 'http://127.0.0.1/' }), { File } = window;
globalThis.XMLHttpRequest = window.XMLHttpRequest;
const listen = (handler) => new Promise((resolve) => {
  const server = http.createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    handler(request, Buffer.concat(parts), response);
  }).listen(0, '127.0.0.1', () => resolve(`127.0.0.1:${server.address().port}`));
});

// S3, as far as it is used: objects, and uploads in parts. `broken` is the answer of an S3 that cannot put parts together.
let objects, broken;
const s3 = await listen((request, body, response) => {
  const url = new URL(request.url, 'http://s3'), key = url.pathname.replace('/bucket/', ''), cors = { 'access-control-allow-origin': '*' };
  const answer = (text, headers) => response.writeHead(200, { ...cors, ...headers }).end(text);
  if (request.method === 'OPTIONS') return answer('', { 'access-control-allow-headers': request.headers['access-control-request-headers'] ?? '*', 'access-control-allow-methods': 'PUT' });
  if (url.searchParams.has('uploads')) return answer('<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>');
  if (url.searchParams.has('partNumber')) return answer('', { etag: '"part"', 'access-control-expose-headers': 'ETag' });
  if (request.method === 'POST') {
    if (broken) return answer('<?xml version="1.0" encoding="UTF-8"?><Error><Code>InternalError</Code><Message>We encountered an internal error. Please try again.</Message></Error>');
    objects[key] = 'from parts';
    return answer('<CompleteMultipartUploadResult><ETag>"whole"</ETag></CompleteMultipartUploadResult>');
  }
  objects[key] = String(body);
  answer('');
});

const folder = (multipart) => route({
  multipleFiles: true, maxFiles: 10, maxFileSize: 2 ** 30, ...multipart && { multipart, partSize: 5 * 2 ** 20 },
  onBeforeUpload: () => { let number = 0; return { generateObjectInfo: ({ file }) => ({ key: `${++number}-${file.name}` }) }; },
});
const router = { client: custom({ host: s3, accessKeyId: 'key', secretAccessKey: 'secret', region: 'us-east-1', secure: false, forcePathStyle: true }), bucketName: 'bucket', routes: { folder: folder(false), large: folder(true) } };
const app = await listen(async (request, body, response) => {
  const answer = await handleRequest(new Request(`http://${app}/`, { method: 'POST', body, headers: { 'content-type': 'application/json' } }), router);
  response.writeHead(answer.status).end(await answer.text());
});

const run = async (title, route, files, uploadBatchSize) => {
  objects = {};
  const result = await uploadFiles({ api: `http://${app}/`, route, files, uploadBatchSize });
  const keys = (list) => list.map(({ objectInfo }) => objectInfo.key).join(', ') || 'none';
  console.log(`${title}: files ${keys(result.files)}; failedFiles ${keys(result.failedFiles)}; stored ${JSON.stringify(objects)}`);
};
const file = (name, content) => new File([content], name, { type: 'video/mp4' });
await run('other sizes', 'folder', [file('init.mp4', 'of a'), file('init.mp4', 'of b, longer')], 1);
await run('same size', 'folder', [file('init.mp4', 'of a'), file('init.mp4', 'of b'), file('end.mp4', 'of b')], 1);
const film = file('film.mp4', new Uint8Array(6 * 2 ** 20));
await run('in parts', 'large', [film]);
broken = true;
await run('in parts, S3 answers with an error', 'large', [film]);
process.exit();
EOF
node probe.mjs > seen
expect_seen <<'EOF'
other sizes: files 1-init.mp4, 2-init.mp4; failedFiles none; stored {"1-init.mp4":"of a","2-init.mp4":"of b, longer"}
same size: files 1-init.mp4, 3-end.mp4; failedFiles none; stored {"1-init.mp4":"of b","3-end.mp4":"of b"}
in parts: files 1-film.mp4; failedFiles none; stored {"1-film.mp4":"from parts"}
in parts, S3 answers with an error: files 1-film.mp4; failedFiles none; stored {}
EOF
