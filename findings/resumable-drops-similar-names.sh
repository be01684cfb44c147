#!/usr/bin/env bash
# resumablejs 1.1.0, @flowjs/flow.js 2.14.1 and simple-uploader.js 0.6.0 (npm): which file an upload is of
#
# Expected: every file that a person selects is uploaded, or refused with an event (fileAdded, "File API" of the
#   packages).
# Actual: a file is identified by its size and by the letters, digits, `-` and `_` of its name. A second file with the
#   same identifier is treated as the first one and left out: `v11.0.bin` and `v1.10.bin`, `photo1.jpg` and
#   `photo (1).jpg`, whenever their sizes are equal, as is common for memory images, encrypted files and fixed records.
#   There is no event and no error; servers that ask for received chunks by this identifier mix them across runs, too.
# Affected: some files of a folder of releases are missing. Set generateUniqueIdentifier to the digest of the content.
. "$(dirname "$0")/lib/common.sh"

npm_packages resumablejs@1.1.0 @flowjs/flow.js@2.14.1 simple-uploader.js@0.6.0
cat > probe.cjs <<'JS'
const { File } = require('node:buffer');
// What of a browser they look for when they are loaded.
Object.assign(globalThis, { File, FileList: class extends Array {}, window: globalThis, document: { documentElement: {}, createElement: () => ({}) } });
Object.defineProperty(globalThis, 'navigator', { value: { userAgent: '' }, configurable: true });
const selected = [['v1.10.bin', 'first'], ['v11.0.bin', 'other'], ['photo (1).jpg', 'ABCD'], ['photo1.jpg', 'WXYZ'], ['notes.txt', 'abc']];
for (const name of ['resumablejs', '@flowjs/flow.js', 'simple-uploader.js']) {
  const uploader = new (require(name))({ target: '/upload' });
  const events = [];
  uploader.on('fileAdded', (file) => events.push(file.fileName ?? file.name));
  uploader.on('fileError', (file) => events.push(`error ${file.name}`));
  for (const [file, content] of selected) uploader.addFile(new File([content], file));
  setTimeout(() => console.log(`${name}: ${uploader.files.map((file) => file.fileName ?? file.name).join(', ')}; events for ${events.length} of ${selected.length}`), 200);
}
JS
node probe.cjs > seen
expect_seen <<'EXPECTED'
resumablejs: v1.10.bin, photo (1).jpg, notes.txt; events for 3 of 5
@flowjs/flow.js: v1.10.bin, photo (1).jpg, notes.txt; events for 3 of 5
simple-uploader.js: v1.10.bin, photo (1).jpg, notes.txt; events for 3 of 5
EXPECTED
