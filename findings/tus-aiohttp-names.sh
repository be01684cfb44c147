#!/usr/bin/env bash
# aiohttp-tus 1.1.0 with aiohttp 3.14.5, and the client tuspy 1.1.0 (PyPI): allow_overwrite_files
#
# Expected: without allow_overwrite_files, which is the default, an existing file is not replaced, and any other name is
#   free (aiohttp-tus, documentation of setup_tus).
# Actual: a name is taken if the name of any file begins with the part of it before its last dot, followed by a dot.
#   After `report.txt`, `report.pdf` is refused as a conflict; `LICENSE`, which has no dot, is replaced without an
#   error.
# Affected: uploads of a folder: `index.html` blocks `index.js`, with an error that does not mention a name; files
#   without an extension, as snapshots often are, overwrite yesterday's files.
. "$(dirname "$0")/lib/common.sh"
. "$lib/tus.sh"

python_packages env aiohttp-tus==1.1.0 aiohttp==3.14.5 tuspy==1.1.0
cat > probe.py <<'EOF'
import io, os
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

client = TusClient(os.environ['ENDPOINT'])
for name, content in [('report.txt', 'a'), ('report.pdf', 'b'), ('report.txt', 'c'), ('report.v2.txt', 'd'), ('LICENSE', 'e'), ('LICENSE', 'f')]:
    try:
        client.uploader(file_stream=io.BytesIO(content.encode()), metadata={'filename': name}).upload()
        said = 'stored'
    except TusCommunicationError as error:
        said = 'error, status %s' % error.status_code
    print('%s: %s' % (name, said), flush=True)
for name in sorted(name for name in os.listdir('files') if not name.startswith('.')):
    print('in the folder: %s with %r' % (name, open('files/' + name).read()))
EOF
env/bin/python tus-server.py aiohttp env/bin/python probe.py | grep -v 'server: ' > seen
expect_seen <<'EOF'
report.txt: stored
report.pdf: error, status 409
report.txt: error, status 409
report.v2.txt: stored
LICENSE: stored
LICENSE: stored
in the folder: LICENSE with 'f'
in the folder: report.txt with 'a'
in the folder: report.v2.txt with 'd'
EOF
