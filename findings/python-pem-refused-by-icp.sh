#!/usr/bin/env bash
# icp-py-core 2.3.1 and ic-py 1.0.1 with ecdsa 0.19.2 (PyPI), icp-cli 1.5.0 (npm): the file of a secp256k1 key
#
# Expected: Identity.to_pem writes PKCS#8, `icp identity import --from-pem` reads PKCS#8. Version 1 of that format (RFC
#   5958, Asymmetric Key Package) says that the public key follows in a separate field; without this field the version
#   is 0.
# Actual: both libraries write version 1 without that field, for secp256k1 (and P-256). Both read it, openssl reads it,
#   and icp-cli refuses it as malformed. The same key as openssl writes it is version 0, and icp-cli reads it. Files of
#   Ed25519 keys are read by all.
# Affected: anyone who made an identity in a script and wants to be controller with it on the command line. Convert the
#   file: `openssl pkcs8 -topk8 -nocrypt -in script.pem -out icp.pem`.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/icp-cli-linux-x64@1.5.0
python_packages new icp-py-core==2.3.1 ecdsa==0.19.2
python_packages old ic-py==1.0.1 ecdsa==0.19.2
export HOME=$scratch/home ICP_HOME=$scratch/home/icp DO_NOT_TRACK=1
mkdir -p "$ICP_HOME"
icp=node_modules/@icp-sdk/icp-cli-linux-x64/bin/icp
cat > write.py <<'EOF'
import sys
if sys.argv[1] == 'ic-py':
    from ic.identity import Identity
else:
    from icp_identity.identity import Identity
for type in 'secp256k1', 'ed25519':
    identity = Identity('01' * 32, type)
    open('%s-%s.pem' % (type, sys.argv[1]), 'wb').write(identity.to_pem())
    again = Identity.from_pem(identity.to_pem().decode())
    print('%s, %s: reads its own file: %s' % (sys.argv[1], type, str(again.sender()) == str(identity.sender())))
EOF
import_it() {
  local version
  version=$(openssl asn1parse -in "$1.pem" | sed -n 's/.*INTEGER *:0*//p' | head -1)
  if $icp identity import "$1" --storage plaintext --from-pem "$1.pem" > icp.log 2>&1 < /dev/null; then
    echo "icp-cli, $1.pem, version ${version:-0}: imported, $($icp identity principal --identity "$1" | cut -c1-11)..."
  else
    echo "icp-cli, $1.pem, version ${version:-0}: $(grep -o 'malformed ASN.1 DER value for [A-Z-]* \[1\]' icp.log)"
  fi
}
{
  new/bin/python write.py icp-py-core
  old/bin/python write.py ic-py
  openssl pkcs8 -topk8 -nocrypt -in secp256k1-icp-py-core.pem -out secp256k1-openssl.pem
  for file in secp256k1-icp-py-core secp256k1-ic-py secp256k1-openssl ed25519-icp-py-core ed25519-ic-py; do import_it $file; done
} > seen
expect_seen <<'EOF'
icp-py-core, secp256k1: reads its own file: True
icp-py-core, ed25519: reads its own file: True
ic-py, secp256k1: reads its own file: True
ic-py, ed25519: reads its own file: True
icp-cli, secp256k1-icp-py-core.pem, version 1: malformed ASN.1 DER value for CONTEXT-SPECIFIC [1]
icp-cli, secp256k1-ic-py.pem, version 1: malformed ASN.1 DER value for CONTEXT-SPECIFIC [1]
icp-cli, secp256k1-openssl.pem, version 0: imported, t5j4r-2c6hf...
icp-cli, ed25519-icp-py-core.pem, version 0: imported, wf3fv-4c4nr...
icp-cli, ed25519-ic-py.pem, version 0: imported, wf3fv-4c4nr...
EOF
