#!/usr/bin/env bash
# icp-py-core 2.3.1 with httpx 0.28.1 (PyPI), functions that end with _async
#
# Expected: the packages that a package needs are in its metadata; its README promises "HTTP/2 support in async
#   methods".
# Actual: each of these functions creates a client for HTTP/2, but the metadata requires httpx without its extra http2.
#   After `pip install icp-py-core`, each of them raises an ImportError before anything is sent, even to a network
#   without HTTP/2. The functions without _async work.
# Affected: anyone who uploads several chunks at a time. Install "httpx[http2]" in addition.
. "$(dirname "$0")/lib/common.sh"

python_packages plain icp-py-core==2.3.1 httpx==0.28.1 cbor2==5.9.0
python_packages http2 icp-py-core==2.3.1 'httpx[http2]==0.28.1' h2==4.3.0 cbor2==5.9.0
cat > probe.py <<'EOF'
import asyncio, sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
import cbor2
from icp_agent.agent import Agent
from icp_agent.client import Client
from icp_identity.identity import Identity

class Replica(BaseHTTPRequestHandler):
    """Answers each query with (5 : nat)."""
    def do_POST(self):
        self.rfile.read(int(self.headers['content-length']))
        body = cbor2.dumps({'status': 'replied', 'reply': {'arg': b'DIDL\0\1\x7d\5'}})
        self.send_response(200)
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

server = HTTPServer(('127.0.0.1', 0), Replica)
threading.Thread(target=server.serve_forever, daemon=True).start()
agent = Agent(Identity(anonymous=True), Client('http://127.0.0.1:%d' % server.server_port))
for name in 'query', 'query_async':
    try:
        got = getattr(agent, name)('rrkah-fqaaa-aaaaa-aaaaq-cai', 'get')
        got = (asyncio.run(got) if asyncio.iscoroutine(got) else got)[0]['value']
    except ImportError as e:
        got = 'ImportError, ' + str(e).split('.')[0]
    print('%s, %s: %s' % (sys.argv[1], name, got))
server.shutdown()
EOF
{ plain/bin/python probe.py 'pip install icp-py-core'; http2/bin/python probe.py 'with httpx[http2]'; } > seen
expect_seen <<'EOF'
pip install icp-py-core, query: 5
pip install icp-py-core, query_async: ImportError, Using http2=True, but the 'h2' package is not installed
with httpx[http2], query: 5
with httpx[http2], query_async: 5
EOF
