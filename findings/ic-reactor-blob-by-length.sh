#!/usr/bin/env bash
# @ic-reactor/core 3.0.0 with @icp-sdk/core 5.4.0 (npm), blobs of DisplayReactor
#
# Expected: one type has one representation. Its README says: a blob of at most 32 bytes is a text of hexadecimal
#   digits.
# Actual: a blob of at most 512 bytes is such a text (an empty one is ""), a longer one is a Uint8Array. So the
#   representation depends on the length of the data, and from 33 to 512 bytes it differs from the README.
# Affected: anyone who reads a file in chunks: a short last chunk is a text. `new Blob(chunks)` accepts texts, too, so
#   that the file ends with digits instead of its bytes, without an error. Use Reactor for methods with bytes.
. "$(dirname "$0")/lib/common.sh"

npm_packages @ic-reactor/core@3.0.0 @icp-sdk/core@5.4.0 zod@4.6.7 @tanstack/query-core@5.108.4 esbuild@0.28.2
cat > probe.mjs <<'EOF'
import { didToDisplayCodec } from '@ic-reactor/core';
import { IDL } from '@icp-sdk/core/candid';
const chunk = IDL.Vec(IDL.Nat8);
// As DisplayReactor shows the reply of a method that returns a blob.
const show = (bytes) => didToDisplayCodec(chunk).asDisplay(IDL.decode([chunk], IDL.encode([chunk], [bytes]))[0]);
for (const length of [0, 32, 33, 512, 513]) {
  const shown = show(new Uint8Array(length));
  console.log(`${length} bytes: ${typeof shown === 'string' ? `text of ${shown.length}` : `${shown.constructor.name} of ${shown.length}`}`);
}
const file = new TextEncoder().encode('x'.repeat(1000) + 'the end');
const pieces = [file.subarray(0, 1000), file.subarray(1000)].map(show);
console.log('a file of 1007 bytes in two pieces ends with:', (await new Blob(pieces).text()).slice(1000));
EOF
npx --no-install esbuild probe.mjs --bundle --platform=node --format=esm --outfile=built.mjs --log-level=error
{
  sed -n 's/^| `vec nat8`[^0-9]*\([0-9]*\) bytes.*hex.*/README: text up to \1 bytes/p' node_modules/@ic-reactor/core/README.md
  node built.mjs
} > seen
expect_seen <<'EOF'
README: text up to 32 bytes
0 bytes: text of 0
32 bytes: text of 64
33 bytes: text of 66
512 bytes: text of 1024
513 bytes: Uint8Array of 513
a file of 1007 bytes in two pieces ends with: 74686520656e64
EOF
