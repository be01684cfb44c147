#!/usr/bin/env bash
# cbor2 6.3.0 and 5.9.0 with ic-py 1.0.1 and icp-py-core 2.3.1 (PyPI)
#
# Expected: the tag 55799 says "this is CBOR" and does not change the value that follows it (RFC 8949, 3.4.6); every
#   answer of a replica begins with it (Internet Computer interface specification, CBOR encoding of requests and
#   responses). Both agents accept any cbor2 from 5.4 or 5.6 on.
# Actual: since version 6, cbor2 returns the contents of a tag, this one included, as immutable values: frozendict and
#   tuple instead of dict and list. ic-py compares the type with dict: every query is "Malformed result". icp-py-core
#   looks for a list of signatures: with verify_query_signatures every answer has "Missing signature". Without the tag,
#   or with cbor2 5.9.0, both work.
# Affected: every fresh installation of the Python agents. Pin cbor2 below 6.
. "$(dirname "$0")/lib/common.sh"

cat > probe.py <<'EOF'
import sys, time, cbor2
name, tag = sys.argv[1], bytes.fromhex(sys.argv[2])
if name == 'ic-py':
    from ic.agent import Agent
    from ic.identity import Identity
else:
    from icp_agent.agent import Agent
    from icp_identity.identity import Identity

signature = {'timestamp': time.time_ns(), 'signature': bytes(64), 'identity': b'\1'}
answer = tag + cbor2.dumps({'status': 'replied', 'reply': {'arg': b'DIDL\0\1\x7d\5'}, 'signatures': [signature]})

class Replica:
    """Answers every query with the same message."""
    def query(self, *arguments, **options):
        return answer

def ask(what, **options):
    try:
        got = Agent(Identity(anonymous=True), Replica()).query_raw('rrkah-fqaaa-aaaaa-aaaaq-cai', 'get', b'DIDL\0\0', **options)[0]['value']
    except (ValueError, RuntimeError) as e:
        got = '%s' % str(e).split(':')[0]
    except AttributeError:
        got = 'signature found, looks for the key of the node'
    except Exception as e:
        got = type(e).__name__
    print('%s%s, answer %s: %s' % (name, what, 'with the tag' if tag else 'without', got))

ask('')
if name == 'icp-py-core':
    ask(', signatures verified', verify_query_signatures=True)
EOF
for version in 5.9.0 6.3.0; do
  echo "cbor2 $version"
  python_packages "old-$version" ic-py==1.0.1 "cbor2==$version"
  python_packages "new-$version" icp-py-core==2.3.1 "cbor2==$version"
  for tag in d9d9f7 ''; do
    "old-$version/bin/python" probe.py ic-py "$tag"
    "new-$version/bin/python" probe.py icp-py-core "$tag"
  done
done > seen
expect_seen <<'EOF'
cbor2 5.9.0
ic-py, answer with the tag: 5
icp-py-core, answer with the tag: 5
icp-py-core, signatures verified, answer with the tag: signature found, looks for the key of the node
ic-py, answer without: 5
icp-py-core, answer without: 5
icp-py-core, signatures verified, answer without: signature found, looks for the key of the node
cbor2 6.3.0
ic-py, answer with the tag: Malformed result
icp-py-core, answer with the tag: 5
icp-py-core, signatures verified, answer with the tag: MissingSignature
ic-py, answer without: 5
icp-py-core, answer without: 5
icp-py-core, signatures verified, answer without: signature found, looks for the key of the node
EOF
