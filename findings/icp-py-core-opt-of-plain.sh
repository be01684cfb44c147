#!/usr/bin/env bash
# icp-py-core 2.3.1 and ic-py 1.0.1 (PyPI), @icp-sdk/core 6.1.0 (npm): a record or variant at `opt`
#
# Expected: a value that is not an option may be read as one: t is a subtype of opt t (Candid specification, Subtyping,
#   Options), and the value is there. So a client that knows the newer interface can read the older canister.
# Actual: icp-py-core reads the first byte of a record, variant or vec as the tag of the option. A record whose first
#   byte is not 1 becomes null, and the fields after it are read from the wrong offset. If the byte is 1, the result is
#   an AttributeError. ic-py raises a ValueError, and so does icp-py-core for texts and numbers. JavaScript reads the
#   value.
# Affected: scripts whose .did is newer than the canister's, for example after a rollback: they get null and wrong
#   values without an error.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/core@6.1.0
python_packages new icp-py-core==2.3.1
python_packages old ic-py==1.0.1
cat > probe.mjs <<'EOF'
import fs from 'fs';
import { IDL } from '@icp-sdk/core/candid';
const { Nat8, Nat16, Null, Opt, Record, Variant } = IDL;
const progress = Record({ chunks: Nat8, lost: Nat8 }), state = Variant({ Done: Null, Open: Null });
const cases = [['record', progress, { chunks: 7, lost: 0 }], ['variant', state, { Done: null }], ['other variant', state, { Open: null }]];
for (const [name, type, value] of cases) {
  const message = IDL.encode([Record({ a: type, b: Nat16 })], [{ a: value, b: 300 }]);
  fs.writeFileSync(`${name}.hex`, Buffer.from(message).toString('hex'));
  console.log(`JavaScript, ${name}:`, JSON.stringify(IDL.decode([Record({ a: Opt(type), b: Nat16 })], message)[0]));
}
EOF
cat > probe.py <<'EOF'
import sys
if sys.argv[1] == 'ic-py':
    from ic.candid import Types, decode
else:
    from icp_candid.candid import Types, decode
progress, state = Types.Record({'chunks': Types.Nat8, 'lost': Types.Nat8}), Types.Variant({'Done': Types.Null, 'Open': Types.Null})
for name, type in ('record', progress), ('variant', state), ('other variant', state):
    try:
        got = decode(bytes.fromhex(open(name + '.hex').read()), [Types.Record({'a': Types.Opt(type), 'b': Types.Nat16})])[0]['value']
    except (AttributeError, ValueError, TypeError) as e:
        got = '%s, %s' % (e.__class__.__name__, e)
    print('%s, %s: %s' % (sys.argv[1], name, got))
EOF
{ node probe.mjs; new/bin/python probe.py icp-py-core; old/bin/python probe.py ic-py; } > seen
expect_seen <<'EOF'
JavaScript, record: {"a":[{"lost":0,"chunks":7}],"b":300}
JavaScript, variant: {"a":[{"Done":null}],"b":300}
JavaScript, other variant: {"a":[{"Open":null}],"b":300}
icp-py-core, record: {'a': [], 'b': 11271}
icp-py-core, variant: {'a': [], 'b': 300}
icp-py-core, other variant: AttributeError, 'VariantClass' object has no attribute '_type'
ic-py, record: ValueError, Not an option type
ic-py, variant: ValueError, Not an option type
ic-py, other variant: ValueError, Not an option type
EOF
