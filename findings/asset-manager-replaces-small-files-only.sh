#!/usr/bin/env bash
# @icp-sdk/canisters 3.6.0 (npm), AssetManager.store, with ic-certified-assets 0.3.0 (crates.io), the asset canister
#
# Expected: storing a file at a path a second time replaces it, whatever its size: the size decides only whether one
#   request or chunks are used (documentation of `maxSingleFileSize`).
# Actual: a file of up to 1,900,000 bytes is replaced. A larger one is uploaded again, but then refused with "asset
#   already exists", since `commit_batch` begins with CreateAsset. The old file must be deleted first, and is missing
#   until the new one is stored.
# Affected: deployments by script: they work until a file outgrows the limit, and then the old version stays.
. "$(dirname "$0")/lib/common.sh"
. "$lib/asset-canister.sh"

cat > probe.mjs <<'EOF'
import { end, manager, outcome } from './asset-canister.mjs';
const assets = manager();
for (const size of [1_900_000, 1_900_001]) {
  for (const time of ['first', 'second']) {
    console.log(`${size} bytes, ${time} time: ${await outcome(assets.store(new Uint8Array(size), { fileName: `${size}.bin` }))}`);
  }
}
end();
EOF
node probe.mjs > seen
expect_seen <<'EOF'
1900000 bytes, first time: done
1900000 bytes, second time: done
1900001 bytes, first time: done
1900001 bytes, second time: asset already exists
EOF
