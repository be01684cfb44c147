#!/usr/bin/env bash
# @tus/gcs-store 2.0.1 with @tus/server 2.4.5, @google-cloud/storage 7.22.0 and tus-js-client 4.3.1 (npm)
#
# Expected: the store creates the object in the bucket with the type from `contentType` of the upload's metadata, and
#   the stored file has it.
# Actual: an object cannot be appended to, so each PATCH writes a new one, and passes on the metadata, but not the
#   type. The type is there until the first byte arrives: a file in one piece is application/octet-stream, one in
#   several pieces has no type at all. In the object's own metadata, the type is still right.
# Affected: films and pages that are served from the bucket: browsers download them instead of showing them. Set the
#   type again in onUploadFinish, or give names with an extension in namingFunction, whose type Google's library looks
#   up.
. "$(dirname "$0")/lib/common.sh"

npm_packages @google-cloud/storage@7.22.0 tus-js-client@4.3.1 @tus/server@2.4.5 @tus/gcs-store@2.0.1
cat > probe.mjs <<'EOF'
import { createHash } from 'node:crypto';
import http from 'node:http';
import { CRC32C, Storage } from '@google-cloud/storage';
import { GCSStore } from '@tus/gcs-store';
import { Server } from '@tus/server';
import tus from 'tus-js-client';

const listen = (server) => new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${server.address().port}`)));

// The part of Google's JSON API that the store uses: resumable uploads, compose, get, patch and delete of objects.
const objects = new Map(), uploads = [];
let generation = 0;
const put = (name, { contentType, metadata }, data) => objects.set(name, { name, contentType, metadata, data, generation: ++generation }).get(name);
const resource = ({ data, ...object }) => {
  const crc = new CRC32C();
  crc.update(data);
  return { kind: 'storage#object', bucket: 'bucket', ...object, generation: String(object.generation), size: String(data.length), crc32c: crc.toString(), md5Hash: createHash('md5').update(data).digest('base64') };
};
const bucket = http.createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  const body = Buffer.concat(parts), json = () => body.length ? JSON.parse(body) : {};
  const answer = (value, headers) => response.writeHead(value ? 200 : 404, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value ?? { error: { code: 404, message: 'Not Found' } }));
  const url = new URL(request.url, 'http://bucket'), [, name, compose] = /\/o\/([^/]+)(\/compose)?$/.exec(url.pathname) ?? [];
  if (url.pathname.startsWith('/upload/')) {
    const number = uploads.push({ contentType: request.headers['x-upload-content-type'] ?? 'application/octet-stream', ...json(), name: url.searchParams.get('name') }) - 1;
    answer({}, { location: `${endpoint}/session/${number}` });
  } else if (url.pathname.startsWith('/session/')) {
    const upload = uploads[url.pathname.split('/').pop()];
    answer(resource(put(upload.name, upload, body)));
  } else if (compose) {
    const { sourceObjects, destination } = json();
    answer(resource(put(name, destination ?? {}, Buffer.concat(sourceObjects.map((source) => objects.get(source.name).data)))));
  } else if (request.method === 'DELETE') {
    objects.delete(name);
    response.writeHead(204).end();
  } else {
    const object = objects.get(name);
    if (object && request.method === 'PATCH') Object.assign(object.metadata ??= {}, json().metadata);
    answer(object && resource(object));
  }
});
const endpoint = await listen(bucket);
const googleBucket = new Storage({ apiEndpoint: endpoint, projectId: 'project' }).bucket('bucket');
const typeOf = async (id) => (await googleBucket.file(id).getMetadata())[0].contentType;

for (const [title, options, chunkSize] of [['one piece', {}, Infinity], ['three pieces', {}, 1000], ['a name with an extension', { namingFunction: () => 'film.mp4' }, Infinity]]) {
  const tusd = new Server({ path: '/files', datastore: new GCSStore({ bucket: googleBucket }), ...options });
  const server = http.createServer((request, response) => tusd.handle(request, response)), address = await listen(server);
  let created;
  const upload = await new Promise((resolve, reject) => {
    const upload = new tus.Upload(Buffer.alloc(3000, 'x'), {
      endpoint: `${address}/files`, chunkSize, retryDelays: null, metadata: { contentType: 'video/mp4' }, onError: reject, onSuccess: () => resolve(upload),
      onAfterResponse: async (request, response) => { if (request.getMethod() === 'POST') created = await typeOf(response.getHeader('location').split('/').pop()); },
    });
    upload.start();
  });
  const [{ size, contentType, metadata }] = await googleBucket.file(upload.url.split('/').pop()).getMetadata();
  console.log(`${title}: created as ${created}, ${size} bytes stored as ${contentType}, metadata ${metadata.metadata}`);
}
process.exit();
EOF
node probe.mjs > seen
expect_seen <<'EOF'
one piece: created as video/mp4, 3000 bytes stored as application/octet-stream, metadata {"contentType":"video/mp4"}
three pieces: created as video/mp4, 3000 bytes stored as undefined, metadata {"contentType":"video/mp4"}
a name with an extension: created as video/mp4, 3000 bytes stored as video/mp4, metadata {"contentType":"video/mp4"}
EOF
