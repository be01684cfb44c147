#!/usr/bin/env bash
# ic-mops 2.9.0 (npm) with icp-cli 1.5.0 (npm @icp-sdk/icp-cli-linux-x64), .did files that import others
#
# Expected: a .did file may import the types of another, or its service (Candid specification, Grammar: import and import
#   service), and an interface is compatible with itself. icp reads such files.
# Actual: `mops check-candid` never opens the imported file. With an imported type the answer is always "Candid
#   compatibility check failed", without a reason, the words for an interface that breaks its clients: a file is not
#   even compatible with itself. The methods of an imported service do not count at all: a change that breaks each of
#   them passes. `mops build` uses the same check for the interface that mops.toml names.
# Affected: projects whose canisters share types or methods in one file: a good upgrade fails the check, and one that
#   breaks clients passes it. Write everything into one file.
. "$(dirname "$0")/lib/common.sh"
. "$lib/icp-network.sh"

icp_packages ic-mops@2.9.0
export XDG_CONFIG_HOME=$scratch/home
printf '[package]\nname = "uploads"\nversion = "1.0.0"\n' > mops.toml
echo 'type Receipt = record { bytes : nat64 };' > types.did
echo 'service : { finish : (nat64) -> (text) }' > base.did
echo 'import "types.did"; service : { finish : (nat64) -> (Receipt) }' > imports-types.did
echo 'import service "base.did"; service : { abort : () -> () }' > imports-service.did
echo 'type Receipt = record { bytes : nat64 }; service : { finish : (nat64) -> (Receipt) }' > one-file.did
echo 'import "types.did"; service : { finish : (text) -> (Receipt) }' > breaks-types.did
# The next version of the imported service, whose method takes and returns other types.
echo 'service : { finish : (text) -> (nat64) }' > base-next.did
echo 'import service "base-next.did"; service : { abort : () -> () }' > breaks-service.did
check() { echo "mops check-candid $1 $2: $(node_modules/.bin/mops check-candid "$1" "$2" 2>&1 | grep -o 'check .*' || true)"; }
{
  for file in one-file imports-types imports-service; do
    if icp canister call rrkah-fqaaa-aaaaa-aaaaq-cai finish '(5)' --candid $file.did --network ic --sign-only - > call.json 2> icp.log; then
      echo "icp canister call --candid $file.did: reads it"
    fi
    check $file.did $file.did
  done
  check imports-types.did one-file.did
  check breaks-types.did imports-types.did
  check breaks-service.did imports-service.did
} > seen
expect_seen <<'EOD'
icp canister call --candid one-file.did: reads it
mops check-candid one-file.did one-file.did: check passed
icp canister call --candid imports-types.did: reads it
mops check-candid imports-types.did imports-types.did: check failed
icp canister call --candid imports-service.did: reads it
mops check-candid imports-service.did imports-service.did: check passed
mops check-candid imports-types.did one-file.did: check failed
mops check-candid breaks-types.did imports-types.did: check failed
mops check-candid breaks-service.did imports-service.did: check passed
EOD
