#!/usr/bin/env bash
# totalrecallagent 0.6.0 (PyPI), a client of memories on the Internet Computer
#
# Expected: a value can be a text, a dict or list, or bytes; what comes back is "dict/list if JSON, else str"
#   (documentation of MemoryEntry), so that a text is the text that was stored.
# Actual: every text that is valid JSON is decoded, texts of digits, "true", "null" and "NaN" included: version 1.10
#   comes back as 1.1, an account number of 18 digits followed by ".0" with other digits, and "null" as None. Bytes come
#   back as their base64 text. load() of TotalRecallAgentMemory treats 0, False and an empty list as missing, and
#   returns the default.
# Affected: agents that keep amounts, versions and counters in such a memory: the values that they read, compare and
#   pass on differ from the stored ones. Read with raw=True, or wrap texts and numbers in a dict.
. "$(dirname "$0")/lib/common.sh"

python_packages env totalrecallagent==0.6.0 requests==2.32.5
cat > probe.py <<'EOF'
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, HTTPServer
import total_recall
from total_recall.client import TotalRecallClient
from total_recall.langchain_memory import TotalRecallAgentMemory

stored = {}


class Service(BaseHTTPRequestHandler):
    """Keeps each value as the text that was sent."""

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        entry = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        stored[entry['key']] = entry
        self.answer({})

    def do_GET(self):
        self.answer({**stored[urllib.parse.unquote(self.path.split('/', 2)[2])], 'created_at': '2026-01-01T00:00:00Z', 'updated_at': '2026-01-01T00:00:00Z'})

    def log_message(self, *args):
        pass


server = HTTPServer(('127.0.0.1', 0), Service)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = 'http://127.0.0.1:%d' % server.server_port
memory = TotalRecallClient('tr_key', base_url=url)
for value in 'plain', {'a': 1}, '1.10', '123456789012345678.0', '1e3', 'true', 'null', 'NaN', '"quoted"', b'\x00\x01':
    memory.store('key', value)
    print('%r: %r, raw %r' % (value, memory.get('key').value, memory.get('key', raw=True).value))
agent = TotalRecallAgentMemory('tr_key')
agent.client = total_recall.TotalRecallClient('tr_key', base_url=url)
for value in 5, 0, False, []:
    agent.save('key', value)
    print('agent, %r, default 7: %r' % (value, agent.load('key', 7)))
EOF
env/bin/python probe.py > seen
expect_seen <<'EOF'
'plain': 'plain', raw 'plain'
{'a': 1}: {'a': 1}, raw '{"a": 1}'
'1.10': 1.1, raw '1.10'
'123456789012345678.0': 1.2345678901234568e+17, raw '123456789012345678.0'
'1e3': 1000.0, raw '1e3'
'true': True, raw 'true'
'null': None, raw 'null'
'NaN': nan, raw 'NaN'
'"quoted"': 'quoted', raw '"quoted"'
b'\x00\x01': 'AAE=', raw 'AAE='
agent, 5, default 7: 5
agent, 0, default 7: 7
agent, False, default 7: 7
agent, [], default 7: 7
EOF
