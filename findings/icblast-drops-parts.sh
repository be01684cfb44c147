#!/usr/bin/env bash
# @infu/icblast 2.1.0 with @dfinity/agent and @dfinity/candid 3.4.3 (npm)
#
# Expected: a method's results are what the canister returned ("Opt handled without []"; Candid allows several
#   results), what was fetched can be modified and sent back (README), and ic('aaaaa-aa') is the management canister
#   as the Internet Computer interface specification describes it.
# Actual: only the type of the first result is used, for all of them. If it is `opt`, the second result is gone; if it
#   is a record or a list of records, the call is an error after it was executed; if it is Ok and Err, it is rejected
#   with undefined. ic('aaaaa-aa') has an older interface built in, and what that lacks is left out without an error:
#   update_settings with a limit for the wasm's memory, cycles or visible logs succeeds, and sets nothing. A blob that
#   toState turned into text is sent back as bytes, except for the empty one, which is an error.
# Affected: scripts that page through a canister (`opt text` and a count) or set its limits before an upgrade. Give
#   the interface as the second argument, and have methods return one record.
. "$(dirname "$0")/lib/common.sh"

npm_packages @infu/icblast@2.1.0 @dfinity/agent@3.4.3 @dfinity/candid@3.4.3 @dfinity/principal@3.4.3 @dfinity/identity@3.4.3 \
  @dfinity/auth-client@3.4.3 get-random-values@2.1.0 isomorphic-fetch@3.0.0 js-sha256@0.9.0 p-limit@4.0.0
cat > probe.mjs <<'EOF'
// The build for browsers: the one for Node.js cannot be imported with these versions of the agent.
import icblast, { actress, toState } from './node_modules/@infu/icblast/esm/browser.js';
import { IDL } from '@dfinity/candid';

const show = (value) => JSON.stringify(value, (_, value) => typeof value === 'bigint' ? Number(value) : value === undefined ? 'undefined' : value);
const methods = {
  'opt text, nat': [(IDL) => [IDL.Opt(IDL.Text), IDL.Nat], [['key'], 7n]],
  'vec record, nat': [(IDL) => [IDL.Vec(IDL.Record({ size: IDL.Nat })), IDL.Nat], [[{ size: 5n }], 7n]],
  'record, nat': [(IDL) => [IDL.Record({ size: IDL.Nat }), IDL.Nat], [{ size: 5n }, 7n]],
  'Ok or Err, nat': [(IDL) => [IDL.Variant({ Ok: IDL.Text, Err: IDL.Text }), IDL.Nat], [{ Ok: 'stored' }, 7n]],
  'text, nat': [(IDL) => [IDL.Text, IDL.Nat], ['key', 7n]],
};
for (const [name, [types, returned]] of Object.entries(methods)) {
  const canister = actress.wrapActor({ method: async () => returned }, ({ IDL }) => IDL.Service({ method: IDL.Func([], types(IDL), []) }));
  console.log(`${name}: ${await canister.method().then(show, (error) => `error ${show(error)}`)}`);
}

const blobs = actress.wrapActor({ put: async (body) => show([...body]) }, ({ IDL }) => IDL.Service({ put: IDL.Func([IDL.Vec(IDL.Nat8)], [IDL.Text], []) }));
for (const bytes of [[10, 20], []]) {
  const state = toState({ body: Uint8Array.from(bytes) });
  console.log(`blob [${bytes}], state ${show(state)}, sent back: ${await blobs.put(state.body).catch((error) => `error ${error}`)}`);
}

// What update_settings sends, decoded with the types of the specification.
const management = await icblast()('aaaaa-aa');
const settings = IDL.Record({ memory_allocation: IDL.Opt(IDL.Nat), wasm_memory_limit: IDL.Opt(IDL.Nat), reserved_cycles_limit: IDL.Opt(IDL.Nat),
  log_visibility: IDL.Opt(IDL.Variant({ controllers: IDL.Null, public: IDL.Null })) });
const [sent] = IDL.decode([IDL.Record({ canister_id: IDL.Principal, settings })], Uint8Array.from(management.update_settings$({
  canister_id: 'rrkah-fqaaa-aaaaa-aaaaq-cai',
  settings: { memory_allocation: 4n, wasm_memory_limit: 3n, reserved_cycles_limit: 2n, log_visibility: { public: null } },
})));
console.log(`update_settings sends ${show(sent.settings)}`);
EOF
node probe.mjs > seen
expect_seen <<'EOF'
opt text, nat: ["key"]
vec record, nat: error "ret.0.size (missing)"
record, nat: error "ret.size (missing)"
Ok or Err, nat: error "undefined"
text, nat: ["key",7]
blob [10,20], state {"body":"0a14"}, sent back: [10,20]
blob [], state {"body":""}, sent back: error arg0.(array expected)
update_settings sends {"reserved_cycles_limit":[],"log_visibility":[],"wasm_memory_limit":[],"memory_allocation":[4]}
EOF
