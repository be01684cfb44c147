#!/usr/bin/env bash
# ic-py 1.0.1 and icp-py-core 2.3.1 (PyPI), values that do not fit an `opt`
#
# Expected: a value that cannot be read at an `opt` is null; that is how a variant inside an `opt` may get new tags, and
#   a field may go from `t` to `opt t` (Candid specification, Coercion, Options; Upgrading and Subtyping, Variants).
# Actual: both raise an exception. ic-py refuses `nat` where `int` is expected, too.
# Affected: a canister that adds a tag to an optional variant, as the specification allows, stops every Python client
#   that has the older `.did`. JavaScript and Rust read null.
. "$(dirname "$0")/lib/common.sh"

python_packages old ic-py==1.0.1
python_packages new icp-py-core==2.3.1
cat > probe.py <<'EOF'
import sys
if sys.argv[1] == 'ic-py':
    from ic.candid import decode, encode, Types
else:
    from icp_candid.candid import decode, encode, Types

def show(what, expected, actual, value):
    try:
        got = decode(encode([{'type': actual, 'value': value}]), [expected])[0]['value']
    except (ValueError, AttributeError) as e:
        got = type(e).__name__
    print('%s, %s: %s' % (sys.argv[1], what, got))

one = Types.Variant({'sha256': Types.Null})
two = Types.Variant({'sha256': Types.Null, 'blake3': Types.Null})
show('new tag in an opt variant', Types.Opt(one), Types.Opt(two), [{'blake3': None}])
show('opt text at opt nat', Types.Opt(Types.Nat), Types.Opt(Types.Text), ['x'])
show('nat at opt nat', Types.Opt(Types.Nat), Types.Nat, 5)
show('missing opt field', Types.Record({'a': Types.Nat, 'b': Types.Opt(Types.Nat)}), Types.Record({'a': Types.Nat}), {'a': 5})
show('nat at int', Types.Int, Types.Nat, 5)
EOF
{ old/bin/python probe.py ic-py; new/bin/python probe.py icp-py-core; } > seen
expect_seen <<'EOF'
ic-py, new tag in an opt variant: ValueError
ic-py, opt text at opt nat: ValueError
ic-py, nat at opt nat: AttributeError
ic-py, missing opt field: ValueError
ic-py, nat at int: ValueError
icp-py-core, new tag in an opt variant: ValueError
icp-py-core, opt text at opt nat: ValueError
icp-py-core, nat at opt nat: ValueError
icp-py-core, missing opt field: {'a': 5, 'b': []}
icp-py-core, nat at int: 5
EOF
