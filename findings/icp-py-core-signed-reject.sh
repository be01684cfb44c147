#!/usr/bin/env bash
# icp-py-core 2.3.1 with cbor2 5.9.0 (PyPI), verify_query_signatures
#
# Expected: a rejected query carries node signatures over status, reject_code, reject_message, error_code, request_id
#   and timestamp, which are all at the top level of the answer; once verified, it is reported as a rejection (Internet
#   Computer interface specification, Request: Query, signatures of rejected responses).
# Actual: the agent looks for these fields in a map named "reject", which the answer does not have. Replies are
#   verified; a rejection with a good signature is a QuerySignatureVerificationFailed, and code and message are lost.
# Affected: scripts that verify signatures: a canister that is stopped, is out of cycles or refuses a call looks like
#   one whose answers are forged.
. "$(dirname "$0")/lib/common.sh"

python_packages venv icp-py-core==2.3.1 cbor2==5.9.0
cat > probe.py <<'EOF'
import time, cbor2
from nacl.signing import SigningKey
from icp_agent.agent import Agent, to_request_id
from icp_identity.identity import Identity

node, key = b'\7' * 29, SigningKey(bytes(32))
der = bytes.fromhex('302a300506032b6570032100') + bytes(key.verify_key)

class Replica:
    """Signs what it is told to answer, as a node does."""
    def __init__(self, answer):
        self.answer = answer

    def query(self, canister_id, data, **options):
        content = cbor2.loads(data)['content']
        timestamp = time.time_ns()
        signable = {**self.answer, 'request_id': to_request_id(content), 'timestamp': timestamp}
        signature = key.sign(b'\x0bic-response' + to_request_id(signable)).signature
        return cbor2.dumps(cbor2.CBORTag(55799, {**self.answer,
            'signatures': [{'timestamp': timestamp, 'signature': signature, 'identity': node}]}))

class TestAgent(Agent):
    """Knows the key of the node without reading it from a certificate."""
    def _get_subnet_by_canister(self, canister_id):
        return b'\1', {}

    def _get_node_public_key(self, subnet_id, node_id):
        return der

def ask(name, answer, verify):
    agent = TestAgent(Identity(anonymous=True), Replica(answer))
    try:
        got = agent.query_raw('rrkah-fqaaa-aaaaa-aaaaq-cai', 'get', b'DIDL\0\0', verify_query_signatures=verify)[0]['value']
    except Exception as e:
        got = type(e).__name__
    print('%s, %s: %s' % (name, 'verified' if verify else 'not verified', got))

replied = {'status': 'replied', 'reply': {'arg': b'DIDL\0\1\x7d\5'}}
rejected = {'status': 'rejected', 'reject_code': 5, 'reject_message': 'IC0508: stopped', 'error_code': 'IC0508'}
for verify in False, True:
    ask('reply', replied, verify)
    ask('rejection', rejected, verify)
EOF
venv/bin/python probe.py > seen
expect_seen <<'EOF'
reply, not verified: 5
rejection, not verified: ReplicaReject
reply, verified: 5
rejection, verified: QuerySignatureVerificationFailed
EOF
