#!/usr/bin/env bash
# ic-wasm 0.11.1 with motoko 4.10.0 (npm), check-endpoints
#
# Expected: check-endpoints compares the exports of a module with its .did: a composite query is exported as
#   canister_composite_query <name> (Internet Computer interface specification, Entry points), and a method may have a
#   named type (Candid specification, Grammar: <methtype> ::= <name> : (<functype> | <id>)).
# Actual: for a composite query it requires canister_query <name>, the export of a plain query, and no --hidden list
#   helps: a correct canister never passes. A method with a named type counts as missing from the .did: if the module
#   exports it, it is "unexpected", and if the module lacks it, nothing is reported.
# Affected: builds with this check: they fail for a good module, and pass one that lacks a method.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/ic-wasm-linux-x64@0.11.1 motoko@4.10.0
cat > build.mjs <<'EOF'
import fs from 'fs';
import { createRequire } from 'module';
const { default: mo } = createRequire(import.meta.url)('motoko');
for (const name of ['plain', 'composite']) {
  mo.write(`${name}.mo`, `persistent actor {
    public query func size() : async Nat { 1 };
    public func upload(n : Nat) : async Nat { n };
    ${name === 'composite' ? 'public composite query func total() : async Nat { 2 };' : ''}
  }`);
  fs.writeFileSync(`${name}.wasm`, mo.wasm(`${name}.mo`, 'ic').wasm);
  fs.writeFileSync(`${name}.did`, mo.candid(`${name}.mo`));
}
EOF
node build.mjs
cat > named.did <<'EOF'
type Upload = func (nat) -> (nat);
service : { size : () -> (nat) query; upload : Upload; no_such_method : Upload }
EOF
check() {
  local module=$1 interface=$2 hidden=$3 out
  echo -n "$module.wasm with $interface.did${4:+, $4 hidden}: "
  if out=$(node_modules/@icp-sdk/ic-wasm-linux-x64/bin/ic-wasm "$module.wasm" check-endpoints --candid "$interface.did" --hidden "$hidden" 2>&1); then
    echo passes
  else
    grep '^ERROR' <<< "$out" | sed -E 's/ERROR: The following (Candid )?endpoint is //; s/ (from|in) the WASM exports section//' | paste -sd ';' | sed 's/;/; /g'
  fi
}
# What every Motoko canister exports besides its methods.
touch nothing
check plain plain nothing | tr ';' '\n' | sed -n 's/.*unexpected: //p' > runtime
for endpoint in canister_composite_query:total canister_update:upload; do
  { cat runtime; echo $endpoint; } > runtime-and-${endpoint#*:}
done
{
  check plain plain runtime
  check composite composite runtime
  check composite composite runtime-and-total canister_composite_query:total
  check plain named runtime
  check plain named runtime-and-upload canister_update:upload
} > seen
expect_seen <<'EOF'
plain.wasm with plain.did: passes
composite.wasm with composite.did: missing: canister_query:total; unexpected: canister_composite_query:total
composite.wasm with composite.did, canister_composite_query:total hidden: missing: canister_query:total
plain.wasm with named.did: unexpected: canister_update:upload
plain.wasm with named.did, canister_update:upload hidden: passes
EOF
