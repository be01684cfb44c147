#!/usr/bin/env bash
# ic-py 1.0.1 (PyPI), reading the interface that the Motoko compiler 4.10.0 (npm motoko) writes
#
# Expected: the names of arguments and results are documentation only; `(name : text, size : nat)` is `(text, nat)`
#   (Candid specification, Shorthand: Named Parameters and Results).
# Actual: after a named argument or result, ic-py ignores all further ones: the method takes one argument and returns
#   one result. Only a line on standard error reports it. A single named argument is read; an unnamed one followed by a
#   named one is an error. The Motoko compiler names every argument. The annotation `composite_query` is lost, and such
#   a method is called as an update.
# Affected: Python scripts for Motoko canisters: "Arguments length not match" for a correct call, or a call with half of
#   the arguments. Interfaces without such names are read correctly.
. "$(dirname "$0")/lib/common.sh"

npm_packages motoko@4.10.0
python_packages venv ic-py==1.0.1
cat > compile.mjs <<'EOF'
import motoko from 'motoko';
const mo = motoko.default ?? motoko;
mo.write('Main.mo', `persistent actor {
  public func put(name : Text, size : Nat) : async (id : Nat, path : Text) { (size, name) };
  public composite query func find(name : Text) : async Nat { name.size() };
}`);
console.log(mo.candid('Main.mo'));
EOF
node compile.mjs > main.did
cat > probe.py <<'EOF'
import io, contextlib
from ic.canister import Canister

def show(name, did):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        methods = Canister(None, 'aaaaa-aa', did).actor['methods']
    for method, f in methods.items():
        print('%s, %s: (%s) -> (%s) %s' % (name, method, ', '.join(t.name for t in f.argTypes),
              ', '.join(t.name for t in f.retTypes), ' '.join(f.annotations)))

with open('main.did') as f:
    did = f.read()
print(' '.join(did.split()))
show('as Motoko wrote it', did)
show('without names', 'service : { put : (text, nat) -> (nat, text); find : (text) -> (nat) query; }')
EOF
venv/bin/python probe.py | sed 's/ *$//' > seen
expect_seen <<'EOF'
service : { find: (name: text) -> (nat) composite_query; put: (name: text, size: nat) -> (id: nat, path: text); }
as Motoko wrote it, find: (text) -> (nat)
as Motoko wrote it, put: (text) -> (nat)
without names, put: (text, nat) -> (nat, text)
without names, find: (text) -> (nat) query
EOF
