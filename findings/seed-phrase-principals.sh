#!/usr/bin/env bash
# icp-cli 1.5.0 and @icp-sdk/core 6.1.0 (npm), ic-py 1.0.1 and icp-py-core 2.3.1 (PyPI): one seed phrase
#
# Expected: a seed phrase is an identity: BIP-39 makes the seed, BIP-32 or SLIP-0010 the key, and the principal follows
#   from the key (Internet Computer interface specification, Principals: self-authenticating ids). The specification
#   names no path and no curve, so one would expect the tools to agree on them.
# Actual: the tools give three principals. icp-cli and JavaScript derive a secp256k1 key; icp-py-core derives an Ed25519
#   key, which icp-cli finds with --seed-curve ed25519 only; ic-py takes the first half of the seed as an Ed25519 key,
#   which no other tool does. And the PKCS#8 file that `icp identity export` writes is read by both Python agents, but
#   not by JavaScript.
# Affected: anyone who moves a phrase from one tool to another is a stranger to the canister, neither its controller nor
#   an owner of capsules, and the only hint is "unauthorized". Compare principals first.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/icp-cli-linux-x64@1.5.0 @icp-sdk/core@6.1.0
python_packages old ic-py==1.0.1
python_packages new icp-py-core==2.3.1
export HOME=$scratch/home ICP_HOME=$scratch/home/icp DO_NOT_TRACK=1
mkdir -p "$ICP_HOME"
icp=node_modules/@icp-sdk/icp-cli-linux-x64/bin/icp
# The test phrase of BIP-39 itself: nobody's.
echo 'abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about' > phrase
cat > probe.mjs <<'EOF'
import fs from 'fs';
import { Secp256k1KeyIdentity } from '@icp-sdk/core/identity/secp256k1';
console.log('@icp-sdk/core:', Secp256k1KeyIdentity.fromSeedPhrase(fs.readFileSync('phrase', 'utf8').trim()).getPrincipal().toText());
let got;
try { got = Secp256k1KeyIdentity.fromPem(fs.readFileSync('secp256k1.pem', 'utf8')).getPrincipal().toText(); } catch (e) { got = e.message; }
console.log('@icp-sdk/core, file of icp-cli:', got);
EOF
cat > probe.py <<'EOF'
import sys
if sys.argv[1] == 'ic-py':
    from ic.identity import Identity
else:
    from icp_identity.identity import Identity
print('%s: %s' % (sys.argv[1], Identity.from_seed(open('phrase').read().strip()).sender()))
print('%s, file of icp-cli: %s' % (sys.argv[1], Identity.from_pem(open('secp256k1.pem').read()).sender()))
EOF
{
  for curve in secp256k1 ed25519; do
    $icp identity import $curve --storage plaintext --from-seed-file phrase --seed-curve $curve > icp.log 2>&1
    echo "icp-cli, $curve: $($icp identity principal --identity $curve)"
    $icp identity export $curve > $curve.pem 2>> icp.log
  done
  node probe.mjs
  old/bin/python probe.py ic-py
  new/bin/python probe.py icp-py-core
} > seen
expect_seen <<'EOF'
icp-cli, secp256k1: tgzar-4lpln-fq34h-6hxo4-wlm3x-6g3or-6hxvr-d6jbw-ooh2b-lzsw4-aqe
icp-cli, ed25519: fcxk5-23hrp-d3ey5-sniqw-3lagn-fbx3h-cgnml-4dwkg-3dpmp-tyoqq-zae
@icp-sdk/core: tgzar-4lpln-fq34h-6hxo4-wlm3x-6g3or-6hxvr-d6jbw-ooh2b-lzsw4-aqe
@icp-sdk/core, file of icp-cli: Invalid PEM header
ic-py: gjvc3-jk3fu-yyt36-jz6ll-kkxpe-ps5id-qs36e-ouzyv-rpeoj-x6lqg-5ae
ic-py, file of icp-cli: tgzar-4lpln-fq34h-6hxo4-wlm3x-6g3or-6hxvr-d6jbw-ooh2b-lzsw4-aqe
icp-py-core: fcxk5-23hrp-d3ey5-sniqw-3lagn-fbx3h-cgnml-4dwkg-3dpmp-tyoqq-zae
icp-py-core, file of icp-cli: tgzar-4lpln-fq34h-6hxo4-wlm3x-6g3or-6hxvr-d6jbw-ooh2b-lzsw4-aqe
EOF
