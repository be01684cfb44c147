#!/usr/bin/env bash
# @tokenizer/range 0.13.1 (npm), reading a file by range requests
#
# Expected: what is read at a position are the bytes of the file at that position, and reading goes on after them
#   (documentation of strtok3, whose interface it has: the option `position` says where to read).
# Actual: pieces that were loaded are put together if they overlap or are next to each other, and also if one byte is
#   missing between them: the later piece is stored one place too early, so that all its bytes are those of the next
#   position, without an error. With `position: 0` the right bytes are read, but reading goes on from where it was
#   before.
# Affected: readers of media and archive files that jump over a part of them: if a jump leaves one byte after a piece of
#   minimumChunkSize, what follows is misread. Gaps of other sizes are fine, so it depends on the file.
. "$(dirname "$0")/lib/common.sh"

npm_packages @tokenizer/range@0.13.1
cat > probe.mjs <<'EOF'
import { tokenizer } from '@tokenizer/range';
const file = Uint8Array.from('abcdefghijklmnopqrstuvwxyz', (letter) => letter.charCodeAt(0));
const open = () => tokenizer({
  getHeadInfo: async () => ({ size: file.length, acceptPartialRequests: true }),
  getResponse: async (method, [first, last]) => ({ arrayBuffer: async () => file.slice(first, last + 1) }),
  abort: () => {},
}, { minimumChunkSize: 4 });
const read = async (reader, length, position) => {
  const bytes = new Uint8Array(length);
  await reader.readBuffer(bytes, { position });
  return JSON.stringify(new TextDecoder().decode(bytes));
};
for (const gap of [0, 1, 2, 3]) {
  const reader = await open();
  const first = await read(reader, 4, 0);
  await reader.ignore(gap);
  console.log(`${first}, ${gap} skipped: ${await read(reader, 4)}`);
}
const reader = await open();
console.log(`at 10: ${await read(reader, 4, 10)}, at 0: ${await read(reader, 4, 0)}, and then: ${await read(reader, 4)}`);
console.log(`at 10: ${await read(reader, 4, 10)}, at 1: ${await read(reader, 4, 1)}, and then: ${await read(reader, 4)}`);
EOF
node probe.mjs > seen
expect_seen <<'EOF'
"abcd", 0 skipped: "efgh"
"abcd", 1 skipped: "ghi\u0000"
"abcd", 2 skipped: "ghij"
"abcd", 3 skipped: "hijk"
at 10: "klmn", at 0: "abcd", and then: "stuv"
at 10: "klmn", at 1: "bcde", and then: "fghi"
EOF
