#!/usr/bin/env bash
# pytus 0.2.1 (PyPI) with @tus/server 2.4.5 (npm)
#
# Expected: resume() sends the file from the offset that the server reports (tus 1.0.0, Core Protocol: the client asks
#   for the offset by HEAD, and sends the bytes from there); upload() sends the whole file, whose size it announces.
# Actual: the file's position is set to the offset, unless the offset is 0. If the first piece is lost, resume()
#   therefore sends the second piece as the first, and so on, without an error. The upload is not complete afterwards;
#   the next resume() completes it with bytes that it contains already. If a program has read the beginning of the file
#   before, upload() leaves this beginning out.
# Affected: programs that continue after a lost connection: they get a file of the right size with wrong contents, which
#   the server considers complete. Call seek(0) first, and compare digests.
. "$(dirname "$0")/lib/common.sh"
. "$lib/tus.sh"

npm_packages @tus/server@2.4.5 @tus/file-store@2.1.1
python_packages env pytus==0.2.1
cat > probe.py <<'EOF'
import os
import pytus
import requests

endpoint, content = os.environ['ENDPOINT'], b'abcdefghij'
with open('data', 'wb') as file:
    file.write(content)


class Network(requests.Session):
    """A network that loses the requests with these numbers."""

    def __init__(self, *lost):
        super().__init__()
        self.lost, self.count = lost, 0

    def patch(self, *args, **kwargs):
        self.count += 1
        if self.count in self.lost:
            raise requests.ConnectionError('connection lost')
        return super().patch(*args, **kwargs)


def step(what, url, act):
    try:
        act()
        said = 'returns'
    except requests.ConnectionError as error:
        said = error
    stored = open(os.path.join('files', url.rsplit('/', 1)[1]), 'rb').read().decode()
    print('%s: %s; stored %s' % (what, said, stored or 'nothing'))


for lost in 2, 1:
    with open('data', 'rb') as file:
        network = Network(lost)
        url, _ = pytus.create(endpoint, 'data', len(content), network)
        for what in 'begun', 'continued', 'continued again':
            step('piece %d lost, %s' % (lost, what), url, lambda: pytus.resume(file, url, network, chunk_size=4))

with open('data', 'rb') as file:
    file.read(3)
    before = set(os.listdir('files'))
    pytus.upload(file, endpoint, chunk_size=4)
    name = next(name for name in os.listdir('files') if name not in before and not name.endswith('.json'))
    print('upload() after the head was read: returns; stored', open(os.path.join('files', name), 'rb').read().decode())
EOF
node tus-server.mjs node env/bin/python probe.py > seen
expect_seen <<'EOF'
piece 2 lost, begun: connection lost; stored abcd
piece 2 lost, continued: returns; stored abcdefghij
piece 2 lost, continued again: returns; stored abcdefghij
piece 1 lost, begun: connection lost; stored nothing
piece 1 lost, continued: returns; stored efghij
piece 1 lost, continued again: returns; stored efghijghij
upload() after the head was read: returns; stored defghij
EOF
