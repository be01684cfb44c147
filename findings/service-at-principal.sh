#!/usr/bin/env bash
# @icp-sdk/core 6.1.0 (npm), icp-py-core 2.3.1 (PyPI); candid 0.10.39 (crates.io) as the judge
#
# Expected: a service reference is read where a principal is expected; both share one form on the wire
#   (Candid specification, Coercion, Primitive Types: service <text> : service ~> principal <text> : principal).
# Actual: Rust reads it. JavaScript and Python refuse it, and inside an `opt` JavaScript reads null.
# Affected: a canister that narrows a result from `principal` to `service { … }`, which candid's subtype check lets
#   pass: front ends with the older `.did` fail, or lose the value.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/core@6.1.0
python_packages venv icp-py-core==2.3.1
# (service { }) "w7x7r-cok77-xa", encoded by hand: one table entry 0x69 without methods, one argument.
message=4449444c01690001000103caffee
cat > probe.mjs <<'EOF'
import { IDL } from '@icp-sdk/core/candid';
const bytes = Uint8Array.from(process.argv[2].match(/../g), (x) => parseInt(x, 16));
for (const [name, type] of [['principal', IDL.Principal], ['opt principal', IDL.Opt(IDL.Principal)]]) {
  let got;
  try { got = JSON.stringify(IDL.decode([type], bytes)[0]); } catch (e) { got = e.message.replace(/rec_\d+/, 'service'); }
  console.log(`JavaScript, ${name}: ${got}`);
}
EOF
node probe.mjs $message > seen
venv/bin/python - $message >> seen <<'EOF'
import sys
from icp_candid.candid import decode, Types
try:
    print('Python, principal:', decode(bytes.fromhex(sys.argv[1]), [Types.Principal]))
except ValueError as e:
    print('Python, principal:', e)
EOF
mkdir src
cat > src/main.rs <<'EOF'
use candid::types::{subtype::subtype, TypeEnv, TypeInner};
use candid::{Decode, Principal};
fn main() {
    let narrowed = subtype(&mut Default::default(), &TypeEnv::new(), &TypeInner::Service(vec![]).into(), &TypeInner::Principal.into());
    println!("Rust, service {{}} <: principal: {}", narrowed.is_ok());
    let message = hex::decode("4449444c01690001000103caffee").unwrap();
    println!("Rust, principal: {}", Decode!(&message, Principal).unwrap());
    println!("Rust, opt principal: {}", Decode!(&message, Option<Principal>).unwrap().unwrap());
}
EOF
rust_program >> seen <<'EOF'
candid = "=0.10.39"
hex = "=0.4.3"
EOF
expect_seen <<'EOF'
JavaScript, principal: type mismatch: type on the wire service, expect type principal
JavaScript, opt principal: []
Python, principal: Type mismatch: wire service, expect principal
Rust, service {} <: principal: true
Rust, principal: w7x7r-cok77-xa
Rust, opt principal: w7x7r-cok77-xa
EOF
