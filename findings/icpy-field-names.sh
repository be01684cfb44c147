#!/usr/bin/env bash
# ic-py 1.0.1 (PyPI), names and numbers of fields; @dfinity/didc 0.0.4 (npm) as the judge
#
# Expected: a name is hashed, whatever it begins with; a number is the id, and may be hexadecimal or have underscores
#   (Candid specification, Records; Shorthand: Symbolic Field Ids).
# Actual: `_5` is sent as the field with id 5, so that an optional `_5` arrives as null, without an error; `_hidden` is
#   a ValueError; `0x10` is sent as a field named "x10" and `1_000` as one named "_000", that is, with id 0.
# Affected: interfaces with fields that begin with an underscore (Rust's habit for unused ones) or have ids instead of
#   names (Motoko's tuples with gaps, minimised interfaces).
. "$(dirname "$0")/lib/common.sh"

npm_packages @dfinity/didc@0.0.4
python_packages venv ic-py==1.0.1
cat > probe.py <<'EOF'
import io, sys, contextlib
from ic.canister import Canister
from ic.candid import encode

did, key, value = sys.argv[1], sys.argv[2], 7
with contextlib.redirect_stderr(io.StringIO()):
    try:
        f = Canister(None, 'aaaaa-aa', 'service : { f : (record { %s : opt nat; ok : bool }) -> (); }' % did).actor['methods']['f']
        print(encode([{'type': f.argTypes[0], 'value': {key: [value], 'ok': True}}]).hex())
    except (ValueError, KeyError) as e:
        print(type(e).__name__)
EOF
cat > judge.mjs <<'EOF'
import * as didc from '@dfinity/didc';
const [, , name, id, hex] = process.argv;
let got = hex;
if (hex.startsWith('4449444c')) {
  const record = didc.decode({ idl: 'service : { f : (record {}) -> () }', input: hex, withType: { kind: 'methodParams', name: 'f' },
    targetFormat: 'candid' });
  got = record.match(/([0-9_]+) = opt/)[1].replaceAll('_', '');
}
console.log(`${name}: id ${id}, ic-py: ${got}`);
EOF
while read -r name key id; do
  node judge.mjs "$name" "$id" "$(venv/bin/python probe.py "$name" "$key")"
done > seen <<'EOF'
size size 1280549057
_5 _5 21238
_hidden _hidden 3138195721
0x10 x10 16
1_000 _000 1000
EOF
expect_seen <<'EOF'
size: id 1280549057, ic-py: 1280549057
_5: id 21238, ic-py: 5
_hidden: id 3138195721, ic-py: ValueError
0x10: id 16, ic-py: 5978455
1_000: id 1000, ic-py: 0
EOF
