#!/usr/bin/env bash
# icp-cli 1.5.0 (npm @icp-sdk/icp-cli-linux-x64) and ic-mops 2.9.0 (npm): is the new interface compatible with the old?
#
# Expected: `opt t1` is a subtype of every `opt t2`, so that a variant within an opt can get more tags, also in results:
#   an older client reads null for a tag that it does not know (Candid specification, Upgrading and Subtyping, Variants
#   and Options: this is how to leave a variant open).
# Actual: `icp canister install` and `icp deploy` refuse such an upgrade as a "BREAKING change", and the only way to
#   continue is --yes, which skips the check, also for all methods whose change does break clients. `mops check-candid`
#   says that the same pair of files is compatible.
# Affected: canisters that return `opt variant` in order to be able to extend it, as the specification advises: each
#   upgrade that does so is refused. Check with mops before `icp deploy --yes`.
. "$(dirname "$0")/lib/common.sh"
. "$lib/icp-network.sh"

icp_packages ic-mops@2.9.0
cat > network-of-one.mjs <<'EOD'
import fs from 'node:fs';
import { Principal } from '@icp-sdk/core/principal';
import { manage, serve } from './icp-network.mjs';
const management = { canister_status: () => ({ controllers: [Principal.fromText('2vxsx-fae')] }) };
serve(({ method_name, arg }) => manage(management, method_name, arg), () => ({ 'candid:service': fs.readFileSync('old.did', 'utf8') }));
EOD
start_network network-of-one.mjs
export XDG_CONFIG_HOME=$scratch/home
printf '[package]\nname = "uploads"\nversion = "1.0.0"\n' > mops.toml
# Upgrades from a method with the first type to one with the second.
upgrade() {
  echo "service : { finish : $1 }" > old.did
  echo "service : { finish : $2 }" > new.did
  module_of new.wasm 'icp:public candid:service' new.did
  echo "$1 to $2"
  if icp canister install rrkah-fqaaa-aaaaa-aaaaq-cai --wasm new.wasm --mode upgrade -n "$(cat address)" -k "$(cat root-key)" > icp.log 2>&1; then
    echo '  icp: upgraded'
  else
    echo "  icp: $(grep -o 'BREAKING change' icp.log)"
  fi
  echo "  mops: $(node_modules/.bin/mops check-candid new.did old.did 2>&1 | grep -o 'check .*')"
}
{
  upgrade '() -> (opt nat)' '(opt text) -> (opt nat)'
  upgrade '() -> (opt variant { done })' '() -> (opt variant { done; late })'
  upgrade '() -> (record { state : opt variant { done } })' '() -> (record { state : opt variant { done; late } })'
  upgrade '(opt variant { sha256; blake3 }) -> ()' '(opt variant { sha256 }) -> ()'
  upgrade '() -> (variant { done })' '() -> (variant { done; late })'
} > seen
expect_seen <<'EOD'
() -> (opt nat) to (opt text) -> (opt nat)
  icp: upgraded
  mops: check passed
() -> (opt variant { done }) to () -> (opt variant { done; late })
  icp: BREAKING change
  mops: check passed
() -> (record { state : opt variant { done } }) to () -> (record { state : opt variant { done; late } })
  icp: BREAKING change
  mops: check passed
(opt variant { sha256; blake3 }) -> () to (opt variant { sha256 }) -> ()
  icp: BREAKING change
  mops: check passed
() -> (variant { done }) to () -> (variant { done; late })
  icp: BREAKING change
  mops: check failed
EOD
