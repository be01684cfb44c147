#!/usr/bin/env bash
# @ic-reactor/core 3.0.0 with @icp-sdk/core 5.4.0 (npm), lists of pairs in DisplayReactor
#
# Expected: `vec record { text; text }` is a list: it has an order, and may have a pair twice (Candid specification,
#   vec).
# Actual: each vec of pairs, of any two types, becomes an object: of several pairs with the same first value only the
#   last one stays, numeric keys come first in ascending order, and the shorter list is sent back. Pairs whose first
#   value is a nat32 or smaller cannot be sent back at all, since the keys of an object are texts.
# Affected: headers of a response (two Set-Cookie), entries of a log with a time, lists of tags with their kind: entries
#   are gone or in another order. Records with named fields are shown as they are.
. "$(dirname "$0")/lib/common.sh"

npm_packages @ic-reactor/core@3.0.0 @icp-sdk/core@5.4.0 zod@4.6.7 @tanstack/query-core@5.108.4 esbuild@0.28.2
cat > probe.mjs <<'EOF'
import { didToDisplayCodec } from '@ic-reactor/core';
import { IDL } from '@icp-sdk/core/candid';
const { Nat32, Nat64, Record, Text, Tuple, Vec } = IDL;
const show = (name, type, value) => {
  const codec = didToDisplayCodec(type);
  const shown = codec.asDisplay(IDL.decode([type], IDL.encode([type], [value]))[0]);
  let back;
  try { back = JSON.stringify(IDL.decode([type], IDL.encode([type], [codec.asCandid(shown)]))[0], (_, v) => typeof v === 'bigint' ? `${v}` : v); }
  catch (e) { back = e.constructor.name; }
  console.log(`${name}: ${JSON.stringify(shown)}, sent back: ${back}`);
};
show('headers', Vec(Tuple(Text, Text)), [['set-cookie', 'a'], ['set-cookie', 'b'], ['etag', 'c']]);
show('nat64 and text', Vec(Tuple(Nat64, Text)), [[20n, 'first'], [3n, 'second']]);
show('nat32 and text', Vec(Tuple(Nat32, Text)), [[20, 'first'], [3, 'second']]);
show('named fields', Vec(Record({ at: Nat64, what: Text })), [{ at: 3n, what: 'a' }, { at: 3n, what: 'b' }]);
EOF
npx --no-install esbuild probe.mjs --bundle --platform=node --format=esm --outfile=built.mjs --log-level=error
node built.mjs > seen
expect_seen <<'EOF'
headers: {"set-cookie":"b","etag":"c"}, sent back: [["set-cookie","b"],["etag","c"]]
nat64 and text: {"3":"second","20":"first"}, sent back: [["3","second"],["20","first"]]
nat32 and text: {"3":"second","20":"first"}, sent back: ZodError
named fields: [{"at":"3","what":"a"},{"at":"3","what":"b"}], sent back: [{"at":"3","what":"a"},{"at":"3","what":"b"}]
EOF
