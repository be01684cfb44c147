#!/usr/bin/env bash
# @dfinity/zod-schemas 3.2.0 with zod 4.6.7 (npm), UrlSchema
#
# Expected: http is allowed locally, https anywhere (the schema's documentation). A local network serves each canister
#   at http://CANISTER.localhost:PORT, like the gateway at https://CANISTER.icp0.io; names below localhost are this
#   machine (RFC 6761, 6.3), as is [::1] (RFC 4291, 2.5.3).
# Actual: only the names localhost and 127.0.0.1 count: the address of a local canister is an "Invalid URL.".
#   additionalProtocols: ["http:"] permits it, but also every other http address.
# Affected: settings and wallets that check addresses with it: they accept every deployed canister, but none on the
#   developer's machine. Write http://localhost:PORT/?canisterId=CANISTER there.
. "$(dirname "$0")/lib/common.sh"

npm_packages @dfinity/zod-schemas@3.2.0 zod@4.6.7 @icp-sdk/core@5.4.0
cat > probe.mjs <<'EOF'
import { UrlSchema, createUrlSchema } from '@dfinity/zod-schemas';
const id = 'rrkah-fqaaa-aaaaa-aaaaq-cai', http = createUrlSchema({ additionalProtocols: ['http:'] });
for (const url of [`https://${id}.icp0.io/`, `http://${id}.localhost:8000/`, `http://localhost:8000/?canisterId=${id}`, 'http://127.0.0.1:8000/',
  'http://[::1]:8000/', 'http://files.example/']) {
  const { success, error } = UrlSchema.safeParse(url);
  console.log(`${url}: ${success ? 'accepted' : error.issues[0].message}; with http: ${http.safeParse(url).success ? 'accepted' : 'refused'}`);
}
EOF
node probe.mjs > seen
expect_seen <<'EOF'
https://rrkah-fqaaa-aaaaa-aaaaq-cai.icp0.io/: accepted; with http: accepted
http://rrkah-fqaaa-aaaaa-aaaaq-cai.localhost:8000/: Invalid URL.; with http: accepted
http://localhost:8000/?canisterId=rrkah-fqaaa-aaaaa-aaaaq-cai: accepted; with http: accepted
http://127.0.0.1:8000/: accepted; with http: accepted
http://[::1]:8000/: Invalid URL.; with http: accepted
http://files.example/: Invalid URL.; with http: accepted
EOF
