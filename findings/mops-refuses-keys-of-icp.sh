#!/usr/bin/env bash
# ic-mops 2.9.0 with icp-cli 1.5.0 (npm): the key of a publisher
#
# Expected: `mops user import` takes the PEM file of an identity, as `icp identity export` writes it (PKCS #8, RFC
#   5958), and `mops user get-principal` is the principal of that identity.
# Actual: only the two formats of dfx are read, which are distinguished by their length: EC PRIVATE KEY for secp256k1,
#   and 85 bytes for Ed25519. A key of secp256k1 in PKCS #8, icp's default, and one of Ed25519 without its public half
#   (openssl genpkey) are stored with "Success", then this command and every later one end with "expecting byte length
#   85". The previous identity has already been deleted.
# Affected: anyone who moves from dfx to icp loses the key for publishing a package, unless there is a copy of it.
#   Convert the key with `openssl ec -in icp.pem -out ec.pem`, and copy ~/.config/mops/identity.pem first.
. "$(dirname "$0")/lib/common.sh"

command -v openssl > /dev/null || { echo "openssl is not installed" >&2; exit 2; }
npm_packages @icp-sdk/icp-cli-linux-x64@1.5.0 ic-mops@2.9.0
export HOME=$scratch/home ICP_HOME=$scratch/home/icp XDG_CONFIG_HOME=$scratch/home DO_NOT_TRACK=1
mkdir -p "$ICP_HOME"
icp=node_modules/@icp-sdk/icp-cli-linux-x64/bin/icp
mops() { node node_modules/ic-mops/dist/bin/mops.js "$@" 2>&1; }
{
  $icp identity new publisher --storage plaintext
  $icp identity export publisher > icp.pem
  openssl genpkey -algorithm ed25519 -out ed25519.pem
  openssl ec -in icp.pem -out ec.pem
} > setup.log 2>&1
expected=$($icp identity principal --identity publisher 2> setup.log)
report() {
  case $(mops user get-principal) in
    "$expected") echo "$1: the principal that icp says" ;;
    *'expecting byte length 85'*) echo "$1: expecting byte length 85" ;;
    *) echo "$1: another principal" ;;
  esac
}
{
  for key in ec icp ed25519; do
    echo "import of $key.pem, $(sed 's/-----BEGIN \(.*\)-----/\1/;q' $key.pem): $(mops user import --no-encrypt -- "$(cat $key.pem)" | grep -o Success)"
    report '  user get-principal'
  done
  grep -q 'EC PRIVATE KEY' home/mops/* && echo 'the first key is still there' || echo 'the first key is gone'
} > seen
expect_seen <<'EXPECTED'
import of ec.pem, EC PRIVATE KEY: Success
  user get-principal: the principal that icp says
import of icp.pem, PRIVATE KEY: Success
  user get-principal: expecting byte length 85
import of ed25519.pem, PRIVATE KEY: Success
  user get-principal: expecting byte length 85
the first key is gone
EXPECTED
