#!/usr/bin/env bash
# icp-py-core 2.3.1 with ic-candid-parser 0.2.1 (PyPI), methods whose type has a name
#
# Expected: `upload : Upload` with `type Upload = func (blob) -> (nat)` is the method `upload : (blob) -> (nat)` (Candid
#   specification, Grammar: <methtype> ::= <name> : (<functype> | <id>)); @dfinity/didc 0.0.4 reads it in this way.
# Actual: the parser gives such a method no arguments, no results and no annotation. A call with its argument is a
#   TypeError; a query without arguments is sent as an update, which takes seconds and costs cycles.
# Affected: interfaces that name the types of their methods, as callbacks and standards do.
. "$(dirname "$0")/lib/common.sh"

python_packages venv icp-py-core==2.3.1 ic-candid-parser==0.2.1
npm_packages @dfinity/didc@0.0.4
cat > files.did <<'EOF'
type Upload = func (blob) -> (nat);
type Count = func () -> (nat) query;
service : {
  upload : Upload;
  count : Count;
  count_inline : () -> (nat) query;
}
EOF
cat > probe.py <<'EOF'
from icp_canister.canister import Canister

class Agent:
    """Says what it is asked to do."""
    def query(self, canister_id, name, **options):
        return 'query'
    def update(self, canister_id, name, **options):
        return 'update'

canister = Canister(Agent(), 'rrkah-fqaaa-aaaaa-aaaaq-cai', open('files.did').read())
for name, args in ('count_inline', ()), ('count', ()), ('upload', (b'bytes',)):
    type = canister.methods[name]
    try:
        got = 'sent as ' + getattr(canister, name)(*args)
    except TypeError as e:
        got = 'TypeError, %s' % e
    print('icp-py-core, %s: %d arguments, %d results, %r; %s' % (name, len(type.argTypes), len(type.retTypes), type.annotations, got))
EOF
cat > probe.mjs <<'EOF'
import fs from 'fs';
import * as didc from '@dfinity/didc';
const idl = fs.readFileSync('files.did', 'utf8');
console.log('didc, upload:', didc.encode({ idl, input: '(blob "bytes")', withType: { kind: 'methodParams', name: 'upload' }, targetFormat: 'hex' }));
EOF
{ venv/bin/python probe.py; node probe.mjs; } > seen
expect_seen <<'EOF'
icp-py-core, count_inline: 0 arguments, 1 results, ['query']; sent as query
icp-py-core, count: 0 arguments, 0 results, []; sent as update
icp-py-core, upload: 0 arguments, 0 results, []; TypeError, upload() takes 0 argument(s) but 1 were given
didc, upload: 4449444c016d7b0100056279746573
EOF
