#!/usr/bin/env bash
# hash.js 1.1.7 and @chainsafe/as-sha256 1.2.5 (npm), SHA-256 piece by piece
#
# Expected: the digest of any message of up to 2^64 - 1 bits; its length is appended as a number of 64 bits (FIPS 180-4,
#   5.1.1). Neither package says that it has a smaller limit.
# Actual: hash.js appends the length as 32 bits: from 512 MiB on each digest is wrong (the whole SHA-2 family shares
#   this code). as-sha256 is wrong from 2 GiB on. Neither throws; smaller files are right, so that tests do not show it.
# Affected: pages and tools that name, compare or verify large files by such a digest: every other program computes a
#   different one, an intact film looks damaged, and a file that is stored under the wrong digest is not found.
. "$(dirname "$0")/lib/common.sh"

npm_packages hash.js@1.1.7 @chainsafe/as-sha256@1.2.5
cat > probe.mjs <<'EOF'
import { createHash } from 'crypto';
import hash from 'hash.js';
import { SHA256 } from '@chainsafe/as-sha256';

const MiB = 2 ** 20, piece = Buffer.alloc(MiB / 16, 7), node = createHash('sha256');
let done = 0;

/** The digest that Node.js computes; sizes come in ascending order. */
const right = (size) => {
  for (; done < size; done += piece.length) node.update(piece);
  return node.copy().digest('hex');
};
const digest = {
  'hash.js': (size) => {
    const work = hash.sha256();
    for (let i = 0; i < size; i += piece.length) work.update(piece);
    return work.digest('hex');
  },
  'as-sha256': (size) => {
    const work = new SHA256().init();
    for (let i = 0; i < size; i += piece.length) work.update(piece);
    return Buffer.from(work.final()).toString('hex');
  },
};
for (const [name, size] of [['hash.js', 511 * MiB], ['hash.js', 512 * MiB], ['as-sha256', 512 * MiB], ['as-sha256', 2047 * MiB], ['as-sha256', 2048 * MiB]]) {
  console.log(`${name}, ${size / MiB} MiB: ${digest[name](size) === right(size) ? 'right' : 'wrong'}`);
}
EOF
node probe.mjs > seen
expect_seen <<'EOF'
hash.js, 511 MiB: right
hash.js, 512 MiB: wrong
as-sha256, 512 MiB: right
as-sha256, 2047 MiB: right
as-sha256, 2048 MiB: wrong
EOF
