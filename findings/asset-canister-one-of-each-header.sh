#!/usr/bin/env bash
# ic-certified-assets 0.3.0 (crates.io), the asset canister, with @icp-sdk/canisters 3.6.0 (npm)
#
# Expected: the headers of an asset are a list of pairs in the canister's interface and in AssetManager; a response may
#   have several lines with the same name, as `link` and `content-security-policy` often have (RFC 9110, 5.3).
# Actual: the canister reads the list as a map: of several lines with the same name, only the last one is stored. No
#   error is reported.
# Affected: sites that preload files or have more than one policy: only the last line of each name takes effect.
. "$(dirname "$0")/lib/common.sh"
. "$lib/asset-canister.sh"

cat > probe.mjs <<'EOF'
import { end, manager, outcome } from './asset-canister.mjs';
const assets = manager();
const policy = (value) => ['content-security-policy', value];
const headers = [policy("default-src 'self'"), policy("frame-ancestors 'none'")];
const batch = assets.batch();
await batch.store(new Uint8Array(10), { fileName: 'index.html', headers });
console.log(`sent: ${headers.map((header) => header.join(': ')).join(', ')}; ${await outcome(batch.commit())}`);
const stored = (await assets._actor.get_asset_properties('/index.html')).headers[0];
console.log(`stored: ${stored.map((header) => header.join(': ')).join(', ')}`);
end();
EOF
node probe.mjs > seen
expect_seen <<'EOF'
sent: content-security-policy: default-src 'self', content-security-policy: frame-ancestors 'none'; done
stored: content-security-policy: frame-ancestors 'none'
EOF
