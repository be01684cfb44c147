#!/usr/bin/env bash
# @icp-sdk/bindgen 0.3.0 (npm), the generated class around the actor
#
# Expected: `opt opt nat` distinguishes null, `opt null` and `opt opt 5`, in a record as elsewhere (Candid
#   specification, Options).
# Actual: for a field of a record the interface promises `a?: bigint | null`, but the value that arrives is an object
#   { __kind__: "Some", … }. If this object is sent back unchanged, it is refused, and null (meaning `opt null`) is sent
#   as null. The same type works as a separate argument. `// @ts-nocheck` in the generated file hides the contradiction.
# Affected: interfaces that say "leave it", "clear it" and "set it" with opt opt: "clear it" cannot be expressed.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/bindgen@0.3.0 @icp-sdk/core@6.1.0 typescript@5.9.3
cat > change.did <<'EOF'
service : { set : (record { a : opt opt nat }) -> (record { a : opt opt nat }) };
EOF
npx --no-install icp-bindgen --did-file change.did --out-dir out > bindgen.log
cat > probe.mjs <<'EOF'
import ts from 'typescript';
import fs from 'fs';
import { IDL } from '@icp-sdk/core/candid';
const source = fs.readFileSync('out/change.ts', 'utf8').replace('./declarations/change.did"', './declarations/change.did.js"');
console.log('promised:', source.match(/a\?: [^;]*/)[0]);
fs.writeFileSync('out/change.mjs', ts.transpile(source, { target: 'ES2022', module: 'ES2022' }));
const Client = Object.values(await import('./out/change.mjs')).find((value) => value.prototype?.set);
const { idlFactory } = await import('./out/declarations/change.did.js');
const types = idlFactory({ IDL })._fields[0][1].argTypes;
const show = (value) => JSON.stringify(value, (_, v) => typeof v === 'bigint' ? Number(v) : v);
let sent;
const actor = { set: async (value) => { sent = IDL.decode(types, IDL.encode(types, [value]))[0]; return { a: [[5n]] }; } };
const client = new Client(actor);
const read = await client.set({ a: 7n });
console.log('7 sent as', show(sent.a));
await client.set({ a: null });
console.log('null sent as', show(sent.a));
console.log('opt opt 5 read as', show(read.a));
await client.set(read).then(() => console.log('given back: sent as', show(sent.a)), () => console.log('given back: refused'));
EOF
node probe.mjs > seen
expect_seen <<'EOF'
promised: a?: bigint | null
7 sent as [[7]]
null sent as []
opt opt 5 read as {"__kind__":"Some","value":5}
given back: refused
EOF
