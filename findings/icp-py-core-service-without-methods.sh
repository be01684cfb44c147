#!/usr/bin/env bash
# icp-py-core 2.3.1 (PyPI), service references; @icp-sdk/core 6.1.0 (npm) as the reader
#
# Expected: a reference to a `service { get : () -> (nat) query }` is sent with that type, of which `service {}` is not
#   a subtype (Candid specification, Upgrading and Subtyping, Services; Coercion, References).
# Actual: a type read from a `.did` loses its methods; every service reference is sent as `service {}`. A canister that
#   asks for the service refuses the call, and one that asks for `opt service …` reads null.
#   Function references keep their type.
# Affected: Python clients that register a canister for callbacks: the call is refused, or the client is registered
#   without a callback.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/core@6.1.0
python_packages venv icp-py-core==2.3.1
cat > probe.py <<'EOF'
from icp_candid.candid import encode
from icp_candid.did_loader import DIDLoader
did = '''service : { f : (opt service { get : () -> (nat) query }) -> (); g : (opt func () -> (nat) query) -> () }'''
for method, value in ('f', 'aaaaa-aa'), ('g', ['aaaaa-aa', 'get']):
    type = DIDLoader().load_did_source(did)['methods'][method].argTypes[0]
    print(encode([{'type': type, 'value': [value]}]).hex())
EOF
cat > probe.mjs <<'EOF'
import { IDL } from '@icp-sdk/core/candid';
const get = IDL.Func([], [IDL.Nat], ['query']);
const show = (name, type, hex) => {
  const [value] = IDL.decode([IDL.Opt(type)], Uint8Array.from(hex.match(/../g), (x) => parseInt(x, 16)));
  console.log(`${name}: ${hex}, read as ${value.length ? [value[0]].flat().map(String).join('.') : 'null'}`);
};
const [service, method] = process.argv.slice(2);
show('opt service { get : … }', IDL.Service({ get }), service);
show('opt func', get, method);
EOF
# shellcheck disable=SC2046 # two words
node probe.mjs $(venv/bin/python probe.py) > seen
expect_seen <<'EOF'
opt service { get : … }: 4449444c026e0169000100010100, read as null
opt func: 4449444c026e016a00017d010101000101010003676574, read as aaaaa-aa.get
EOF
