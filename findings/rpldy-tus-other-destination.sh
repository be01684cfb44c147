#!/usr/bin/env bash
# @rpldy/tus-sender 1.9.1 with @rpldy/uploader 1.9.1 (npm, react-uploady), @tus/server 2.4.5
#
# Expected: a file that is added is sent to `destination.url`, with `params` as its metadata (README); with `resume`,
#   an interrupted upload is continued. With `deferLength`, the length is sent with the next PATCH once it is known
#   (tus resumable upload protocol 1.0.0, Creation, Upload-Defer-Length).
# Actual: addresses of uploads are kept in the localStorage by name, type, size and date of the file, without the
#   destination and the params, also after success. A file that was uploaded once is never sent to another server, or
#   to another folder of the same one: the event is FILE-FINISH, with the address of the first upload. With
#   `deferLength` (and `parallel: 0`, without which the option is ignored) the length is never sent: the event is
#   FILE-FINISH, too, and the server waits for more.
# Affected: pages that upload a file to a second place, or move from a test server to the final one: the file is
#   missing there, and the page says that it is stored. Set a storagePrefix for each destination and its params.
. "$(dirname "$0")/lib/common.sh"

npm_packages @rpldy/uploader@1.9.1 @rpldy/tus-sender@1.9.1 @rpldy/chunked-sender@1.9.1 @rpldy/sender@1.9.1 @rpldy/shared@1.9.1 \
  @rpldy/simple-state@1.9.1 @rpldy/life-events@1.9.1 @rpldy/safe-storage@1.9.1 react@18.3.1 react-dom@18.3.1 jsdom@24.1.3 @tus/server@2.4.5 @tus/file-store@2.1.1
cat > probe.cjs <<'EOF'
const http = require('node:http'), { mkdirSync } = require('node:fs'), { JSDOM } = require('jsdom');
const { window } = new JSDOM('', { url: 'http://127.0.0.1/' });
for (const name of ['document', 'XMLHttpRequest', 'FormData', 'File', 'FileList', 'Blob', 'localStorage', 'sessionStorage']) globalThis[name] = window[name];
globalThis.window = window;
const createUploader = require('@rpldy/uploader').default, tusEnhancer = require('@rpldy/tus-sender').default;

const servers = {};
const start = async (name) => {
  const [{ Server }, { FileStore }] = await Promise.all([import('@tus/server'), import('@tus/file-store')]);
  mkdirSync(name);
  const tusd = new Server({ path: '/files', datastore: new FileStore({ directory: name }) });
  const server = http.createServer((request, response) => {
    if (request.method === 'PATCH') servers[name].sent += Number(request.headers['content-length']);
    tusd.handle(request, response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  servers[name] = { url: `http://127.0.0.1:${server.address().port}/files`, sent: 0 };
};

const upload = async (title, file, to, params, options) => {
  const before = servers[to].sent;
  const [event, { uploadResponse }] = await new Promise((resolve) => {
    const uploader = createUploader({ destination: { url: servers[to].url, params }, enhancer: tusEnhancer(options) });
    for (const event of ['FILE-FINISH', 'FILE-ERROR']) uploader.on(event, (item) => resolve([event, item]));
    uploader.add(file);
  });
  const { location } = uploadResponse, at = Object.keys(servers).find((name) => location.startsWith(servers[name].url));
  const { headers } = await fetch(location, { method: 'HEAD', headers: { 'Tus-Resumable': '1.0.0' } });
  console.log(`${title}: ${event}, ${servers[to].sent - before} bytes sent to ${to}, stored at ${at}, offset ${headers.get('upload-offset')} of ${headers.get('upload-length')}, metadata ${headers.get('upload-metadata')}`);
};

(async () => {
  await start('first');
  await start('second');
  const file = new window.File(['twelve bytes'], 'notes.txt', { type: 'text/plain', lastModified: 1 }), folder = (name) => ({ folder: name });
  await upload('to the first server', file, 'first', folder('a'));
  await upload('to the second server', file, 'second', folder('a'));
  await upload('to another folder', file, 'first', folder('b'));
  await upload('to another folder, with prefixes', file, 'first', folder('b'), { storagePrefix: 'first/b' });
  await upload('deferLength', new window.File(['twelve bytes'], 'recording'), 'first', {}, { deferLength: true, parallel: 0, chunkSize: 5 });
  process.exit();
})();
EOF
node probe.cjs > seen
expect_seen <<'EOF'
to the first server: FILE-FINISH, 12 bytes sent to first, stored at first, offset 12 of 12, metadata folder YQ==
to the second server: FILE-FINISH, 0 bytes sent to second, stored at first, offset 12 of 12, metadata folder YQ==
to another folder: FILE-FINISH, 0 bytes sent to first, stored at first, offset 12 of 12, metadata folder YQ==
to another folder, with prefixes: FILE-FINISH, 12 bytes sent to first, stored at first, offset 12 of 12, metadata folder Yg==
deferLength: FILE-FINISH, 12 bytes sent to first, stored at first, offset 12 of null, metadata null
EOF
