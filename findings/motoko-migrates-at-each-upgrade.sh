#!/usr/bin/env bash
# motoko 4.10.0 and icp-cli 1.5.0 (npm), run with wasmtime 50.0.1 (PyPI): a migration function, and the same module again
#
# Expected: a migration function converts the state of the previous version once. It may stay in the source: "removing or
#   adjusting the migration code can also be delayed to the next, proper upgrade" (Motoko documentation, Verifying
#   upgrade compatibility), and a module is compatible with itself.
# Actual: the function runs at each upgrade, also at one to the module that is installed already, and `icp deploy`
#   installs that again each time. If the types are the same before and after, as with another unit, the compiler finds
#   the module compatible with itself, and the values are converted a second time. What the function empties is emptied
#   again. If the types differ, the same module is refused: "Memory-incompatible program upgrade".
# Affected: anyone who repeats a deployment, for a setting, for another canister of the project or in CI: sizes are
#   multiplied again, or new entries are lost. Take the function out at once, or give the variable a new name, so that
#   the second time is refused.
. "$(dirname "$0")/lib/common.sh"
. "$lib/icp-network.sh"

icp_packages motoko@4.10.0
python_packages venv wasmtime==50.0.1
cp "$lib/motoko_canister.py" .
cat > build.mjs <<'EOD'
import fs from 'node:fs';
import { createRequire } from 'node:module';
const { default: mo } = createRequire(import.meta.url)('motoko');
const get = 'public func get() : async Text { debug_show state };';
const build = (name, source) => {
  mo.write(`${name}.mo`, source);
  const { wasm, stable } = mo.wasm(`${name}.mo`, 'ic');
  fs.writeFileSync(`${name}.wasm`, wasm);
  mo.write(`${name}.most`, stable);
  return mo.compiler.stableCompatible(`${name}.most`, `${name}.most`).diagnostics.length ? 'refused' : 'compatible';
};
const change = (name, from, to, value, migrate, next, add) => {
  build(`${name}-1`, `persistent actor { var state : ${from} = ${value}; ${get} }`);
  const itself = build(`${name}-2`, `(with migration = func (old : { var state : ${from} }) : { ${migrate} })
    persistent actor { var state : ${to} = ${next}; ${get} public func add() : async Text { ${add}; "" } }`);
  fs.appendFileSync('compatible', `${name} ${itself}\n`);
};
change('unit', 'Nat', 'Nat', '3', 'var state : Nat } { { var state = old.state * 1024 }', '0', 'state += 5');
change('emptied', '[Nat]', '[Nat]', '[1, 2]', '} { ignore old; {}', '[]', 'state := [7]');
change('field', '[{ bytes : Nat }]', '[{ bytes : Nat; kept : Bool }]', '[{ bytes = 3 }]',
  'var state : [{ bytes : Nat; kept : Bool }] } { { var state = switch (old.state.size()) { case 0 []; case _ [{ bytes = old.state[0].bytes; kept = true }] } }',
  '[]', 'state := [{ bytes = 9; kept = false }]');
EOD
node build.mjs 2> build.log || give_up build.log
cat > run.py <<'EOD'
from motoko_canister import Canister

for line in open("compatible"):
    name, itself = line.split()
    before, after = (open(f"{name}-{version}.wasm", "rb").read() for version in (1, 2))
    canister = Canister(before)
    print(f"{name}: the module is {itself} with itself; the state is {canister.text('get')}")
    print(f"  upgrade: {canister.upgrade(after)}, {canister.text('get')}")
    canister.text("add")
    print(f"  after a call: {canister.text('get')}")
    outcome = canister.upgrade(after)
    print(f"  the same module again: {outcome}{', ' + canister.text('get') if outcome == 'ok' else ''}")
EOD
# How often `icp deploy` installs a module that the canister has already.
cat > network-of-one.mjs <<'EOD'
import crypto from 'node:crypto';
import fs from 'node:fs';
import { Principal } from '@icp-sdk/core/principal';
import { manage, serve } from './icp-network.mjs';
const hash = crypto.createHash('sha256').update(fs.readFileSync('unit-2.wasm')).digest();
const management = {
  canister_status: () => ({ controllers: [Principal.fromText('2vxsx-fae')], module_hash: Uint8Array.from(hash) }),
  install_code: ({ mode, wasm_module }) => {
    const same = Buffer.from(wasm_module).equals(fs.readFileSync('unit-2.wasm'));
    fs.appendFileSync('installed', `${Object.keys(mode)} to ${same ? 'the module that is installed' : 'another module'}\n`);
  },
};
serve(({ method_name, arg }) => manage(management, method_name, arg));
EOD
start_network network-of-one.mjs
cat > icp.yaml <<EOD
canisters:
  - name: uploads
    build: { steps: [{ type: pre-built, path: unit-2.wasm }] }
networks:
  - { name: one, mode: connected, url: "$(cat address)", root-key: $(cat root-key) }
environments:
  - { name: production, network: one }
EOD
{
  venv/bin/python run.py
  icp canister link uploads rrkah-fqaaa-aaaaa-aaaaq-cai -e production > icp.log 2>&1 || give_up icp.log
  icp deploy -e production > icp.log 2>&1 || give_up icp.log
  echo "icp deploy: $(cat installed)"
} > seen
expect_seen <<'EOD'
unit: the module is compatible with itself; the state is 3
  upgrade: ok, 3_072
  after a call: 3_077
  the same module again: ok, 3_150_848
emptied: the module is compatible with itself; the state is [1, 2]
  upgrade: ok, []
  after a call: [7]
  the same module again: ok, []
field: the module is refused with itself; the state is [{bytes = 3}]
  upgrade: ok, [{bytes = 3; kept = true}]
  after a call: [{bytes = 9; kept = false}]
  the same module again: RTS error: Memory-incompatible program upgrade
icp deploy: upgrade to the module that is installed
EOD
