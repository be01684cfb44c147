#!/usr/bin/env bash
# @icp-sdk/core 6.1.0 (npm), icp-py-core 2.3.1 and ic-py 1.0.1 (PyPI): a delegation as JSON
#
# Expected: DelegateIdentity.from_json reads what DelegationChain.toJSON writes, and sends each delegation as it was
#   signed, `targets` included (Internet Computer interface specification, Authentication: the signature is over the map
#   of the delegation, targets are one of its fields).
# Actual: JavaScript writes the expiration in hexadecimal digits without 0x; icp-py-core reads them as a decimal number,
#   which is a ValueError. ic-py reads the number correctly, but leaves the targets out, so that the network finds the
#   signature wrong.
# Affected: scripts that act for somebody who signed in to a page. For icp-py-core, put 0x before the digits. A
#   delegation with targets works with neither library.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/core@6.1.0
python_packages new icp-py-core==2.3.1
python_packages old ic-py==1.0.1 cbor2==5.9.0
cat > probe.mjs <<'EOF'
import fs from 'fs';
import { Principal } from '@icp-sdk/core/principal';
import { DelegationChain, Ed25519KeyIdentity } from '@icp-sdk/core/identity';
const user = Ed25519KeyIdentity.generate(new Uint8Array(32).fill(1)), session = Ed25519KeyIdentity.generate(new Uint8Array(32).fill(2));
fs.writeFileSync('session.json', JSON.stringify(session));
for (const [name, targets] of [['plain'], ['targets', [Principal.fromText('rrkah-fqaaa-aaaaa-aaaaq-cai')]]]) {
  const chain = await DelegationChain.create(user, session.getPublicKey(), new Date('2030-01-01T00:00:00Z'), { targets });
  fs.writeFileSync(`${name}.json`, JSON.stringify(chain));
  if (!targets) console.log('JavaScript writes the expiration', chain.toJSON().delegations[0].delegation.expiration, 'for', chain.delegations[0].delegation.expiration);
}
EOF
cat > read.py <<'EOF'
import json, sys
if sys.argv[1] == 'ic-py':
    from ic.identity import DelegateIdentity
else:
    from icp_identity.identity import DelegateIdentity
for name, prefix in ('plain', ''), ('plain', '0x'), ('targets', ''), ('targets', '0x'):
    chain = open(name + '.json').read().replace('"expiration":"', '"expiration":"' + prefix)
    try:
        read = DelegateIdentity.from_json(open('session.json').read(), chain).delegations[0]
        got = {**read['delegation'], 'pubkey': read['delegation']['pubkey'].hex()}, read['signature'].hex()
    except ValueError as e:
        got = 'ValueError, %s' % e
    print(json.dumps([sys.argv[1], name + (' with 0x' if prefix else ''), got]))
EOF
# Whether a delegation, as a library sends it, has a good signature: what a replica checks.
cat > check.py <<'EOF'
import json, sys
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from icp_agent.agent import to_request_id

user = VerifyKey(bytes.fromhex(json.load(open('plain.json'))['publicKey'])[-32:])
for library, name, got in map(json.loads, sys.stdin):
    if not isinstance(got, str):
        delegation, signature = got
        hashed = to_request_id({**delegation, 'pubkey': bytes.fromhex(delegation['pubkey'])})
        try:
            user.verify(b'\x1aic-request-auth-delegation' + hashed, bytes.fromhex(signature))
            verdict = 'good'
        except BadSignatureError:
            verdict = 'wrong'
        got = 'expiration %d, fields %s; signature %s' % (delegation['expiration'], ' and '.join(sorted(delegation)), verdict)
    print('%s, %s: %s' % (library, name, got))
EOF
{
  node probe.mjs
  { new/bin/python read.py icp-py-core; old/bin/python read.py ic-py; } | new/bin/python check.py
} > seen
expect_seen <<'EOF'
JavaScript writes the expiration 1a46e83335d50000 for 1893456000000000000n
icp-py-core, plain: ValueError, invalid literal for int() with base 10: '1a46e83335d50000'
icp-py-core, plain with 0x: expiration 1893456000000000000, fields expiration and pubkey; signature good
icp-py-core, targets: ValueError, invalid literal for int() with base 10: '1a46e83335d50000'
icp-py-core, targets with 0x: expiration 1893456000000000000, fields expiration and pubkey; signature wrong
ic-py, plain: expiration 1893456000000000000, fields expiration and pubkey; signature good
ic-py, plain with 0x: expiration 1893456000000000000, fields expiration and pubkey; signature good
ic-py, targets: expiration 1893456000000000000, fields expiration and pubkey; signature wrong
ic-py, targets with 0x: expiration 1893456000000000000, fields expiration and pubkey; signature wrong
EOF
