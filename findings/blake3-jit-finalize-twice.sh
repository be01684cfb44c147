#!/usr/bin/env bash
# blake3-jit 1.1.0 and hash-wasm 4.13.0 (npm), BLAKE3 of data that arrives in pieces
#
# Expected: "This method is idempotent. Calling it twice will give the same result. You can also add more input and
#   finalize again" (documentation of the blake3 crate, Hasher::finalize). The documentation of blake3-jit does not say
#   that a hasher can be used once only, and nothing keeps it from being used again.
# Actual: above 1,024 bytes a second finalize returns another digest, with no data in between; if data is added after
#   finalize, the digest of all of it is wrong, too. Up to 1,024 bytes everything is right.
# Affected: uploads that log or show the digest of what has arrived, and later compare it: a good file looks damaged, or
#   is stored under a wrong digest. Tests with small data pass. Call finalize once, and hash again for another digest.
. "$(dirname "$0")/lib/common.sh"

npm_packages blake3-jit@1.1.0 hash-wasm@4.13.0
cat > probe.mjs <<'EOF'
import { createHasher } from 'blake3-jit';
import { blake3 } from 'hash-wasm';
const hex = (bytes) => Buffer.from(bytes).toString('hex');
for (const size of [1000, 1024, 1025, 3000, 100000]) {
  const data = Uint8Array.from({ length: size }, (_, index) => index % 251);
  const right = await blake3(data);
  const judge = (digest) => hex(digest) === right ? 'right' : 'wrong';
  const hasher = createHasher().update(data);
  const [first, second] = [hasher.finalize(), hasher.finalize()];
  const interrupted = createHasher().update(data.subarray(0, size - 100));
  interrupted.finalize();
  const resumed = interrupted.update(data.subarray(size - 100)).finalize();
  console.log(`${size} bytes: ${judge(first)}, again ${judge(second)}, continued after a digest ${judge(resumed)}`);
}
EOF
node probe.mjs > seen
expect_seen <<'EOF'
1000 bytes: right, again right, continued after a digest right
1024 bytes: right, again right, continued after a digest right
1025 bytes: right, again wrong, continued after a digest right
3000 bytes: right, again wrong, continued after a digest wrong
100000 bytes: right, again wrong, continued after a digest wrong
EOF
