#!/usr/bin/env bash
# @icp-sdk/bindgen 0.3.0 with @icp-sdk/core 6.1.0 and typescript 5.9.3 (npm), variants without values
#
# Expected: a variant whose tags have no values becomes an enum of TypeScript, and an actor returns its members; the
#   name of the type is free (Candid specification, Grammar: any identifier that is not a keyword of Candid).
# Actual: a type named Error, Date, Map, Promise, Record, … becomes `enum Error_`, but the code reads `Error.NotFound`
#   from JavaScript's own Error, which is undefined. Every result of the type is undefined, and as an argument it is
#   refused by the encoder. With Record, which JavaScript does not have, reading it is a ReferenceError. The file
#   contains @ts-nocheck, so that the compiler reports nothing. A type of another name works, and so does Error as soon
#   as one tag has a value.
# Affected: interfaces with `type Error = variant { NotFound; Denied }`: the front end gets undefined for each error,
#   and cannot distinguish the errors.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/bindgen@0.3.0 @icp-sdk/core@6.1.0 typescript@5.9.3
cat > files.did <<'EOF'
type Error = variant { NotFound; Denied };
type Problem = variant { Missing; Forbidden };
type Record = variant { Kept; Deleted };
service : {
  last_error : () -> (Error) query;
  last_problem : () -> (Problem) query;
  state : () -> (Record) query;
  retry_after : (Error) -> ();
}
EOF
npx --no-install icp-bindgen --did-file files.did --out-dir out > bindgen.log
npx --no-install tsc --skipLibCheck --target es2022 --module es2022 --moduleResolution bundler --outDir built out/files.ts > tsc.log && compiled=passes || compiled=fails
sed -i 's|"./declarations/files.did"|"./declarations/files.did.js"|' built/files.js
mkdir -p built/declarations && cp out/declarations/files.did.js built/declarations/
cat > probe.mjs <<'EOF'
import { IDL } from '@icp-sdk/core/candid';
import { Files, Error_ } from './built/files.js';
import { idlFactory } from './built/declarations/files.did.js';
const types = Object.fromEntries(idlFactory({ IDL })._fields);
const canister = {
  last_error: async () => ({ NotFound: null }),
  last_problem: async () => ({ Missing: null }),
  state: async () => ({ Kept: null }),
  retry_after: async (value) => { IDL.encode(types.retry_after.argTypes, [value]); return 'sent'; },
};
const files = new Files(canister);
const show = async (name, call) => {
  let got;
  try { got = await call(); } catch (e) { got = `${e.name}, ${e.message.split(/[:\n]/)[0]}`; }
  console.log(`${name}: ${got}`);
};
await show('Problem, canister answers Missing', () => files.last_problem());
await show('Error, canister answers NotFound', () => files.last_error());
await show('Record, canister answers Kept', () => files.state());
await show('Error_.Denied as an argument', () => files.retry_after(Error_.Denied));
EOF
{ echo "tsc: $compiled"; node probe.mjs; } > seen
expect_seen <<'EOF'
tsc: passes
Problem, canister answers Missing: Missing
Error, canister answers NotFound: undefined
Record, canister answers Kept: ReferenceError, Record is not defined
Error_.Denied as an argument: Error, Invalid variant {NotFound; Denied} argument
EOF
