#!/usr/bin/env bash
# ic-py 1.0.1 and icp-py-core 2.3.1 (PyPI), sending back what was read
#
# Expected: a value that was decoded at a type can be encoded at it (Candid specification, Coercion: each value has its
#   type); JavaScript, Rust and icp-py-core do so.
# Actual: ic-py reads a principal as an object, but accepts only texts and bytes, and reads a tuple as a list, but
#   accepts only tuples. Sending either back is a ValueError.
# Affected: scripts that read an access list, add somebody and write it back; every principal, at any depth, must be
#   converted to a text first.
. "$(dirname "$0")/lib/common.sh"

python_packages old ic-py==1.0.1
python_packages new icp-py-core==2.3.1
cat > probe.py <<'EOF'
import sys
if sys.argv[1] == 'ic-py':
    from ic.candid import decode, encode, Types
else:
    from icp_candid.candid import decode, encode, Types

def again(what, type, value):
    message = encode([{'type': type, 'value': value}])
    try:
        back = encode([{'type': type, 'value': decode(message, [type])[0]['value']}])
        got = 'the same bytes' if back == message else 'other bytes'
    except ValueError as e:
        got = 'ValueError, %s' % e
    print('%s, %s: %s' % (sys.argv[1], what, got))

again('record { owners : vec principal }', Types.Record({'owners': Types.Vec(Types.Principal)}), {'owners': ['aaaaa-aa', '2vxsx-fae']})
again('vec record { text; text }', Types.Vec(Types.Tuple(Types.Text, Types.Text)), [('content-type', 'text/plain')])
again('record { size : nat64; tags : vec text }', Types.Record({'size': Types.Nat64, 'tags': Types.Vec(Types.Text)}), {'size': 5, 'tags': ['a']})
EOF
{ old/bin/python probe.py ic-py; new/bin/python probe.py icp-py-core; } > seen
expect_seen <<'EOF'
ic-py, record { owners : vec principal }: ValueError, only support string or bytes format
ic-py, vec record { text; text }: ValueError, Expected tuple type input.
ic-py, record { size : nat64; tags : vec text }: the same bytes
icp-py-core, record { owners : vec principal }: the same bytes
icp-py-core, vec record { text; text }: the same bytes
icp-py-core, record { size : nat64; tags : vec text }: the same bytes
EOF
