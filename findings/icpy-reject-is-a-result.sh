#!/usr/bin/env bash
# ic-py 1.0.1 with cbor2 5.9.0 (PyPI), a query that is rejected
#
# Expected: an answer `{ status : "rejected", reject_code, reject_message }` is an error of the call (Internet Computer
#   interface specification, Request: Query call), as it is for updates of the same agent.
# Actual: the text of the rejection is returned in place of the results. A method of Canister returns this text instead
#   of a list, and indexing it gives letters.
# Affected: scripts that read while the canister is stopped for an upgrade, or traps:
#   `chunk = canister.blob_read_chunk(…)[0]` is the letter "I" of "IC0508: …", and is written to the file.
. "$(dirname "$0")/lib/common.sh"

python_packages venv ic-py==1.0.1 cbor2==5.9.0
cat > probe.py <<'EOF'
import cbor2
from ic.agent import Agent
from ic.canister import Canister
from ic.identity import Identity

class Replica:
    """Rejects every query as a stopped canister does."""
    def query(self, canister_id, data):
        return cbor2.dumps(cbor2.CBORTag(55799, {'status': 'rejected', 'reject_code': 5, 'error_code': 'IC0508',
            'reject_message': 'IC0508: Canister rrkah-fqaaa-aaaaa-aaaaq-cai is stopped'}))

canister = Canister(Agent(Identity(anonymous=True), Replica()), 'rrkah-fqaaa-aaaaa-aaaaq-cai',
    'service : { blob_read_chunk : (text, nat32) -> (blob) query; }')
got = canister.blob_read_chunk('blob_1', 0)
print('returned:', repr(got))
print('its first result:', repr(got[0]))
EOF
venv/bin/python probe.py > seen
expect_seen <<'EOF'
returned: 'IC0508: Canister rrkah-fqaaa-aaaaa-aaaaq-cai is stopped'
its first result: 'I'
EOF
