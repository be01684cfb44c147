#!/usr/bin/env bash
# @icp-sdk/bindgen 0.3.0 (npm), the generated class around the actor
#
# Expected: `opt nat64` with the value 0 is `opt 0`, and `opt bool` with false is `opt false`; only null is null
#   (Candid specification, Memory: M(null : opt …) = i8(0), M(?v : opt …) = i8(1) M(v)).
# Actual: an optional field of a record, or of a variant, is sent as null if its value is falsy in JavaScript: 0, 0n,
#   false and "". The same values are sent correctly if they are separate arguments.
# Affected: an operator who sets an optional limit to 0 in a settings record, a client that clears a description with ""
#   or says `false`: the canister gets null and keeps its old value. Use the generated `declarations/` directly.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/bindgen@0.3.0 @icp-sdk/core@6.1.0 typescript@5.9.3
cat > settings.did <<'EOF'
type Settings = record { max : opt nat64; listed : opt bool; note : opt text; share : opt variant { percent : opt nat8 } };
service : { set : (Settings, opt nat64, opt bool, opt text) -> () };
EOF
npx --no-install icp-bindgen --did-file settings.did --out-dir out > bindgen.log
cat > probe.mjs <<'EOF'
import ts from 'typescript';
import fs from 'fs';
import { IDL } from '@icp-sdk/core/candid';
const source = fs.readFileSync('out/settings.ts', 'utf8').replace('./declarations/settings.did"', './declarations/settings.did.js"');
fs.writeFileSync('out/settings.mjs', ts.transpile(source, { target: 'ES2022', module: 'ES2022' }));
const Client = Object.values(await import('./out/settings.mjs')).find((value) => value.prototype?.set);
const { idlFactory } = await import('./out/declarations/settings.did.js');
const types = idlFactory({ IDL })._fields[0][1].argTypes;
let sent;
const actor = { set: async (...values) => { sent = IDL.decode(types, IDL.encode(types, values)); } };
const show = (value) => JSON.stringify(value, (_, v) => typeof v === 'bigint' ? Number(v) : v);
const set = async (max, listed, note, percent) => {
  await new Client(actor).set({ max, listed, note, share: { __kind__: 'percent', percent } }, max, listed, note);
  const [{ max: m, listed: l, note: n, share }, ...alone] = sent;
  console.log(`${show([max, listed, note, percent])}: in the record ${show([m, l, n, share[0].percent])}, alone ${show(alone)}`);
};
await set(1n, true, 'x', 1);
await set(0n, false, '', 0);
EOF
node probe.mjs > seen
expect_seen <<'EOF'
[1,true,"x",1]: in the record [[1],[true],["x"],[1]], alone [[1],[true],["x"]]
[0,false,"",0]: in the record [[],[],[],[]], alone [[0],[false],[""]]
EOF
