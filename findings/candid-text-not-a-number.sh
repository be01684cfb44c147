#!/usr/bin/env bash
# @dfinity/didc 0.0.4 (npm, candid compiled to WebAssembly), the text form of floats
#
# Expected: what a tool prints as Candid text can be read as Candid text (Candid specification, Values: "a text format
#   for values"; its grammar has no syntax for infinity and not-a-number).
# Actual: NaN and infinity, which are valid floats on the wire, are printed as `NaN` and `inf` but refused when read.
#   1e300 is printed with all its 301 digits, and can be read.
# Affected: anyone who saves a record with didc or `icp canister call` to send it again, if the record contains a ratio
#   of zero to zero. Save it as bytes (`--output hex`).
. "$(dirname "$0")/lib/common.sh"

npm_packages @dfinity/didc@0.0.4 @icp-sdk/core@6.1.0
cat > probe.mjs <<'EOF'
import * as didc from '@dfinity/didc';
import { IDL } from '@icp-sdk/core/candid';
const idl = 'service : { f : (float64) -> () }';
const withType = { kind: 'methodParams', name: 'f' };
for (const value of [0.5, -0, 1e300, NaN, Infinity]) {
  const input = Buffer.from(IDL.encode([IDL.Float64], [value])).toString('hex');
  const text = didc.decode({ idl, input, withType, targetFormat: 'candid' }).replace(/\s+/g, ' ');
  let again;
  try { again = didc.encode({ idl, input: text, withType, targetFormat: 'hex' }) === input ? 'the same bytes' : 'other bytes'; } catch { again = 'refused'; }
  console.log(`${value}: ${text.length > 60 ? `${text.length} characters` : text}, read again: ${again}`);
}
EOF
node probe.mjs > seen
expect_seen <<'EOF'
0.5: (0.5 : float64), read again: the same bytes
0: (-0.0 : float64), read again: the same bytes
1e+300: 318 characters, read again: the same bytes
NaN: (NaN : float64), read again: refused
Infinity: (inf : float64), read again: refused
EOF
