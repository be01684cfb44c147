#!/usr/bin/env bash
# @icp-sdk/canisters 3.6.0 (npm), AssetManager.batch, with ic-certified-assets 0.3.0 (crates.io), the asset canister
#
# Expected: an empty file is a file like any other: `store` stores it, and so does a batch.
# Actual: a batch sends no chunk for an empty file, and the canister refuses an encoding without chunks. The whole batch
#   fails, after all its chunks were uploaded.
# Affected: deployments by script: because of a single empty file (`.nojekyll`, `robots.txt`, a placeholder), none of
#   the site's files is published.
. "$(dirname "$0")/lib/common.sh"
. "$lib/asset-canister.sh"

cat > probe.mjs <<'EOF'
import { end, manager, outcome } from './asset-canister.mjs';
const assets = manager();
console.log(`store, empty file: ${await outcome(assets.store(new Uint8Array(0), { fileName: 'robots.txt' }))}`);
for (const sizes of [[1000, 1], [1000, 0]]) {
  const batch = assets.batch();
  for (const [index, size] of sizes.entries()) await batch.store(new Uint8Array(size), { fileName: `${sizes}-${index}.txt` });
  console.log(`batch, files of ${sizes.join(' and ')} bytes: ${await outcome(batch.commit())}`);
}
end();
EOF
node probe.mjs > seen
expect_seen <<'EOF'
store, empty file: done
batch, files of 1000 and 1 bytes: done
batch, files of 1000 and 0 bytes: encoding must have at least one chunk or contain last_chunk
EOF
