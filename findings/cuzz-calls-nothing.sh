#!/usr/bin/env bash
# cuzz 0.0.23, motoko 4.10.0, @icp-sdk/core 4.0.4 (npm)
#
# Expected: cuzz "will generate random arguments to that canister's methods" (its README), so for every valid `.did`.
# Actual: four forms are beyond it. A service whose type has a name, as the Motoko compiler writes it for every actor
#   class, "has no methods". A method whose type has a name is a TypeError. A recursive type, as every list and tree
#   has it, overflows the stack before the first call, also if only one of many methods takes it. For a record of
#   fields with numbers the values lack the underscores that the encoder of @icp-sdk/core wants, so that the first call
#   ends the program with "Error occurred on method", as if the canister had failed.
# Affected: people who fuzz a canister before a release. Write the service out with `--candid-path`, without names for
#   service and methods; name the other methods in `skipMethods`.
. "$(dirname "$0")/lib/common.sh"

npm_packages cuzz@0.0.23 motoko@4.10.0 @icp-sdk/core@4.0.4 fast-check@4.3.0 tsx@4.20.6
cp -r node_modules/cuzz cuzz
cat > probe.mts <<'TS'
import { createRequire } from 'node:module';
import * as fc from 'fast-check';
import { IDL } from '@icp-sdk/core/candid';
import { compile_candid, parse_candid } from './cuzz/candid_parser_wasm/pkg/candid_parser_wasm.js';
import { getArgumentArbitraries } from './cuzz/src/arbitraries/index.ts';
import { getCuzzOptions } from './cuzz/src/cuzz_options.ts';

const motoko = createRequire(import.meta.url)('motoko').default;
process.argv.push('--canister-name', 'backend');
const options = await getCuzzOptions();
const sources = {
  'tuple argument': 'persistent actor { public func f(pair : (Nat8, Text)) : async () {} }',
  'actor class': 'persistent actor class Backend() { public func f(n : Nat8) : async () {} }',
  'list': 'persistent actor { public type List = ?(Nat8, List); public func f(items : List) : async () {} }',
};
const idls = {
  'fields with numbers': 'service : { f : (record { 0 : nat8; 2 : text }) -> () }',
  'named service': 'type Backend = service { f : (nat8) -> () }; service : Backend',
  'named method type': 'type Callback = func (nat8) -> (); service : { f : Callback }',
};
for (const [name, source] of Object.entries(sources)) {
  motoko.write('main.mo', source);
  idls[name] = motoko.candid('main.mo');
}
for (const [name, did] of Object.entries(idls)) {
  let result;
  try {
    const [[, arbitrary]] = Object.entries(getArgumentArbitraries(options, parse_candid(did), 'backend'));
    const idlFactory = (0, eval)(`${compile_candid(did).replace(/export const/g, 'const')}; idlFactory`);
    const [[, { argTypes }]] = idlFactory({ IDL })._fields;
    result = new Set(fc.sample(arbitrary, 20).map((args) => { try { IDL.encode(argTypes, args); return 'can be sent'; } catch ({ message }) { return message.trim(); } }));
    result = [...result].join('; ');
  } catch (error) { result = `${error}`; }
  console.log(`${name}: ${did.replace(/\s+/g, ' ').trim()}\n  ${result}`);
}
TS
node node_modules/tsx/dist/cli.mjs probe.mts > seen
expect_seen <<'EXPECTED'
fields with numbers: service : { f : (record { 0 : nat8; 2 : text }) -> () }
  Record is missing key "_0_".
named service: type Backend = service { f : (nat8) -> () }; service : Backend
  Error: No methods found for canister backend
named method type: type Callback = func (nat8) -> (); service : { f : Callback }
  TypeError: Cannot read properties of undefined (reading 'args')
tuple argument: service : { f: (pair: record { nat8; text; }) -> (); }
  can be sent
actor class: type Backend = service { f: (n: nat8) -> (); }; service : () -> Backend
  Error: No methods found for canister backend
list: type List = opt record { nat8; List; }; service : { f: (items: List) -> (); }
  RangeError: Maximum call stack size exceeded
EXPECTED
