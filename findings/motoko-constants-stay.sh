#!/usr/bin/env bash
# motoko 4.10.0 (npm), run with wasmtime 50.0.1 (PyPI): a constant of an actor whose value is changed in the source
#
# Expected: `let max_bytes = 10` is a constant of the program, like a literal in a function: after an upgrade to a source
#   with 20 the limit is 20, or the check of the upgrade says why it is not.
# Actual: in a persistent actor every `let` is stored like a variable (Motoko documentation, Data persistence), and its
#   expression is evaluated on the first installation only. The upgrade is "compatible", without a warning, and the old
#   value stays; a new canister with the same module has the new one. What is computed from a constant stays, too. If
#   the constant is a record of settings, one more field in it makes the upgrade impossible. The compiler itself advises
#   `let` for every variable that is not reassigned (M0244).
# Affected: teams that keep limits, fees and addresses as constants in the actor: the change works in a test on a new
#   canister and has no effect in production. Write `transient let`, or put constants into a module.
. "$(dirname "$0")/lib/common.sh"

npm_packages motoko@4.10.0
python_packages venv wasmtime==50.0.1
cp "$lib/motoko_canister.py" .
cat > build.mjs <<'EOD'
import fs from 'node:fs';
import { createRequire } from 'node:module';
const { default: mo } = createRequire(import.meta.url)('motoko');
const build = (name, constants) => {
  mo.write(`${name}.mo`, `${constants[1] ?? ''} persistent actor { ${constants[0]} public func get() : async Text { debug_show limit } }`);
  const advice = mo.check(`${name}.mo`).map(({ code }) => code);
  const { wasm, stable } = mo.wasm(`${name}.mo`, 'ic');
  fs.writeFileSync(`${name}.wasm`, wasm);
  mo.write(`${name}.most`, stable);
  return advice;
};
const change = (name, before, after) => {
  const advice = [...build(`${name}-1`, before), ...build(`${name}-2`, after)];
  const found = mo.compiler.stableCompatible(`${name}-1.most`, `${name}-2.most`).diagnostics.map(({ code }) => code);
  fs.appendFileSync('changes', [name, [...advice, ...found].join(' ') || 'no warning'].join('|') + '\n');
};
change('constant', ['let limit = 10;'], ['let limit = 20;']);
change('variable', ['var limit = 10;'], ['var limit = 20;']);
change('computed', ['let mib = 10; let limit = mib * 1_048_576;'], ['let mib = 20; let limit = mib * 1_048_576;']);
change('record', ['let limit = { bytes = 10 };'], ['let limit = { bytes = 20; files = 5 };']);
change('transient', ['transient let limit = 10;'], ['transient let limit = 20;']);
mo.write('before.mo', 'module { public let limit = 10 }');
mo.write('after.mo', 'module { public let limit = 20 }');
change('module', ['', 'import { limit } "before";'], ['', 'import { limit } "after";']);
EOD
node build.mjs 2> build.log || give_up build.log
cat > run.py <<'EOD'
from motoko_canister import Canister

for line in open("changes"):
    name, said = line.strip().split("|")
    before, after = (open(f"{name}-{version}.wasm", "rb").read() for version in (1, 2))
    canister = Canister(before)
    first = canister.text("get")
    outcome = canister.upgrade(after)
    then = canister.text("get") if outcome == "ok" else outcome
    print(f"{name}: {first}, upgraded {then}, new {Canister(after).text('get')}; {said}")
EOD
venv/bin/python run.py > seen
expect_seen <<'EOD'
constant: 10, upgraded 10, new 20; no warning
variable: 10, upgraded 10, new 20; M0244 M0244
computed: 10_485_760, upgraded 10_485_760, new 20_971_520; no warning
record: {bytes = 10}, upgraded RTS error: Memory-incompatible program upgrade, new {bytes = 20; files = 5}; M0170
transient: 10, upgraded 20, new 20; no warning
module: 10, upgraded 20, new 20; no warning
EOD
