#!/usr/bin/env bash
# icp-py-core 2.3.1 (PyPI), a list at `opt vec`
#
# Expected: the library accepts the value of an `opt` as it is, such as "a" or 5, or in a list, such as ["a"] or [5]; a
#   list of texts at `opt vec text` is then that list, or an error (Candid specification: `opt vec text` holds null or a
#   vec).
# Actual: a list is always taken for the wrapper of the option: its first element is used as the value, the others are
#   dropped. ["summer", "beach"] is sent as ["s", "u", "m", "m", "e", "r"], of two lists only the first is sent, and [],
#   an empty list meant to replace the stored one, is null. Tuples and bytes are sent as they are. There is no error.
# Affected: optional lists of tags, owners or names: wrong values are stored, and "remove all" becomes "unchanged".
#   Write [value] for each option, whatever its type.
. "$(dirname "$0")/lib/common.sh"

python_packages venv icp-py-core==2.3.1
cat > probe.py <<'EOF'
from icp_candid.candid import decode, encode, Types

def send(what, type, *values):
    for value in values:
        message = encode([{'type': type, 'value': value}])
        print('%s, %r: the canister reads %r' % (what, value, decode(message, [type])[0]['value']))

send('opt text', Types.Opt(Types.Text), 'a', ['a'])
send('opt vec text', Types.Opt(Types.Vec(Types.Text)), ['summer', 'beach'], [], ('summer', 'beach'), [['summer', 'beach']])
send('opt vec vec text', Types.Opt(Types.Vec(Types.Vec(Types.Text))), [['a', 'b'], ['c']])
EOF
venv/bin/python probe.py > seen
expect_seen <<'EOF'
opt text, 'a': the canister reads ['a']
opt text, ['a']: the canister reads ['a']
opt vec text, ['summer', 'beach']: the canister reads [['s', 'u', 'm', 'm', 'e', 'r']]
opt vec text, []: the canister reads []
opt vec text, ('summer', 'beach'): the canister reads [['summer', 'beach']]
opt vec text, [['summer', 'beach']]: the canister reads [['summer', 'beach']]
opt vec vec text, [['a', 'b'], ['c']]: the canister reads [[['a'], ['b']]]
EOF
