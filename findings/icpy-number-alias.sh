#!/usr/bin/env bash
# ic-py 1.0.1 (PyPI), names for numbers; @dfinity/didc 0.0.4 (npm) as the judge
#
# Expected: definitions may stand in any order (Candid specification, Type Definitions: mutually recursive), and a name
#   for `nat64` is `nat64`; the type table holds composite types only (Binary Format, Types).
# Actual: a name that is used before it is defined, and means a primitive type, gets an entry in the type table, and
#   that entry is empty. No decoder accepts the message.
# Affected: interfaces sorted by name, as ic-cdk's export_candid! and didc write them:
#   `type File = record { at : Time }; type Time = nat64`. Every call with a File is refused by the canister. If Time is
#   defined before File, the calls work.
. "$(dirname "$0")/lib/common.sh"

npm_packages @dfinity/didc@0.0.4
python_packages venv ic-py==1.0.1
cat > probe.py <<'EOF'
import sys
from ic.canister import Canister
from ic.candid import encode
f = Canister(None, 'aaaaa-aa', sys.argv[1] + ' service : { put : (File) -> (); }').actor['methods']['put']
print(encode([{'type': f.argTypes[0], 'value': {'at': 5}}]).hex())
EOF
cat > judge.mjs <<'EOF'
import * as didc from '@dfinity/didc';
const [, , did, hex] = process.argv;
let got;
try {
  got = didc.decode({ idl: `${did} service : { put : (File) -> () }`, input: hex, withType: { kind: 'methodParams', name: 'put' },
    targetFormat: 'candid' });
} catch { got = 'refused'; }
console.log(`${hex}: ${got}`);
EOF
for did in 'type Time = nat64; type File = record { at : Time };' 'type File = record { at : Time }; type Time = nat64;'; do
  echo "$did"
  node judge.mjs "$did" "$(venv/bin/python probe.py "$did")"
done > seen
expect_seen <<'EOF'
type Time = nat64; type File = record { at : Time };
4449444c016c01f3a9017801000500000000000000: (record { 21_747 = 5 : nat64 })
type File = record { at : Time }; type Time = nat64;
4449444c026c01f3a9010001010500000000000000: refused
EOF
