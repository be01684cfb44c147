#!/usr/bin/env bash
# @icp-sdk/canisters 3.6.0 (npm), AssetManager, with ic-certified-assets 0.3.0 (crates.io), the asset canister
#
# Expected: the SHA-256 that is sent with a file is the digest of its bytes from first to last, in whatever order a
#   "custom Readable implementation" delivers its parts. The canister checks it, as it does for a file in one request
#   ("sha256 mismatch").
# Actual: AssetManager asks for all parts at once and hashes them in the order in which they arrive. For a file in
#   chunks the canister checks nothing: it stores and certifies the digest that it was given.
# Affected: anyone who uploads from a network or a disk, where a later part may arrive first: the upload succeeds, but
#   the certified digest is not the digest of the file. Passing `sha256` avoids this.
. "$(dirname "$0")/lib/common.sh"
. "$lib/asset-canister.sh"

cat > probe.mjs <<'EOF'
import { end, manager, outcome } from './asset-canister.mjs';
const assets = manager();
const half = 1_900_000;
const parts = [new Uint8Array(half).fill(1), new Uint8Array(half).fill(2)];
for (const first of [0, 1]) {
  // The part `first` is there at once, the other one once that has been used.
  const slice = async (start) => {
    const index = start / half;
    if (index !== first) await new Promise((resolve) => setTimeout(resolve, 50));
    return parts[index];
  };
  const nothing = async () => {};
  const file = { fileName: `film-${first}.mp4`, contentType: 'video/mp4', length: 2 * half, open: nothing, close: nothing, slice };
  const stored = await outcome(assets.store(file));
  const asset = await assets.get(`/film-${first}.mp4`);
  console.log(`part ${first} comes first: ${stored}; the stored bytes have the stored digest: ${await asset.verifySha256(Buffer.concat(parts))}`);
}
const wrong = { fileName: 'small.mp4', sha256: new Uint8Array(32) };
console.log(`a wrong digest in one request: ${await outcome(assets.store(parts[0], wrong))}`);
end();
EOF
node probe.mjs > seen
expect_seen <<'EOF'
part 0 comes first: done; the stored bytes have the stored digest: true
part 1 comes first: done; the stored bytes have the stored digest: false
a wrong digest in one request: sha256 mismatch
EOF
