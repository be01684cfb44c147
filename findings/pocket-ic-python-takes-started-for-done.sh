#!/usr/bin/env bash
# pocket-ic 3.1.2 (PyPI), operations that take the server a while
#
# Expected: a PocketIC server answers an operation that takes more than 10 seconds with 202, a label and an operation,
#   and the client polls read_graph until the operation is done. Meanwhile the instance is busy (409), and the client
#   retries. The Rust client pocket-ic and @dfinity/pic do so (PocketIC, HTTP interface of the server).
# Actual: 202 is treated as the result. tick and set_time return although nothing is done yet, update_call raises
#   "Malformed response", get_cycles_balance a KeyError, and the next operation finds the instance busy: this is a
#   KeyError, too, since the answer 409 has no message. read_graph is never called.
# Affected: tests with large uploads, or on a loaded machine: they fail at a call other than the slow one.
. "$(dirname "$0")/lib/common.sh"

python_packages venv pocket-ic==3.1.2 ic-py==1.0.1 cbor2==5.9.0
cat > probe.py <<'EOF'
import json, os, threading
from http.server import BaseHTTPRequestHandler, HTTPServer

answer, asked = (200, {}), []

class Server(BaseHTTPRequestHandler):
    """Speaks as a PocketIC server does; each operation is answered as the variable says."""
    def answer(self):
        self.rfile.read(int(self.headers.get('content-length') or 0))
        asked.append(self.path)
        status, body = (201, {'Created': {'instance_id': 0}}) if self.path == '/instances' else answer
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_GET = do_POST = do_DELETE = answer
    def log_message(self, *args):
        pass

server = HTTPServer(('127.0.0.1', 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
# What the client starts as its server: it says where the one above listens.
with open('server.sh', 'w') as f:
    f.write('#!/bin/sh\necho %d > "$2"\n' % server.server_port)
os.chmod('server.sh', 0o755)
os.environ['POCKET_IC_BIN'] = './server.sh'
os.environ['TMPDIR'] = os.getcwd()

import ic
from pocket_ic import PocketIC
pic = PocketIC()
canister = ic.Principal.from_str('rrkah-fqaaa-aaaaa-aaaaq-cai')
operations = {
    'tick': lambda: pic.tick(),
    'set_time': lambda: pic.set_time(1_800_000_000_000_000_000),
    'get_cycles_balance': lambda: pic.get_cycles_balance(canister),
    'update_call': lambda: pic.update_call(canister, 'finish', b'DIDL\0\0'),
}
started = {'state_label': 'YQ==', 'op_id': '1'}
for status in 202, 409:
    answer = status, started
    for name, operation in operations.items():
        try:
            got = 'returns %r' % operation()
        except Exception as e:
            got = '%s, %s' % (e.__class__.__name__, str(e).split(':')[0])
        print('%d, %s: %s' % (status, name, got))
print('asked at read_graph:', any('read_graph' in path for path in asked))
EOF
venv/bin/python probe.py > seen
expect_seen <<'EOF'
202, tick: returns None
202, set_time: returns None
202, get_cycles_balance: KeyError, 'cycles'
202, update_call: ValueError, Malformed response
409, tick: KeyError, 'message'
409, set_time: KeyError, 'message'
409, get_cycles_balance: KeyError, 'message'
409, update_call: KeyError, 'message'
asked at read_graph: False
EOF
