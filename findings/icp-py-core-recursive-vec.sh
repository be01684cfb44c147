#!/usr/bin/env bash
# icp-py-core 2.3.1 (PyPI), recursive types
#
# Expected: `type folder = record { name : text; folders : vec folder }` is a type like any other
#   (Candid specification, Type Definitions).
# Actual: a type that is recursive through `vec` can be encoded, but decoding it is a RecursionError, even for an empty
#   list. A type that is recursive only through `opt` can be decoded. ic-py decodes both.
# Affected: clients of canisters that answer with trees: folders, comments, nested menus.
. "$(dirname "$0")/lib/common.sh"

python_packages old ic-py==1.0.1
python_packages new icp-py-core==2.3.1
cat > probe.py <<'EOF'
import sys
if sys.argv[1] == 'ic-py':
    from ic.candid import decode, encode, Types
else:
    from icp_candid.candid import decode, encode, Types

def read(what, type, value):
    message = encode([{'type': type, 'value': value}])
    try:
        got = 'read' if decode(message, [type])[0]['value'] == value else 'another value'
    except RecursionError:
        got = 'RecursionError'
    print('%s, %s: %s' % (sys.argv[1], what, got))

folder = Types.Rec()
folder.fill(Types.Record({'name': Types.Text, 'folders': Types.Vec(folder)}))
read('recursion through vec, empty', folder, {'name': 'a', 'folders': []})
read('recursion through vec', folder, {'name': 'a', 'folders': [{'name': 'b', 'folders': []}]})
chain = Types.Rec()
chain.fill(Types.Record({'name': Types.Text, 'next': Types.Opt(chain)}))
read('recursion through opt', chain, {'name': 'a', 'next': [{'name': 'b', 'next': []}]})
EOF
{ old/bin/python probe.py ic-py; new/bin/python probe.py icp-py-core; } > seen
expect_seen <<'EOF'
ic-py, recursion through vec, empty: read
ic-py, recursion through vec: read
ic-py, recursion through opt: read
icp-py-core, recursion through vec, empty: RecursionError
icp-py-core, recursion through vec: RecursionError
icp-py-core, recursion through opt: read
EOF
