#!/usr/bin/env bash
# icpay-bucket 1.1.1 with ic-py 1.0.1 and cbor2 5.9.0 (PyPI), a client of an upload canister
#
# Expected: get_upload tells how far an upload is, list_buckets and get_bucket which buckets there are (the package's
#   API reference). An interrupted upload needs this information to continue.
# Actual: these three functions declare their result as a record without fields. By the rules of subtyping a record is
#   read at such a type, and all of its fields are skipped (Candid specification, Coercion): the reply arrives as {},
#   one for each bucket, whatever the canister sent. Nothing fails. Methods whose result is a number or a text work
#   correctly.
# Affected: scripts that resume an upload: they cannot learn which chunks were received, and send all of them again.
. "$(dirname "$0")/lib/common.sh"

python_packages env icpay-bucket==1.1.1 ic-py==1.0.1 cbor2==5.9.0
cat > probe.py <<'EOF'
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
import cbor2
from ic.candid import Types, decode, encode
from icpay_bucket import BucketClient

def ok(of, value):
    return encode([{'type': Types.Variant({'ok': of, 'err': Types.Text}), 'value': {'ok': value}}])

upload = Types.Record({'uploadId': Types.Text, 'totalSize': Types.Nat, 'receivedChunks': Types.Vec(Types.Nat)})
bucket = Types.Record({'id': Types.Text, 'name': Types.Text})
replies = {
    'getUpload': ok(upload, {'uploadId': 'u-1', 'totalSize': 5_000_000, 'receivedChunks': [0, 1]}),
    'getBucket': ok(bucket, {'id': 'b-1', 'name': 'films'}),
    'listBuckets': ok(Types.Vec(bucket), [{'id': 'b-1', 'name': 'films'}, {'id': 'b-2', 'name': 'texts'}]),
    'getFileMetadata': ok(Types.Text, 'of 1926'),
}

class Canister(BaseHTTPRequestHandler):
    def do_POST(self):
        call = cbor2.loads(self.rfile.read(int(self.headers['content-length'])))['content']
        self.send_response(200)
        self.end_headers()
        self.wfile.write(cbor2.dumps({'status': 'replied', 'reply': {'arg': replies[call['method_name']]}}))

    def log_message(self, *_):
        pass

server = HTTPServer(('127.0.0.1', 0), Canister)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = BucketClient(host=f'http://127.0.0.1:{server.server_port}')
print('reply of getUpload with the type that was sent:', decode(replies['getUpload'], Types.Variant({'ok': upload, 'err': Types.Text}))[0]['value'])
print('get_upload:', client.get_upload('u-1'))
print('get_bucket:', client.get_bucket('b-1'))
print('list_buckets:', client.list_buckets())
print('get_file_metadata:', client.get_file_metadata('b-1', '/film.mp4'))
EOF
env/bin/python probe.py > seen
expect_seen <<'EOF'
reply of getUpload with the type that was sent: {'ok': {'receivedChunks': [0, 1], 'totalSize': 5000000, 'uploadId': 'u-1'}}
get_upload: {'ok': {}}
get_bucket: {'ok': {}}
list_buckets: {'ok': [{}, {}]}
get_file_metadata: {'ok': 'of 1926'}
EOF
