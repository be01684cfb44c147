#!/usr/bin/env bash
# @mux/upchunk 3.5.0 and huge-uploader 1.2.0 (npm): pause and resume of a chunked upload
#
# Expected: pause() stops after the chunk that is being sent, resume() continues with the next one ("Pauses an upload
#   after the current in-flight chunk is finished uploading", documentation of upchunk; huge-uploader: togglePause).
# Actual: if resume() is called before that chunk has been answered, two loops send chunks. The loops of upchunk share
#   the reader, but each counts from the chunk in flight: every later chunk is stored one position too early, the last
#   position stays empty, and there is a success event, or even two. huge-uploader sends a chunk twice, and reports
#   "finish" while the last one is still in flight. If resume() is called after the answer, both work correctly.
# Affected: a double click on "pause" spoils a film, and the page says that it is stored. Compare a digest at the end,
#   and allow resume() only after the answer of the chunk.
. "$(dirname "$0")/lib/common.sh"

npm_packages @mux/upchunk@3.5.0 huge-uploader@1.2.0
cat > probe.mjs <<'JS'
import { File } from 'node:buffer';
import { createRequire } from 'node:module';
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const SIZE = 256 * 1024, content = Buffer.concat([...'abcd'].map((letter) => Buffer.alloc(SIZE, letter)));
let stored, sent, answerFirst;

// A server that stores each chunk where its header says, and takes 200 ms for it; for the first one as long as it is told to.
const store = async (position, body, name) => {
  const bytes = Buffer.from(await body.arrayBuffer());
  sent.push(name);
  await (sent.length === 1 ? new Promise((resolve) => { answerFirst = resolve; }) : wait(200));
  bytes.copy(stored, position);
};
// What of a browser both use.
Object.assign(globalThis, { File, window: globalThis, addEventListener() {} });
Object.defineProperty(globalThis, 'navigator', { value: { onLine: true }, configurable: true });
globalThis.FileReader = class { async readAsArrayBuffer(blob) { this.result = await blob.arrayBuffer(); this.onload(); } };
globalThis.XMLHttpRequest = class {
  upload = {};
  headers = {};
  open() {}
  setRequestHeader(name, value) { this.headers[name.toLowerCase()] = value; }
  getAllResponseHeaders() { return ''; }
  async send(body) {
    const position = Number(this.headers['content-range'].match(/\d+/)[0]);
    await store(position, body, position / SIZE);
    Object.assign(this, { status: 200, readyState: 4, responseText: '' }).onload();
  }
};
globalThis.fetch = async (_, { headers, body }) => {
  const number = headers['uploader-chunk-number'];
  await store(number * SIZE, body.get('file'), number);
  return { status: 200, text: async () => '' };
};

const letters = () => [0, 1, 2, 3].map((chunk) => String.fromCharCode(stored[chunk * SIZE] || 0x2d)).join('');
const run = async (name, begin, when) => {
  [stored, sent] = [Buffer.alloc(content.length), []];
  const said = [], upload = begin(new File([content], 'film.mp4'), () => said.push(letters()));
  while (!answerFirst) await wait(5);
  upload.pause();
  if (when === 'after') answerFirst(await wait(100));
  await wait(200);
  upload.resume();
  if (when === 'before') answerFirst(await wait(20));
  answerFirst = undefined;
  await wait(2500);
  console.log(`${name}, resumed ${when} the answer: sent ${sent.join(' ')}; done with ${said.join(' and with ')}; stored ${letters()}`);
};
const { createUpload } = await import('@mux/upchunk');
const upchunk = (file, done) => {
  const upload = createUpload({ endpoint: '/upload', file, chunkSize: SIZE / 1024 });
  upload.on('success', done);
  return upload;
};
const required = createRequire(import.meta.url)('huge-uploader'), HugeUploader = required.default ?? required;
const huge = (file, done) => {
  const upload = new HugeUploader({ endpoint: '/upload', file, chunkSize: SIZE / 1e6 });
  upload.on('finish', done);
  return { pause: () => upload.togglePause(), resume: () => upload.togglePause() };
};
for (const when of ['after', 'before']) {
  await run('upchunk', upchunk, when);
  await run('huge-uploader', huge, when);
}
JS
node probe.mjs > seen
expect_seen <<'EXPECTED'
upchunk, resumed after the answer: sent 0 1 2 3; done with abcd; stored abcd
huge-uploader, resumed after the answer: sent 0 1 2 3; done with abcd; stored abcd
upchunk, resumed before the answer: sent 0 0 1 2; done with bc-- and with bcd-; stored bcd-
huge-uploader, resumed before the answer: sent 0 0 1 2 3; done with abc- and with abcd; stored abcd
EXPECTED
